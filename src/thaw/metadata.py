"""What a predictor reaches that sees no picture, only what surrounds it: its place in the file, its size, its dimensions, its light.

Out of fold, over the folds of the split. Far from 0.5 means that something else than what is shown gives labels away.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

from thaw.out_of_fold import Predict, auc_with_interval, out_of_fold
from thaw.position import position_logits
from thaw.sides import Folds

NEIGHBOURS = 15
FOREST: dict[str, Any] = {"n_estimators": 25, "min_samples_leaf": 10, "class_weight": "balanced_subsample", "random_state": 0}
"""Classes weigh the same, so that a column which says nothing gives every image of every fold the same score."""
CONFIDENCE = 0.99
"""Of the intervals: five predictors are judged, and data that says nothing should pass all of them."""
MOST = 5000  # images for each tree
POSITION, TOGETHER = "position", "together"


def metadata_aucs(
    columns: Mapping[str, Float64[np.ndarray, "N c"]], labels: Int[np.ndarray, " N"], folds: Folds, groups: np.ndarray, seed: int
) -> dict[str, dict[str, float | None]]:
    """Of the position in the file, of each of ``columns`` alone, and of all of them together."""
    position = np.arange(len(labels), dtype=np.float64)
    everything = np.column_stack([position, *columns.values()])
    predictors = {POSITION: by_position(labels)}
    predictors |= {name: by_forest(X, labels) for name, X in columns.items()}
    predictors[TOGETHER] = by_forest(everything, labels)
    return {name: auc_with_interval(out_of_fold(folds, predict), labels, groups, seed, CONFIDENCE) for name, predict in predictors.items()}


def by_position(labels: Int[np.ndarray, " N"]) -> Predict:
    """k-NN on the row number."""
    position, classes = np.arange(len(labels), dtype=np.float64), int(labels.max()) + 1

    def predict(seen: np.ndarray, asked: np.ndarray) -> np.ndarray:
        return position_logits(position[seen], labels[seen], position[asked], NEIGHBOURS, classes)

    return predict


def by_forest(X: Float64[np.ndarray, "N c"], labels: Int[np.ndarray, " N"]) -> Predict:
    """Random forest (Breiman 2001)."""
    from sklearn.ensemble import RandomForestClassifier

    classes = int(labels.max()) + 1

    def predict(seen: np.ndarray, asked: np.ndarray) -> np.ndarray:
        model: Any = RandomForestClassifier(max_samples=min(len(seen), MOST), **FOREST).fit(X[seen], labels[seen])
        shares = np.full((len(asked), classes), 1e-9)
        shares[:, np.asarray(model.classes_)] += model.predict_proba(X[asked])
        return np.round(np.log(shares), 6)  # rounding errors would order the folds

    return predict
