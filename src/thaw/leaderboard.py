"""From out-of-fold predictions to the tables of the answer: figures with intervals, contrasts with one reference, curves.

Every number is rounded to ten significant digits before it is compared or written: sums may differ in the last bits from one
processor to another, tables and winners should not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64, Int

from thaw import evidence, metrics, scoring

LEADERBOARD = ["backbone", "strategy", "kind", "control", "metric", "value", "lo", "hi", "n", "groups"]
CONTRASTS = ["backbone", "strategy", "reference_backbone", "reference", "metric", "diff", "lo", "hi", "p", "p_holm", "mde", "n"]
CURVES = ["backbone", "strategy", "curve", "class", "x", "y"]
CURVE_POINTS = 200
FIGURES = ("roc_auc", "roc_auc_within", *(name for name in scoring.SCALARS if name != "roc_auc"))
"""Scalar figures of pooled folds, in the order in which they are shown."""

Replicates = Mapping[str, Float64[np.ndarray, " B"]]


@dataclass(frozen=True)
class Images:
    """What is known of the N images that were tested, in the order of the index."""

    labels: Int[np.ndarray, " N"]
    fold: Int[np.ndarray, " N"]  # where each is tested
    groups: list[str]
    confidence: Float64[np.ndarray, " N"] | None  # in the label; None where all are equally sure
    classes: list[str]


@dataclass(frozen=True)
class FoldPredictions:
    """Logits of one run, by row of the index."""

    val_rows: Int[np.ndarray, " V"]
    val_logits: Float[np.ndarray, "V K"]
    test_rows: Int[np.ndarray, " T"]
    test_logits: Float[np.ndarray, "T K"]


@dataclass(frozen=True)
class Candidate:
    """One strategy on one backbone: its prediction for every image, by the model of the fold that tests the image."""

    backbone: str
    strategy: str
    kind: str  # "head" | "finetune"
    control: bool
    probabilities: Float64[np.ndarray, "N K"]
    predicted: Int[np.ndarray, " N"]
    thresholds: list[float] | None  # per fold; None beyond two classes

    @property
    def name(self) -> str:
        return f"{self.backbone}/{self.strategy}"

    def figures(self, weights: Float64[np.ndarray, "B n"], images: Images, rows: np.ndarray | slice) -> dict[str, np.ndarray]:
        """Scalar figures (B,) of the ``n`` images in ``rows``."""
        confidence = None if images.confidence is None else images.confidence[rows]
        return scoring.figures(images.labels[rows], self.probabilities[rows], self.predicted[rows], weights, confidence)

    def pooled_figures(self, weights: Float64[np.ndarray, "B N"], images: Images) -> dict[str, np.ndarray]:
        """`figures` of all images, and ``roc_auc_within``: the mean over folds of the AUC among the images of one fold.

        Pooled AUC also compares images that different models scored, so that offsets between the folds' models count as errors.
        """
        found = self.figures(weights, images, slice(None))
        parts = [images.fold == fold for fold in np.unique(images.fold)]
        within = [metrics.areas(images.labels[rows], self.probabilities[rows], weights[:, rows])[0] for rows in parts]
        found["roc_auc_within"] = np.mean(within, axis=0)
        return {name: found[name] for name in FIGURES if name in found}

    def identity(self) -> dict[str, str]:
        return {"backbone": self.backbone, "strategy": self.strategy}


@dataclass(frozen=True)
class Scored:
    """A candidate with its pooled figures, and the same figures in every resample."""

    candidate: Candidate
    pooled: dict[str, float]
    replicates: Replicates


def pool(
    folds: Sequence[FoldPredictions], images: Images, criterion: metrics.Criterion
) -> tuple[Float64[np.ndarray, "N K"], Int[np.ndarray, " N"], list[float] | None]:
    """Probabilities (N, K), predicted classes (N,) and the threshold of each fold, chosen on that fold's validation images.

    Together the folds must test every image exactly once; `ValueError` if not.
    """
    tested = np.concatenate([fold.test_rows for fold in folds])
    if not np.array_equal(np.sort(tested), np.arange(len(images.labels))):
        raise ValueError("the folds do not test every image exactly once")
    probabilities = np.empty((len(images.labels), len(images.classes)))
    predicted = np.empty(len(images.labels), dtype=np.int64)
    thresholds = [_threshold(fold, images, criterion) for fold in folds]
    for fold, threshold in zip(folds, thresholds, strict=True):
        probabilities[fold.test_rows] = metrics.probabilities_of(fold.test_logits)
        predicted[fold.test_rows] = metrics.decide(probabilities[fold.test_rows], threshold)
    return probabilities, predicted, [t for t in thresholds if t is not None] or None


def _threshold(fold: FoldPredictions, images: Images, criterion: metrics.Criterion) -> float | None:
    if len(images.classes) != 2:
        return None
    return metrics.choose_threshold(metrics.probabilities_of(fold.val_logits)[:, 1], images.labels[fold.val_rows], criterion)


def score(candidates: Sequence[Candidate], images: Images, resamples: int, seed: int) -> list[Scored]:
    """Pooled figures and their replicates; all candidates see the same resamples of groups."""
    statistics = [partial(candidate.pooled_figures, images=images) for candidate in candidates]
    replicates = evidence.bootstrap(statistics, images.groups, resamples, seed)
    everything = metrics.equal_weights(len(images.labels))
    pooled = [{name: float(value[0]) for name, value in statistic(everything).items()} for statistic in statistics]
    return [Scored(*parts) for parts in zip(candidates, pooled, replicates, strict=True)]


def rank(scored: Sequence[Scored], primary: str) -> list[Scored]:
    """Best first by the pooled primary figure; equals keep their order, undefined ones come last."""
    sign = 1 if primary in scoring.LOWER_IS_BETTER else -1

    def key(entry: Scored) -> tuple[bool, float]:
        value = entry.pooled[primary]
        return bool(np.isnan(value)), sign * _round(value) if not np.isnan(value) else 0.0

    return sorted(scored, key=key)


def leaderboard(ranked: Sequence[Scored], images: Images, confidence: float) -> pd.DataFrame:
    """One row per (candidate, figure), in the order given."""
    n, groups = len(images.labels), len(set(images.groups))
    rows = []
    for entry in ranked:
        who = entry.candidate
        for metric, value in entry.pooled.items():
            limits = evidence.interval(entry.replicates[metric], confidence)
            rows.append((who.backbone, who.strategy, who.kind, who.control, metric, value, limits.lo, limits.hi, n, groups))
    return pd.DataFrame(rows, columns=LEADERBOARD)


def contrasts(ranked: Sequence[Scored], reference: Scored, confidence: float) -> pd.DataFrame:
    """Every candidate that is neither a control nor the reference, minus the reference; a family of Holm's is one metric."""
    rows = []
    n = len(reference.candidate.predicted)
    for entry in (e for e in ranked if not e.candidate.control and e is not reference):
        names = (entry.candidate.backbone, entry.candidate.strategy, reference.candidate.backbone, reference.candidate.strategy)
        for metric, value in entry.pooled.items():
            found = evidence.contrast(value, reference.pooled[metric], entry.replicates[metric], reference.replicates[metric], confidence)
            rows.append((*names, metric, found.diff, found.lo, found.hi, found.p, np.nan, found.mde, n))
    table = pd.DataFrame(rows, columns=CONTRASTS)
    for metric in table["metric"].unique():
        family = table["metric"] == metric
        table.loc[family, "p_holm"] = evidence.holm(table.loc[family, "p"].to_numpy(dtype=np.float64))
    return table


