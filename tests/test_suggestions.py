"""Dials and reasons from a survey, and the groups that names do and do not tell."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thaw.errors import InputError
from thaw.params import read_params
from thaw.suggestions import feasible, matched, suggest, suggest_groups
from thaw.survey import Sizes, Survey

SIZES = Sizes(read=10, width=400, height=300, side=300, shortest=300, longest=400, colour=True)
BACKBONES = {name: each.model_dump() for name, each in read_params(Path(__file__).parents[1] / "params.yaml").backbones.items()}


def surveyed(paths: list[str], source: str = "folder", splits: bool = False, sizes: Sizes = SIZES) -> Survey:
    """As `survey` would tell it: the class is the first folder, or the second below a split."""
    labels = [path.split("/")[1 if splits else 0] for path in paths]
    return Survey(source, Path("/data"), "", paths, labels, [], [path.split("/")[0] for path in paths] if splits else [], sizes)


def dials(paths: list[str], **how: Any) -> Mapping[str, Any]:
    return suggest(surveyed(paths, **how), "/data", BACKBONES).dials


def test_patients_are_groups_and_may_have_images_of_two_classes() -> None:
    found = surveyed([f"{c}/Patient-{p:02}_{k}.png" for c in ("sick", "well") for p in range(12) for k in range(3)])
    chosen = suggest(found, "/data", BACKBONES)
    groups = matched(chosen.dials["data.group"], found.paths)
    assert groups is not None and len(set(groups)) == 12 and groups[0] == "Patient-00"
    assert (chosen.dials["split.method"], chosen.dials["split.folds"]) == ("grouped", [0, 1, 2, 3])
    assert (
        "12 groups of 6.0 images on average, such as 'Patient-00'" in chosen.notes["data.group"] and 'Set ""' in chosen.notes["data.group"]
    )
    (said,) = [line for line in chosen.said if line.startswith("groups")]
    assert "12 by patient and a number" in said and 'set data.group: "" and split.method: stratified' in said


@pytest.mark.parametrize(
    ("name", "example", "many"),
    [
        ("{c}/subject{g}/{k}.png", "subject0", 9),
        ("{c}/x_module0{g}_{k}.png", "module00", 9),
        ("{c}/scene_{g}-{k}.jpg", "scene_0", 9),
        ("{c}/day {g}a/{k}.png", "day 0a", 9),
        ("{c}/{g}/{k}.png", "cat/0", 18),
        ("{c}/{c}{g}x_{k}.png", "cat0x", 18),
        ("{c}/{c}{g}_{k}.png", "cat0", 18),
    ],
)
def test_other_names_of_groups(name: str, example: str, many: int) -> None:
    paths = [name.format(c=c, g=g, k=k) for c in ("cat", "dog") for g in range(9) for k in range(4)]
    found = surveyed(paths)
    groups = matched(suggest_groups(found).dials["data.group"], paths)
    assert groups is not None and groups[0] == example and len(set(groups)) == many


@pytest.mark.parametrize(
    "name",
    [
        "{c}/{c}_{n}.png",  # a class is no group
        "{c}/IMG_{n}.jpg",  # nor is the camera
        "{c}/patient_{n}.png",  # one image each
        "{c}/case_{one}_{n}.png",  # one patient
        "{c}/{g}_{k}.png",  # numbers that begin anew in each class
        "{c}/showcase{n}.png",  # part of another word, one image each
    ],
)
def test_what_is_no_group(name: str) -> None:
    cells = [(c, g, k) for c in ("cat", "dog") for g in range(9) for k in range(4)]
    paths = [name.format(c=c, g=g, k=k, n=n, one=1) for n, (c, g, k) in enumerate(cells)]
    chosen = dials(paths)
    assert (chosen["data.group"], chosen["split.method"]) == ("", "stratified")


def test_a_name_that_some_images_lack_is_no_group() -> None:
    paths = [f"{c}/patient_{k % 9}_{k}.png" for c in ("cat", "dog") for k in range(40)]
    assert dials(paths)["data.group"]
    assert not dials([*paths, "cat/cover.png"])["data.group"]


def test_a_given_split_is_used_and_said_where_it_tears_groups() -> None:
    def paths(shift: int) -> list[str]:
        return [
            f"{s}/{c}/patient_{p + 8 * n * shift}_{k}.png"
            for n, s in enumerate(("train", "test"))
            for c in ("a", "b")
            for p in range(8)
            for k in range(3)
        ]

    whole = suggest(surveyed(paths(1), splits=True), "/data", BACKBONES)
    assert (whole.dials["split.method"], whole.dials["split.folds"]) == ("given", [0]) and "patient" in whole.dials["data.group"]
    assert "split: as given (train 48, test 48)" in whole.said
    torn = suggest(surveyed(paths(0), splits=True), "/data", BACKBONES)
    assert torn.dials["data.group"] == ""
    assert any("8 of 8 groups (patient and a number) are torn by the given split" in line for line in torn.said)
    half = surveyed([path for path in paths(1) if path.startswith("train")], splits=True)
    with pytest.raises(InputError, match="the split that the images come with has no val or test images"):
        suggest(half, "/data", BACKBONES)


def test_a_tables_groups_need_no_expression() -> None:
    paths = [f"{c}/patient_{k % 9}_{k}.png" for c in ("cat", "dog") for k in range(40)]
    table = replace(surveyed(paths, source="csv"), groups=[f"g{k % 16}" for k in range(80)])
    chosen = suggest(table, "/data", BACKBONES)
    assert (chosen.dials["data.group"], chosen.dials["split.method"]) == ("", "grouped")
    assert "groups: 16, of the table's column group" in chosen.said


@pytest.mark.parametrize(("rare", "folds"), [(100, 4), (5, 4), (4, 2)])
def test_as_many_folds_as_the_rarest_class_fills(rare: int, folds: int) -> None:
    labels = ["common"] * 60 + ["rare"] * rare
    fits = feasible(labels, [str(k) for k in range(len(labels))], "stratified")
    assert fits is not None and fits[0] == folds


def test_too_few_of_a_class_is_one_line_with_its_name() -> None:
    with pytest.raises(InputError, match=r"cannot split into two folds: the rarest class, 'newt', has 2 images; add images or leave"):
        dials([f"cat/{k}.png" for k in range(30)] + ["newt/1.png", "newt/2.png"])


@pytest.mark.parametrize(
    ("side", "lite0", "backbones", "kept", "raw"),
    [
        (8, 32, ["lite0"], 8, 8),
        (32, 32, ["lite0"], 32, 24),
        (90, 96, ["lite0"], 90, 24),
        (300, 96, ["lite0", "lite0_native"], 300, 24),
        (2000, 96, ["lite0", "lite0_native"], 256, 24),
    ],
)
def test_sizes_follow_the_median_side(side: int, lite0: int, backbones: list[str], kept: int, raw: int) -> None:
    sizes = replace(SIZES, width=side, height=side, side=side)
    chosen = dials([f"{c}/{k}.png" for c in "ab" for k in range(20)], sizes=sizes)
    assert chosen["backbones.lite0.image_size"] == chosen["backbones.lite0_half.image_size"] == lite0
    assert (chosen["features.backbones"], chosen["prepare.max_side"], chosen["heads.raw_pixels_side"]) == (backbones, kept, raw)


def test_many_images_do_without_the_native_size() -> None:
    assert dials([f"{c}/{k}.png" for c in "ab" for k in range(6000)])["features.backbones"] == ["lite0"]


def test_only_photographs_are_mirrored() -> None:
    paths = [f"{c}/{k}.png" for c in "ab" for k in range(20)]
    assert dials(paths)["finetune.augment"] == ["hflip"]
    assert dials(paths, sizes=replace(SIZES, colour=False))["finetune.augment"] == []
    assert dials(paths, sizes=replace(SIZES, side=28))["finetune.augment"] == []


def test_the_figure_is_the_area_under_the_curve_whatever_the_project_had() -> None:
    assert dials([f"{c}/{k}.png" for c in "abc" for k in range(20)])["evaluate.primary"] == "roc_auc"
