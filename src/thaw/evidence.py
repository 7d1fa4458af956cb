"""How sure: a bootstrap over groups, paired contrasts, Holm's correction, and the smallest difference that could have been seen.

Images of one group (module, patient, tile) are alike, so groups are drawn, not images (Field & Welsh 2007, J. R. Stat. Soc. B 69):
a resample of G groups draws G times with replacement, an image weighs as often as its group was drawn. All strategies
see the same resamples, so that a contrast is paired: what makes an image hard for both cancels.

What the intervals cover: the choice of test groups, for models as they were trained. They do not cover how the models would vary
if they were trained again on other groups or from other seeds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float64, Int

Statistic = Callable[[Float64[np.ndarray, "B N"]], dict[str, Float64[np.ndarray, " B"]]]
"""Weights of B resamples of N images -> named figures of each."""

CELLS = 2**20  # weights held at once (8 MB, and some six times that while a figure is made), however many images there are
NOISE = 1e-12  # differences below this are rounding: equal decisions summed in another order


@dataclass(frozen=True)
class Interval:
    """Percentile interval; nan where no resample defines the figure."""

    lo: float
    hi: float
    left_out: int  # resamples in which the figure is undefined


@dataclass(frozen=True)
class Contrast:
    """A figure of one strategy minus that of another, on the same images."""

    diff: float
    lo: float
    hi: float
    p: float  # two-sided, not corrected
    mde: float  # see `minimum_detectable`
    left_out: int  # resamples in which one of the two is undefined


def draws(groups: int, resamples: int, seed: int, at_once: int) -> Iterator[Int[np.ndarray, "_ G"]]:
    """How often each group is drawn in each resample, (at_once, G) at a time; ``at_once`` changes nothing in what is drawn."""
    generator = np.random.default_rng(seed)
    share = np.full(groups, 1 / groups)
    for start in range(0, resamples, at_once):
        yield generator.multinomial(groups, share, size=min(at_once, resamples - start))


def bootstrap(
    statistics: Sequence[Statistic], groups: Sequence[str], resamples: int, seed: int
) -> list[dict[str, Float64[np.ndarray, " B"]]]:
    """Figures of every statistic in every resample; the b-th of each comes from the same draw of groups.

    ``groups``: the group of each of the N images. Groups are numbered by name, so the order of the images changes nothing.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    parts: list[list[dict[str, Float64[np.ndarray, " b"]]]] = [[] for _ in statistics]
    for counts in draws(len(names), resamples, seed, at_once=max(1, CELLS // len(group))):
        weights = counts.astype(np.float64)[:, group]
        for part, statistic in zip(parts, statistics, strict=True):
            part.append(statistic(weights))
    return [{name: np.concatenate([figures[name] for figures in part]) for name in part[0]} for part in parts]


def interval(replicates: Float64[np.ndarray, " B"], confidence: float) -> Interval:
    """The middle ``confidence`` share of the replicates (Efron 1979's percentile method, limits interpolated)."""
    defined = replicates[~np.isnan(replicates)]
    lo, hi = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2]) if len(defined) else (np.nan, np.nan)
    return Interval(float(lo), float(hi), len(replicates) - len(defined))


def contrast(
    value: float,
    reference: float,
    replicates: Float64[np.ndarray, " B"],
    reference_replicates: Float64[np.ndarray, " B"],
    confidence: float,
) -> Contrast:
    """``value - reference`` with its interval, p and minimum detectable difference, from paired replicates."""
    differences = _without_noise(replicates - reference_replicates)
    limits = interval(differences, confidence)
    defined = differences[~np.isnan(differences)]
    return Contrast(
        diff=float(_without_noise(np.array([value - reference]))[0]),
        lo=limits.lo,
        hi=limits.hi,
        p=two_sided_p(defined),
        mde=minimum_detectable(standard_error(defined), confidence),
        left_out=limits.left_out,
    )


def _without_noise(differences: Float64[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
    return np.where(np.abs(differences) < NOISE, 0.0, differences)


def standard_error(replicates: Float64[np.ndarray, " B"]) -> float:
    """Standard deviation of the replicates; nan from fewer than two."""
    return float(np.std(replicates, ddof=1)) if len(replicates) > 1 else float("nan")


def two_sided_p(differences: Float64[np.ndarray, " B"]) -> float:
    """p = min(1, 2 (min(#<=0, #>=0) + 1) / (B + 1)): the level at which the percentile interval just reaches 0.

    The added ones keep p from being 0 (Davison & Hinkley 1997, Bootstrap Methods, section 4.2). A difference of exactly 0 counts
    on both sides, so strategies that predict the same get p = 1. nan from no difference at all.
    """
    if not len(differences):
        return float("nan")
    beyond = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return min(1.0, 2 * (beyond + 1) / (len(differences) + 1))


def smallest_p(resamples: int, contrasts: int) -> float:
    """The smallest p that Holm's correction of ``contrasts`` can leave after ``resamples``."""
    return min(1.0, contrasts * 2 / (resamples + 1))


def holm(p: Float64[np.ndarray, " M"]) -> Float64[np.ndarray, " M"]:
    """Adjusted p of a family: the i-th smallest of m (from 0) times m - i, never falling, at most 1 (Holm 1979, Scand. J. Stat. 6).

    Undefined entries (nan) stay so and do not count in m.
    """
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]  # nan sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def minimum_detectable(se: float, confidence: float, power: float = 0.8) -> float:
    """The true difference that a two-sided test at ``1 - confidence`` finds with chance ``power``: (z_{1-alpha/2} + z_power) x SE.

    Bloom 1995, Minimum detectable effects, Evaluation Review 19(5). For one contrast: Holm's correction makes it larger.
    """
    normal = NormalDist()
    return (normal.inv_cdf((1 + confidence) / 2) + normal.inv_cdf(power)) * se
