"""Calibration: whether 80 % means 80 %, before and after temperature scaling."""

import math
from collections.abc import Sequence
from typing import Any

from thaw.measures import NOTHING, number
from thaw.reporting.blocks import Block, Table, figure
from thaw.reporting.results import Result, Results
from thaw.reporting.tables import code

STAGES = ("raw", "scaled")
SMALL = 0.005  # of log loss


def calibration(results: Results, drawn: Sequence[str]) -> list[Block]:
    rows = [result for result in results.candidates if _measured(result)]
    if not rows:
        return ["`dvc repro evaluate` would say here whether probabilities can be taken at their word; it has not measured that yet."]
    caption = (
        "Predicted probability against the share that came true, before (left) and after (right) temperature scaling: "
        "on the dotted diagonal 80 % means 80 %; below it too much was promised. "
        f"Blue circles are {code(results.winner.name)}, black squares the reference; a larger dot stands for more images."
    )
    return [
        "A temperature divides the logits; it is fitted on the validation part of each fold and does not change how a fold's images rank. "
        "Above 1 the model was too sure of itself, below 1 not sure enough. "
        "The calibration error is the mean distance between what was said and what came true, bin by bin; chance alone makes it positive. "
        "Log loss also punishes being wrong with certainty.",
        _told(results),
        *figure(drawn, "calibration", _alt(results), caption),
        _table(rows),
    ]


def _measured(result: Result) -> dict[str, Any]:
    """``temperatures``, fold by fold, and figures ``raw`` and ``scaled``; {} where calibration was not measured."""
    return result.pooled.get("calibration") or {}


def _figure(result: Result, stage: str, metric: str) -> float:
    value = _measured(result).get(stage, {}).get(metric)
    return math.nan if value is None else value


def _told(results: Results) -> str:
    """What scaling does to the winner, by log loss, which a single bin cannot sway."""
    before, after = (_figure(results.winner, stage, "log_loss") for stage in STAGES)
    if math.isnan(before + after):
        return ""
    better = "changes little" if abs(after - before) < SMALL else "helps" if after < before else "does harm"
    errors = " to ".join(number(_figure(results.winner, stage, "ece")) for stage in STAGES)
    return (
        f"For the winner, {code(results.winner.name)}, scaling {better}: log loss goes from {number(before)} to {number(after)}, "
        f"calibration error from {errors}."
    )


def _alt(results: Results) -> str:
    before, after = (number(_figure(results.winner, stage, "ece")) for stage in STAGES)
    return f"Reliability of {results.winner.name}: calibration error {before} before scaling, {after} after"


def _table(rows: Sequence[Result]) -> Table:
    header = [f"{name}{', scaled' if stage == 'scaled' else ''}" for name in ("log loss", "calibration error") for stage in STAGES]
    return Table(["strategy", *header, "temperatures, fold by fold"], [_row(result) for result in rows], notes=1)


def _row(result: Result) -> list[str]:
    figures = [number(_figure(result, stage, metric)) for metric in ("log_loss", "ece") for stage in STAGES]
    temperatures = ", ".join(number(temperature, 2) for temperature in _measured(result).get("temperatures", []))
    return [code(result.name), *figures, temperatures or NOTHING]
