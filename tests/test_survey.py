"""What names, tables and headers tell; nothing is decoded whole."""

import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from folders import put_classes, put_images
from zoo import bomb

from thaw.errors import InputError
from thaw.survey import SAMPLE, sizes_of, survey


def test_class_folders(tmp_path: Path) -> None:
    put_classes(tmp_path, {"cat": 5, "Hund schön": 3}, "a b/Bild {k}.PNG")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    put_images(tmp_path, [".hidden/1.png", "cat/.thumb.png"])
    found = survey(tmp_path)
    assert (found.source, found.classes, found.splits, found.groups) == ("folder", {"cat": 5, "Hund schön": 3}, [], [])
    assert found.paths.count("Hund schön/a b/Bild 0.PNG") == 1
    assert found.remarks == [
        "1 files are no images or lie in no class, cat/notes.txt the first; take them away or set data.on_bad: quarantine"
    ]
    assert (found.sizes.width, found.sizes.height, found.sizes.side, found.sizes.colour, found.sizes.read) == (40, 30, 30, True, 8)


def test_images_whose_names_have_no_ending(tmp_path: Path) -> None:
    put_classes(tmp_path, {"cat": 3, "dog": 3})
    for path in [*tmp_path.rglob("*.png")]:
        path.rename(path.with_suffix(""))
    assert survey(tmp_path).classes == {"cat": 3, "dog": 3}


def test_a_given_split_stands_above_the_classes(tmp_path: Path) -> None:
    put_classes(tmp_path / "Train", {"a": 4, "b": 4})
    put_classes(tmp_path / "valid", {"a": 2, "b": 2})
    put_classes(tmp_path / "test", {"a": 3, "b": 3})
    found = survey(tmp_path)
    assert found.classes == {"a": 9, "b": 9}
    assert {split: found.splits.count(split) for split in ("train", "val", "test")} == {"train": 8, "val": 4, "test": 6}


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    put_classes(tmp_path, {"train": 3, "bus": 3})
    assert survey(tmp_path).classes == {"bus": 3, "train": 3} and not survey(tmp_path).splits


@pytest.mark.parametrize("named", ["table", "folder"])
def test_a_table(tmp_path: Path, named: str) -> None:
    put_images(tmp_path, ["pics/1.png", "pics/2.png", "pics/3.png"])
    away = put_images(tmp_path / "elsewhere", ["4.png"]) / "4.png"
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")  # has no path and label, so it is not meant
    rows = "pics/1.png,NA,g1,Train\npics/2.png,yes,g1,val\npics/3.png,NA,g2,test\n" + f"{away},yes,g2,test\n"
    (tmp_path / "labels.csv").write_text("﻿path,label,group,split\n" + rows)
    found = survey(tmp_path / "labels.csv" if named == "table" else tmp_path)
    assert (found.source, found.table, found.root) == ("csv", "labels.csv", tmp_path)
    assert (found.classes, found.groups, found.splits) == ({"NA": 2, "yes": 2}, ["g1", "g1", "g2", "g2"], ["train", "val", "test", "test"])
    assert found.sizes.read == 4


def parquet(path: Path, labels: list[Any], image: bytes, metadata: dict[bytes, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": [{"bytes": image, "path": f"{k}.png"} for k in range(len(labels))], "label": labels})
    pq.write_table(table.replace_schema_metadata(metadata), path)


def test_parquet_with_names_in_its_metadata(tmp_path: Path) -> None:
    image = (put_images(tmp_path / "x", ["1.png"], (20, 10)) / "1.png").read_bytes()
    metadata = {b"huggingface": json.dumps({"info": {"features": {"label": {"names": ["cat", "dog"]}}}}).encode()}
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", [0, 1, 1], image, metadata)
    parquet(tmp_path / "data" / "test-00000-of-00001.parquet", [0, 1], image, metadata)
    found = survey(tmp_path / "data")
    assert (found.source, found.classes, found.sizes.side) == ("parquet", {"dog": 3, "cat": 2}, 10)
    assert sorted(found.splits) == ["test", "test", "train", "train", "train"]


def test_numbers_without_names_are_their_own(tmp_path: Path) -> None:
    image = (put_images(tmp_path / "x", ["1.png"]) / "1.png").read_bytes()
    parquet(tmp_path / "data" / "part.parquet", [7, 3, 7], image, {})
    found = survey(tmp_path / "data")
    assert (found.classes, found.splits) == ({"7": 2, "3": 1}, [])


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, -1], "row 1 (from 0) has no label"),
        ([0, None], "row 1 (from 0) has no label"),
        ([0, 7], "row 1 (from 0) has label 7, and the file names 2 classes only"),
    ],
)
def test_labels_of_parquet_are_read_as_fetch_reads_them(tmp_path: Path, labels: list[Any], said: str) -> None:
    metadata = {b"huggingface": json.dumps({"info": {"features": {"label": {"names": ["cat", "dog"]}}}}).encode()}
    parquet(tmp_path / "part.parquet", labels, b"x", metadata)
    with pytest.raises(InputError, match=re.escape(said)):
        survey(tmp_path)


