"""Leaderboard: everybody with an interval, best first, and what the controls say."""

import math
from collections.abc import Sequence

from thaw.measures import NOTHING, difference, measure_of, number
from thaw.reporting.answer import estimate_of
from thaw.reporting.blocks import Block, Folded, Sketches, Table
from thaw.reporting.results import Contrast, Result, Results
from thaw.reporting.sketches import interval_sketches
from thaw.reporting.tables import code, literal
from thaw.reporting.wording import counted, duration, name_of, percent

WITHIN = "roc_auc_within"
SECONDS = (
    "Seconds are those of one model, features included: a head's hold the fit and the extraction of features from its training images "
    "(done once for each backbone and shared by all heads); those of a strategy that starts from the linear probe hold the probe's too."
)
LUCK = 0.05  # how far from chance one shuffle of the labels is let land without a remark
COLUMNS = ("roc_auc", WITHIN, "balanced_accuracy", "log_loss")
"""Beside the primary metric; every other figure stands in a table of its own."""


def leaderboard(results: Results, drawn: Sequence[str]) -> list[Block]:
    points = "Scores are fractions of 1, higher is better; log loss and Brier score are losses, lower is better."
    intervals = (
        f"Brackets hold {percent(results.confidence)} intervals, from leaving out the {results.groups:,} {literal(results.units)} in turn; "
        f"differences are to the reference, {code(results.reference.name)}."
    )
    return [
        f"Best first by {measure_of(results.primary).name}. {points} {intervals}",
        "Every figure here is of other domains than the one that was trained on." if results.domains_left_out else "",
        _board(results),
        _pooling(results),
        f"{SECONDS} They are the median of the folds on the machine that ran them.{_star(results)}",
        _runner_up(results),
        _what_controls_say(results),
        Folded("All figures of every strategy", _everything(results)),
    ]


def two_aucs(results: Results) -> bool:
    return results.primary == "roc_auc" and any(WITHIN in r.pooled for r in results.ranked)


def without_twins(ranked: list[Result]) -> list[tuple[str, Result]]:
    """Controls that do not look through the backbone come out alike with each: one row for all, named ``*/majority``."""
    rows: list[tuple[str, Result]] = []
    for result in ranked:
        twins = [r for r in ranked if r.control and r.strategy == result.strategy and r.pooled == result.pooled]
        if not result.control or len(twins) == 1:
            rows.append((result.name, result))
        elif twins[0] is result:
            rows.append((f"*/{result.strategy}", result))
    return rows


def _board(results: Results) -> Table:
    measure = measure_of(results.primary)
    others = [
        m for m in COLUMNS if m != results.primary and (m != WITHIN or two_aucs(results)) and any(m in r.pooled for r in results.ranked)
    ]
    header = [
        "strategy",
        measure.name,
        f"difference, {'points' if measure.in_points else measure.name}",
        "seconds per model",
        "trainable parameters",
        *(name_of(m) for m in others),
    ]
    named = without_twins(results.shown)
    rows = [
        [
            _called(name, result),
            estimate_of(result, results.primary),
            _difference(results, result),
            duration(result.typical_seconds),
            f"{result.trainable:,}",
            *(number(result.pooled.get(metric)) for metric in others),
        ]
        for name, result in named
    ]
    sketches = Sketches(f"{percent(results.confidence)} interval", interval_sketches(results, [result for _, result in named]))
    return Table(header, rows, sketches=sketches)


def _star(results: Results) -> str:
    if not any(name.startswith("*/") for name, _ in without_twins(results.shown)):
        return ""
    return " A star stands for every backbone: a control that does not look through the backbone comes out alike with each."


def _called(name: str, result: Result) -> str:
    return code(name) + (" (control)" if result.control else "")


def _difference(results: Results, result: Result) -> str:
    if result is results.reference:
        return "reference"
    contrast: Contrast | None = result.contrasts.get(results.primary)
    return NOTHING if contrast is None else difference(measure_of(results.primary), contrast.diff, contrast.lo, contrast.hi)


