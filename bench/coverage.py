"""Do the intervals cover and do the tests keep their level? Strategies simulated on images in groups, where the truth is known.

    python -m bench.coverage            # a quarter of an hour on two cores; --simulations 200 for a first look

Prints three Markdown tables: shares of simulations, each with its Monte-Carlo standard error. The evidence is that of the pipeline
(`thaw.evidence`, `thaw.paired_tests`); only the AUC of a resample comes from a table of pairs of groups, which is the same and quicker.
"""

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import sqrt
from statistics import NormalDist

import numpy as np
from jaxtyping import Float64, Int
from scipy.special import logit, ndtr, ndtri, stdtrit

from thaw import evidence, paired_tests

CONFIDENCE = 0.95


# ---- worlds


@dataclass(frozen=True)
class Make:
    """How a strategy scores: score = (distance + slope of the group) x class + offset of the group + noise of the image.

    The distance is set so that a defective image of one group beats a sound one of another with chance ``auc``.
    """

    auc: float
    offset: float  # variance of a group's offset
    slope: float  # variance of a group's slope: strategies tell defects from soundness better in some groups than in others
    noise: float  # variance of an image's noise
    shared_by_groups: float  # share of offset and slope that all strategies have in common
    shared_by_images: float  # share of the noise that they have in common


@dataclass(frozen=True)
class World:
    """Groups of images, their sizes, how labels cluster, and the strategies; the first of them is the reference."""

    name: str
    makes: tuple[Make, ...]
    groups: int = 44
    smallest: int = 40
    largest: int = 70
    prevalence: float = 0.3
    icc: float = 0.3  # share of the variance of what makes an image defective that lies between groups


@dataclass(frozen=True)
class Sample:
    labels: Int[np.ndarray, " N"]
    group: Int[np.ndarray, " N"]
    scores: Float64[np.ndarray, "S N"]


PLAIN = Make(0.82, 0.3, 0.1, 0.7, 0.7, 0.6)
UNEVEN = Make(0.82, 0.6, 0.25, 0.4, 0.5, 0.5)
STEADY = Make(0.82, 0.1, 0.05, 0.9, 0.3, 0.3)
HIGH = Make(0.95, 0.3, 0.1, 0.7, 0.7, 0.6)
UNLIKE = (UNEVEN, PLAIN, STEADY, UNEVEN, PLAIN, STEADY)
WORLDS = (
    World("44 groups of 40 to 70", (PLAIN,) * 6),
    World("the same, strategies unlike", UNLIKE),
    World("the same, AUC 0.95", (HIGH,) * 6),
    World("44 groups of 3 to 150, unlike", UNLIKE, smallest=3, largest=150),
    World("12 groups of 40 to 70", (PLAIN,) * 6, groups=12),
    World("12 groups of 40 to 70, unlike", UNLIKE, groups=12),
    World("250 groups of 2 to 8", (PLAIN,) * 6, groups=250, smallest=2, largest=8),
)
"""All strategies of a world have the same AUC: whatever difference is found is false. Unlike ones differ in how groups sway them."""


def draw(world: World, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(world.groups), rng.integers(world.smallest, world.largest + 1, world.groups))
    inclination = sqrt(world.icc) * rng.normal(size=world.groups)[group] + sqrt(1 - world.icc) * rng.normal(size=len(group))
    labels = (inclination > NormalDist().inv_cdf(1 - world.prevalence)).astype(np.int64)
    common = rng.normal(size=(2, world.groups)), rng.normal(size=len(group))
    return Sample(labels, group, np.stack([_scores(make, labels, group, common, rng) for make in world.makes]))


def _scores(
    make: Make, labels: np.ndarray, group: np.ndarray, common: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> Float64[np.ndarray, " N"]:
    of_groups, of_images = common
    offset, slope = _mixed(of_groups, make.shared_by_groups, rng) * np.sqrt([[make.offset], [make.slope]])
    noise = _mixed(of_images, make.shared_by_images, rng) * sqrt(make.noise)
    distance = NormalDist().inv_cdf(make.auc) * sqrt(2 * make.offset + make.slope + 2 * make.noise)
    return (distance + slope[group]) * labels + offset[group] + noise


def _mixed(common: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    return sqrt(share) * common + sqrt(1 - share) * rng.normal(size=common.shape)


# ---- AUC of resampled groups


def pairs_won(
    scores: Float64[np.ndarray, " N"], labels: Int[np.ndarray, " N"], group: Int[np.ndarray, " N"], groups: int
) -> Float64[np.ndarray, "G G"]:
    """How many pairs of a positive of group g (row) and a negative of group h (column) are in the right order, ties by half."""
    order = np.argsort(scores, kind="stable")
    negative = np.zeros((len(scores) + 1, groups))
    negative[1 + np.arange(len(scores)), group[order]] = labels[order] == 0
    below = np.cumsum(negative, axis=0)
    positive = np.flatnonzero(labels == 1)
    sides = [np.searchsorted(scores[order], scores[positive], side=side) for side in ("left", "right")]
    won = np.zeros((groups, groups))
    np.add.at(won, group[positive], (below[sides[0]] + below[sides[1]]) / 2)
    return won


def auc_of_groups(
    scores: Float64[np.ndarray, " N"], labels: Int[np.ndarray, " N"], group: Int[np.ndarray, " N"], groups: int
) -> evidence.Statistic:
    """AUC from weights of groups in place of weights of images."""
    won = pairs_won(scores, labels, group, groups)
    positives, negatives = (np.bincount(group, weights=labels == label, minlength=groups) for label in (1, 0))

    def statistic(weights: Float64[np.ndarray, "B G"]) -> evidence.Replicates:
        compared = (weights @ positives) * (weights @ negatives)
        found = np.einsum("bg,bg->b", weights @ won, weights)
        return {"auc": np.divide(found, compared, out=np.full(len(weights), np.nan), where=compared > 0)}

    return statistic


# ---- intervals, the pipeline's and what else was tried; all on the scale that they are given


@dataclass(frozen=True)
class Estimate:
    """A figure, what it is without each group, and what it is in each bootstrap resample."""

    value: float
    jackknife: Float64[np.ndarray, " J"]
    bootstrap: Float64[np.ndarray, " B"]

    def logit(self) -> "Estimate":
        return Estimate(float(logit(self.value)), logit(self.jackknife), logit(self.bootstrap))

    def minus(self, other: "Estimate") -> "Estimate":
        return Estimate(self.value - other.value, self.jackknife - other.jackknife, self.bootstrap - other.bootstrap)


Limits = tuple[float, float]
TAIL = (1 - CONFIDENCE) / 2


def chosen(found: Estimate) -> Limits:
    limits = evidence.interval(found.value, found.jackknife, CONFIDENCE)
    return limits.lo, limits.hi


def jackknife_t(found: Estimate) -> Limits:
    """As chosen, with G - 1 degrees of freedom throughout."""
    return _student(found.value, evidence.jackknife_error(found.jackknife).se, len(found.jackknife))


def bootstrap_t(found: Estimate) -> Limits:
    groups = len(found.jackknife)
    return _student(found.value, float(found.bootstrap.std(ddof=1)) * sqrt(groups / (groups - 1)), groups)


def _student(value: float, se: float, groups: int) -> Limits:
    reach = float(stdtrit(groups - 1, 1 - TAIL)) * se
    return value - reach, value + reach


def percentile(found: Estimate) -> Limits:
    lo, hi = np.quantile(found.bootstrap, [TAIL, 1 - TAIL])
    return float(lo), float(hi)


def bca(found: Estimate) -> Limits:
    """Bias-corrected and accelerated percentiles (Efron 1987, J. Am. Stat. Assoc. 82)."""
    below = ((found.bootstrap < found.value).mean() + (found.bootstrap <= found.value).mean()) / 2
    deviation = found.jackknife.mean() - found.jackknife
    acceleration = (deviation**3).sum() / (6 * (deviation**2).sum() ** 1.5)
    bias = ndtri(np.clip(below, 1e-4, 1 - 1e-4))
    shifted = bias + ndtri(np.array([TAIL, 1 - TAIL]))
    lo, hi = np.quantile(found.bootstrap, ndtr(bias + shifted / (1 - acceleration * shifted)))
    return float(lo), float(hi)


METHODS = {
    "jackknife t (chosen)": chosen,
    "jackknife t, G − 1": jackknife_t,
    "bootstrap t, G − 1": bootstrap_t,
    "percentiles": percentile,
    "BCa": bca,
}


# ---- one simulation


@dataclass(frozen=True)
class Outcome:
    """Whether each method's interval covers the truth, and whether each test finds a difference in a family where there is none."""

    auc: dict[str, bool]
    difference: dict[str, bool]
    family: dict[str, bool]


def simulate(world: World, resamples: int, seed: int) -> Outcome:
    """The AUC of the reference, its difference to the second strategy, and the family of all strategies against the reference."""
    sample = draw(world, seed)
    names = [f"g{g:04d}" for g in range(world.groups)]
    statistics = [auc_of_groups(scores, sample.labels, sample.group, world.groups) for scores in sample.scores]
    values = [float(statistic(np.ones((1, world.groups)))["auc"][0]) for statistic in statistics]
    without = [found["auc"] for found in evidence.jackknife(statistics, names, seed)]
    drawn = np.stack([found["auc"] for found in evidence.bootstrap(statistics, names, resamples, seed)])
    drawn = drawn[:, ~np.isnan(drawn).any(axis=0)]
    estimates = [Estimate(*parts) for parts in zip(values, without, drawn, strict=True)]
    reference, *others = estimates
    truth = float(logit(world.makes[0].auc))
    return Outcome(
        auc={name: _covers(method(reference.logit()), truth) for name, method in METHODS.items()},
        difference={name: _covers(method(others[0].minus(reference)), 0.0) for name, method in METHODS.items()},
        family={
            name: bool((evidence.holm(p) <= 1 - CONFIDENCE).any()) for name, p in tests(sample, estimates, names, resamples, seed).items()
        },
    )


def _covers(limits: Limits, truth: float) -> bool:
    return limits[0] <= truth <= limits[1]


def tests(
    sample: Sample, estimates: Sequence[Estimate], names: list[str], resamples: int, seed: int
) -> dict[str, Float64[np.ndarray, " C"]]:
    """p of each contrast with the first strategy, by each test."""
    reference, *others = estimates
    series = [(one.value, reference.value, one.jackknife, reference.jackknife) for one in others]
    swaps = [_permuted(sample, k, names, resamples, seed) for k in range(1, len(estimates))]
    student = np.array([evidence.contrast(*parts, CONFIDENCE).p for parts in series])
    permutation = np.array(
        [paired_tests.permutation_p(one.value - reference.value, swapped) for one, swapped in zip(others, swaps, strict=True)]
    )
    return {
        "both (p_holm)": np.maximum(student, permutation),
        "t": student,
        "permutation (p_permutation_holm)": permutation,
        "percentiles": np.array([_percentile_p(one.minus(reference).bootstrap) for one in others]),
    }


def _permuted(sample: Sample, k: int, names: list[str], resamples: int, seed: int) -> Float64[np.ndarray, " B"]:
    """Differences of AUC when the k-th strategy and the first swap groups. A group of each strategy is a group of a doubled sample."""
    ranks = np.concatenate([paired_tests.midranks(sample.scores[which]) for which in (k, 0)])
    group = np.concatenate([sample.group, sample.group + len(names)])
    statistic = auc_of_groups(ranks, np.tile(sample.labels, 2), group, 2 * len(names))
    return paired_tests.permuted(statistic, names, resamples, seed)["auc"]


def _percentile_p(differences: Float64[np.ndarray, " B"]) -> float:
    beyond = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return min(1.0, 2 * (beyond + 1) / (len(differences) + 1))


# ---- tables


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--simulations", type=int, default=2000, help="of each world")
    asked.add_argument("--resamples", type=int, default=500, help="of groups, and permutations")
    asked.add_argument("--seed", type=int, default=0)
    dials = asked.parse_args()
    with ProcessPoolExecutor() as pool:
        found = {}
        for world in WORLDS:
            seeds = range(dials.seed, dials.seed + dials.simulations)
            found[world.name] = list(pool.map(partial(simulate, world, dials.resamples), seeds, chunksize=25))
    print(f"{dials.simulations:,} simulations of each world, {dials.resamples} resamples of groups; % (Monte-Carlo standard error)\n")
    print(table("coverage of AUC", {name: [outcome.auc for outcome in outcomes] for name, outcomes in found.items()}))
    print(table("coverage of a difference", {name: [outcome.difference for outcome in outcomes] for name, outcomes in found.items()}))
    print(table("a false difference among five", {name: [outcome.family for outcome in outcomes] for name, outcomes in found.items()}))


def table(title: str, found: Mapping[str, Sequence[Mapping[str, bool]]]) -> str:
    """Markdown: a row for each world, a column for each method."""
    methods = list(next(iter(found.values()))[0])
    lines = [f"| {title} | {' | '.join(methods)} |", f"| :-- |{' --: |' * len(methods)}"]
    for name, outcomes in found.items():
        lines.append(f"| {name} | {' | '.join(share([outcome[method] for outcome in outcomes]) for method in methods)} |")
    return "\n".join(lines) + "\n"


def share(true: Sequence[bool]) -> str:
    """``95.2 (0.5)``: percent, and its standard error."""
    rate = float(np.mean(true))
    return f"{100 * rate:.1f} ({100 * sqrt(rate * (1 - rate) / len(true)):.1f})"


if __name__ == "__main__":
    main()
