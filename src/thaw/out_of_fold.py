"""Predictions for images that the predictor has not seen, over the folds of a split, and the AUC that they reach together."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from thaw.evidence import Statistic, contrast, interval, jackknife
from thaw.metrics import areas, equal_weights, probabilities_of
from thaw.sides import Folds

Predict = Callable[[Int[np.ndarray, " n"], Int[np.ndarray, " m"]], Float[np.ndarray, "m K"]]
"""Rows to learn from, rows asked -> logits."""


@dataclass(frozen=True)
class OutOfFold:
    """Predictions for the rows that the folds test; a row stands as often as it is tested."""

    rows: Int[np.ndarray, " M"]
    probabilities: Float64[np.ndarray, "M K"]

    def auc(self, labels: Int[np.ndarray, " N"]) -> Statistic:
        """Macro one-vs-rest area of all predictions together, for weights of the N images."""

        def statistic(weights: Float64[np.ndarray, "B N"]) -> dict[str, Float64[np.ndarray, " B"]]:
            return {"auc": areas(labels[self.rows], self.probabilities, weights[:, self.rows])[0]}

        return statistic


def out_of_fold(folds: Folds, predict: Predict) -> OutOfFold:
    asked = [(tested, predict(seen, tested)) for seen, tested in folds]
    logits = np.concatenate([logits for _, logits in asked])
    return OutOfFold(np.concatenate([tested for tested, _ in asked]), probabilities_of(logits))


def auc_with_interval(
    found: OutOfFold, labels: Int[np.ndarray, " N"], groups: np.ndarray, seed: int, confidence: float
) -> dict[str, float | None]:
    """``auc``, ``lo``, ``hi``: interval over groups, cut off at 0 and 1. None where undefined.

    On the scale of the AUC itself: it is to be told from 0.5, and near 1 the logarithm of the odds makes one group's one error endless.
    """
    rows, place = np.unique(found.rows, return_inverse=True)  # only images that are tested say how sure it is
    labels, groups = labels[rows], groups[rows]
    statistic = OutOfFold(place, found.probabilities).auc(labels)
    value = plain(statistic, len(labels))
    limits = interval(value, jackknife([statistic], groups.tolist(), seed)[0]["auc"], confidence)
    lo, hi = np.clip([limits.lo, limits.hi], 0, 1)
    return {"auc": rounded(value), "lo": rounded(float(lo)), "hi": rounded(float(hi))}


def auc_gap(
    first: OutOfFold, second: OutOfFold, labels: Int[np.ndarray, " N"], groups: np.ndarray, seed: int, confidence: float
) -> dict[str, float | None]:
    """First minus second in points (1/100), on the same images, with its interval over groups."""
    statistics = [first.auc(labels), second.auc(labels)]
    values = [plain(statistic, len(labels)) for statistic in statistics]
    replicates = [without["auc"] for without in jackknife(statistics, groups.tolist(), seed)]
    found = contrast(values[0], values[1], replicates[0], replicates[1], confidence)
    return {"points": rounded(100 * found.diff, 2), "lo": rounded(100 * found.lo, 2), "hi": rounded(100 * found.hi, 2)}


def plain(statistic: Statistic, n: int) -> float:
    return float(statistic(equal_weights(n))["auc"][0])


def rounded(value: float, digits: int = 4) -> float | None:
    return None if np.isnan(value) else round(value, digits)