def test_images_of_parquet_are_bytes_or_missing(tmp_path: Path) -> None:
    image = (put_images(tmp_path / "x", ["1.png"]) / "1.png").read_bytes()
    rows = [{"bytes": image, "path": "1.png"}, {"bytes": None, "path": "2.png"}, None]
    (tmp_path / "own").mkdir()
    pq.write_table(pa.table({"image": rows, "label": [0, 1, 1]}), tmp_path / "own" / "a.parquet")
    found = survey(tmp_path / "own")
    assert found.classes == {"1": 2, "0": 1} and found.sizes.read == 1 and len(found.sizes.unreadable) == 2
    pq.write_table(pa.table({"image": [str(tmp_path / "x" / "1.png")] * 2, "label": [0, 1]}), tmp_path / "own" / "a.parquet")
    with pytest.raises(InputError, match="column 'image' is string, not bytes"):
        survey(tmp_path / "own")


def test_large_images_warn_nobody(tmp_path: Path) -> None:
    bomb(tmp_path / "a.png", 10_000)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert sizes_of([tmp_path / "a.png"], ["a.png"]).longest == 10_000
    assert seen == []


def test_only_files_are_looked_at(tmp_path: Path) -> None:
    """A link to nowhere cannot be opened, and a pipe is waited for."""
    put_classes(tmp_path / "own", {"cat": 3, "dog": 3})
    (tmp_path / "own" / "old.csv").symlink_to("nowhere.csv")
    os.mkfifo(tmp_path / "own" / "pipe.csv")
    os.mkfifo(tmp_path / "own" / "cat" / "pipe.png")
    found = survey(tmp_path / "own")
    assert (found.source, found.sizes.read, found.sizes.unreadable) == ("folder", 6, ["cat/pipe.png (not a file)"])
    with pytest.raises(InputError, match=r"pipe\.csv is neither a folder nor a \.csv file"):
        survey(tmp_path / "own" / "pipe.csv")


def test_a_table_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_classes(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / "secret.csv").write_text("path,label\n")

    def refuse(self: Path, *args: object, **how: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)  # whoever runs this may read everything, perhaps
    with pytest.raises(InputError, match=r"init: .*secret\.csv cannot be read \(permission denied\)"):
        survey(tmp_path)
    with pytest.raises(InputError, match=r"data\.table: .*secret\.csv cannot be read \(permission denied\)"):
        survey(tmp_path / "secret.csv")


def test_headers_are_sampled_evenly_and_broken_ones_named(tmp_path: Path) -> None:
    small = put_images(tmp_path, ["small.png"], (8, 8), colour=False) / "small.png"
    large = put_images(tmp_path, ["large.png"], (64, 32)) / "large.png"
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    files = [small] * 3000 + [large] * 4000
    sizes = sizes_of(files, [path.name for path in files])
    assert sizes.read <= SAMPLE and (sizes.side, sizes.shortest, sizes.longest, sizes.colour) == (32, 8, 64, True)
    assert sizes_of([small, broken], ["small.png", "broken.png"]).unreadable == ["broken.png (UnidentifiedImageError)"]
    with pytest.raises(InputError, match=r"none of 1 files could be read as an image: broken\.png"):
        sizes_of([broken], ["broken.png"])


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    cases = {
        "one": (put_classes(tmp_path / "one", {"cat": 4}), "one class only, 'cat'; it needs a sub-folder for each class"),
        "flat": (put_images(tmp_path / "flat", ["1.png", "2.png"]), "no files in class sub-folders; it should hold files such as"),
        "gone": (tmp_path / "gone", "does not exist"),
        "file": (put_images(tmp_path / "file", ["1.png"]) / "1.png", "neither a folder nor a .csv file"),
    }
    (tmp_path / "empty").mkdir()
    cases["empty"] = (tmp_path / "empty", "has no files in class sub-folders")
    tables = {
        "nolabel.csv": ("path,lable\n1.png,a\n", "has no column 'label'; did you mean 'lable'"),
        "norows.csv": ("path,label\n", "has no rows"),
        "hole.csv": ("path,label\n1.png,a\n2.png,\n", "row 3 has no label"),
        "split.csv": ("path,label,split\n1.png,a,holdout\n", "row 2: split 'holdout' is unknown"),
        "same.csv": ("path,label\nflat/1.png,a\nflat/2.png,a\n", "one class only, 'a'; the column label must name two"),
    }
    for name, (text, message) in tables.items():
        (tmp_path / name).write_text(text)
        cases[name] = (tmp_path / name, message)
    for images, message in cases.values():
        with pytest.raises(InputError, match=message) as error:
            survey(images)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"has 4 tables with columns path and label .* name the one that is meant"):
        survey(tmp_path)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.parquet").write_bytes(b"PAR?")
    with pytest.raises(InputError, match=r"x\.parquet is no parquet file"):
        survey(tmp_path / "bad")
