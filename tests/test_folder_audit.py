"""`thaw audit FOLDER`: what is found in a folder, what is printed and written, one line for what cannot be used."""

import json
from pathlib import Path

import numpy as np
import pytest
from pictures import brightened, flipped, pixels, reencoded, scenes
from PIL import Image
from typer.testing import CliRunner

from thaw.cli import app
from thaw.errors import InputError
from thaw.folder import cut_folder, image_paths, read_folder
from thaw.grouping import group_names
from thaw.listing import Listing, list_folder
from thaw.splits import TEST, TRAIN, VAL

PATIENT = "(?P<group>p[0-9]+)"


def save(image: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[..., 0]).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """32 images of cats and 32 of dogs, of 16 patients, numbered as they were taken: cat and dog in turn."""
    for row, image in enumerate(scenes(64, 64)):
        save(image, tmp_path / "pets" / ("cat", "dog")[row % 2] / f"p{row // 4}_{row:03d}.png")
    return tmp_path / "pets"


def run(*words: object):
    return CliRunner().invoke(app, ["audit", *map(str, words), "--backbone-size", "32"])


def test_a_clean_folder_is_clean(folder: Path, tmp_path: Path) -> None:
    result = run(folder, "--group", PATIENT, "--out", tmp_path / "found.json", "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["verdict"]["level"], found["method"], found["groups"], len(found["folds"])) == ("clean", "grouped", 16, 4)
    lines = result.stdout.splitlines()
    assert "64 images of 2 classes in 16 groups; 4 folds, grouped" in result.stdout and "verdict: clean" in lines
    assert f"no near-identical pairs, so {tmp_path / 'sheet.png'} is not written" in lines and not (tmp_path / "sheet.png").exists()
    assert found["split_gap"] is not None and found["unreadable"] == []


def test_planted_copies_are_named_drawn_and_written(folder: Path, tmp_path: Path) -> None:
    """A byte copy, a re-encoded, a flipped and a brightened one, each in the other class."""
    images = [pixels(Image.open(folder / "cat" / f"p{row // 4}_{row:03d}.png")) for row in (0, 2, 4, 6)]
    (folder / "dog/p90_900.png").write_bytes((folder / "cat/p0_000.png").read_bytes())
    for number, (image, edit) in enumerate(zip(images[1:], (reencoded, flipped, brightened), strict=True), 91):
        save(edit(image), folder / f"dog/p{number}_{number}0.png")
    result = run(folder, "--out", tmp_path / "found.json", "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["verdict"]["level"] == "leak" and found["method"] == "stratified" and found["split_gap"] is None
    assert found["exact_duplicates"]["pairs"] == found["exact_duplicates"]["same_pixels"]["pairs"] == 1
    pairs = {(pair["a"], pair["b"]) for pair in found["near_duplicates"]["listed"]}
    originals = ("cat/p0_000.png", "cat/p0_002.png", "cat/p1_004.png", "cat/p1_006.png")
    assert pairs == {(name, f"dog/p9{k}_9{k}0.png") for k, name in enumerate(originals)}
    assert found["near_duplicates"]["conflicting_labels"] == 4
    assert "  cat/p0_000.png  dog/p90_900.png  (0 of 255 bits, cosine 1.00" in result.stdout
    sheet = Image.open(tmp_path / "sheet.png").convert("L")
    assert len(np.unique(np.asarray(sheet))) > 50 and sheet.width > sheet.height > 150  # pictures and words, two rows


def test_files_that_cannot_be_read_are_listed_and_left_out(folder: Path) -> None:
    (folder / "cat/broken.png").write_bytes(b"no image")
    result = run(folder)
    assert result.exit_code == 1
    assert "64 images" in result.stdout and "thaw: cannot read cat/broken.png: cannot identify" in result.stderr


def nothing(folder: Path) -> list[object]:
    return [folder / "none"]


def empty(folder: Path) -> list[object]:
    (folder / "empty").mkdir()
    return [folder / "empty"]


def one_class(folder: Path) -> list[object]:
    (folder / "dog").rename(folder / "cat/more")
    return [folder]


def one_image(folder: Path) -> list[object]:
    save(scenes(1, 32)[0], folder / "bird/1.png")
    return [folder]


def broken(folder: Path) -> list[object]:
    (folder / "x/y").mkdir(parents=True)
    (folder / "x/y/z.png").write_bytes(b"")
    return [folder / "x"]


def no_regex(folder: Path) -> list[object]:
    return [folder, "--group", "(p"]


def no_group(folder: Path) -> list[object]:
    return [folder, "--group", "p[0-9]+"]


def no_match(folder: Path) -> list[object]:
    return [folder, "--group", "(?P<group>p1)_"]


def too_few_groups(folder: Path) -> list[object]:
    return [folder, "--group", "(?P<group>png)"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (nothing, "none is not there; it should be a folder"),
        (empty, "has no images in class sub-folders; it should hold files such as"),
        (one_class, "has one class only, 'cat'; it needs a sub-folder for each class"),
        (one_image, "cannot be split even in two folds: class number 0 has 1 images, too few for 2 folds"),
        (broken, "none of the 1 files of"),
        (no_regex, "'(p' is not a regular expression: missing )"),
        (no_group, "names no group; mark it so: '(?P<group>patient[0-9]+)'"),
        (no_match, "matches 4 of 64 paths, not 'cat/p0_000.png'"),
        (too_few_groups, "1 groups cannot fill 2 folds with validation; add images, or leave out --group"),
    ],
)
def test_what_cannot_be_audited_is_one_line(folder: Path, make, said: str) -> None:
    result = run(*make(folder))
    assert result.exit_code == 1 and result.stdout == ""
    assert said in result.stderr and result.stderr.startswith("thaw: audit: ") and result.stderr.count("\n") == 1


def test_images_are_taken_in_the_order_of_their_numbers_whatever_class_they_are_of(folder: Path) -> None:
    index = read_folder(folder, None).index
    assert index["path"].tolist() == [f"{('cat', 'dog')[row % 2]}/p{row // 4}_{row:03d}.png" for row in range(64)]
    by_number = Listing(folder, [], [], {}).by_number
    assert by_number("cat/a2/9.png")[0] == (2, 9) < by_number("dog/a2/10.png")[0] < by_number("ape/a11/1.png")[0]
    numberless = sorted((f"{name}/{letters}.png" for name in ("cat", "dog") for letters in ("x", "y", "z", "u", "v")), key=by_number)
    assert [path[:3] for path in numberless] != sorted(path[:3] for path in numberless)


def test_what_is_no_image_or_hidden_is_passed_over(folder: Path) -> None:
    count = len(image_paths(list_folder(folder, "audit")))
    for name in ("cat/notes.txt", "cat/.hidden.png", ".cache/1.png", "top.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    assert len(image_paths(list_folder(folder, "audit"))) == count == 64


def test_groups_are_parts_of_paths() -> None:
    assert group_names(["a/p1_2.png", "b/p1_3.png", "b/p22.png"], PATIENT, "audit: --group") == ["p1", "p1", "p22"]
    with pytest.raises(InputError, match="matches 0 of 1 paths"):
        group_names(["a/x.png"], "(?P<group>y)?x", "audit: --group")


def test_small_data_is_split_in_fewer_folds(folder: Path) -> None:
    for path in sorted((folder / "cat").iterdir())[4:]:
        path.unlink()
    cut = cut_folder(read_folder(folder, None))
    assert cut.n_folds == 2 and all({*cut.splits[f"role_{k}"]} == {TRAIN, VAL, TEST} for k in range(2))
