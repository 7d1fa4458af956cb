"""Probabilities, labels and weights -> figures, for one sample or for thousands of resamples at once.

Every figure takes weights of shape (B, N), one row per (re)sample, and returns (B,). The plain figure of N images is the case of
one row of ones (`equal_weights`); a bootstrap of groups is the case of counts. No figure loops over B, only over classes; callers
with many rows pass them in parts, a call needs about six times the memory of its weights.

Conventions: of two classes the second is the positive one; a ratio with nothing below the line is 0 in precision, recall and F1
(scikit-learn's ``zero_division=0``), and a figure that is not defined at all is nan (an AUC with one class, anything with weight 0).
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

Criterion = Literal["balanced_accuracy", "f1"]


def probabilities_of(logits: Float[np.ndarray, "N K"]) -> Float64[np.ndarray, "N K"]:
    """Softmax in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    return powers / powers.sum(axis=1, keepdims=True)


def equal_weights(n: int) -> Float64[np.ndarray, "1 N"]:
    return np.ones((1, n))


# ---- decisions


def decide(probabilities: Float[np.ndarray, "N K"], threshold: float | None) -> Int[np.ndarray, " N"]:
    """Predicted class: of two classes the second where its probability is >= ``threshold``; without a threshold the likeliest class.

    Raises `ValueError` for a threshold beyond two classes.
    """
    if threshold is None:
        return probabilities.argmax(axis=1)
    if probabilities.shape[1] != 2:
        raise ValueError(f"a threshold decides between two classes, not {probabilities.shape[1]}")
    return (probabilities[:, 1] >= threshold).astype(np.int64)


def choose_threshold(prob_positive: Float[np.ndarray, " N"], labels: Int[np.ndarray, " N"], criterion: Criterion) -> float:
    """The threshold on the probability of class 1 that maximises balanced accuracy, or the F1 of class 1.

    Candidates are the midpoints between neighbouring distinct scores, and one at either end (all positive, none positive).
    Among equally good ones the nearest to 0.5, then the lower one. 0.5 where a class is missing: nothing to choose by.
    """
    positive = labels == 1
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if positives == 0 or negatives == 0:
        return 0.5
    scores, place = np.unique(prob_positive.astype(np.float64), return_inverse=True)
    hits = positives - _cumulative(np.bincount(place, weights=positive, minlength=len(scores)))  # (M + 1,) at each candidate
    alarms = negatives - _cumulative(np.bincount(place, weights=~positive, minlength=len(scores)))
    if criterion == "balanced_accuracy":  # times 2 * positives * negatives: whole numbers, so that ties are exact
        quality = hits * negatives + (negatives - alarms) * positives
    else:
        quality = 2 * hits / (hits + alarms + positives)
    cuts = _cuts_between(scores)
    best = cuts[quality == quality.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])


def _cumulative(counts: Float64[np.ndarray, " M"]) -> Float64[np.ndarray, " M+1"]:
    return np.concatenate([[0.0], np.cumsum(counts)])


def _cuts_between(scores: Float64[np.ndarray, " M"]) -> Float64[np.ndarray, " M+1"]:
    """Cut j is above score j - 1 and at most score j, also where the two are neighbouring floats and have no midpoint."""
    lower = np.concatenate([[0.0], scores])
    upper = np.concatenate([scores, [np.nextafter(1.0, 2.0)]])
    middle = lower + (upper - lower) / 2
    return np.where(middle > lower, middle, upper)


# ---- figures of decisions


def confusion(
    labels: Int[np.ndarray, " N"], predicted: Int[np.ndarray, " N"], classes: int, weights: Float64[np.ndarray, "B N"]
) -> Float64[np.ndarray, "B K K"]:
    """Weight of each (true class, predicted class)."""
    matrix = np.zeros((len(weights), classes, classes))
    columns = np.eye(classes)
    for k in range(classes):
        rows = labels == k
        matrix[:, k, :] = weights[:, rows] @ columns[predicted[rows]]
    return matrix


