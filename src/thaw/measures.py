"""What a figure is called, its unit and direction, and how its numbers are written: one place for tables, sentences and intervals."""

import math
from dataclasses import dataclass
from typing import Literal

from thaw.errors import InputError, nearest

Link = Literal["logit", "log", "atanh"]
"""Maps the range of a figure to the whole line: [0, 1], [0, inf) or [-1, 1]."""
NOTHING = "—"  # an undefined figure


@dataclass(frozen=True)
class Measure:
    """How a metric is shown. ``in_points``: differences are given in hundredths, as people say them. ``link``: where it is about normal."""

    name: str
    higher_is_better: bool = True
    in_points: bool = True
    link: Link = "logit"

    @property
    def scale(self) -> float:
        return 100.0 if self.in_points else 1.0

    @property
    def unit(self) -> str:
        return f"points of {self.name}" if self.in_points else f"of {self.name}"


MEASURES = {
    "roc_auc": Measure("ROC AUC"),
    "roc_auc_within": Measure("ROC AUC within folds"),
    "pr_auc": Measure("PR AUC"),
    "balanced_accuracy": Measure("balanced accuracy"),
    "accuracy": Measure("accuracy"),
    "weighted_accuracy": Measure("weighted accuracy"),
    "f1_macro": Measure("F1 (macro)"),
    "precision_macro": Measure("precision (macro)"),
    "recall_macro": Measure("recall (macro)"),
    "f1_weighted": Measure("F1 (by support)"),
    "precision_weighted": Measure("precision (by support)"),
    "recall_weighted": Measure("recall (by support)"),
    "quadratic_kappa": Measure("quadratic kappa", in_points=False, link="atanh"),
    "log_loss": Measure("log loss", higher_is_better=False, in_points=False, link="log"),
    "brier": Measure("Brier score", higher_is_better=False, in_points=False, link="log"),
    "ece": Measure("calibration error", higher_is_better=False, in_points=False),
}


def measure_of(metric: str) -> Measure:
    """Raises `InputError` for a metric that has no name."""
    if metric not in MEASURES:
        raise InputError(f"there is no metric {metric!r}; {nearest(metric, MEASURES)}")
    return MEASURES[metric]


def number(value: float | int | None, decimals: int = 3) -> str:
    """Fixed decimals, a true minus sign, no negative zero; a dash for None and NaN."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:,.{decimals}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def with_interval(value: float, lo: float, hi: float, at_least: int, scale: float = 1.0) -> str:
    """``0.842 [0.801, 0.878]``; more decimals where the interval is so narrow that it would vanish in rounding."""
    if math.isnan(value):
        return NOTHING
    decimals = _decimals((hi - lo) * scale / 2, at_least)
    interval = f" [{number(lo * scale, decimals)}, {number(hi * scale, decimals)}]" if not math.isnan(lo + hi) else ""
    return number(value * scale, decimals) + interval


def _decimals(half_width: float, at_least: int) -> int:
    """As many as show the first digit of the half width, within ``at_least`` and two more."""
    if not half_width > 0:
        return at_least
    return min(max(math.ceil(-math.log10(half_width)), at_least), at_least + 2)


def difference(measure: Measure, diff: float, lo: float, hi: float) -> str:
    """``2.1 [0.4, 3.9]`` in points, or in the metric's own unit with three decimals."""
    return with_interval(diff, lo, hi, 1 if measure.in_points else 3, measure.scale)


def difference_with_unit(measure: Measure, diff: float, lo: float, hi: float) -> str:
    """``2.1 points of ROC AUC [0.4, 3.9]``: the unit stands between the number and its interval."""
    value, _, interval = difference(measure, diff, lo, hi).partition(" ")
    return f"{value} {measure.unit} {interval}".rstrip()


def size(measure: Measure, amount: float) -> str:
    """A size without a sign: ``2.8 points``, or ``0.031`` where the metric has its own unit."""
    text = number(abs(amount) * measure.scale, 1 if measure.in_points else 3)
    return f"{text} points" if measure.in_points and text != NOTHING else text
