"""How sure: figures without each group in turn, intervals, paired contrasts, a bootstrap over groups, Holm's correction, and power.

Images of one group (module, patient, tile) are alike, so groups are left out and drawn, not images (Field & Welsh 2007, J. R. Stat.
Soc. B 69). Everything that is compared is seen through the same groups, so that a contrast is paired: what makes an image hard for
both cancels.

Intervals are those of Student's t around the figure, with the standard error of a delete-a-group jackknife, on a scale without ends.
The percentiles of a bootstrap over 44 groups are too narrow, those of fewer far too narrow; docs/evidence.md has the simulation
(bench/coverage.py) by which this was chosen. The bootstrap tells the chance of being better.

What the intervals cover: the choice of test groups, for models as they were trained. They do not cover how the models would vary
if they were trained again on other groups or from other seeds.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan

import numpy as np
from jaxtyping import Float64
from scipy.special import expit, logit, stdtr, stdtrit

from thaw.measures import Link

Statistic = Callable[[Float64[np.ndarray, "B N"]], dict[str, Float64[np.ndarray, " B"]]]
"""Weights of B resamples of N images -> named figures of each."""
Replicates = dict[str, Float64[np.ndarray, " B"]]

CELLS = 2**18  # weights held at once (2 MB, and some six times that while a figure is made): what fits a cache is twice as quick
NOISE = 1e-12  # differences below this are rounding: equal decisions summed in another order
BLOCKS = 200  # at most so many parts are left out in turn; 199 degrees of freedom are as good as any number
LINKS = {"logit": (logit, expit, 0.0, 1.0), "log": (np.log, np.exp, 0.0, np.inf), "atanh": (np.arctanh, np.tanh, -1.0, 1.0)}
"""Scale -> there, back, and the ends of the range."""


# ---- resamples


def jackknife(statistics: Sequence[Statistic], groups: Sequence[str], seed: int) -> list[Replicates]:
    """Figures of every statistic without each of J blocks of groups in turn, (J,); a block is one group, but for more than 200 groups.

    ``groups``: the group of each of the N images. More than 200 are dealt out at random to 200 blocks (Kott 2001, The delete-a-group
    jackknife, J. Official Stat. 17). Groups are numbered by name, so the order of the images changes nothing.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    block = np.arange(len(names))
    if len(names) > BLOCKS:
        block = np.random.default_rng(seed).permutation(len(names)) % BLOCKS
    left_out = np.arange(block.max() + 1)
    parts = (left_out[start : start + at_once(len(group))] for start in range(0, len(left_out), at_once(len(group))))
    return evaluated(statistics, ((block[group] != part[:, None]).astype(np.float64) for part in parts))


def bootstrap(statistics: Sequence[Statistic], groups: Sequence[str], resamples: int, seed: int) -> list[Replicates]:
    """Figures of every statistic in every resample, (B,); the b-th of each comes from the same draw of groups.

    A resample of G groups draws G times with replacement, an image weighs as often as its group was drawn.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    return evaluated(statistics, (counts[:, group] for counts in draws(len(names), resamples, seed, at_once(len(group)))))


def draws(groups: int, resamples: int, seed: int, at_once: int) -> Iterator[Float64[np.ndarray, "_ G"]]:
    """How often each group is drawn in each resample, (at_once, G) at a time; ``at_once`` changes nothing in what is drawn."""
    generator = np.random.default_rng(seed)
    share = np.full(groups, 1 / groups)
    for start in range(0, resamples, at_once):
        yield generator.multinomial(groups, share, size=min(at_once, resamples - start)).astype(np.float64)


def at_once(images: int) -> int:
    """How many resamples of so many images are held in memory together."""
    return max(1, CELLS // images)


def evaluated(statistics: Sequence[Statistic], weights: Iterable[Float64[np.ndarray, "_ N"]]) -> list[Replicates]:
    """Figures of every statistic, from weights that come in parts."""
    parts: list[list[Replicates]] = [[] for _ in statistics]
    for some in weights:
        for part, statistic in zip(parts, statistics, strict=True):
            part.append(statistic(some))
    return [{name: np.concatenate([figures[name] for figures in part]) for name in part[0]} for part in parts]


# ---- intervals


@dataclass(frozen=True)
class Interval:
    """Limits; nan where the figure, or what it is without one of the groups, is undefined."""

    lo: float
    hi: float


@dataclass(frozen=True)
class Error:
    """Standard error of a figure, and the degrees of freedom of its square; nan where undefined."""

    se: float
    freedom: float

    def reach(self, share: float) -> float:
        """The distance from the figure that Student's t stays below with chance ``share``."""
        return float(stdtrit(self.freedom, share)) * self.se if self.se else 0.0


