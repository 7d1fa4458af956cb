"""Verdicts, p, seconds and counts in plain words. How figures are written is `thaw.measures`'."""

import math
from typing import Literal

from thaw.measures import MEASURES, NOTHING, Measure, number

Verdict = Literal["better", "worse", "none", "unknown"]


def name_of(metric: str) -> str:
    """The name of any figure, of one that the report does not know too."""
    return MEASURES[metric].name if metric in MEASURES else metric.replace("_", " ")


def p_value(p: float) -> str:
    """Of one comparison among several."""
    return f"Holm {uncorrected(p)}"


def uncorrected(p: float) -> str:
    if math.isnan(p):
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def short_p(p: float) -> str:
    """For a column of p."""
    return "< 0.001" if p < 0.001 else number(p)


def probability(share: float) -> str:
    """``97 %``; never 0 or 100 %, which a finite number of resamples cannot show. A dash for NaN."""
    if math.isnan(share):
        return NOTHING
    return "> 99 %" if share > 0.995 else "< 1 %" if share < 0.005 else f"{100 * share:.0f} %"


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
    return f"by its interval alone it would count; by both tests, corrected for {counted(comparisons, 'comparison')}, it does not"


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
