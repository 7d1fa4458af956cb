"""Numbers and verdicts in plain words: one place for names of metrics, units, rounding and direction."""

import math
from dataclasses import dataclass
from typing import Literal

from thaw.errors import InputError, nearest

Verdict = Literal["better", "worse", "none", "unknown"]
NOTHING = "—"  # an undefined figure


@dataclass(frozen=True)
class Measure:
    """How a metric is shown. ``in_points``: differences are given in hundredths, as people say them."""

    name: str
    higher_is_better: bool = True
    in_points: bool = True

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
    "precision_macro": Measure("precision (macro)"),
    "recall_macro": Measure("recall (macro)"),
    "f1_macro": Measure("F1 (macro)"),
    "log_loss": Measure("log loss", higher_is_better=False, in_points=False),
    "brier": Measure("Brier score", higher_is_better=False, in_points=False),
}


def measure_of(metric: str) -> Measure:
    """Raises `InputError` for a metric that the report cannot name."""
    if metric not in MEASURES:
        raise InputError(f"the report knows no metric {metric!r}; {nearest(metric, MEASURES)}")
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


def size(measure: Measure, amount: float) -> str:
    """A size without a sign: ``2.8 points``, or ``0.031`` where the metric has its own unit."""
    text = number(abs(amount) * measure.scale, 1 if measure.in_points else 3)
    return f"{text} points" if measure.in_points and text != NOTHING else text


def p_value(p: float) -> str:
    if math.isnan(p):
        return "Holm p unknown"
    return "Holm p < 0.001" if p < 0.001 else f"Holm p = {p:.3f}"


def verdict(measure: Measure, diff: float, p_holm: float, confidence: float) -> Verdict:
    """Whether a strategy differs from the reference after Holm's correction, and to which side."""
    if math.isnan(diff) or math.isnan(p_holm):
        return "unknown"
    if p_holm > 1 - confidence:
        return "none"
    return "better" if (diff > 0) == measure.higher_is_better else "worse"


def only_alone(found: Verdict, lo: float, hi: float) -> bool:
    """Whether the interval lies beside zero and the correction takes the difference back."""
    return found == "none" and (lo > 0 or hi < 0)


def taken_back(comparisons: int) -> str:
    return f"alone it would count; after correction for {counted(comparisons, 'comparison')} it does not"


def verdict_words(found: Verdict, lo: float, hi: float, comparisons: int) -> str:
    """For a table. ``comparisons``: how many the correction allowed for."""
    if only_alone(found, lo, hi):
        return taken_back(comparisons)
    return {"better": "better", "worse": "worse", "none": "no difference seen", "unknown": "undefined"}[found]


def duration(seconds: float) -> str:
    """Two significant digits, and whole seconds from ten on: ``0.04 s``, ``8.3 s``, ``92 s``, ``1,240 s``."""
    if seconds < 0.001:
        return "< 0.001 s"
    return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:,.0f} s"


def percent(share: float) -> str:
    return f"{100 * share:g} %"


def times(amount: float | int, other: float | int, of: str) -> str:
    """``180 times the reference's 0.64 s``, or ``about the reference's 0.64 s``; nothing where the other is zero."""
    if other == 0:
        return ""
    ratio = amount / other
    text = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"
    return f"about {of}" if text == "1" else f"{text} times {of}"


def counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {plural or noun + 's'}"
