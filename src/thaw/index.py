"""The index: one row per image, in a fixed order that everything after it keeps; and what the data set is called."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from thaw.errors import InputError
from thaw.files import read_json, sha256_of_value, write_json, write_with

COLUMNS = {
    "id": "str",  # unique; what predictions refer to
    "path": "str",  # below data/raw
    "label": "str",  # one of Dataset.classes
    "group": "str",  # what a split must not tear: module, patient, tile; the id where there is none
    "domain": "str",  # sub-population, for shifts; "all" where there is none
    "split": "str",  # the part that the data come with: train, val or test; "" where they come with none
    "weight": "float64",  # confidence in the label in (0, 1]
    "width": "int64",  # px
    "height": "int64",  # px
    "channels": "int64",  # 1 gray, 3 colour
    "sha256": "str",  # of the file
}


@dataclass(frozen=True)
class Dataset:
    """What the rows have in common. ``classes`` is in label order; of two, the second is the positive one."""

    name: str
    classes: list[str]
    grouped: bool  # False: every image is its own group
    weighted: bool  # True: `weight` says how sure the label is
    group_name: str  # as shown to people, for example "inferred module"
    notes: list[str]  # one sentence each: licence, citation, what to know


def write_index(table: pd.DataFrame, path: Path) -> None:
    kept = table.loc[:, list(COLUMNS)].astype(COLUMNS)
    write_with(path, lambda p: kept.to_csv(p, index=False, lineterminator="\n"))


def read_index(path: Path) -> pd.DataFrame:
    """Raises `InputError` where the table breaks the contract of `COLUMNS`."""
    table: Any = pd.read_csv(path, dtype=COLUMNS, keep_default_na=False)  # type: ignore[arg-type]  # a class may be called "NA"
    missing = [c for c in COLUMNS if c not in table]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]!r}; run `dvc repro fetch`")
    return table


def write_dataset(dataset: Dataset, path: Path) -> None:
    write_json(path, asdict(dataset))


def read_dataset(path: Path) -> Dataset:
    return Dataset(**read_json(path))


def labels_of(table: pd.DataFrame, classes: list[str]) -> Int[np.ndarray, " N"]:
    """Class numbers, (N,) int64."""
    numbers = pd.Index(classes).get_indexer(pd.Index(table["label"]))
    if (numbers < 0).any():
        raise InputError(f"index: label {table['label'][int(np.argmin(numbers))]!r} is not among the classes {classes}")
    return numbers.astype(np.int64)


def data_sha256(table: pd.DataFrame, dataset: Dataset) -> str:
    """Identity of the data: every file's hash with its label, group and place; nothing of where it lies on disk."""
    rows = table[["id", "label", "group", "domain", "weight", "sha256"]].values.tolist()
    return sha256_of_value([dataset.classes, rows])