def _pooling(results: Results) -> str:
    """Why there are two columns of ROC AUC."""
    if not two_aucs(results):
        return ""
    return (
        "ROC AUC ranks the images of all folds together, so offsets between the folds' models count as errors "
        "(a control that is at 0.5 in every fold can come out below it); "
        "ROC AUC within folds is the mean of the folds' own figures, which such offsets leave alone."
    )


def _runner_up(results: Results) -> str:
    second = results.runner_up
    if second is None:
        return ""
    text = f"Second is {code(second.name)} with {estimate_of(second, results.primary)}."
    if results.reference is results.winner or results.reference is second:
        return text
    return f"{text} Winner and second were not tested against each other, only each against the reference."


def _what_controls_say(results: Results) -> str:
    """What the controls set as the floor, and whether shuffled labels behave."""
    defined = [r for r in results.controls if not math.isnan(r.estimate(results.primary).value)]
    if not defined:
        return ""
    best = defined[0]
    random = ", a network that was never trained" if any(r.random_backbone for r in defined) else ""
    floor = (
        f"Controls are what no one would use: the most frequent class, the place in the file, raw pixels, shuffled labels{random}. "
        f"The best of them, {code(best.name if best.random_backbone else best.strategy)}, reaches {estimate_of(best, results.primary)}; "
        f"what does not rise above that gains nothing over it (not tested pair by pair)."
    )
    shuffled = next((r for r in results.controls if r.strategy == "shuffled_labels"), None)
    return floor if shuffled is None else f"{floor} {_shuffled(shuffled)}".rstrip()


def _shuffled(shuffled: Result) -> str:
    """A head fitted to noise still points somewhere, and its interval does not cover that luck: only a wide miss is a sign."""
    auc = shuffled.estimate("roc_auc")
    if math.isnan(auc.lo + auc.hi):
        return ""
    figure = f"Trained on shuffled labels, a head reaches a ROC AUC of {estimate_of(shuffled, 'roc_auc')}"
    if auc.lo <= 0.5 <= auc.hi:
        return f"{figure}: chance, as it should."
    if auc.lo <= 0.5 + LUCK and auc.hi >= 0.5 - LUCK:
        return f"{figure}: beside the 0.5 of chance, as a single shuffle may land."
    if auc.lo > 0.5:
        return f"{figure}: far above the 0.5 of chance. Look for a leak."
    within = f" (within folds it is {estimate_of(shuffled, WITHIN)})" if WITHIN in shuffled.estimates else ""
    return f"{figure}{within}: far below the 0.5 of chance. Look for a mistake, or for offsets between the folds' models."


def _everything(results: Results) -> list[Block]:
    """A wide table for those who look for one figure; its intervals are in the CSV."""
    metrics = list(dict.fromkeys(metric for result in results.shown for metric in result.estimates))
    rows = [
        [_called(name, result), *(number(result.estimate(metric).value) for metric in metrics)]
        for name, result in without_twins(results.shown)
    ]
    return [
        f"All folds pooled. The interval of every figure is in `reports/leaderboard.csv`.{_undefined(results, metrics)}",
        Table(["strategy", *(name_of(metric) for metric in metrics)], rows),
    ]


def _undefined(results: Results, metrics: list[str]) -> str:
    """Figures that some strategy does not have, and classes that means over the classes leave out."""
    missing = {m: sum(math.isnan(r.estimate(m).value) for r in results.shown) for m in metrics}
    told = [f"{name_of(m)} for {counted(count, 'strategy', 'strategies')}" for m, count in missing.items() if count]
    dashes = f" A dash is a figure that is undefined: {', '.join(told)}." if told else ""
    if not results.undefined:
        return dashes
    names = ", ".join(f"“{literal(name)}”" for name in results.undefined)
    return f"{dashes} ROC AUC leaves out {counted(len(results.undefined), 'class', 'classes')} that no image has, or every image: {names}."
