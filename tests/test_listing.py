"""What a folder holds, whatever lies in it."""

import os
import re
from pathlib import Path

import pytest

from thaw.errors import InputError
from thaw.listing import list_folder, walk


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    return root


def test_classes_are_the_uppermost_folders_and_clutter_is_passed_over(tmp_path: Path) -> None:
    clutter = [
        "cat/.hidden.jpg",
        ".git/a/1.jpg",
        "cat/.DS_Store",
        "cat/Thumbs.db",
        "dog/desktop.ini",
        "__MACOSX/cat/1.jpg",
        ".dvc/x",
        "cat/Icon\r",
    ]
    listing = list_folder(touch(tmp_path, "cat/1.jpg", "cat/deep/er/2.JPG", "dog/ö 3.png", "README.md", *clutter), "data.path")
    assert listing.files == ["README.md", "cat/1.jpg", "cat/deep/er/2.JPG", "dog/ö 3.png"]
    assert [listing.label(path) for path in listing.files[1:]] == ["cat", "cat", "dog"]
    assert listing.splits == {} and {listing.split(path) for path in listing.files} == {""}
    assert not listing.in_a_class("README.md") and listing.in_a_class("cat/1.jpg")


@pytest.mark.parametrize("names", [("train", "val", "test"), ("training", "validation", "testing"), ("Train", "valid", "TEST")])
def test_a_given_split_stands_above_the_classes(tmp_path: Path, names: tuple[str, str, str]) -> None:
    listing = list_folder(touch(tmp_path, *(f"{name}/{kind}/{k}.png" for name in names for kind in ("cat", "dog") for k in range(2))), "x")
    assert {listing.split(f"{name}/cat/0.png") for name in names} == {"train", "val", "test"}
    assert {listing.label(path) for path in listing.files} == {"cat", "dog"}
    assert not listing.in_a_class(f"{names[0]}/notes.txt")


def test_the_order_is_that_of_the_numbers_below_the_class_with_a_split_too(tmp_path: Path) -> None:
    listing = list_folder(touch(tmp_path, "train/a/10.png", "train/b/2.png", "test/a9/3.png"), "x")
    assert sorted(listing.files, key=listing.by_number) == ["train/b/2.png", "test/a9/3.png", "train/a/10.png"]


def test_vehicles_may_have_a_class_of_trains(tmp_path: Path) -> None:
    listing = list_folder(touch(tmp_path, "train/1.png", "bus/1.png", "train/deep/2.png"), "x")
    assert listing.splits == {} and listing.label("train/1.png") == "train"
    alone = list_folder(touch(tmp_path / "b", "test/a/1.png", "bench/a/1.png"), "x")
    assert alone.splits == {}


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (
            ["train/a/1.png", "test/a/1.png", "extra/a/1.png"],
            "has test, train as a split would, and extra beside them; move one or the other",
        ),
        (["train/1.png", "test/2.png"], "has test, train without class folders in them; it should hold"),
    ],
)
def test_what_is_half_a_split_is_told(tmp_path: Path, paths: list[str], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        list_folder(touch(tmp_path, *paths), "data.path")


def test_empty_classes_are_named(tmp_path: Path) -> None:
    touch(tmp_path / "a", "cat/1.png", "dog/.hidden")
    assert list_folder(tmp_path / "a", "x").empty_classes() == ["dog"]
    (touch(tmp_path / "b", "train/cat/1.png", "test/cat/1.png") / "test/dog/deep").mkdir(parents=True)
    assert list_folder(tmp_path / "b", "x").empty_classes() == ["test/dog"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.png", "2.png")
    root = touch(tmp_path / "root", "dog/3.png")
    (root / "cat").symlink_to(tmp_path / "elsewhere")
    (root / "dog/again").symlink_to(root)
    (root / "dog/link.png").symlink_to(root / "dog/3.png")
    assert walk(root, "x")[0] == ["cat/1.png", "cat/2.png", "dog/3.png", "dog/link.png"]
    (tmp_path / "whole").symlink_to(root)
    assert walk(tmp_path / "whole", "x")[0] == walk(root, "x")[0]


def test_links_to_each_other_multiply_nothing(tmp_path: Path) -> None:
    kinds = ("cat", "dog")
    root = touch(tmp_path / "root", *(f"{kind}/{k}.png" for kind in kinds for k in range(3)))
    (root / "cat/y").symlink_to("../dog")
    (root / "dog/x").symlink_to("../cat")
    assert walk(root, "x")[0] == [f"{kind}/{k}.png" for kind in kinds for k in range(3)]
    assert walk(root, "x")[1] == ["cat", "dog"]


def test_a_link_to_a_hidden_folder_is_followed(tmp_path: Path) -> None:
    root = touch(tmp_path, ".store/1.png", "dog/2.png")
    (root / "cat").symlink_to(".store")
    assert walk(root, "x")[0] == ["cat/1.png", "dog/2.png"]


def test_folders_outside_that_link_to_each_other_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/b").symlink_to("../b")
    (tmp_path / "b/a").symlink_to("../a")
    root = touch(tmp_path / "root", "dog/3.png")
    (root / "cat").symlink_to(tmp_path / "a")
    assert walk(root, "x")[0] == ["cat/1.png", "cat/b/2.png", "dog/3.png"]


def test_names_that_are_not_utf8_are_told(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    try:
        Path(os.fsdecode(os.fsencode(tmp_path / "cat") + b"/\xe9t\xe9.png")).write_text("")
    except OSError:
        pytest.skip("this disk takes UTF-8 alone")
    with pytest.raises(InputError, match=r"data.path: b'cat/\\xe9t\\xe9.png': the name is not UTF-8; rename it"):
        list_folder(tmp_path, "data.path")


def test_what_is_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x: .*/a is not there"):
        list_folder(tmp_path / "a", "x")
    with pytest.raises(InputError, match=r"x: .*/file is not a folder"):
        list_folder(touch(tmp_path, "file") / "file", "x")
