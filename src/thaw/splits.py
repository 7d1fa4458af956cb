"""The table of the split: which images each fold trains on, validates on and tests on. `thaw.folding` makes it."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from thaw.errors import InputError
from thaw.files import sha256_of_value, write_with

TRAIN, VAL, TEST, INSIDE = "train", "val", "test", "inside"
"""Roles of an image in a fold. ``inside`` exists where a split leaves domains out: held-out images of the domain that was trained on."""

NOWHERE = -1
"""The fold of an image that no fold tests, where the data come with a split of their own."""


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
