"""All scalar figures of a sample, or of thousands of resamples at once, under their names."""

import numpy as np
from jaxtyping import Float, Float64, Int

from thaw import metrics

SCALARS = (
    "roc_auc",
    "pr_auc",
    "balanced_accuracy",
    "accuracy",
    "weighted_accuracy",
    "f1_macro",
    "precision_macro",
    "recall_macro",
    "log_loss",
    "brier",
)
"""The names of the scalar figures, in the order in which they are shown."""
LOWER_IS_BETTER = frozenset({"log_loss", "brier"})


def figures(
    labels: Int[np.ndarray, " N"],
    probabilities: Float[np.ndarray, "N K"],
    predicted: Int[np.ndarray, " N"],
    weights: Float64[np.ndarray, "B N"],
    confidence: Float64[np.ndarray, " N"] | None,
) -> dict[str, Float64[np.ndarray, " B"]]:
    """Every figure of `SCALARS`, in that order; ``weighted_accuracy`` only where ``confidence`` (in the labels) is given."""
    classes = probabilities.shape[1]
    matrix = metrics.confusion(labels, predicted, classes, weights)
    roc, pr = metrics.areas(labels, probabilities, weights)
    values = {
        "roc_auc": roc,
        "pr_auc": pr,
        "balanced_accuracy": metrics.balanced_accuracy(matrix),
        "accuracy": metrics.accuracy(matrix),
        "f1_macro": metrics.macro(metrics.f1(matrix), matrix),
        "precision_macro": metrics.macro(metrics.precision(matrix), matrix),
        "recall_macro": metrics.macro(metrics.recall(matrix), matrix),
        "log_loss": metrics.weighted_mean(metrics.log_losses(labels, probabilities), weights),
        "brier": metrics.weighted_mean(metrics.brier_losses(labels, probabilities), weights),
    }
    if confidence is not None:
        values["weighted_accuracy"] = metrics.accuracy(metrics.confusion(labels, predicted, classes, weights * confidence))
    return {name: values[name] for name in SCALARS if name in values}