def accuracy(matrix: Float64[np.ndarray, "B K K"]) -> Float64[np.ndarray, " B"]:
    """Share of the weight on the diagonal. Confidence-weighted accuracy is this with the confidences multiplied into the weights."""
    return _ratio(np.trace(matrix, axis1=1, axis2=2), matrix.sum(axis=(1, 2)), np.nan)


def balanced_accuracy(matrix: Float64[np.ndarray, "B K K"]) -> Float64[np.ndarray, " B"]:
    """Mean recall over the classes that occur."""
    return _mean_of_defined(_ratio(_hits(matrix), matrix.sum(axis=2), np.nan))


def precision(matrix: Float64[np.ndarray, "B K K"]) -> Float64[np.ndarray, "B K"]:
    return _ratio(_hits(matrix), matrix.sum(axis=1), 0.0)


def recall(matrix: Float64[np.ndarray, "B K K"]) -> Float64[np.ndarray, "B K"]:
    return _ratio(_hits(matrix), matrix.sum(axis=2), 0.0)


def f1(matrix: Float64[np.ndarray, "B K K"]) -> Float64[np.ndarray, "B K"]:
    return _ratio(2 * _hits(matrix), matrix.sum(axis=1) + matrix.sum(axis=2), 0.0)


def macro(per_class: Float64[np.ndarray, "B K"], matrix: Float64[np.ndarray, "B K K"]) -> Float64[np.ndarray, " B"]:
    """Mean over all K classes, also over those that a sample lacks; nan where the whole sample weighs nothing."""
    return np.where(matrix.sum(axis=(1, 2)) > 0, per_class.mean(axis=1), np.nan)


def _hits(matrix: Float64[np.ndarray, "B K K"]) -> Float64[np.ndarray, "B K"]:
    return np.diagonal(matrix, axis1=1, axis2=2)


def _ratio(above: Float64[np.ndarray, "*S"], below: Float64[np.ndarray, "*S"], empty: float) -> Float64[np.ndarray, "*S"]:
    return np.divide(above, below, out=np.full(below.shape, empty), where=below > 0)


