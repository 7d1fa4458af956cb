"""What a folder of images holds, told by names, tables and headers: classes, sizes, a given split. No image is decoded."""

import csv
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any

import pandas as pd

from thaw.errors import InputError, nearest

SAMPLE = 2000
"""Headers that are read; spread evenly over the files."""
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What folders, parquet files and rows of a given split are called, in any case."""


@dataclass(frozen=True)
class Sizes:
    """Of the images whose headers were read. px."""

    read: int
    width: int  # median
    height: int  # median
    side: int  # median of the shorter side
    shortest: int
    longest: int
    colour: bool  # most of them
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Survey:
    """``paths``, ``labels``, ``groups``, ``splits`` are parallel, a row an image; paths are below ``root``."""

    source: str  # folder | csv | parquet
    root: Path
    table: str  # name of the CSV below root; "" where there is none
    paths: list[str]
    labels: list[str]
    groups: list[str]  # of a table's column; [] where there is none
    splits: list[str]  # "train" | "val" | "test"; [] where none is given
    sizes: Sizes

    @property
    def classes(self) -> dict[str, int]:
        """Class -> images, most first."""
        return dict(Counter(self.labels).most_common())


def survey(images: Path) -> Survey:
    """``images``: a folder with class sub-folders (below train/val/test or not), parquet files or one table, or the table itself.

    Raises `InputError` where nothing of this is there, or there is one class only.
    """
    if not images.exists():
        raise InputError(f"init: {images} does not exist; name the folder of your images, or the CSV that lists them")
    if images.is_file() and images.suffix.lower() != ".csv":
        raise InputError(f"init: {images} is neither a folder nor a .csv file")
    root = (images if images.is_dir() else images.parent).resolve()
    tables = (
        [images.resolve()] if images.is_file() else [path for path in below(root, {".csv"}) if {"path", "label"} <= set(header_of(path))]
    )
    parquet = [] if tables else below(root, {".parquet"})
    if len(tables) > 1:
        named = ", ".join(path.relative_to(root).as_posix() for path in tables[:3])
        raise InputError(f"init: {root} has {len(tables)} tables with columns path and label ({named}); name the one that is meant")
    found = survey_table(root, tables[0]) if tables else survey_parquet(root, parquet) if parquet else survey_folder(root)
    if len(found.classes) < 2:
        raise InputError(f"init: {images} has one class only, {found.labels[0]!r}; {ONE_CLASS[found.source]}")
    return found


ONE_CLASS = {
    "folder": "it needs a sub-folder for each class, such as cat/ and dog/",
    "csv": "the column label must name two classes or more",
    "parquet": "the column label must name two classes or more",
}


def below(root: Path, endings: set[str]) -> list[Path]:
    """Files of these endings in any case, hidden files and folders left out, in the order of their names."""
    found = (path for path in root.rglob("*") if path.suffix.lower() in endings and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts))


def image_endings() -> set[str]:
    from PIL import Image

    return {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}


def survey_folder(root: Path) -> Survey:
    """The first folder is the class; where the first folders are those of a split, the second."""
    files = [PurePosixPath(path.relative_to(root).as_posix()) for path in below(root, image_endings())]
    parts = [path.parts for path in files if len(path.parts) > 1]
    if not parts:
        loose = f"; {len(files)} images lie in it without a sub-folder" if files else ""
        raise InputError(f"init: {root} has no images in class sub-folders{loose}; it should hold files such as {root}/cat/1.jpg")
    given = all(part[0].lower() in SPLITS and len(part) > 2 for part in parts) and len({SPLITS[part[0].lower()] for part in parts}) > 1
    labels = [part[1] if given else part[0] for part in parts]
    paths = ["/".join(part) for part in parts]
    splits = [SPLITS[part[0].lower()] for part in parts] if given else []
    return Survey("folder", root, "", paths, labels, [], splits, sizes_of([root / path for path in paths], paths))


def header_of(table: Path) -> list[str]:
    """Names of a CSV's columns; [] where it has none."""
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return next(csv.reader(file), [])


