"""All figures of resamples of whole groups, for thousands of them: what is the same in every resample is computed once.

`thaw.scoring.figures` takes weights of images and sums over images. Here weights are those of groups: what is a sum over images is first
summed within each group, and scores are sorted once (`thaw.areas`). The figures are the same but for the rounding of sums.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.sparse import csr_array

from thaw import areas, calibration, evidence, metrics, scoring

TOGETHER = 1024  # resamples at once: more leave the cache, fewer spend their time in calls


@dataclass(frozen=True)
class Said:
    """What was said of N samples, and what it is judged by. Scores order the samples for the AUCs, those of a fold within the fold."""

    labels: Int[np.ndarray, " N"]
    probabilities: Float64[np.ndarray, "N K"]
    predicted: Int[np.ndarray, " N"]
    scores: Float64[np.ndarray, "N K"]
    fold: Int[np.ndarray, " N"]
    fold_scores: Float64[np.ndarray, "N K"]
    group: Int[np.ndarray, " N"]  # numbered from 0, none without a sample
    confidence: Float64[np.ndarray, " N"] | None  # in the labels


def statistic(said: Said, ordered: bool) -> evidence.Statistic:
    """Figures (B,) from weights (B, G) of the groups: those of `thaw.scoring.figures`, and ``roc_auc_within``.

    ``ordered``: classes are steps of one quantity.
    """
    classes, sums = said.probabilities.shape[1], _sums_by_group(said)
    pooled = _rankings(said, said.scores, np.ones(len(said.labels), dtype=bool))
    folds = [_rankings(said, said.fold_scores, said.fold == number) for number in np.unique(said.fold)]

    def figures(weights: Float64[np.ndarray, "b G"]) -> evidence.Replicates:
        by_group = np.ascontiguousarray(weights.T)
        matrix, means, weighted_accuracy = _split(sums @ by_group, classes)
        roc, pr = zip(*(areas.both_areas(ranking, by_group) for ranking in pooled), strict=True)
        within = [_mean_of_defined(np.stack([areas.roc_auc(ranking, by_group) for ranking in fold])) for fold in folds]
        both = _mean_of_defined(np.stack(roc)), _mean_of_defined(np.stack(pr))
        found = scoring.named(matrix, both, means, None if said.confidence is None else weighted_accuracy, ordered)
        return {**found, "roc_auc_within": np.mean(within, axis=0)}

    def in_parts(weights: Float64[np.ndarray, "B G"]) -> evidence.Replicates:
        return evidence.evaluated([figures], (weights[start : start + TOGETHER] for start in range(0, len(weights), TOGETHER)))[0]

    return in_parts


def _rankings(said: Said, scores: Float64[np.ndarray, "N K"], rows: Bool[np.ndarray, " N"]) -> list[areas.Ranking]:
    """Of the samples in ``rows``: of two classes the second against the first, else each against the rest."""
    groups = int(said.group.max()) + 1
    at_once = min(TOGETHER, evidence.at_once(groups))
    wanted = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    return [areas.ranking(scores[rows, k], said.labels[rows] == k, said.group[rows], groups, at_once) for k in wanted]


def _mean_of_defined(each: Float64[np.ndarray, "C B"]) -> Float64[np.ndarray, " B"]:
    """Means over the classes for which an area is defined; nan where it is for none."""
    defined = ~np.isnan(each)
    return areas.ratio(np.where(defined, each, 0.0).sum(axis=0), defined.sum(axis=0).astype(np.float64))


# ---- sums over images


def _sums_by_group(said: Said) -> csr_array:
    """(F, G): what is added up, in each group; the F rows are those that `_split` reads."""
    parts = list(_summands(said))
    starts = np.cumsum([0, *(size for size, _, _ in parts)])
    row = np.concatenate([start + place for start, (_, place, _) in zip(starts[:-1], parts, strict=True)])
    values = np.concatenate([values for _, _, values in parts])
    return csr_array((values, (row, np.tile(said.group, len(parts)))), shape=(starts[-1], int(said.group.max()) + 1))


Summand = tuple[int, Int[np.ndarray, " N"], Float64[np.ndarray, " N"]]
"""Number of rows, the row that each image adds to, and how much."""


def _summands(said: Said) -> Iterator[Summand]:
    """The cells of the confusion matrix, the excess in each bin of calibration, and five sums of their own."""
    labels, p, n = said.labels, said.probabilities, len(said.labels)
    first, one, confidence = np.zeros(n, dtype=np.int64), np.ones(n), np.ones(n) if said.confidence is None else said.confidence
    yield p.shape[1] ** 2, labels * p.shape[1] + said.predicted, one
    probability, true = calibration.said(labels, p)
    yield calibration.BINS, calibration.bin_of(probability), probability - true
    losses, squares, right = metrics.log_losses(labels, p), metrics.brier_losses(labels, p), said.predicted == labels
    for values in (losses, squares, one, confidence * right, confidence):
        yield 1, first, values


def _split(
    sums: Float64[np.ndarray, "F B"], classes: int
) -> tuple[Float64[np.ndarray, "B K K"], dict[str, Float64[np.ndarray, " B"]], Float64[np.ndarray, " B"]]:
    """Confusion matrices, means over images and confidence-weighted accuracy from sums of the rows of `_summands`."""
    cells, gaps, (losses, squares, total, right, confidence) = np.split(sums, [classes**2, classes**2 + calibration.BINS])
    below = {"log_loss": losses, "brier": squares, "ece": np.abs(gaps).sum(axis=0)}
    matrix = np.ascontiguousarray(cells.T).reshape(-1, classes, classes)
    return matrix, {name: areas.ratio(above, total) for name, above in below.items()}, areas.ratio(right, confidence)
