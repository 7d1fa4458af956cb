"""From out-of-fold predictions to the figures of the answer: every candidate's, pooled over the folds, with their intervals, ranked.

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
from thaw.calibration import fit_temperature, tempered
from thaw.measures import measure_of
from thaw.samples import FoldPredictions, Images

LEADERBOARD = ["backbone", "strategy", "kind", "control", "metric", "value", "lo", "hi", "n", "groups"]
FIGURES = ("roc_auc", "roc_auc_within", *(name for name in scoring.SCALARS if name != "roc_auc"), "quadratic_kappa")
"""Scalar figures of pooled folds, in the order in which they are shown."""
CALIBRATION = ("log_loss", "brier", "ece")
"""What is said of probabilities before and after a temperature."""


@dataclass(frozen=True)
class Pooled:
    """What the models of all folds said of S samples, each model of its own."""

    probabilities: Float64[np.ndarray, "S K"]
    predicted: Int[np.ndarray, " S"]
    thresholds: list[float] | None  # per fold; None beyond two classes
    scaled: Float64[np.ndarray, "S K"]  # probabilities at the temperature of the fold
    temperatures: list[float]  # per fold


@dataclass(frozen=True)
class Candidate:
    """One strategy on one backbone: its prediction for every sample, by the model of the sample's fold."""

    backbone: str
    strategy: str
    kind: str  # "head" | "finetune"
    control: bool
    said: Pooled

    @property
    def name(self) -> str:
        return f"{self.backbone}/{self.strategy}"

    @property
    def probabilities(self) -> Float64[np.ndarray, "S K"]:
        return self.said.probabilities

    @property
    def predicted(self) -> Int[np.ndarray, " S"]:
        return self.said.predicted

    def figures(self, weights: Float64[np.ndarray, "B n"], images: Images, rows: np.ndarray | slice) -> dict[str, np.ndarray]:
        """Scalar figures (B,) of the ``n`` samples in ``rows``."""
        confidence = None if images.confidence is None else images.confidence[rows]
        steps = scoring.ordered(images.classes)
        return scoring.figures(images.labels[rows], self.probabilities[rows], self.predicted[rows], weights, confidence, steps)

    def pooled_figures(self, weights: Float64[np.ndarray, "B S"], images: Images) -> dict[str, np.ndarray]:
        """`figures` of all samples, and ``roc_auc_within``, see `within_folds`."""
        found = self.figures(weights, images, slice(None))
        found["roc_auc_within"] = within_folds(images.labels, self.probabilities, images.fold, weights)
        return in_order(found)

    def identity(self) -> dict[str, str]:
        return {"backbone": self.backbone, "strategy": self.strategy}


@dataclass(frozen=True)
class Scored:
    """A candidate with its pooled figures, and what each would be without each block of groups (`thaw.evidence.jackknife`)."""

    candidate: Candidate
    pooled: dict[str, float]
    replicates: Mapping[str, Float64[np.ndarray, " J"]]


def within_folds(
    labels: Int[np.ndarray, " S"], scores: Float[np.ndarray, "S K"], fold: Int[np.ndarray, " S"], weights: Float64[np.ndarray, "B S"]
) -> Float64[np.ndarray, " B"]:
    """The mean over folds of the ROC AUC among the samples of one fold.

    Pooled AUC also compares images that different models scored, so that offsets between the folds' models count as errors.
    """
    parts = [fold == number for number in np.unique(fold)]
    return np.mean([metrics.areas(labels[rows], scores[rows], weights[:, rows])[0] for rows in parts], axis=0)


def in_order(figures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: figures[name] for name in FIGURES if name in figures}


# ---- from predictions to candidates


def pool(folds: Sequence[FoldPredictions], images: Images, criterion: metrics.Criterion) -> Pooled:
    """What the folds' models said of the samples; threshold and temperature are chosen on each fold's own validation images.

    Together the folds must hold a prediction for every sample, and no other; `ValueError` if not.
    """
    places = [_samples_of(fold, images) for fold in folds]
    if not np.array_equal(np.sort(np.concatenate(places)), np.arange(len(images.labels))):
        raise ValueError("the folds do not test every image exactly once")
    thresholds = [_threshold(fold, criterion) for fold in folds]
    temperatures = [fit_temperature(fold.val_logits, fold.val_labels) for fold in folds]
    probabilities, scaled = np.empty((2, len(images.labels), len(images.classes)))
    predicted = np.empty(len(images.labels), dtype=np.int64)
    for fold, place, threshold, temperature in zip(folds, places, thresholds, temperatures, strict=True):
        probabilities[place] = metrics.probabilities_of(fold.logits)
        predicted[place] = metrics.decide(probabilities[place], threshold)
        scaled[place] = tempered(fold.logits, temperature)
    return Pooled(probabilities, predicted, [t for t in thresholds if t is not None] or None, scaled, temperatures)


def _samples_of(fold: FoldPredictions, images: Images) -> Int[np.ndarray, " R"]:
    """The sample that each prediction of a fold belongs to; `ValueError` where there is none."""
    own = np.flatnonzero(images.fold == fold.fold)
    place = pd.Index(images.row[own]).get_indexer(pd.Index(fold.rows))
    if (place < 0).any():
        raise ValueError(f"fold {fold.fold} predicts what is no sample of it: the folds do not test every image exactly once")
    return own[place]


