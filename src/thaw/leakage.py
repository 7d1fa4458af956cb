"""The leak audit: what a split lets through from training to test."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int, Int8

from thaw.appearance import Appearance
from thaw.duplicates import NearIdentical, count_equal, joined_groups, near_identical, worst_first
from thaw.errors import InputError
from thaw.folding import make_splits
from thaw.index import Dataset, labels_of
from thaw.metadata import by_position, metadata_aucs
from thaw.out_of_fold import auc_gap, out_of_fold, plain, rounded
from thaw.separability import by_probe, group_recognition
from thaw.sides import Folds, crosses, folds_of, roles_of, sides
from thaw.splits import INSIDE, TEST, TRAIN, VAL, rows_of
from thaw.verdict import in_words, verdict

CONFIDENCE = 0.95
GIVEN_FOLDS = 4
"""Folds of other kinds of split that one which the data come with is compared with."""
LISTED = 24
"""Near-identical pairs that are named."""


@dataclass(frozen=True)
class Seen:
    """What the audit looks at beside the index, row by row."""

    appearance: Appearance
    file_size: Int[np.ndarray, " N"]  # bytes
    features: Float32[np.ndarray, "N D"]  # of a frozen backbone


@dataclass(frozen=True)
class Cut:
    """How the data was split."""

    splits: pd.DataFrame
    method: str  # grouped | stratified | leave_domain_out | given
    validation: float
    seed: int

    @property
    def n_folds(self) -> int:
        return roles_of(self.splits).shape[1]


def audit(index: pd.DataFrame, dataset: Dataset, cut: Cut, seen: Seen, C: float, metric: str) -> dict[str, Any]:
    """Findings for reports/leakage.json, with ``words`` and a ``verdict`` for people. ``C``, ``metric``: of the probe (`thaw.heads`)."""
    labels, groups, side = labels_of(index, dataset.classes), index["group"].to_numpy(), sides(cut.splits)
    folds = folds_of(cut.splits)
    others = {kind: other_folds(kind, index, labels, cut) for kind in ("stratified", "grouped")}
    if not dataset.grouped:
        others["grouped"] = None
    found = {
        "method": cut.method,
        "images": len(index),
        "groups": len(np.unique(groups)),
        "group_name": dataset.group_name,
        "groups_torn": torn_groups(groups, cut.splits),
        "exact_duplicates": count_equal(index["sha256"].tolist(), side, labels)
        | {"same_pixels": count_equal(seen.appearance.pixels, side, labels)},
        "near_duplicates": near_duplicates(index, dataset, labels, side, near_identical(seen.appearance.thumbnails, seen.features)),
        "metadata_auc": {"this_split": position_auc(labels, folds)}
        | {kind: None if other is None else position_auc(labels, other) for kind, other in others.items()},
        "metadata": metadata_aucs(columns_of(index, seen), labels, folds, groups, cut.seed),
        "sorted_by_class": sorted_by_class(labels),
        "separability": group_recognition(seen.features, groups, cut.seed) if dataset.grouped else None,
        "split_gap": split_gap(seen.features, labels, groups, folds, others, C, metric, cut.seed),
        "folds": [describe_fold(index, dataset, cut.splits, fold) for fold in range(cut.n_folds)],
    }
    return found | {"words": in_words(found, dataset.grouped), "verdict": verdict(found)}


def other_folds(kind: str, index: pd.DataFrame, labels: Int[np.ndarray, " N"], cut: Cut) -> Folds | None:
    """The folds of this split where it is of that kind, else those of one that is; None where the data cannot fill it."""
    if kind == cut.method:
        return folds_of(cut.splits)
    n_folds = GIVEN_FOLDS if cut.method == "given" else cut.n_folds
    try:
        return folds_of(make_splits(labels, index["group"].to_numpy(), index["id"].tolist(), kind, n_folds, cut.validation, cut.seed))
    except InputError:
        return None


# ---- groups and copies


def torn_groups(groups: np.ndarray, splits: pd.DataFrame) -> int:
    """How many groups have images in more than one role of the same fold."""
    first = pd.DataFrame(roles_of(splits)).groupby(groups).transform("first").to_numpy()
    return len(np.unique(groups[(roles_of(splits) != first).any(axis=1)]))


def near_duplicates(
    index: pd.DataFrame, dataset: Dataset, labels: Int[np.ndarray, " N"], side: Int8[np.ndarray, "N F"], found: NearIdentical
) -> dict[str, Any]:
    """Counts of near-identical pairs (equal ones among them), the worst of them by name, and which groups they join."""
    pairs, groups, ids = found.pairs, index["group"].to_numpy(), index["id"].tolist()
    across = crosses(side[pairs.first], side[pairs.second])
    same_group, same_label = groups[pairs.first] == groups[pairs.second], labels[pairs.first] == labels[pairs.second]
    return {
        "hash_threshold": found.hash_threshold,
        "cosine_threshold": round(found.cosine_threshold, 4),
        "pairs": len(across),
        "across_folds": int(across.sum()),
        "images_across_folds": len(np.unique(np.concatenate([pairs.first[across], pairs.second[across]]))),
        "conflicting_labels": int((~same_label).sum()),
        "joined_groups": joined_groups(pairs, groups) if dataset.grouped else [],
        "listed": [
            {
                "a": ids[pairs.first[row]],
                "b": ids[pairs.second[row]],
                "hash_distance": int(pairs.distance[row]),
                "cosine": round(float(pairs.cosine[row]), 4),
                "across_folds": bool(across[row]),
                "same_group": bool(same_group[row]),
                "same_label": bool(same_label[row]),
            }
            for row in worst_first(pairs, across, same_group)[:LISTED]
        ],
    }


# ---- what else gives labels away


def columns_of(index: pd.DataFrame, seen: Seen) -> dict[str, np.ndarray]:
    """What is known of each image without looking at what it shows."""
    return {
        "file_size": np.log(np.maximum(seen.file_size, 1))[:, None],
        "dimensions": index[["width", "height", "channels"]].to_numpy(dtype=np.float64),
        "brightness": np.column_stack([seen.appearance.brightness, seen.appearance.contrast]),
    }


def sorted_by_class(labels: Int[np.ndarray, " N"]) -> bool:
    """One run of rows for each class: then the position gives labels away whatever the images are."""
    return int((np.diff(labels) != 0).sum()) + 1 == len(np.unique(labels))


def position_auc(labels: Int[np.ndarray, " N"], folds: Folds) -> float | None:
    """Pooled out-of-fold AUC of k-NN on the row number alone, no pixels: far from 0.5 means that the file's order gives labels away."""
    return rounded(plain(out_of_fold(folds, by_position(labels)).auc(labels), len(labels)))


