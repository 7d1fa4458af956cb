"""Your table: a CSV with a path and a label for each image, and optionally its group, domain, split and weight."""

import csv
import os
import unicodedata
from collections.abc import Callable, Sequence
from os.path import commonpath, normpath
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from thaw.errors import InputError, nearest
from thaw.index import Dataset
from thaw.listing import SPLIT_NAMES
from thaw.sources import Fetched

NEEDED, OPTIONAL = ("path", "label"), ("group", "domain", "split", "weight")
OUTSIDE = "outside"
"""Files that do not lie below the table's folder are kept below this one, by their paths from the nearest folder that holds them all."""
SEPARATORS = (",", ";", "\t")


def fetch(root: Path, name: str) -> Fetched:
    """``name``: the table's, below ``root``. Paths count from the table's folder. Raises `InputError`."""
    file = root / name
    given = read_table(file)
    _check_separators(file, given)
    origin = [file.parent / path for path in given["path"]]
    paths = _kept_as(file.parent, origin)
    _once_each(file, paths, given["row"].tolist())
    table = pd.DataFrame(
        {
            "id": paths,
            "path": paths,
            "label": given["label"],
            "group": given.get("group", pd.Series(paths)),
            "domain": given.get("domain", "all"),
            "split": _splits(file, given),
            "weight": _weights(file, given),
        }
    )
    classes = sorted(set(table["label"]))
    grouped = "group" in given
    dataset = Dataset(root.resolve().name, classes, grouped, "weight" in given, "group" if grouped else "image", [])
    unused = [str(column) for column in given if column not in (*NEEDED, *OPTIONAL, "row")]
    remarks = [f"{file}: columns that are not used: {', '.join(unused)}"] if unused else []
    if away := sum(path.startswith(f"{OUTSIDE}/") for path in paths):
        remarks.append(f"{file}: {away} of its files lie outside {file.parent}; dvc repro does not notice when they change")
    return Fetched(table, dataset, [_as_on_disk(path) for path in origin], [], remarks)


def read_table(file: Path) -> pd.DataFrame:
    """All columns as text without blanks around it, and ``row``, the number of the row in a spreadsheet. Empty rows are left out.

    Raises `InputError`: no such file, not UTF-8, not a table, a column missing, a cell empty.
    """
    if not file.is_file():
        raise InputError(f"data.table: {file} is not there; name a table below data.path")
    header, *records = _records(file)
    header = [name.strip() for name in header]
    for column in NEEDED:
        if column not in header:
            raise InputError(f"data.table: {file} has no column {column!r}; {nearest(column, header)}")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise InputError(f"data.table: {file} has two columns {twice[0]!r}; rename one")
    for row, record in enumerate(records, 2):
        if any(record[len(header) :]):
            cells = f"{len(record)} cells, and the header {len(header)}"
            raise InputError(f"data.table: {file}: row {row} has {cells}; put text that holds the separator in quotes")
    padded = [[*(cell.strip() for cell in record), *[""] * len(header)][: len(header)] for record in records]
    table = pd.DataFrame(padded, columns=header, dtype=str)
    table["row"] = np.arange(2, len(table) + 2)
    table = table.loc[[any(record) for record in padded]].reset_index(drop=True)
    if table.empty:
        raise InputError(f"data.table: {file} has no rows below its header")
    for column in (*NEEDED, *(name for name in OPTIONAL if name in table)):
        if (empty := (table[column] == "").to_numpy()).any():
            row = table["row"][int(np.argmax(empty))]
            raise InputError(f"data.table: {file}: row {row} has no {column}; fill it in, or take the row out")
    return table


def _records(file: Path) -> list[list[str]]:
    """The rows, the header first. Raises `InputError`."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            records = list(csv.reader(stream, delimiter=_separator(header), strict=True))
    except UnicodeDecodeError as error:
        raise InputError(f"data.table: {file} is not UTF-8 (byte {error.start}); save it as CSV UTF-8") from None
    except OSError as error:
        raise InputError(f"data.table: {file} cannot be read ({(error.strerror or 'unknown').lower()}); make it readable") from None
    except csv.Error as error:
        raise InputError(f"data.table: {file} is no table: {error}") from None
    if not records:
        raise InputError(f"data.table: {file} is empty; it needs a header with the columns path and label")
    return records


def _separator(header: str) -> str:
    """The one that the header has most of: spreadsheets write semicolons where a comma is the decimal sign."""
    return max(SEPARATORS, key=header.count)


def _check_separators(file: Path, given: pd.DataFrame) -> None:
    """Raises `InputError` for the first path as Windows writes it, unless a file is called so: here a backslash is a letter."""
    for path, row in zip(given["path"], given["row"], strict=True):
        if "\\" in path and not os.path.lexists(file.parent / path):
            raise InputError(f"data.table: {file}: row {row}: {path!r} is not there; write / for \\ in all paths")


def _kept_as(folder: Path, origin: Sequence[Path]) -> list[str]:
    """Where each file is kept below data/raw, which is also what it is called."""
    home, whole = Path(normpath(folder.absolute())), [Path(normpath(path.absolute())) for path in origin]
    outside = [path.parent for path in whole if not path.is_relative_to(home)]
    common = Path(commonpath(outside)) if outside else home
    return [
        path.relative_to(home).as_posix() if path.is_relative_to(home) else (PurePosixPath(OUTSIDE) / path.relative_to(common)).as_posix()
        for path in whole
    ]


def _once_each(file: Path, paths: Sequence[str], rows: Sequence[int]) -> None:
    seen: dict[str, int] = {}
    for path, row in zip(paths, rows, strict=True):
        if path in seen:
            raise InputError(f"data.table: {file}: rows {seen[path]} and {row} are the same file, {path!r}; keep one of them")
        seen[path] = row


def _as_on_disk(path: Path) -> Path:
    """The path, or its other spelling in Unicode where that one exists: disks and tables disagree on letters with accents."""
    spellings = (path, *(Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD")))
    return next((each for each in spellings if each.exists()), path)


def _splits(file: Path, given: pd.DataFrame) -> list[str]:
    def part(text: str) -> str:
        if text.lower() not in SPLIT_NAMES:
            raise ValueError(f"split {text!r} is unknown; {nearest(text.lower(), SPLIT_NAMES)}")
        return SPLIT_NAMES[text.lower()]

    return _cells(file, given, "split", part) if "split" in given else [""] * len(given)


def _weights(file: Path, given: pd.DataFrame) -> list[float]:
    def weight(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= 1:
            raise ValueError(f"weight {text!r} is not a number above 0 and at most 1")
        return value

    return _cells(file, given, "weight", weight) if "weight" in given else [1.0] * len(given)


def _cells(file: Path, given: pd.DataFrame, column: str, meaning: Callable[[str], Any]) -> list[Any]:
    """What the cells of a column mean; one that means nothing is told with its row."""
    found = []
    for row, text in zip(given["row"], given[column], strict=True):
        try:
            found.append(meaning(text))
        except ValueError as error:
            raise InputError(f"data.table: {file}: row {row}: {error}") from None
    return found