def _threshold(fold: FoldPredictions, criterion: metrics.Criterion) -> float | None:
    probabilities = metrics.probabilities_of(fold.val_logits)
    return metrics.choose_threshold(probabilities[:, 1], fold.val_labels, criterion) if probabilities.shape[1] == 2 else None


# ---- scores


def score(candidates: Sequence[Candidate], images: Images, seed: int) -> list[Scored]:
    """Pooled figures and their replicates; of all candidates without the same groups, so that they may be compared in pairs."""
    statistics = [partial(candidate.pooled_figures, images=images) for candidate in candidates]
    replicates = evidence.jackknife(statistics, images.groups, seed)
    everything = metrics.equal_weights(len(images.labels))
    pooled = [{name: float(value[0]) for name, value in statistic(everything).items()} for statistic in statistics]
    return [Scored(*parts) for parts in zip(candidates, pooled, replicates, strict=True)]


def rank(scored: Sequence[Scored], primary: str) -> list[Scored]:
    """Best first by the pooled primary figure; equals keep their order, undefined ones come last."""
    sign = 1 if primary in scoring.LOWER_IS_BETTER else -1

    def key(entry: Scored) -> tuple[bool, float]:
        value = entry.pooled[primary]
        return bool(np.isnan(value)), sign * rounded(value) if not np.isnan(value) else 0.0

    return sorted(scored, key=key)


def interval(metric: str, value: float, replicates: Float64[np.ndarray, " J"], confidence: float) -> evidence.Interval:
    """Limits of a figure, on the scale where it is about normal."""
    return evidence.interval(value, replicates, confidence, measure_of(metric).link)


# ---- tables


def leaderboard(ranked: Sequence[Scored], images: Images, confidence: float) -> pd.DataFrame:
    """One row per (candidate, figure), in the order given."""
    n, groups = len(images.labels), len(set(images.groups))
    rows = []
    for entry in ranked:
        who = entry.candidate
        for metric, value in entry.pooled.items():
            limits = interval(metric, value, entry.replicates[metric], confidence)
            rows.append((who.backbone, who.strategy, who.kind, who.control, metric, value, limits.lo, limits.hi, n, groups))
    return pd.DataFrame(rows, columns=LEADERBOARD)


def figures_by_candidate(ranked: Sequence[Scored], images: Images) -> dict[str, Any]:
    """The parts "pooled" and "folds" of metrics.json."""
    return {
        "pooled": {e.candidate.name: as_json(e.pooled) | _pooled_details(e.candidate, images) for e in ranked},
        "folds": {e.candidate.name: _per_fold(e.candidate, images) for e in ranked},
    }


def podium(ranked: Sequence[Scored], reference: Scored) -> dict[str, dict[str, str] | None]:
    """Reference, and the two best of those that are no controls."""
    best = [e.candidate.identity() for e in ranked if not e.candidate.control]
    return {"reference": reference.candidate.identity(), "winner": best[0], "runner_up": best[1] if len(best) > 1 else None}


def undefined_classes(images: Images) -> dict[str, Any]:
    """The part "undefined_classes" of metrics.json: what one-vs-rest AUCs leave out, of all folds together and of each."""
    parts = {str(fold): images.labels[images.fold == fold] for fold in np.unique(images.fold)}
    named = {fold: scoring.undefined_classes(labels, images.classes) for fold, labels in parts.items()}
    pooled = scoring.undefined_classes(images.labels, images.classes)
    return {"pooled": _counted(pooled), "folds": {fold: _counted(names) for fold, names in named.items()}}


def _counted(names: list[str]) -> dict[str, Any]:
    return {"count": len(names), "names": names}


def _pooled_details(who: Candidate, images: Images) -> dict[str, Any]:
    matrix = metrics.confusion(images.labels, who.predicted, len(images.classes), metrics.equal_weights(len(images.labels)))
    shares = {"precision": metrics.precision(matrix)[0], "recall": metrics.recall(matrix)[0], "f1": metrics.f1(matrix)[0]}
    counts = matrix[0].astype(int)
    per_class = {
        name: {**as_json({key: values[k] for key, values in shares.items()}), "support": int(counts[k].sum())}
        for k, name in enumerate(images.classes)
    }
    thresholds = None if who.said.thresholds is None else [rounded(t) for t in who.said.thresholds]
    return {"per_class": per_class, "confusion": counts.tolist(), "thresholds": thresholds, "calibration": calibration(who, images)}


def calibration(who: Candidate, images: Images) -> dict[str, Any]:
    """Figures of the probabilities as they are and at the temperatures of their folds."""
    weights = metrics.equal_weights(len(images.labels))
    stages = {"raw": who.said.probabilities, "scaled": who.said.scaled}
    found = {stage: scoring.figures(images.labels, p, who.predicted, weights, None) for stage, p in stages.items()}
    shown = {stage: as_json({name: float(figures[name][0]) for name in CALIBRATION}) for stage, figures in found.items()}
    return {"temperatures": [rounded(t) for t in who.said.temperatures], **shown}


def _per_fold(who: Candidate, images: Images) -> dict[str, dict[str, float | None]]:
    result = {}
    for fold in np.unique(images.fold):
        rows = np.flatnonzero(images.fold == fold)
        found = who.figures(metrics.equal_weights(len(rows)), images=images, rows=rows)
        result[str(fold)] = as_json({name: float(value[0]) for name, value in found.items()})
    return result


def as_json(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else rounded(value) for name, value in values.items()}


def rounded(value: float) -> float:
    return float(f"{value:.10g}")