def split_gap(
    features: Float32[np.ndarray, "N D"],
    labels: Int[np.ndarray, " N"],
    groups: np.ndarray,
    this: Folds,
    others: dict[str, Folds | None],
    C: float,
    metric: str,
    seed: int,
) -> dict[str, float | None] | None:
    """AUC of a probe under random, under grouped folds and under this split; the first minus the second in points, with its 95 % interval.

    None where there are no groups, or where the data cannot fill one of the two.
    """
    stratified, grouped = others["stratified"], others["grouped"]
    if stratified is None or grouped is None:
        return None
    probe = by_probe(features, labels, C, metric)
    first, second = out_of_fold(stratified, probe), out_of_fold(grouped, probe)
    known = [(stratified, first), (grouped, second)]
    own = next((found for folds, found in known if _equal(folds, this)), None) or out_of_fold(this, probe)
    reached = {
        name: rounded(plain(found.auc(labels), len(labels)))
        for name, found in (("stratified", first), ("grouped", second), ("this_split", own))
    }
    return reached | auc_gap(first, second, labels, groups, seed, CONFIDENCE)


def _equal(first: Folds, second: Folds) -> bool:
    pairs = zip(first, second, strict=True) if len(first) == len(second) else None
    return pairs is not None and all(np.array_equal(a, b) for pair in pairs for a, b in zip(*pair, strict=True))


def describe_fold(index: pd.DataFrame, dataset: Dataset, splits: pd.DataFrame, fold: int) -> dict[str, Any]:
    test = index.iloc[rows_of(splits, fold, TEST)]
    inside = len(rows_of(splits, fold, INSIDE))
    return {
        "fold": fold,
        "images": len(test),
        "groups": int(test["group"].nunique()),
        "classes": {name: int((test["label"] == name).sum()) for name in dataset.classes},
        "training_images": len(rows_of(splits, fold, TRAIN)),
        "validation_images": len(rows_of(splits, fold, VAL)),
    } | ({"inside_images": inside} if inside else {})
