"""The whole audit: each planted problem is found and said, clean data is called clean."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pictures import augmented, cells, flipped, reencoded, scenes, turned

from thaw.appearance import appearance_of
from thaw.folding import leave_domains_out, make_splits
from thaw.index import Dataset
from thaw.leakage import Cut, Seen, audit, position_auc, sorted_by_class, torn_groups
from thaw.sides import folds_by_number
from thaw.splits import INSIDE, TEST, TRAIN, VAL

N, PER_GROUP = 240, 6
CLASSES = ["sound", "defective"]


class World:
    """240 images in 40 groups, labels at random, a grouped split; problems are planted by changing what it holds."""

    def __init__(self, grouped: bool = True, make=scenes, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.images = list(make(N, 64))
        self.labels = rng.integers(0, 2, N)
        self.groups = (
            np.array([f"m{row // PER_GROUP:02d}" for row in range(N)]) if grouped else np.array([f"i{row:03d}" for row in range(N)])
        )
        self.file_size = rng.integers(1000, 2000, N)
        self.size = np.full(N, 64)
        self.bytes = [f"file{row}" for row in range(N)]
        self.dataset = Dataset("toy", CLASSES, grouped, False, "module", [])
        self.features: np.ndarray | None = None
        self.method = "grouped" if grouped else "stratified"

    def index(self) -> pd.DataFrame:
        ids = [f"i{row:03d}" for row in range(N)]
        table = pd.DataFrame({"id": ids, "path": ids, "group": self.groups, "label": np.array(CLASSES)[self.labels], "sha256": self.bytes})
        return table.assign(domain="all", weight=1.0, width=self.size, height=64, channels=1)

    def cut(self) -> Cut:
        ids = self.index()["id"].tolist()
        return Cut(make_splits(self.labels, self.groups, ids, self.method, 4, 0.2, 0), self.method, 0.2, 0)

    def audit(self, cut: Cut | None = None) -> dict:
        appearance = appearance_of(self.images)
        features = appearance.thumbnails[:, ::4, ::4].reshape(N, -1) if self.features is None else self.features
        found = audit(self.index(), self.dataset, cut or self.cut(), Seen(appearance, self.file_size, features), 0.01, "auc")
        return json.loads(json.dumps(found, allow_nan=False))  # as it is written

    def across(self, row: int) -> int:
        """Another row that a fold tests where it has seen ``row``."""
        fold = self.cut().splits["fold"].to_numpy()
        return int(np.flatnonzero(fold != fold[row])[0])


def sentence_with(found: dict, words: str) -> str:
    return next(sentence for sentence in found["verdict"]["sentences"] if words in sentence)


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("make", [scenes, cells])
def test_clean_data_is_called_clean(grouped: bool, make) -> None:
    found = World(grouped, make).audit()
    assert found["verdict"]["level"] == "clean" and len(found["verdict"]["sentences"]) == 1
    assert found["near_duplicates"]["pairs"] == found["exact_duplicates"]["pairs"] == found["groups_torn"] == 0
    assert found["near_duplicates"]["listed"] == found["near_duplicates"]["joined_groups"] == []
    assert (found["separability"] is None) == (found["split_gap"] is None) == (not grouped)
    assert all(each["lo"] <= 0.5 + 1e-9 or each["auc"] < 0.65 for each in found["metadata"].values())


def test_the_audit_holds_what_the_report_reads() -> None:
    found = World().audit()
    assert set(found) == {
        *("method", "images", "groups", "group_name", "groups_torn", "exact_duplicates", "metadata_auc", "folds", "words"),
        *("near_duplicates", "metadata", "sorted_by_class", "separability", "split_gap", "verdict"),
    }
    assert set(found["metadata"]) == {"position", "file_size", "dimensions", "brightness", "together"}
    assert found["metadata"]["position"]["auc"] == found["metadata_auc"]["this_split"] == found["metadata_auc"]["grouped"]
    assert sum(fold["images"] for fold in found["folds"]) == N
    assert (found["images"], found["groups"], found["method"]) == (N, 40, "grouped")


@pytest.mark.parametrize("copy", [lambda image: image, reencoded, flipped, turned, augmented])
def test_copies_across_folds_are_a_leak(copy) -> None:
    world = World()
    other = world.across(0)
    for offset in range(3):
        world.images[other + offset] = copy(world.images[offset])
    world.labels[other : other + 3] = 1 - world.labels[:3]
    found = world.audit(world.cut())
    near = found["near_duplicates"]
    pairs = {(pair["a"], pair["b"]) for pair in near["listed"]}
    assert {tuple(sorted((f"i{offset:03d}", f"i{other + offset:03d}"))) for offset in range(3)} == pairs
    assert near["pairs"] == near["conflicting_labels"] == 3 and near["across_folds"] >= 1
    assert all(
        pair["across_folds"] and not pair["same_label"] and not pair["same_group"] for pair in near["listed"][: near["across_folds"]]
    )
    assert found["verdict"]["level"] == "leak"
    assert f"{near['across_folds']} pair" in sentence_with(found, "on both sides of the split")
    assert "m00 with" in sentence_with(found, "join") and "3 pairs" in sentence_with(found, "Two labels")
    same = found["exact_duplicates"]["same_pixels"]["pairs"]
    assert same == (3 if copy(world.images[0]) is world.images[0] else 0)


def test_equal_files_are_counted() -> None:
    world = World()
    other = world.across(0)
    world.bytes[other], world.images[other] = world.bytes[0], world.images[0]
    found = world.audit()
    equal = found["exact_duplicates"]
    assert (equal["pairs"], equal["across_folds"]) == (1, 1) and equal["same_pixels"]["pairs"] == 1
    assert "1 pair of files is byte-equal, 1 on both sides of a fold" in " ".join(found["words"])
    assert "the same pixel for pixel" in sentence_with(found, "on both sides") and found["verdict"]["level"] == "leak"


def test_a_few_near_identical_images_of_many_are_a_caution() -> None:
    world = World()
    world.images[world.across(0)] = reencoded(world.images[0])
    found = world.audit()
    assert found["near_duplicates"]["images_across_folds"] == 2 and found["verdict"]["level"] == "caution"


def test_copies_within_a_group_are_none_of_the_splits_business() -> None:
    world = World()
    world.images[1], world.labels[1] = reencoded(world.images[0]), world.labels[0]
    found = world.audit()
    assert found["near_duplicates"]["pairs"] == 1 and found["near_duplicates"]["across_folds"] == 0
    assert found["near_duplicates"]["listed"][0]["same_group"] and found["verdict"]["level"] == "clean"


def test_a_torn_group_is_a_leak() -> None:
    world = World()
    cut = world.cut()
    role = cut.splits["role_0"].to_numpy().copy()
    torn = np.flatnonzero(role == TEST)[0]
    role[torn] = TRAIN
    found = world.audit(replace(cut, splits=cut.splits.assign(role_0=role)))
    assert found["groups_torn"] == 1 and found["verdict"]["level"] == "leak"
    assert "1 of 40 groups (module) are torn" in sentence_with(found, "torn")


def test_torn_groups_are_counted_by_fold_and_role() -> None:
    splits = pd.DataFrame(
        {"id": list("abcdef"), "role_0": [TRAIN, TEST, VAL, VAL, TRAIN, INSIDE], "role_1": [TEST, TEST, TRAIN, TRAIN, VAL, VAL]}
    )
    assert torn_groups(np.array(["p", "p", "q", "q", "r", "r"]), splits) == 2
    assert torn_groups(np.array(["p", "x", "q", "q", "r", "y"]), splits) == 0


def clustered(grouped: bool = True) -> World:
    """Labels that hang on the group, which the features show: a random split gains by it."""
    world = World(grouped)
    rng = np.random.default_rng(1)
    world.labels = (rng.random(N) < np.repeat(rng.beta(0.4, 0.4, 40), PER_GROUP)).astype(int)
    group = np.repeat(rng.normal(size=(40, 24)), PER_GROUP, axis=0)
    world.features = (group + 0.3 * rng.normal(size=(N, 24))).astype(np.float32)
    return world


def test_groups_torn_by_a_random_split_are_a_leak_where_a_probe_gains_by_it() -> None:
    world = clustered()
    world.method = "stratified"
    found = world.audit()
    gap = found["split_gap"]
    assert gap["lo"] > 0 and gap["this_split"] == gap["stratified"] > gap["grouped"]
    assert gap["points"] == pytest.approx(100 * (gap["stratified"] - gap["grouped"]), abs=0.02)
    assert found["separability"]["accuracy"] > 0.9 and found["separability"]["chance"] == pytest.approx(1 / 40)
    assert found["verdict"]["level"] == "leak" and "owed to that" in sentence_with(found, "torn between")


def test_groups_torn_without_gain_are_a_caution() -> None:
    world = World()
    world.method = "stratified"
    found = world.audit()
    assert found["verdict"]["level"] == "caution" and "does not show" in sentence_with(found, "torn between")


def test_grouped_folds_of_the_same_data_are_clean() -> None:
    found = clustered().audit()
    assert found["split_gap"]["this_split"] == found["split_gap"]["grouped"] and found["groups_torn"] == 0
    assert not any("torn between" in sentence for sentence in found["verdict"]["sentences"])


def test_the_order_of_the_file_can_give_labels_away() -> None:
    world = World(grouped=False)
    world.labels = (np.arange(N) // 40) % 2
    found = world.audit()
    assert found["metadata"]["position"]["auc"] > 0.8 and found["verdict"]["level"] == "leak"
    assert "neighbours in the file are alike" in sentence_with(found, "position")
    assert any("far above chance" in sentence for sentence in found["words"])


def test_a_file_that_is_sorted_by_class_is_said_to_be() -> None:
    world = World(grouped=False)
    world.labels = np.sort(world.labels)
    found = world.audit()
    assert found["sorted_by_class"] and found["verdict"]["level"] == "caution"
    assert "sorted by class" in sentence_with(found, "position")
    assert not sorted_by_class(np.array([0, 1, 0])) and sorted_by_class(np.array([2, 2, 0, 1]))


@pytest.mark.parametrize(("noise", "level"), [(20, "leak"), (1300, "caution")])
def test_file_size_can_give_labels_away(noise: int, level: str) -> None:
    world = World()
    world.file_size = world.file_size + 1000 * world.labels + np.random.default_rng(9).integers(0, noise, N) * 2
    found = world.audit()
    assert found["verdict"]["level"] == level and "saved or compressed differently" in sentence_with(found, "the size of the files")
    assert not any("together" in sentence for sentence in found["verdict"]["sentences"])  # one alone says it


def test_dimensions_and_brightness_can_give_labels_away() -> None:
    world = World()
    world.size = np.where(world.labels == 1, 64, 60)
    assert world.audit()["verdict"]["level"] == "leak"
    world = World()
    world.images = [
        np.minimum(255, image // 2 + 60 * label).astype(np.uint8) for image, label in zip(world.images, world.labels, strict=True)
    ]
    found = world.audit()
    assert found["verdict"]["level"] == "caution" and "exposed differently" in sentence_with(found, "brightness")


def test_where_domains_are_left_out_the_three_splits_are_compared() -> None:
    world = clustered()
    index = world.index()
    domains = np.where(np.arange(N) < N // 2, "mono", "poly")
    splits = leave_domains_out(world.labels, world.groups, domains, index["id"].tolist(), 2, 0.2, 0.2, 0)
    found = world.audit(Cut(splits, "leave_domain_out", 0.2, 0))
    gap = found["split_gap"]
    assert gap["this_split"] not in (gap["stratified"], gap["grouped"])
    assert found["groups_torn"] == 0 and found["metadata_auc"]["stratified"] is not None
    assert all(fold["inside_images"] > 0 for fold in found["folds"])
    assert any("under this split" in sentence and "probe" in sentence for sentence in found["words"])


def test_data_that_cannot_fill_the_other_split_is_audited_without_it() -> None:
    world = World()
    world.method, world.groups = "stratified", np.array([f"m{row % 3}" for row in range(N)])  # three groups fill no four folds
    found = world.audit()
    assert found["split_gap"] is None and found["metadata_auc"]["grouped"] is None
    assert "may look better" in sentence_with(found, "torn between")


def test_position_leaks_under_plain_folds_and_not_under_grouped_ones() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 30)
    labels = (rng.random(len(groups)) < rng.beta(0.5, 1.0, 40)[groups]).astype(np.int64)
    names, ids = np.array([f"g{g}" for g in groups]), [f"i{row}" for row in range(len(groups))]
    plain, grouped = (make_splits(labels, names, ids, method, 4, 0.2, 0)["fold"].to_numpy() for method in ("stratified", "grouped"))
    leaking, honest = position_auc(labels, folds_by_number(plain)), position_auc(labels, folds_by_number(grouped))
    assert leaking is not None and leaking > 0.75
    assert honest is not None and 0.3 < honest < 0.65
