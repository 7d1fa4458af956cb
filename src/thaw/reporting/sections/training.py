"""Training curves: whether training was long enough, and whether it held still."""

import math
from collections.abc import Sequence
from statistics import mean

from thaw.measures import number
from thaw.reporting.blocks import Block, Folded, OnPage, figure
from thaw.reporting.results import Result, Results
from thaw.reporting.sketches import training_traces
from thaw.reporting.wording import counted


def training_curves(results: Results, drawn: Sequence[str]) -> list[Block]:
    shown = [r for r in results.candidates if any(record.history for record in r.records)]
    if not shown:
        return ["No network was trained: every strategy fits a head on frozen features."]
    caption = (
        "Validation AUC by epoch, one line for each fold; the dot is the epoch that was kept, dotted lines part the phases. "
        "Lines that still rise at the end would have liked more epochs."
    )
    return [_unfinished(shown), *figure(drawn, "training", _alt(shown), caption), *(_traces(result) for result in shown)]


def _traces(result: Result) -> Block:
    return Folded(f"{result.name}: training loss and validation AUC of every fold", [OnPage(training_traces(result))])


def _unfinished(shown: list[Result]) -> str:
    """Where the last epoch was the best in every fold, more epochs might have helped."""
    late = [f"`{r.name}`" for r in shown if all(_kept_the_last(r, i) for i in range(len(r.records)))]
    if not late:
        return ""
    return f"In every fold the last epoch was the best for {', '.join(late)}: more epochs might have gone further."


def _kept_the_last(result: Result, place: int) -> bool:
    record = result.records[place]
    return bool(record.history) and int(record.metrics.get("best_epoch", 0)) == len(record.history)


def _alt(shown: list[Result]) -> str:
    peaks = {r.name: _peak(r) for r in shown}
    peaks = {name: peak for name, peak in peaks.items() if not math.isnan(peak)}
    best = max(peaks, key=lambda name: peaks[name], default="")
    found = f": highest is {best}, whose best epochs reach {number(peaks[best])} in the mean of the folds" if peaks else ""
    return f"Validation AUC by epoch of {counted(len(shown), 'strategy', 'strategies')}{found}"


def _peak(result: Result) -> float:
    """Mean over the folds of the highest validation AUC."""
    tops = [
        max((row["val/auc"] for row in record.history if row.get("val/auc") is not None), default=math.nan) for record in result.records
    ]
    return mean(tops)
