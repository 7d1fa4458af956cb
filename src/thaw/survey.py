"""What a folder of images holds, told by names, tables and headers: classes, sizes, a given split. No image is decoded."""

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any

from thaw.errors import InputError
from thaw.listing import walk
from thaw.sources import Fetched

SAMPLE = 2000
"""Headers that are read; spread evenly over the files."""


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
    splits: list[str]  # "train" | "val" | "test"; [] where not all images have one
    sizes: Sizes
    remarks: list[str] = field(default_factory=list)  # what fetch would say or stop at, a line each

    @property
    def classes(self) -> dict[str, int]:
        """Class -> images, most first."""
        return dict(sorted(Counter(self.labels).items(), key=lambda item: (-item[1], item[0])))


def survey(images: Path) -> Survey:
    """``images``: a folder with class sub-folders (below train/val/test or not), parquet files or one table, or the table itself.

    Raises `InputError` where nothing of this is there, or there is one class only.
    """
    if not images.exists():
        raise InputError(f"init: {images} does not exist; name the folder of your images, or the CSV that lists them")
    if not images.is_dir() and not (images.is_file() and images.suffix.lower() == ".csv"):
        raise InputError(f"init: {images} is neither a folder nor a .csv file")
    root = (images if images.is_dir() else images.parent).resolve()
    files = walk(root, "init")[0] if images.is_dir() else []
    tables = [images.name] if images.is_file() else [name for name in files if is_table(root / name)]
    if len(tables) > 1:
        named = ", ".join(tables[:3])
        raise InputError(f"init: {root} has {len(tables)} tables with columns path and label ({named}); name the one that is meant")
    parquet = [name for name in files if name.lower().endswith(".parquet")]
    found = survey_table(root, tables[0]) if tables else survey_parquet(root, parquet) if parquet else survey_folder(root)
    if len(found.classes) < 2:
        raise InputError(f"init: {images} has one class only, {found.labels[0]!r}; the column label must name two or more")
    return found


def is_table(path: Path) -> bool:
    """Whether a file is a CSV whose header has the columns path and label. Raises `InputError` where that cannot be read."""
    from thaw.sources.csv import SEPARATORS

    if path.suffix.lower() != ".csv" or not path.is_file():  # a link to nowhere; a pipe, which would be waited for
        return False
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            header = file.readline()
    except OSError as error:
        raise InputError(
            f"init: {path} cannot be read ({(error.strerror or 'unknown').lower()}); make it readable, or move it away"
        ) from None
    columns = {name.strip().strip('"') for name in header.split(max(SEPARATORS, key=header.count))}
    return {"path", "label"} <= columns


def image_endings() -> set[str]:
    from PIL import Image

    return {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}


def survey_folder(root: Path) -> Survey:
    """As the source `folder` sees it. Files that are called as no image is are told, and left out of the counts."""
    from thaw.sources.folder import fetch

    fetched = fetch(root)
    paths = fetched.table["path"].tolist()
    endings = image_endings()
    others = [path for path in paths if PurePosixPath(path).suffix.lower() not in endings]
    if len(others) == len(paths):  # some people's images have no ending at all
        others = []
    return surveyed("folder", root, "", fetched, set(others))


def survey_table(root: Path, name: str) -> Survey:
    """As the source `csv` sees it."""
    from thaw.sources.csv import fetch

    return surveyed("csv", root, name, fetch(root, name), set())


def surveyed(source: str, root: Path, name: str, fetched: Fetched, others: set[str]) -> Survey:
    """``others``: paths that are no images, as far as their names tell."""
    table = fetched.table[[path not in others for path in fetched.table["path"]]]
    origin = dict(zip(fetched.table["path"], fetched.origin or [], strict=True))
    paths, splits = table["path"].tolist(), table["split"].tolist()
    sizes = sizes_of([origin[path] for path in paths], paths)
    strange = sorted(others) + [path for path, _ in fetched.bad]
    remarks = list(fetched.remarks)
    if strange:
        told = f"{len(strange)} files are no images or lie in no class, {strange[0]} the first"
        remarks.insert(0, f"{told}; take them away or set data.on_bad: quarantine")
    groups = table["group"].tolist() if fetched.dataset.grouped else []
    return Survey(source, root, name, paths, table["label"].tolist(), groups, splits if all(splits) else [], sizes, remarks)


def survey_parquet(root: Path, names: list[str]) -> Survey:
    """Labels and, of some rows, the headers of their images; columns and names as the source `parquet` wants them."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    from thaw.sources.parquet import check_columns, class_names, class_of, given_splits

    found = given_splits(root, names)
    paths, labels, splits, heads, looked = [], [], [], [], []
    for name in names:
        try:
            with ParquetFile(root / name) as file:
                check_columns(root / name, file.schema_arrow)
                classes = class_names(file.schema_arrow)
                own: list[Any] = file.read(columns=["label"]).column("label").to_pylist()
                first = next(file.iter_batches(batch_size=-(-SAMPLE // len(names)), columns=["image"]), None)
        except ArrowException as error:
            raise InputError(f"init: {name} is no parquet file ({' '.join(str(error).split())[:80]})") from None
        labels += [class_of(root / name, row, label, classes) for row, label in enumerate(own)]
        paths += [f"{name}/{row}" for row in range(len(own))]
        splits += [found[name]] * len(own)
        rows = [] if first is None else first.column(0).to_pylist()
        looked += [f"{name}/{row}" for row in range(len(rows))]
        heads += [(row.get("bytes") if isinstance(row, dict) else row) or b"" for row in rows]
    if not labels:
        raise InputError(f"init: the {len(names)} parquet files of {root} have no rows")
    return Survey("parquet", root, "", paths, labels, [], splits if all(splits) else [], sizes_of(heads, looked))


@contextmanager
def quiet() -> Iterator[None]:
    """Without Pillow's warnings of large images, which fetch takes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def sizes_of(files: list[Any], names: list[str]) -> Sizes:
    """From headers alone. ``files``: paths, or the bytes of files. Raises `InputError` where none can be read."""
    from io import BytesIO

    from PIL import Image, UnidentifiedImageError

    rows, unreadable = [], []
    step = -(-len(files) // SAMPLE) or 1
    for name, file in list(zip(names, files, strict=True))[::step]:
        if isinstance(file, Path) and not file.is_file():
            unreadable.append(f"{name} (not a file)")
            continue
        try:
            with quiet(), Image.open(BytesIO(file) if isinstance(file, bytes) else file) as image:
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