def survey_table(root: Path, table: Path) -> Survey:
    """Columns path and label, and group and split where they are there. Paths are the table's own: below its folder, or absolute."""
    columns = header_of(table)
    for name in ("path", "label"):
        if name not in columns:
            hint = nearest(name, columns) if columns else "it is empty"
            raise InputError(
                f"init: {table} has no column {name!r} ({hint}); its columns must be path, label and, if you like, group, split"
            )
    rows: Any = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if rows.empty:
        raise InputError(f"init: {table} has no rows below its header")
    paths, labels = rows["path"].tolist(), rows["label"].tolist()
    if "" in labels:
        raise InputError(f"init: {table} row {labels.index('') + 2} has no label ({paths[labels.index('')]})")
    groups = rows["group"].tolist() if "group" in rows else []
    splits = _given(rows["split"].tolist(), table) if "split" in rows else []
    files = [table.parent / path for path in paths]  # an absolute path stays itself
    return Survey("csv", root, table.relative_to(root).as_posix(), paths, labels, groups, splits, sizes_of(files, paths))


def _given(names: list[str], where: Path) -> list[str]:
    unknown = next((name for name in names if name.lower() not in SPLITS), None)
    if unknown is not None:
        raise InputError(f"init: {where}: split {unknown!r} is none of train, val and test")
    return [SPLITS[name.lower()] for name in names]


def survey_parquet(root: Path, files: list[Path]) -> Survey:
    """Columns image ({bytes, path}, or bytes) and label, as Hugging Face writes them; the files' names may give a split."""
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import ParquetFile

    paths: list[str] = []
    labels: list[str] = []
    heads: list[bytes] = []
    looked: list[str] = []
    for file in files:
        name = file.relative_to(root).as_posix()
        try:
            with ParquetFile(file) as opened:
                names = opened.schema_arrow.names
                missing = [column for column in ("image", "label") if column not in names]
                if missing:
                    raise InputError(f"init: {name} has no column {missing[0]!r}; it has {', '.join(names)}")
                classes = class_names(opened.schema_arrow.metadata or {})
                own = opened.read(columns=["label"]).column("label").to_pylist()
                first = next(opened.iter_batches(batch_size=max(1, SAMPLE // len(files)), columns=["image"]), None)
        except ArrowInvalid as error:
            raise InputError(f"init: {name} is no parquet file ({' '.join(str(error).split())[:80]})") from None
        labels += [classes[label] if classes and isinstance(label, int) and label < len(classes) else str(label) for label in own]
        paths += [f"{name}/{row}" for row in range(len(own))]
        rows = [] if first is None else first.column(0).to_pylist()
        looked += [f"{name}/{row}" for row in range(len(rows))]
        heads += [row["bytes"] if isinstance(row, dict) else row for row in rows]
    if not labels:
        raise InputError(f"init: the {len(files)} parquet files of {root} have no rows")
    stems = [PurePosixPath(path).parent.name.partition("-")[0].lower() for path in paths]
    given = all(stem in SPLITS for stem in stems) and len({SPLITS[stem] for stem in stems}) > 1
    return Survey("parquet", root, "", paths, labels, [], [SPLITS[stem] for stem in stems] if given else [], sizes_of(heads, looked))


def class_names(metadata: dict[bytes, bytes]) -> list[str]:
    """Names of label numbers, which Hugging Face keeps in the file's metadata; [] where there are none."""
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return list(features.get("label", {}).get("names", []))


def sizes_of(files: list[Any], names: list[str]) -> Sizes:
    """From headers alone. ``files``: paths, or the bytes of files. Raises `InputError` where none can be read."""
    from io import BytesIO

    from PIL import Image, UnidentifiedImageError

    rows, unreadable = [], []
    step = -(-len(files) // SAMPLE) or 1
    for name, file in list(zip(names, files, strict=True))[::step]:
        try:
            with Image.open(BytesIO(file) if isinstance(file, bytes) else file) as image:
                rows.append((image.width, image.height, image.mode not in ("1", "L", "LA", "I", "I;16", "F")))
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
            unreadable.append(f"{name} ({type(error).__name__})")
    if not rows:
        raise InputError(f"init: none of {len(unreadable)} files could be read as an image: {unreadable[0] if unreadable else 'no file'}")
    widths, heights, coloured = zip(*rows, strict=True)
    shorter = [min(width, height) for width, height, _ in rows]
    return Sizes(
        read=len(rows),
        width=round(median(widths)),
        height=round(median(heights)),
        side=round(median(shorter)),
        shortest=min(shorter),
        longest=max(*widths, *heights),
        colour=sum(coloured) * 2 > len(rows),
        unreadable=unreadable,
    )
