"""Labels, groups, seed -> folds. Every image is tested once; what must not be torn never is."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from thaw.errors import InputError
from thaw.files import sha256_of_value, write_with
from thaw.randomness import derive_seed

TRAIN, VAL, TEST = "train", "val", "test"


def make_splits(
    labels: Int[np.ndarray, " N"], groups: np.ndarray, ids: list[str], method: str, n_folds: int, validation: float, seed: int
) -> pd.DataFrame:
    """Table of id, fold (where the row is tested) and ``role_k`` (train, val or test in fold k).

    ``method`` "grouped" keeps groups whole between all three roles; "stratified" looks at labels alone.
    Raises `InputError` where the data cannot fill the folds.
    """
    _check_feasible(labels, groups, method, n_folds)
    fold = _parts(labels, groups, method, n_folds, derive_seed(seed, "folds"))
    table = pd.DataFrame({"id": ids, "fold": fold})
    for k in range(n_folds):
        rest = np.flatnonzero(fold != k)
        n_parts = max(2, min(round(1 / validation), len(np.unique(groups[rest]))))
        part = _parts(labels[rest], groups[rest], method, n_parts, derive_seed(seed, "validation", k))
        role = np.where(fold == k, TEST, TRAIN).astype(object)
        role[rest[part == _most_typical(part, labels[rest], validation)]] = VAL
        table[f"role_{k}"] = role
        if min(len(np.unique(labels[role == part])) for part in (VAL, TEST)) < 2:
            raise InputError(
                f"split: fold {k} has one class only to validate or to test on; "
                "use fewer folds (split.folds), a larger split.validation or another split.seed"
            )
        missing = set(np.unique(labels)) - set(labels[role == TRAIN])
        if missing:
            raise InputError(
                f"split: class number {min(missing)} has no training image in fold {k}; "
                "use fewer folds (split.folds), another split.seed or split.method: stratified"
            )
    return table


def write_splits(table: pd.DataFrame, path: Path) -> None:
    write_with(path, lambda p: table.to_csv(p, index=False, lineterminator="\n"))


def read_splits(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"id": str}, keep_default_na=False)


def rows_of(table: pd.DataFrame, fold: int, role: str) -> Int[np.ndarray, " n"]:
    """Row numbers of one role in one fold. Raises `InputError` for a fold that the split does not have."""
    if f"role_{fold}" not in table:
        raise InputError(f"data/splits.csv: has no fold {fold}; its folds are 0 to {sum(str(c).startswith('role_') for c in table) - 1}")
    return np.flatnonzero((table[f"role_{fold}"] == role).to_numpy())


def fold_sha256(table: pd.DataFrame, fold: int) -> str:
    """Identity of one fold's roles."""
    rows_of(table, fold, TEST)  # says so where there is no such fold
    return sha256_of_value(table[["id", f"role_{fold}"]].values.tolist())


def _parts(labels: np.ndarray, groups: np.ndarray, method: str, n_parts: int, seed: int) -> Int[np.ndarray, " N"]:
    """Part number of every row. Where each row is its own group the plain splitter balances better and is faster."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    alone = method == "stratified" or len(np.unique(groups)) == len(groups)
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(n_parts, shuffle=True, random_state=seed)
    part = np.empty(len(labels), dtype=np.int64)
    for number, (_, held) in enumerate(splitter.split(labels, labels, None if alone else groups)):
        part[held] = number
    return part


def _most_typical(part: np.ndarray, labels: np.ndarray, share: float) -> int:
    """The part whose class counts are nearest to ``share`` of the whole: whole groups make parts uneven."""
    classes = np.unique(labels)
    wanted = share * np.array([(labels == c).sum() for c in classes])
    off = [np.abs(np.array([((part == p) & (labels == c)).sum() for c in classes]) - wanted).sum() for p in range(part.max() + 1)]
    return int(np.argmin(off))


def _check_feasible(labels: np.ndarray, groups: np.ndarray, method: str, n_folds: int) -> None:
    counts = np.bincount(labels)
    if len(counts) < 2:
        raise InputError("split: the data has one class only; there is nothing to tell apart")
    rarest = int(np.argmin(counts))
    if counts[rarest] < n_folds + 1:
        raise InputError(f"split: class number {rarest} has {counts[rarest]} images, too few for {n_folds} folds; use fewer (split.folds)")
    n_groups = len(np.unique(groups))
    if method == "grouped" and n_groups < 2 * n_folds:
        raise InputError(
            f"split: {n_groups} groups cannot fill {n_folds} folds with validation; use fewer folds or split.method: stratified"
        )
