"""ROC and PR AUC of thousands of resamples of whole groups: scores are sorted once, not in every resample.

All images of a group weigh the same, so what a resample holds above a score is a count of each group times the weight of the group. The
counts are made once, between one score of a positive and the next; each is one of N images, so that their matrix (scores, groups) is
sparse however many groups there are. Beyond it a resample costs one pass over the scores of the positives.

The figures are those of `thaw.metrics.areas`, to the rounding of sums.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy.sparse import csr_array

BLOCK = 2**16  # figures of (score, resample) held at once: 0.5 MB, of which a cache holds a few
WIDE = 64  # resamples from which adding row to row is quicker than numpy's cumsum along the first axis


@dataclass(frozen=True)
class Levels:
    """Some neighbouring levels of a `Ranking`, and how many images of each of G groups belong to them."""

    positives: csr_array  # (L, G): at the level
    negatives: csr_array  # (L, G): at the level, or above it and below the level before
    shared: Int[np.ndarray, " T"]  # the levels that hold negatives too
    tied: csr_array  # (T, G): those negatives


@dataclass(frozen=True)
class Ranking:
    """Positives against the rest, in G groups, by score; a level is a distinct score of positives, the best comes first."""

    levels: Sequence[Levels]
    kinds: csr_array  # (2, G): all negatives, all positives


def ranking(
    scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"], group: Int[np.ndarray, " N"], groups: int, at_once: int
) -> Ranking:
    """``group``: number of each image's group, below ``groups``. ``at_once``: about how many resamples will come together."""
    score = np.unique(-scores[positive])
    place = np.searchsorted(score, -scores)  # len(score): below all positives, so that a negative is above none
    passed = ~positive & (place < len(score))
    tied = passed.copy()
    tied[passed] = score[place[passed]] == -scores[passed]
    counts = [_counts(place[rows], group[rows], (len(score), groups)) for rows in (positive, passed, tied)]
    step = max(1, BLOCK // at_once)
    parts = [_levels(*(count[start : start + step] for count in counts)) for start in range(0, len(score), step)]
    return Ranking(parts, _counts(positive.astype(np.int64), group, (2, groups)))


def _counts(level: Int[np.ndarray, " n"], group: Int[np.ndarray, " n"], size: tuple[int, int]) -> csr_array:
    return csr_array((np.ones(len(level)), (level, group)), shape=size)  # of equal places the sum


def _levels(positives: csr_array, negatives: csr_array, tied: csr_array) -> Levels:
    shared = np.flatnonzero(np.diff(tied.indptr))
    return Levels(positives, negatives, shared, tied[shared])


def roc_auc(ranking: Ranking, weights: Float64[np.ndarray, "G B"]) -> Float64[np.ndarray, " B"]:
    """The weight of pairs (positive, negative) in the right order, ties by half; nan without positives or negatives."""
    lost, negatives = np.zeros((2, weights.shape[1]))
    for levels, here in _positives(ranking, weights):
        negatives = _add_lost(lost, levels, here, weights, negatives)[-1]
    return _roc(ranking, weights, lost)


def both_areas(ranking: Ranking, weights: Float64[np.ndarray, "G B"]) -> tuple[Float64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
    """`roc_auc`, and average precision: the sum over levels of (rise in recall) x (precision there); nan without positives."""
    lost, gained, positives, negatives = np.zeros((4, weights.shape[1]))
    for levels, here in _positives(ranking, weights):
        hits, alarms = _passed(here.copy(), positives), _add_lost(lost, levels, here, weights, negatives)
        positives, negatives = hits[-1], alarms[-1]
        share = hits / np.maximum(hits + alarms, np.finfo(np.float64).tiny)  # 0 / 0 where a resample has come by nothing yet
        gained += np.einsum("lb,lb->b", here, share)
    return _roc(ranking, weights, lost), ratio(gained, positives)


def _positives(ranking: Ranking, weights: Float64[np.ndarray, "G B"]) -> Iterator[tuple[Levels, Float64[np.ndarray, "L B"]]]:
    for levels in ranking.levels:
        yield levels, levels.positives @ weights


def _add_lost(
    lost: Float64[np.ndarray, " B"],
    levels: Levels,
    here: Float64[np.ndarray, "L B"],
    weights: Float64[np.ndarray, "G B"],
    before: Float64[np.ndarray, " B"],
) -> Float64[np.ndarray, "L B"]:
    """Adds the pairs in the wrong order, ties by half; returns the weight of the negatives at each level and above."""
    alarms = _passed(levels.negatives @ weights, before)
    lost += np.einsum("lb,lb->b", here, alarms)
    if len(levels.shared):
        lost -= np.einsum("lb,lb->b", here[levels.shared], levels.tied @ weights) / 2
    return alarms


def _passed(here: Float64[np.ndarray, "L B"], before: Float64[np.ndarray, " B"]) -> Float64[np.ndarray, "L B"]:
    """Sums of the first rows, on top of what was before them; in place."""
    here[0] += before
    if here.shape[1] < WIDE:
        return np.cumsum(here, axis=0, out=here)
    for above, row in pairwise(here):
        row += above
    return here


def _roc(ranking: Ranking, weights: Float64[np.ndarray, "G B"], lost: Float64[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
    negatives, positives = ranking.kinds @ weights
    return 1 - ratio(lost, positives * negatives)


def ratio(above: Float64[np.ndarray, " B"], below: Float64[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
    """nan where there is nothing below the line."""
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