def jackknife_error(replicates: Float64[np.ndarray, " J"]) -> Error:
    """SE = sqrt((J - 1) / J x sum of squared deviations from their mean) of the figure without each of J blocks (Tukey 1958).

    Degrees of freedom 2 / (2 / (J - 1) + excess kurtosis / J), by the variance of a sample variance (O'Neill 2014, Am. Stat. 68), and
    J - 1 where the kurtosis is not in excess: a figure that rests on few of the groups has few. nan from fewer than two blocks.
    """
    J = len(replicates)
    if J < 2 or np.isnan(replicates).any():
        return Error(nan, nan)
    squares = (replicates - replicates.mean()) ** 2
    if not squares.any():
        return Error(0.0, J - 1.0)
    excess = max(0.0, float((squares**2).mean() / squares.mean() ** 2) - 3)
    return Error(float(np.sqrt((J - 1) / J * squares.sum())), 2 / (2 / (J - 1) + excess / J))


def interval(value: float, replicates: Float64[np.ndarray, " J"], confidence: float, link: Link | None = None) -> Interval:
    """Limits of a figure from what it is without each block of groups (`jackknife`).

    ``link``: the scale on which it is about normal; None for what has no ends, such as differences. A figure that is at an end of its
    range, or would be without one of the groups, has no place on that scale; its interval is then cut off at the ends.
    """
    if link is None:
        reach = jackknife_error(replicates).reach((1 + confidence) / 2)
        return Interval(value - reach, value + reach)
    there, back, lowest, highest = LINKS[link]
    inside = (replicates > lowest) & (replicates < highest)
    if inside.all() and lowest < value < highest:
        found = interval(float(there(value)), there(replicates), confidence)
        return Interval(float(back(found.lo)), float(back(found.hi)))
    found = interval(value, replicates, confidence)
    return Interval(max(found.lo, lowest), min(found.hi, highest)) if isfinite(found.lo) else found


# ---- contrasts


@dataclass(frozen=True)
class Contrast:
    """A figure of one strategy minus that of another, on the same images."""

    diff: float
    lo: float
    hi: float
    p: float  # two-sided, not corrected
    mde: float  # see `minimum_detectable`


def contrast(
    value: float,
    reference: float,
    replicates: Float64[np.ndarray, " J"],
    reference_replicates: Float64[np.ndarray, " J"],
    confidence: float,
) -> Contrast:
    """``value - reference`` with its interval, p and minimum detectable difference, both without the same blocks of groups."""
    diff = float(without_noise(np.array([value - reference]))[0])
    differences = without_noise(replicates - reference_replicates)
    limits, error = interval(diff, differences, confidence), jackknife_error(differences)
    return Contrast(diff, limits.lo, limits.hi, two_sided_p(diff, error), minimum_detectable(error, confidence))


def without_noise(differences: Float64[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
    return np.where(np.abs(differences) < NOISE, 0.0, differences)


def two_sided_p(diff: float, error: Error) -> float:
    """Student's t: the level at which the interval just reaches 0. A difference of exactly 0 has p = 1; nan without an error."""
    if isnan(diff) or isnan(error.se):
        return nan
    if diff == 0 or error.se == 0:
        return float(diff == 0)
    return 2 * float(stdtr(error.freedom, -abs(diff) / error.se))


def share_better(differences: Float64[np.ndarray, " B"], lower_is_better: bool) -> float:
    """Share of the defined resamples in which the first of two is better, ties by half; nan where none is defined."""
    defined = without_noise(differences[~np.isnan(differences)])
    if not len(defined):
        return nan
    return float((1 + np.sign(-defined if lower_is_better else defined)).mean() / 2)


def minimum_detectable(error: Error, confidence: float, power: float = 0.8) -> float:
    """The true difference that a two-sided test at ``1 - confidence`` finds with chance ``power``: (t_{1-alpha/2} + t_power) x SE.

    Bloom 1995, Minimum detectable effects, Evaluation Review 19(5). For one contrast: Holm's correction makes it larger.
    """
    return error.reach((1 + confidence) / 2) + error.reach(power)


# ---- many contrasts


def holm(p: Float64[np.ndarray, " M"]) -> Float64[np.ndarray, " M"]:
    """Adjusted p of a family: the i-th smallest of m (from 0) times m - i, never falling, at most 1 (Holm 1979, Scand. J. Stat. 6).

    Undefined entries (nan) stay so and do not count in m.
    """
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]  # nan sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted
