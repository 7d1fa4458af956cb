"""Are two strategies alike? A permutation test over groups; and, where every image stands for itself, McNemar's test and DeLong's.

The permutation test swaps the two strategies' predictions for whole groups at random. It is exact where the two are exchangeable, of
the same distribution in every group, which says more than that one figure is equal on the whole.
"""

from collections.abc import Iterator, Sequence
from math import erfc, nan, sqrt

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.special import bdtr

from thaw.evidence import NOISE, Replicates, Statistic, at_once, evaluated, without_noise


def permuted(statistic: Statistic, groups: Sequence[str], permutations: int, seed: int) -> Replicates:
    """Differences between two strategies, first minus second, after swapping whole groups at random: (B,) for each figure.

    ``statistic`` gives figures of 2 N predictions, those of the first strategy and then those of the second, of the same N images:
    a strategy is weight 1 on one of each image's two predictions and 0 on the other. So every figure is swapped exactly.
    ``groups``: the group of each of the N images, numbered by name.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)

    def difference(own: Float64[np.ndarray, "B N"]) -> Replicates:
        first, second = (statistic(np.concatenate(sides, axis=1)) for sides in ((own, 1 - own), (1 - own, own)))
        return {name: without_noise(first[name] - second[name]) for name in first}

    coins = throws(len(names), permutations, seed, at_once(2 * len(group)))
    return evaluated([difference], (own[:, group] for own in coins))[0]


def throws(groups: int, permutations: int, seed: int, at_once: int) -> Iterator[Float64[np.ndarray, "_ G"]]:
    """1 where a group keeps its predictions, 0 where it swaps them, (at_once, G) at a time; ``at_once`` changes no throw."""
    generator = np.random.default_rng(seed)
    for start in range(0, permutations, at_once):
        yield (generator.random((min(at_once, permutations - start), groups)) < 0.5).astype(np.float64)


def permutation_p(diff: float, permuted: Float64[np.ndarray, " B"]) -> float:
    """Share of the permutations, this one among them, with at least so large a difference to either side (Phipson & Smyth 2010).

    nan where the difference is undefined.
    """
    if np.isnan(diff) or np.isnan(permuted).any():
        return nan
    return float((np.count_nonzero(np.abs(permuted) >= abs(diff) - NOISE) + 1) / (len(permuted) + 1))


def smallest_p(permutations: int, groups: int, contrasts: int) -> float:
    """The smallest p that Holm's correction of ``contrasts`` can leave after so many permutations; G groups swap in 2^(G - 1) ways."""
    return min(1.0, contrasts * max(1 / (permutations + 1), 0.5 ** (groups - 1)))


def midranks(values: Float[np.ndarray, "N *K"]) -> Float64[np.ndarray, "N *K"]:
    """Rank of each value within its column, from 1; equals share the mean of theirs."""
    if values.ndim > 1:
        return np.stack([midranks(column) for column in values.T], axis=1)
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right") + 1) / 2


def mcnemar(right: Bool[np.ndarray, " N"], other_right: Bool[np.ndarray, " N"]) -> float:
    """Exact two-sided p that two strategies are equally often right, from the images on which one is and the other is not.

    Binomial, p = 1/2 (McNemar 1947, Psychometrika 12). Assumes independent images; 1 where the two never disagree.
    """
    only, only_other = np.count_nonzero(right & ~other_right), np.count_nonzero(other_right & ~right)
    return min(1.0, 2 * float(bdtr(min(only, only_other), only + only_other, 0.5)))


def delong(scores: Float[np.ndarray, " N"], other: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"]) -> float:
    """Two-sided p that two scores of the same images have the same ROC AUC (DeLong 1988, Biometrics 44; midranks as in Sun & Xu 2014).

    Assumes independent images. nan with fewer than two positives or negatives; 1 where the scores order the images alike.
    """
    if min(np.count_nonzero(positive), np.count_nonzero(~positive)) < 2:
        return nan
    above, below = (a - b for a, b in zip(_placements(scores, positive), _placements(other, positive), strict=True))
    diff, variance = above.mean(), above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
    if abs(diff) < NOISE:
        return 1.0
    return erfc(abs(diff) / sqrt(2 * variance)) if variance > 0 else 0.0


def _placements(
    scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"]
) -> tuple[Float64[np.ndarray, " P"], Float64[np.ndarray, " M"]]:
    """Of each positive the share of negatives below it, and of each negative the share of positives above it; ties count one half."""
    ranks, P, M = midranks(scores), np.count_nonzero(positive), np.count_nonzero(~positive)
    return (ranks[positive] - midranks(scores[positive])) / M, 1 - (ranks[~positive] - midranks(scores[~positive])) / P
