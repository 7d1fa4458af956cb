"""All scalar figures of a sample, or of thousands of resamples at once, under their names."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float64, Int

from thaw import metrics
from thaw.calibration import expected_calibration_error
from thaw.measures import MEASURES

SCALARS = (
    "roc_auc",
    "pr_auc",
    "balanced_accuracy",
    "accuracy",
    "weighted_accuracy",
    "f1_macro",
    "precision_macro",
    "recall_macro",
    "f1_weighted",
    "precision_weighted",
    "recall_weighted",
    "log_loss",
    "brier",
    "ece",
)
"""The names of the scalar figures, in the order in which they are shown; where classes are ordered, "quadratic_kappa" follows."""
LOWER_IS_BETTER = frozenset(name for name, measure in MEASURES.items() if not measure.higher_is_better)
ORDERED = (("p0", "p33", "p67", "p100"),)
"""Classes that are steps of one quantity, from low to high: ELPV's four defect probabilities."""


def ordered(classes: Sequence[str]) -> bool:
    """Whether the classes, in the order of their labels, are steps of one quantity."""
    return tuple(classes) in ORDERED


def figures(
    labels: Int[np.ndarray, " N"],
    probabilities: Float[np.ndarray, "N K"],
    predicted: Int[np.ndarray, " N"],
    weights: Float64[np.ndarray, "B N"],
    confidence: Float64[np.ndarray, " N"] | None,
    ordered: bool = False,
    scores: Float[np.ndarray, "N K"] | None = None,
) -> dict[str, Float64[np.ndarray, " B"]]:
    """Every figure of `SCALARS`, in that order; ``weighted_accuracy`` only where ``confidence`` (in the labels) is given.

    ``ordered``: ``quadratic_kappa`` too. ``scores`` order the images for the AUCs in place of the probabilities.
    """
    classes = probabilities.shape[1]
    matrix = metrics.confusion(labels, predicted, classes, weights)
    areas = metrics.areas(labels, probabilities if scores is None else scores, weights)
    means = {
        "log_loss": metrics.weighted_mean(metrics.log_losses(labels, probabilities), weights),
        "brier": metrics.weighted_mean(metrics.brier_losses(labels, probabilities), weights),
        "ece": expected_calibration_error(labels, probabilities, weights),
    }
    weighted = None if confidence is None else metrics.accuracy(metrics.confusion(labels, predicted, classes, weights * confidence))
    return named(matrix, areas, means, weighted, ordered)


def named(
    matrix: Float64[np.ndarray, "B K K"],
    areas: tuple[Float64[np.ndarray, " B"], Float64[np.ndarray, " B"]],
    means: Mapping[str, Float64[np.ndarray, " B"]],
    weighted_accuracy: Float64[np.ndarray, " B"] | None,
    ordered: bool,
) -> dict[str, Float64[np.ndarray, " B"]]:
    """`figures`, from what they are made of: confusion matrices, ROC and PR AUC, and the means over images."""
    precision, recall, f1 = metrics.precision(matrix), metrics.recall(matrix), metrics.f1(matrix)
    values = {
        "roc_auc": areas[0],
        "pr_auc": areas[1],
        "balanced_accuracy": metrics.balanced_accuracy(matrix),
        "accuracy": metrics.accuracy(matrix),
        "f1_macro": metrics.macro(f1, matrix),
        "precision_macro": metrics.macro(precision, matrix),
        "recall_macro": metrics.macro(recall, matrix),
        "f1_weighted": by_support(f1, matrix),
        "precision_weighted": by_support(precision, matrix),
        "recall_weighted": by_support(recall, matrix),
        **means,
    }
    if weighted_accuracy is not None:
        values["weighted_accuracy"] = weighted_accuracy
    if ordered:
        values["quadratic_kappa"] = quadratic_kappa(matrix)
    return {name: values[name] for name in (*SCALARS, "quadratic_kappa") if name in values}


def by_support(per_class: Float64[np.ndarray, "B K"], matrix: Float64[np.ndarray, "B K K"]) -> Float64[np.ndarray, " B"]:
    """Mean over the classes, each weighing as much as its images; nan where the whole sample weighs nothing."""
    support = matrix.sum(axis=2)
    return _ratio((per_class * support).sum(axis=1), support.sum(axis=1))


def quadratic_kappa(matrix: Float64[np.ndarray, "B K K"]) -> Float64[np.ndarray, " B"]:
    """Agreement of ordered classes beyond chance, in [-1, 1]: 1 - (observed / expected mean squared distance) (Cohen 1968).

    nan where chance alone would be right throughout, or where the sample weighs nothing.
    """
    steps = np.arange(matrix.shape[1], dtype=np.float64)
    distance = (steps[:, None] - steps) ** 2
    observed = (matrix * distance).sum(axis=(1, 2))
    chance = np.einsum("bi,ij,bj->b", matrix.sum(axis=2), distance, matrix.sum(axis=1))
    return 1 - _ratio(observed * matrix.sum(axis=(1, 2)), chance)


def _ratio(above: Float64[np.ndarray, " B"], below: Float64[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)


def undefined_classes(labels: Int[np.ndarray, " N"], classes: Sequence[str]) -> list[str]:
    """Classes whose ROC AUC against the rest is undefined, since all of the images or none are of them: the mean leaves them out.

    Of two classes the second alone is asked about, as in `thaw.metrics.areas`.
    """
    wanted = [1] if len(classes) == 2 else range(len(classes))
    return [classes[k] for k in wanted if not 0 < np.count_nonzero(labels == k) < len(labels)]
