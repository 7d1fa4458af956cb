"""Your Parquet files, as Hugging Face writes them: images as bytes in a column ``image``, classes in a column ``label``."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pandas as pd

from thaw.errors import InputError, nearest
from thaw.index import Dataset
from thaw.listing import SPLIT_NAMES, walk
from thaw.sources import Fetched

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

AT_ONCE = 64
"""Rows in memory."""
LONGEST = 120
"""Bytes of a file's name that are kept, from the end: disks allow 255, and the row's number comes before."""
ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp", b"II*\0": ".tif", b"BM": ".bmp"}
"""First bytes of a file -> what it is; for people, since images are told by their content."""


def fetch(root: Path, raw: Path) -> Fetched:
    """Write every image below ``raw``, in the order of files and rows. Raises `InputError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [path for path in walk(root, "data.path")[0] if path.lower().endswith(".parquet")]
    if not names:
        raise InputError(f"data.path: {root} has no .parquet files")
    splits = given_splits(root, names)
    rows, bad, classes = [], [], list[str]()
    for name in names:
        try:
            with pq.ParquetFile(root / name) as file:
                named = class_names(file.schema_arrow)
                classes = named if len(named) > len(classes) else classes
                for path, label, image in read_rows(root / name, name, file, named):
                    reason = _write(raw / path, image)
                    rows.append((path, label, splits[name]))
                    bad += [(path, reason)] if reason else []
        except pa.ArrowException as error:
            raise InputError(f"data.path: {root / name} cannot be read: {' '.join(str(error).split())}") from None
    left_out = {path for path, _ in bad}
    table = pd.DataFrame([row for row in rows if row[0] not in left_out], columns=["path", "label", "split"])
    paths, labels = table["path"].tolist(), set(table["label"])
    table = table.assign(id=paths, domain="all", weight=1.0, group=paths)
    classes = classes if labels <= set(classes) else sorted(labels, key=_by_number)
    return Fetched(table, Dataset(root.resolve().name, classes, False, False, "image", []), None, bad)


def given_splits(root: Path, names: list[str]) -> dict[str, str]:
    """File -> train, val or test, by its name (``train-0-of-2.parquet``) or its folder's (``train/0000.parquet``); "" where none says."""
    found = {name: _split_of(PurePosixPath(name)) for name in names}
    if any(found.values()) and not all(found.values()):
        odd = next(name for name in names if not found[name])
        raise InputError(f"data.path: {root / odd} is no part of a split, and other files are (train-*, validation-*, test-*); rename it")
    return found


def _split_of(name: PurePosixPath) -> str:
    words = (name.stem.lower().replace("_", "-").split("-")[0], name.parent.name.lower())
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), "")


def read_rows(where: Path, name: str, file: "pq.ParquetFile", classes: list[str]) -> Iterator[tuple[str, str, bytes | None]]:
    """(path to be kept as, class, bytes) of every row, a few in memory. Raises `InputError` for columns that are not as they should be."""
    check_columns(where, file.schema_arrow)
    place, row = PurePosixPath(name).with_suffix(""), 0
    for batch in file.iter_batches(batch_size=AT_ONCE, columns=["image", "label"]):
        for image, label in zip(batch.column("image").to_pylist(), batch.column("label").to_pylist(), strict=True):
            data, called = (image.get("bytes"), image.get("path")) if isinstance(image, dict) else (image, None)
            yield f"{place}/{row:07d}{_ending(data, called)}", class_of(where, row, label, classes), data
            row += 1


def check_columns(where: Path, schema: "pa.Schema") -> None:
    """Raises `InputError` unless there are images as bytes and labels as whole numbers or text."""
    import pyarrow.types as kinds

    for column in ("image", "label"):
        if column not in schema.names:
            raise InputError(f"data.path: {where} has no column {column!r}; {nearest(column, schema.names)}")
    image, label = schema.field("image").type, schema.field("label").type
    if kinds.is_struct(image) and image.get_field_index("bytes") >= 0:
        image = image.field("bytes").type
    if not (kinds.is_binary(image) or kinds.is_large_binary(image)):
        raise InputError(f"data.path: {where}: column 'image' is {image}, not bytes nor a struct with a part 'bytes'")
    if not (kinds.is_integer(label) or kinds.is_string(label) or kinds.is_large_string(label) or kinds.is_boolean(label)):
        raise InputError(f"data.path: {where}: column 'label' is {label}, neither whole numbers nor text")


def class_names(schema: "pa.Schema") -> list[str]:
    """Names of the classes 0, 1, ... as the file says them (``ClassLabel``); none where it does not."""
    said = (schema.metadata or {}).get(b"huggingface")
    if said is None:
        return []
    try:
        names: Any = json.loads(said)["info"]["features"]["label"]["names"]
    except (ValueError, KeyError, TypeError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def class_of(where: Path, row: int, label: Any, classes: list[str]) -> str:
    """The class of a row's label. Raises `InputError`: none, or a number without a name where ``classes`` names them."""
    if label is None or not str(label).strip() or (isinstance(label, int) and label < 0):
        raise InputError(f"data.path: {where}: row {row} (from 0) has no label; take it out, or give it one")
    if isinstance(label, int) and classes and not isinstance(label, bool):
        if label >= len(classes):
            raise InputError(f"data.path: {where}: row {row} (from 0) has label {label}, and the file names {len(classes)} classes only")
        return classes[label]
    return str(label).strip()


def _by_number(label: str) -> tuple[int, str]:
    """Numbers in their order, before words."""
    return (int(label), "") if label.isdecimal() else (sys.maxsize, label)


def _ending(data: bytes | None, called: str | None) -> str:
    """``_name.jpg``: what the file was called, where the row says it, for groups by paths; else an ending by its content."""
    if called:
        name = PurePosixPath(called.replace("\\", "/")).name.encode(errors="replace")
        return "_" + name[-LONGEST:].decode(errors="ignore")  # a letter that is cut in two goes
    return next((ending for start, ending in ENDINGS.items() if (data or b"").startswith(start)), "")


def _write(path: Path, image: bytes | None) -> str:
    """Write the image; why not, where there is none."""
    if not image:
        return "the row holds no bytes"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image)
    return ""