def curves(ranked: Sequence[Scored], images: Images) -> pd.DataFrame:
    """ROC (x false, y true positive rate) and precision-recall (x recall, y precision) of the pooled predictions, controls left out.

    Of two classes the second only, else each against the rest; a class that no image or every image has has no curve.
    """
    wanted = [1] if len(images.classes) == 2 else list(range(len(images.classes)))
    parts = []
    for who in (e.candidate for e in ranked if not e.candidate.control):
        for k in wanted:
            positive = images.labels == k
            if 0 < positive.sum() < len(positive):
                for kind, points in (("roc", metrics.roc_curve), ("pr", metrics.pr_curve)):
                    x, y = thin(*points(who.probabilities[:, k], positive))
                    same = {"backbone": who.backbone, "strategy": who.strategy, "curve": kind, "class": images.classes[k]}
                    parts.append(pd.DataFrame({**same, "x": x, "y": y}, columns=CURVES))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=CURVES)


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


def figures_by_candidate(ranked: Sequence[Scored], images: Images) -> dict[str, Any]:
    """The parts "pooled" and "folds" of metrics.json."""
    return {
        "pooled": {e.candidate.name: _json(e.pooled) | _pooled_details(e.candidate, images) for e in ranked},
        "folds": {e.candidate.name: _per_fold(e.candidate, images) for e in ranked},
    }


def podium(ranked: Sequence[Scored], reference: Scored) -> dict[str, dict[str, str] | None]:
    """Reference, and the two best of those that are no controls."""
    best = [e.candidate.identity() for e in ranked if not e.candidate.control]
    return {"reference": reference.candidate.identity(), "winner": best[0], "runner_up": best[1] if len(best) > 1 else None}


def _pooled_details(who: Candidate, images: Images) -> dict[str, Any]:
    matrix = metrics.confusion(images.labels, who.predicted, len(images.classes), metrics.equal_weights(len(images.labels)))
    shares = {"precision": metrics.precision(matrix)[0], "recall": metrics.recall(matrix)[0], "f1": metrics.f1(matrix)[0]}
    counts = matrix[0].astype(int)
    per_class = {
        name: {**_json({key: values[k] for key, values in shares.items()}), "support": int(counts[k].sum())}
        for k, name in enumerate(images.classes)
    }
    thresholds = None if who.thresholds is None else [_round(t) for t in who.thresholds]
    return {"per_class": per_class, "confusion": counts.tolist(), "thresholds": thresholds}


def _per_fold(who: Candidate, images: Images) -> dict[str, dict[str, float | None]]:
    result = {}
    for fold in np.unique(images.fold):
        rows = np.flatnonzero(images.fold == fold)
        found = who.figures(metrics.equal_weights(len(rows)), images=images, rows=rows)
        result[str(fold)] = _json({name: float(value[0]) for name, value in found.items()})
    return result


def remarks(ranked: Sequence[Scored], compared: pd.DataFrame, resamples: int, confidence: float) -> list[str]:
    """What a reader should know about the resamples of the table of contrasts; one sentence each, [] where there is nothing."""
    undefined = {m: max(int(np.isnan(e.replicates[m]).sum()) for e in ranked) for m in ranked[0].pooled}
    said = [f"{m} is undefined in {k} of {resamples} resamples, which its intervals leave out" for m, k in undefined.items() if k]
    family = int(compared["metric"].value_counts().max()) if len(compared) else 0
    least = evidence.smallest_p(resamples, family)
    if least > 1 - confidence:
        said.append(
            f"evaluate.bootstrap: {resamples} resamples cannot bring p_holm of {family} contrasts below {least:.2g}; "
            f"use {int(np.ceil(2 * family / (1 - confidence)))} or more"
        )
    return said


def _json(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else _round(value) for name, value in values.items()}


def _round(value: float) -> float:
    return float(f"{value:.10g}")
