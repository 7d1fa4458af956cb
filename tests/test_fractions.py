"""Shares of the labelled images: nested, of every class, by whole groups, and functions of (seed, id) alone."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thaw.fractions import By, Fraction, share
from thaw.runs import Identity

PERCENTS = (1, 5, 10, 25, 50, 75, 99, 100)


def world(n: int = 200, classes: int = 3, groups: int = 17, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(rows, labels, groups, ids) with some rows that are not asked for."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    labels[:classes] = np.arange(classes)
    return np.arange(0, n, 1)[: n - 10], labels, rng.integers(0, groups, n).astype(str), np.array([f"im{i}" for i in range(n)])


@given(st.sampled_from(["images", "groups"]), st.integers(0, 50), st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_shares_are_nested_and_grow(by: By, seed: int, classes: int) -> None:
    rows, labels, groups, ids = world(classes=classes, seed=seed)
    parts = [set(share(rows, labels, groups, ids, Fraction(by, percent), seed).tolist()) for percent in PERCENTS]
    assert all(small <= large for small, large in pairwise(parts))
    assert parts[-1] == set(rows.tolist())
    assert all(len(part) * 100 >= percent * len(rows) for part, percent in zip(parts, PERCENTS, strict=True))


def test_by_images_every_class_keeps_its_share() -> None:
    rows, labels, groups, ids = world()
    kept = share(rows, labels, groups, ids, Fraction("images", 25), 0)
    for label in np.unique(labels[rows]):
        assert (labels[kept] == label).sum() == -(-(labels[rows] == label).sum() // 4)
    assert (np.diff(kept) > 0).all()  # in the order of the rows


def test_by_groups_groups_stay_whole_and_there_are_two_classes() -> None:
    rows, labels, groups, ids = world()
    kept = set(share(rows, labels, groups, ids, Fraction("groups", 10), 0).tolist())
    for group in np.unique(groups[rows]):
        own = set(rows[groups[rows] == group].tolist())
        assert own <= kept or not own & kept
    lopsided = (groups == groups[5]).astype(int)  # one group has the second class to itself
    for seed in range(20):
        few = share(rows, lopsided, groups, ids, Fraction("groups", 1), seed)
        assert len(np.unique(lopsided[few])) == 2


@pytest.mark.parametrize("by", ["images", "groups"])
def test_order_of_the_rows_and_other_images_decide_nothing(by: By) -> None:
    rows, labels, groups, ids = world()
    plain = share(rows, labels, groups, ids, Fraction(by, 25), 3)
    order = np.random.default_rng(1).permutation(rows)
    assert set(share(order, labels, groups, ids, Fraction(by, 25), 3).tolist()) == set(plain.tolist())
    assert set(share(rows, labels, groups, ids, Fraction(by, 25), 4).tolist()) != set(plain.tolist())


def test_folder_and_name() -> None:
    from pathlib import Path

    fraction = Fraction("groups", 5)
    assert fraction.folder(Identity("lite0", "full", 2), Path("learning/heads")).as_posix() == "learning/heads/lite0/full/groups-5/2"
