"""`data.source: folder`: what is listed, in which order, one line for what cannot be used."""

import re
from pathlib import Path

import pytest
from test_listing import touch
from test_sources import data

from thaw.errors import InputError
from thaw.sources import Fetched, check_path, fetch_source, with_groups
from thaw.sources.folder import fetch


def pets(root: Path, *more: str) -> Path:
    return touch(root, *(f"{kind}/p{k // 2}/{k}.png" for kind in ("cat", "dog") for k in range(4)), *more)


def test_classes_order_and_paths(tmp_path: Path) -> None:
    fetched = fetch(pets(tmp_path / "pets"))
    table = fetched.table
    assert sorted(table["path"]) == sorted(table["id"]) == sorted(f"{kind}/p{k // 2}/{k}.png" for kind in ("cat", "dog") for k in range(4))
    assert [int(Path(path).stem) for path in table["path"]] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert table["label"].tolist() == [path[:3] for path in table["path"]]
    assert fetched.origin == [tmp_path / "pets" / path for path in table["path"]]
    assert (fetched.dataset.name, fetched.dataset.classes, fetched.dataset.grouped) == ("pets", ["cat", "dog"], False)
    assert set(table["split"]) == {""} and not fetched.bad and not fetched.remarks


def test_a_given_split_fills_its_column(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{part}/{kind}/1.png" for part in ("train", "valid", "testing") for kind in ("cat", "dog")))
    table = fetch(tmp_path).table
    assert dict(zip(table["path"], table["split"], strict=True)) == {
        f"{part}/{kind}/1.png": split
        for part, split in (("train", "train"), ("valid", "val"), ("testing", "test"))
        for kind in ("cat", "dog")
    }
    assert set(table["label"]) == {"cat", "dog"}


def test_groups_by_a_pattern(tmp_path: Path) -> None:
    fetched = fetch(pets(tmp_path))
    table, dataset = with_groups(fetched.table, fetched.dataset, data("folder", group="(?P<group>p[0-9])/"))
    assert sorted(set(table["group"])) == ["p0", "p1"] and dataset.grouped and dataset.group_name == "group"
    with pytest.raises(InputError, match=r"data\.group: '\(\?P<group>p0\)' matches 4 of 8 paths, not "):
        with_groups(fetched.table, fetched.dataset, data("folder", group="(?P<group>p0)"))
    for unread in (data("folder"), data("digits", group="(?P<group>p0)")):
        assert with_groups(fetched.table, fetched.dataset, unread) == (fetched.table, fetched.dataset)


def test_what_lies_beside_the_classes_is_bad_but_for_a_readme(tmp_path: Path) -> None:
    fetched = fetch(pets(tmp_path, "README.md", "list.txt", "9.png"))
    assert fetched.bad == [("9.png", "lies in no class folder"), ("list.txt", "lies in no class folder")]


def test_an_empty_class_is_a_remark(tmp_path: Path) -> None:
    (pets(tmp_path) / "cow").mkdir()
    fetched = fetch(tmp_path)
    assert fetched.remarks == [f"{tmp_path}/cow: is empty, so there is no class 'cow' in it"] and fetched.dataset.classes == ["cat", "dog"]


def test_a_linked_class_is_read_with_a_remark(tmp_path: Path) -> None:
    """DVC does not look behind links within a folder."""
    (pets(tmp_path / "own") / "cow").symlink_to(touch(tmp_path / "cow", "1.png"))
    fetched = fetch(tmp_path / "own")
    assert fetched.dataset.classes == ["cat", "cow", "dog"]
    assert fetched.remarks == [f"{tmp_path}/own/cow: is a link; dvc repro does not notice what changes behind it"]


def test_one_class_only_is_told_and_where_the_classes_may_be(tmp_path: Path) -> None:
    pets(tmp_path / "images")
    with pytest.raises(
        InputError,
        match=re.escape(f"has one class only, 'images'; if the 2 folders in it are the classes, say data.path: {tmp_path}/images"),
    ):
        fetch(tmp_path)
    touch(tmp_path / "one", "cat/1.png")
    with pytest.raises(InputError, match="one class only, 'cat'; it needs a sub-folder for each class"):
        fetch(tmp_path / "one")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"none has no files in class sub-folders; it should hold files such as .*/none/cat/1\.jpg"):
        fetch(tmp_path / "none")


@pytest.mark.parametrize(("path", "said"), [("nowhere", "nowhere is not there"), ("file", "file is not a folder")])
def test_a_path_that_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str) -> None:
    monkeypatch.chdir(touch(tmp_path, "file"))
    for look in (lambda: check_path(data("folder", path=path)), lambda: fetch_source(data("folder", path=path), Path("data/raw"))):
        with pytest.raises(InputError, match=rf"data\.path: {said}; it should be the folder of your images"):
            look()
    check_path(data("digits", path=path))  # not read


def test_a_path_that_fetch_would_empty_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pets(tmp_path / "data/raw") and tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "data/raw")
    for path in (str(tmp_path / "data/raw"), str(tmp_path), "link", "link/cat"):
        with pytest.raises(InputError, match="lie in one another; move your images elsewhere"):
            check_path(data("folder", path=path))


def test_through_the_door(tmp_path: Path) -> None:
    fetched = fetch_source(data("folder", path=str(pets(tmp_path / "pets"))), tmp_path / "raw")
    assert isinstance(fetched, Fetched) and len(fetched.table) == 8
