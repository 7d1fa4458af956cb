"""`data.source: parquet`: files as Hugging Face writes them, and as others do."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from thaw.errors import InputError
from thaw.images import measure
from thaw.sources.parquet import _ending, fetch

NAMES = ["cat", "dog", "10", "9"]


def image(number: int = 0, kind: str = "png") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (number % 256, 0, 0)).save(file, kind)
    return file.getvalue()


def write(path: Path, labels: list[Any], images: list[Any] | None = None, names: list[str] | None = None, column: str = "image") -> Path:
    """``images``: as dicts of bytes and path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = images if images is not None else [{"bytes": image(row), "path": f"p{row // 2}.png"} for row in range(len(labels))]
    table = pa.table({column: rows, "label": labels})
    if names is not None:
        said = {"info": {"features": {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(said)})
    pq.write_table(table, path)
    return path


def test_a_hugging_face_set(tmp_path: Path) -> None:
    for file, labels in (
        ("train-00000-of-00002", [0, 1, 2]),
        ("train-00001-of-00002", [3, 0]),
        ("validation-00000-of-00001", [1]),
        ("test-0", [0]),
    ):
        write(tmp_path / f"own/{file}.parquet", labels, names=NAMES)
    fetched = fetch(tmp_path / "own", tmp_path / "raw")
    found = fetched.table.set_index("path")
    assert fetched.dataset.classes == NAMES and not fetched.bad and fetched.origin is None
    assert found["split"].value_counts().to_dict() == {"train": 5, "val": 1, "test": 1}
    assert found.loc["train-00000-of-00002/0000002_p1.png", "label"] == "10"
    assert found.loc["train-00001-of-00002/0000000_p0.png", "label"] == "9"
    for path in found.index:
        assert measure(tmp_path / "raw" / path) == (8, 6, 3)
    assert (tmp_path / "raw/train-00000-of-00002/0000001_p0.png").read_bytes() == image(1)


def test_many_rows_keep_their_order(tmp_path: Path) -> None:
    write(tmp_path / "own/a.parquet", [row % 2 for row in range(150)])
    table = fetch(tmp_path / "own", tmp_path / "raw").table
    assert table["label"].tolist() == [str(row % 2) for row in range(150)]
    assert table["group"].tolist() == table["path"].tolist() and set(table["split"]) == {""}
    assert (tmp_path / "raw" / table["path"][149]).read_bytes() == image(149)


def test_plain_bytes_and_words(tmp_path: Path) -> None:
    write(tmp_path / "own/train/0.parquet", ["b", "a"], [image(kind="jpeg"), image(kind="webp")])
    write(tmp_path / "own/test/0.parquet", ["b", "a"], [image(kind="gif"), image(kind="bmp")])
    fetched = fetch(tmp_path / "own", tmp_path / "raw")
    assert fetched.dataset.classes == ["a", "b"]
    assert fetched.table["path"].tolist() == ["test/0/0000000.gif", "test/0/0000001.bmp", "train/0/0000000.jpg", "train/0/0000001.webp"]
    assert fetched.table["split"].tolist() == ["test", "test", "train", "train"]


def test_numbers_without_names_are_in_their_order(tmp_path: Path) -> None:
    write(tmp_path / "own/a.parquet", [10, 2, 9])
    assert fetch(tmp_path / "own", tmp_path / "raw").dataset.classes == ["2", "9", "10"]


def test_a_row_without_bytes_is_bad(tmp_path: Path) -> None:
    write(
        tmp_path / "own/a.parquet", [0, 1, 0], [{"bytes": image(), "path": "x"}, {"bytes": None, "path": "y"}, {"bytes": b"", "path": None}]
    )
    fetched = fetch(tmp_path / "own", tmp_path / "raw")
    assert fetched.bad == [("a/0000001_y", "the row holds no bytes"), ("a/0000002", "the row holds no bytes")]
    assert fetched.table["path"].tolist() == ["a/0000000_x"]


def test_long_names_fit_on_a_disk(tmp_path: Path) -> None:
    called = ["照" * 119 + ".png", "a" * 300 + ".jpg", "\ud800x.png"]
    assert [len(_ending(b"", name).encode()) <= 121 for name in called] == [True] * 3
    write(tmp_path / "own/a.parquet", [0, 1], [{"bytes": image(), "path": name} for name in called[:2]])
    paths = fetch(tmp_path / "own", tmp_path / "raw").table["path"].tolist()
    assert paths == [f"a/0000000_{'照' * 38}.png", f"a/0000001_{'a' * 116}.jpg"]
    assert all((tmp_path / "raw" / path).is_file() for path in paths)


@pytest.mark.parametrize(
    ("labels", "images", "said"),
    [
        ([0, None], None, "row 1 (from 0) has no label"),
        ([0, -1], None, "row 1 (from 0) has no label"),
        (["a", " "], None, "row 1 (from 0) has no label"),
        ([0, 7], None, "row 1 (from 0) has label 7, and the file names 4 classes only"),
        ([0.5, 1.0], None, "column 'label' is double, neither whole numbers nor text"),
        ([0, 1], ["a", "b"], "column 'image' is string, not bytes nor a struct with a part 'bytes'"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, labels: list[Any], images: list[Any] | None, said: str) -> None:
    file = write(tmp_path / "own/a.parquet", labels, images, NAMES)
    with pytest.raises(InputError, match=re.escape(f"data.path: {file}: {said}")):
        fetch(tmp_path / "own", tmp_path / "raw")


def test_files_that_do_not_fit_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"own has no \.parquet files"):
        (tmp_path / "own").mkdir()
        fetch(tmp_path / "own", tmp_path / "raw")
    write(tmp_path / "own/train-0.parquet", [0, 1])
    write(tmp_path / "own/more.parquet", [0, 1])
    with pytest.raises(InputError, match=r"more\.parquet is no part of a split, and other files are .*; rename it"):
        fetch(tmp_path / "own", tmp_path / "raw")
    (tmp_path / "own/more.parquet").unlink()
    write(tmp_path / "own/train-0.parquet", [0, 1], column="img")
    with pytest.raises(InputError, match="has no column 'image'; did you mean 'img'"):
        fetch(tmp_path / "own", tmp_path / "raw")
    (tmp_path / "own/train-0.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match=r"train-0\.parquet cannot be read: "):
        fetch(tmp_path / "own", tmp_path / "raw")
