"""Kinds of data source: name -> raw images below a folder, and a table of them.

A source is one file here with ``fetch(...) -> Fetched``, a line in `fetch_source`, and its name in `params.SourceName`.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from thaw.errors import InputError
from thaw.grouping import group_names
from thaw.index import Dataset
from thaw.params import OWN, Data


@dataclass(frozen=True)
class Fetched:
    """``table``: columns id, path (below ``raw``), label, group, domain, split, weight, in the order that the data set gives."""

    table: pd.DataFrame
    dataset: Dataset
    origin: list[Path] | None = None  # where each row's file lies, to be copied to its path; None where the files are in ``raw`` already
    bad: list[tuple[str, str]] = field(default_factory=list)  # (path, reason) of files that are no images for the source
    remarks: list[str] = field(default_factory=list)  # for stderr, one line each


def fetch_source(data: Data, raw: Path) -> Fetched:
    """Put the images below ``raw``, or say where they lie, and describe them. Imports only the source that is asked for."""
    if data.source == "elpv":
        from thaw.sources import elpv

        return elpv.fetch(raw, data.elpv_label)
    if data.source == "digits":
        from thaw.sources import digits

        return digits.fetch(raw)
    if data.source == "torchvision":
        from thaw.sources import torchvision

        return torchvision.fetch(raw, data.name)
    if data.source == "fashion_mnist":
        from thaw.sources import fashion_mnist

        return fashion_mnist.fetch(raw)
    return _fetch_own(data, own_folder(data, raw), raw)


def _fetch_own(data: Data, root: Path, raw: Path) -> Fetched:
    if data.source == "folder":
        from thaw.sources import folder

        return folder.fetch(root)
    if data.source == "csv":
        from thaw.sources import csv

        fetched = csv.fetch(root, data.table)
        if data.group and fetched.dataset.grouped:
            raise InputError(f"data.group: {root / data.table} has a column 'group' already; keep one of the two")
        return fetched
    from thaw.sources import parquet

    return parquet.fetch(root, raw)


def with_groups(table: pd.DataFrame, dataset: Dataset, data: Data) -> tuple[pd.DataFrame, Dataset]:
    """Both with the groups that ``data.group`` finds in the paths, where the source reads it. Raises `InputError` for a path without one.

    ``table``: of images alone, since nobody calls notes.txt by a patient's name.
    """
    if data.source not in OWN or not data.group:
        return table, dataset
    groups = group_names(table["path"].tolist(), data.group, "data.group:")
    return table.assign(group=groups), replace(dataset, grouped=True, group_name="group")


def own_folder(data: Data, raw: Path) -> Path:
    """``data.path``. Raises `InputError` where it is no folder, or one that is emptied or filled while it is read."""
    root = Path(data.path)
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "is not there"
        raise InputError(f"data.path: {root} {what}; it should be the folder of your images")
    here, there = root.resolve(), raw.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise InputError(f"data.path: {root} and {raw}, which fetch empties and fills, lie in one another; move your images elsewhere")
    return root


def check_path(data: Data) -> None:
    """Raises `InputError` where the source reads ``data.path`` and cannot."""
    if data.source in OWN:
        own_folder(data, Path("data/raw"))
