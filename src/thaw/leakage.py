"""The leak audit: what a split lets through from training to test."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from thaw.errors import InputError
from thaw.folding import make_splits
from thaw.index import Dataset, labels_of
from thaw.metrics import validation_figures
from thaw.position import position_logits
from thaw.splits import TEST, TRAIN, VAL, rows_of

NEIGHBOURS = 15


def audit(index: pd.DataFrame, dataset: Dataset, splits: pd.DataFrame, method: str, validation: float, seed: int) -> dict[str, Any]:
    """Findings for reports/leakage.json, with ``words`` for people."""
    labels, groups = labels_of(index, dataset.classes), index["group"].to_numpy()
    n_folds = len(np.unique(splits["fold"].to_numpy()))
    ids = index["id"].tolist()

    def position_auc(kind: str) -> float | None:
        try:
            other = splits if kind == method else make_splits(labels, groups, ids, kind, n_folds, validation, seed)
        except InputError:  # the data cannot fill the split that was not chosen: there is nothing to compare with
            return None
        return position_only_auc(labels, other["fold"].to_numpy())

    stratified = position_auc("stratified")
    grouped = position_auc("grouped") if dataset.grouped else None
    found = {
        "method": method,
        "images": len(index),
        "groups": len(np.unique(groups)),
        "group_name": dataset.group_name,
        "groups_torn": torn_groups(groups, splits),
        "exact_duplicates": exact_duplicates(index, splits["fold"].to_numpy()),
        "metadata_auc": {
            "this_split": position_only_auc(labels, splits["fold"].to_numpy()),
            "stratified": stratified,
            "grouped": grouped,
        },
        "folds": [_describe_fold(index, dataset, splits, fold) for fold in range(n_folds)],
    }
    return found | {"words": in_words(found, dataset.grouped)}


def torn_groups(groups: np.ndarray, splits: pd.DataFrame) -> int:
    """How many groups have images in more than one role of the same fold."""
    roles = splits[[column for column in splits if str(column).startswith("role_")]].to_numpy()
    members = (roles[groups == group] for group in np.unique(groups))
    return sum(bool((own != own[0]).any()) for own in members)


def exact_duplicates(index: pd.DataFrame, fold: Int[np.ndarray, " N"]) -> dict[str, int]:
    """Pairs of byte-equal files: all, those tested in different folds, those with different labels."""
    pairs = across = conflicting = 0
    table = index[["sha256", "label"]].assign(fold=fold)
    for _, same in table[table.duplicated("sha256", keep=False)].groupby("sha256"):
        n = len(same)
        pairs += n * (n - 1) // 2
        across += _unequal_pairs(same["fold"].tolist())
        conflicting += _unequal_pairs(same["label"].tolist())
    return {"pairs": pairs, "across_folds": across, "conflicting_labels": conflicting}


def position_only_auc(labels: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]) -> float | None:
    """Pooled out-of-fold AUC of k-NN on the row number alone, no pixels: far from 0.5 means that the file's order gives labels away."""
    logits = np.empty((len(labels), int(labels.max()) + 1), dtype=np.float32)
    position = np.arange(len(labels), dtype=np.float64)
    for k in np.unique(fold):
        test = fold == k
        logits[test] = position_logits(position[~test], labels[~test], position[test], NEIGHBOURS, logits.shape[1])
    auc = validation_figures(logits, labels)["auc"]
    return None if np.isnan(auc) else round(auc, 4)


def in_words(found: dict[str, Any], grouped: bool) -> list[str]:
    """One plain sentence for each finding, worst news included."""
    auc, name = found["metadata_auc"], found["group_name"]
    duplicates = found["exact_duplicates"]
    words = []
    if grouped:
        torn = found["groups_torn"]
        words.append(
            f"No {name} is torn: each of the {found['groups']} is wholly in training, validation or test of a fold."
            if torn == 0
            else f"{torn} of {found['groups']} groups ({name}) are torn between training, validation and test: "
            "results will look better than they are."
        )
    else:
        words.append(
            "The data names no groups, so images of one origin may lie on both sides of the split, "
            "and intervals treat images as independent."
        )
    words.append(
        "No two files are byte-equal."
        if duplicates["pairs"] == 0
        else f"{duplicates['pairs']} pairs of files are byte-equal, {duplicates['across_folds']} of them in different folds, "
        f"{duplicates['conflicting_labels']} with different labels."
    )
    if auc["this_split"] is not None:
        words.append(
            f"A predictor that sees only the position in the file, no pixels, reaches an AUC of {auc['this_split']:.2f} under this split"
            + (
                f" ({_told(auc['stratified'])} under plain stratified folds, {_told(auc['grouped'])} under grouped ones)."
                if grouped
                else "."
            )
        )
        leaks = auc["this_split"] > 0.65
        words.append(
            "That is far above chance: the order of the file gives labels away, and part of every result here is that leak."
            if leaks
            else "That is near chance: the order of the file does not help under this split."
        )
    return words


def _told(auc: float | None) -> str:
    return "not defined" if auc is None else f"{auc:.2f}"


def _unequal_pairs(values: list[object]) -> int:
    return sum(a != b for a, b in combinations(values, 2))


def _describe_fold(index: pd.DataFrame, dataset: Dataset, splits: pd.DataFrame, fold: int) -> dict[str, Any]:
    test = index.iloc[rows_of(splits, fold, TEST)]
    return {
        "fold": fold,
        "images": len(test),
        "groups": int(test["group"].nunique()),
        "classes": {name: int((test["label"] == name).sum()) for name in dataset.classes},
        "training_images": len(rows_of(splits, fold, TRAIN)),
        "validation_images": len(rows_of(splits, fold, VAL)),
    }