def _mean_of_defined(values: Float64[np.ndarray, "B K"]) -> Float64[np.ndarray, " B"]:
    """Row means without the nan entries; nan for a row of nothing else."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64), np.nan)


# ---- figures of the order of scores


def roc_and_pr_auc(
    scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"], weights: Float64[np.ndarray, "B N"]
) -> tuple[Float64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
    """Areas under the ROC curve and the precision-recall curve of ``positive`` against the rest.

    ROC: the weight of pairs (positive, negative) in the right order, ties count one half. PR: average precision, the sum over
    distinct scores of (rise in recall) x (precision there), without interpolation. nan where there is no positive, or, for ROC,
    no negative weight.
    """
    order = np.argsort(-scores, kind="stable")
    hit = np.flatnonzero(positive[order])  # places of the positives, best score first
    start, end = _ties(scores[order])
    weight = weights[:, order]
    passed = np.zeros((len(weights), len(order) + 1))  # weight of the first j images ...
    np.cumsum(weight, axis=1, out=passed[:, 1:])
    weight = weight[:, hit]
    passed_positive = np.zeros((len(weights), len(hit) + 1))  # ... and of the first j positives
    np.cumsum(weight, axis=1, out=passed_positive[:, 1:])
    all_here, positive_here = passed[:, end[hit]], passed_positive[:, np.searchsorted(hit, end[hit])]
    all_before, positive_before = passed[:, start[hit]], passed_positive[:, np.searchsorted(hit, start[hit])]
    negative_above = (all_here - positive_here + all_before - positive_before) / 2  # tied negatives by half
    positives, negatives = weights @ positive.astype(np.float64), weights @ (~positive).astype(np.float64)
    lost = (weight * negative_above).sum(axis=1)
    gained = (weight * positive_here / np.maximum(all_here, np.finfo(np.float64).tiny)).sum(axis=1)
    return 1 - _ratio(lost, positives * negatives, np.nan), _ratio(gained, positives, np.nan)


def _ties(ordered: Float[np.ndarray, " N"]) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """First place, and first place after, of the block of equal values that each place belongs to."""
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.zeros(0, np.int64)
    lengths = np.diff(np.concatenate([first, [len(ordered)]]))
    return np.repeat(first, lengths), np.repeat(first + lengths, lengths)


def areas(
    labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N K"], weights: Float64[np.ndarray, "B N"]
) -> tuple[Float64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
    """ROC AUC and PR AUC: of class 1 where K = 2, else the mean of one class against the rest, over the classes where it is defined."""
    wanted = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    each = [roc_and_pr_auc(probabilities[:, k], labels == k, weights) for k in wanted]
    roc, pr = (np.stack(area, axis=1) for area in zip(*each, strict=True))
    return _mean_of_defined(roc), _mean_of_defined(pr)


def roc_curve(
    scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"]
) -> tuple[Float64[np.ndarray, " M"], Float64[np.ndarray, " M"]]:
    """False and true positive rates at each distinct score, from (0, 0) to (1, 1). Needs both kinds."""
    hits, alarms = _caught(scores, positive)
    return alarms / alarms[-1], hits / hits[-1]


def pr_curve(
    scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"]
) -> tuple[Float64[np.ndarray, " M"], Float64[np.ndarray, " M"]]:
    """Recall and precision at each distinct score, from recall 0 (where precision is set to 1) to recall 1. Needs a positive."""
    hits, alarms = _caught(scores, positive)
    return hits / hits[-1], _ratio(hits, hits + alarms, 1.0)


def _caught(
    scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"]
) -> tuple[Float64[np.ndarray, " M"], Float64[np.ndarray, " M"]]:
    """Positives and negatives at or above each distinct score, highest first, after a leading 0."""
    levels, place = np.unique(-scores, return_inverse=True)
    hits = np.bincount(place, weights=positive, minlength=len(levels))
    alarms = np.bincount(place, weights=~positive, minlength=len(levels))
    return _cumulative(hits), _cumulative(alarms)


# ---- figures of probabilities


def weighted_mean(values: Float64[np.ndarray, " N"], weights: Float64[np.ndarray, "B N"]) -> Float64[np.ndarray, " B"]:
    return _ratio(weights @ values, weights.sum(axis=1), np.nan)


def log_losses(labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N K"]) -> Float64[np.ndarray, " N"]:
    """-log p(true class) of each image, p clipped to [eps, 1 - eps] with the eps of the dtype, as scikit-learn does."""
    eps = np.finfo(probabilities.dtype).eps
    true = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    return -np.log(np.clip(true, eps, 1 - eps)).astype(np.float64)


def brier_losses(labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N K"]) -> Float64[np.ndarray, " N"]:
    """Squared error of each image: (y - p)^2 of class 1 where K = 2, in [0, 1]; else summed over all K classes, in [0, 2].

    The same as scikit-learn's `brier_score_loss` with its default ``scale_by_half="auto"``.
    """
    truth = np.eye(probabilities.shape[1])[labels]
    if probabilities.shape[1] == 2:
        return (truth[:, 1] - probabilities[:, 1]) ** 2
    return ((truth - probabilities) ** 2).sum(axis=1)


# ---- for choosing


def validation_figures(logits: Float[np.ndarray, "N K"], labels: Int[np.ndarray, " N"]) -> dict[str, float]:
    """``auc``, ``log_loss`` and ``accuracy`` (of the likeliest class) of finite logits, for choosing on validation.

    A validation part can lack a class: beyond two classes the AUC is then that of the others; nan where none is defined.
    """
    probabilities = probabilities_of(logits)
    weights = equal_weights(len(labels))
    return {
        "auc": float(areas(labels, probabilities, weights)[0][0]),
        "log_loss": float(weighted_mean(log_losses(labels, probabilities), weights)[0]),
        "accuracy": float(np.mean(decide(probabilities, None) == labels)),
    }
