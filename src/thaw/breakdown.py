"""Each candidate in detail: curves, reliability of its probabilities, what every threshold would give, and group by group. No controls."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from thaw import calibration, metrics
from thaw.leaderboard import Candidate, Scored
from thaw.samples import Images

CURVES = ["backbone", "strategy", "curve", "class", "x", "y"]
RELIABILITY = ["backbone", "strategy", "stage", "bin", "lower", "upper", "confidence", "share", "n"]
OPERATING = ["backbone", "strategy", "threshold", "precision", "recall", "specificity", "f1", "balanced_accuracy"]
GROUPS = ["backbone", "strategy", "group", "domain", "n", "positives", "accuracy", "log_loss"]
CURVE_POINTS = 200
THRESHOLDS = np.linspace(0.0, 1.0, 101)


def curves(ranked: Sequence[Scored], images: Images) -> pd.DataFrame:
    """ROC (x false, y true positive rate) and precision-recall (x recall, y precision) of the pooled predictions.

    Of two classes the second only, else each against the rest; a class that no image or every image has has no curve.
    """
    wanted = [1] if len(images.classes) == 2 else list(range(len(images.classes)))
    parts = []
    for who in _candidates(ranked):
        for k in wanted:
            positive = images.labels == k
            if 0 < positive.sum() < len(positive):
                for kind, points in (("roc", metrics.roc_curve), ("pr", metrics.pr_curve)):
                    x, y = thin(*points(who.probabilities[:, k], positive))
                    parts.append(pd.DataFrame({**who.identity(), "curve": kind, "class": images.classes[k], "x": x, "y": y}))
    return _stacked(parts, CURVES)


def thin(
    x: Float64[np.ndarray, " M"], y: Float64[np.ndarray, " M"], points: int = CURVE_POINTS
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """At most ``points`` of the curve's own points, about evenly along its length, both ends among them."""
    if len(x) <= points:
        return x, y
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    keep = np.unique(np.searchsorted(along, np.linspace(0.0, along[-1], points)))
    keep[-1] = len(x) - 1
    return x[keep], y[keep]


def reliability(ranked: Sequence[Scored], images: Images) -> pd.DataFrame:
    """What is said against what comes true, bin by bin, of the probabilities as they are ("raw") and at their temperatures ("scaled")."""
    parts = []
    for who in _candidates(ranked):
        for stage, probabilities in (("raw", who.said.probabilities), ("scaled", who.said.scaled)):
            parts.append(calibration.reliability(images.labels, probabilities).assign(**who.identity(), stage=stage))
    return _stacked(parts, RELIABILITY)


def operating(ranked: Sequence[Scored], images: Images) -> pd.DataFrame:
    """What the decision p >= threshold would give, at hundredths of the pooled probability; of two classes only.

    For looking at: the thresholds that were used were chosen on validation images, these are judged on those that they are tested on.
    """
    if len(images.classes) != 2:
        return pd.DataFrame(columns=OPERATING)
    return _stacked([_operating(who, images.labels == 1).assign(**who.identity()) for who in _candidates(ranked)], OPERATING)


def _operating(who: Candidate, positive: Bool[np.ndarray, " S"]) -> pd.DataFrame:
    called = who.probabilities[:, 1] >= THRESHOLDS[:, None]  # (T, S)
    matrix = np.stack([_counts(~called, positive), _counts(called, positive)], axis=2)  # (T, true class, called class)
    recall = metrics.recall(matrix)
    return pd.DataFrame(
        {
            "threshold": THRESHOLDS,
            "precision": metrics.precision(matrix)[:, 1],
            "recall": recall[:, 1],
            "specificity": recall[:, 0],
            "f1": metrics.f1(matrix)[:, 1],
            "balanced_accuracy": metrics.balanced_accuracy(matrix),
        }
    )


def _counts(chosen: Bool[np.ndarray, "T S"], positive: Bool[np.ndarray, " S"]) -> Float64[np.ndarray, "T 2"]:
    """How many negatives and positives are among the chosen."""
    return chosen.astype(np.float64) @ np.stack([~positive, positive], axis=1)


def by_group(ranked: Sequence[Scored], images: Images) -> pd.DataFrame:
    """Accuracy and log loss within each group. ``positives``: images of the second of two classes; nan beyond two."""
    parts = [_by_group(who, images).assign(**who.identity()) for who in _candidates(ranked)]
    return _stacked(parts, GROUPS)


def _by_group(who: Candidate, images: Images) -> pd.DataFrame:
    names, first, group = np.unique(np.asarray(images.groups), return_index=True, return_inverse=True)
    n = np.bincount(group)
    right, losses = who.predicted == images.labels, metrics.log_losses(images.labels, who.probabilities)
    return pd.DataFrame(
        {
            "group": names,
            "domain": np.asarray(images.domains)[first],
            "n": n,
            "positives": np.bincount(group, images.labels == 1) if len(images.classes) == 2 else np.nan,
            "accuracy": np.bincount(group, right) / n,
            "log_loss": np.bincount(group, losses) / n,
        }
    )


def _candidates(ranked: Sequence[Scored]) -> list[Candidate]:
    return [entry.candidate for entry in ranked if not entry.candidate.control]


def _stacked(parts: Sequence[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True).loc[:, columns] if parts else pd.DataFrame(columns=columns)
