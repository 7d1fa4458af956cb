"""Folds: everything tested once, groups whole, classes present, errors clear."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thaw.errors import InputError
from thaw.folding import make_splits
from thaw.leakage import torn_groups
from thaw.splits import TEST, TRAIN, VAL, fold_sha256, read_splits, rows_of, write_splits


def example(n_groups: int = 24, size: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels that cluster by group, in group order: the shape of data that leaks."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), size)
    labels = (rng.random(len(groups)) < rng.beta(0.5, 1.0, n_groups)[groups]).astype(np.int64)
    return labels, np.array([f"g{g}" for g in groups]), [f"i{row}" for row in range(len(groups))]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 100), folds=st.integers(2, 5), method=st.sampled_from(["grouped", "stratified"]))
def test_every_image_is_tested_once_and_roles_are_disjoint(seed: int, folds: int, method: str) -> None:
    labels, groups, ids = example(seed=seed)
    table = make_splits(labels, groups, ids, method, folds, 0.2, seed)
    assert table["id"].tolist() == ids
    for k in range(folds):
        roles = {role: set(rows_of(table, k, role)) for role in (TRAIN, VAL, TEST)}
        assert sum(len(rows) for rows in roles.values()) == len(ids)
        assert all(roles.values())
        assert roles[TEST] == set(np.flatnonzero(table["fold"] == k))
        assert set(labels[list(roles[TRAIN])]) == set(labels)
        if method == "grouped":
            members = [set(groups[list(rows)]) for rows in roles.values()]
            assert not members[0] & members[1] and not members[0] & members[2] and not members[1] & members[2]
    assert torn_groups(groups, table) == 0 if method == "grouped" else torn_groups(groups, table) > 0


def test_parts_are_balanced() -> None:
    labels, groups, ids = example(60, 10)
    for method, most in (("grouped", 0.12), ("stratified", 0.01)):
        table = make_splits(labels, groups, ids, method, 4, 0.2, 0)
        for k in range(4):
            test, val, rest = rows_of(table, k, TEST), rows_of(table, k, VAL), rows_of(table, k, TRAIN)
            assert abs(labels[test].mean() - labels.mean()) <= most
            assert len(val) / (len(val) + len(rest)) == pytest.approx(0.2, abs=0.05)


def test_the_seed_decides() -> None:
    labels, groups, ids = example()
    first, again, other = (make_splits(labels, groups, ids, "grouped", 4, 0.2, seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert first["fold"].tolist() != other["fold"].tolist()
    assert fold_sha256(first, 0) == fold_sha256(again, 0) != fold_sha256(other, 0)


def test_a_table_survives_the_file(tmp_path: Path) -> None:
    labels, groups, ids = example()
    table = make_splits(labels, groups, ids, "grouped", 3, 0.2, 0)
    write_splits(table, tmp_path / "splits.csv")
    pd.testing.assert_frame_equal(read_splits(tmp_path / "splits.csv"), table, check_dtype=False)


@pytest.mark.parametrize(
    ("labels", "groups", "folds", "said"),
    [
        (np.zeros(40, int), np.repeat(np.arange(20), 2), 2, "one class only"),
        (np.r_[np.zeros(38, int), 1, 1], np.repeat(np.arange(20), 2), 2, "class number 1 has 2 images, too few for 2 folds"),
        (np.arange(40) % 2, np.repeat(np.arange(4), 10), 4, "4 groups cannot fill 4 folds"),
    ],
)
def test_data_that_cannot_be_split_is_refused(labels: np.ndarray, groups: np.ndarray, folds: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_splits(labels, groups, [str(i) for i in range(len(labels))], "grouped", folds, 0.2, 0)


@pytest.mark.parametrize(("n_groups", "folds"), [(6, 2), (7, 2), (6, 3)])
def test_few_groups_are_split_or_refused_in_one_line(n_groups: int, folds: int) -> None:
    labels, groups, ids = np.arange(n_groups * 10) % 2, np.repeat(np.arange(n_groups), 10), [str(i) for i in range(n_groups * 10)]
    table = make_splits(labels, groups, ids, "grouped", folds, 0.2, 0)
    assert torn_groups(groups, table) == 0 and all(len(rows_of(table, k, VAL)) for k in range(folds))


def test_an_unknown_fold_is_named() -> None:
    labels, groups, ids = example()
    table = make_splits(labels, groups, ids, "grouped", 3, 0.2, 0)
    with pytest.raises(InputError, match="has no fold 9; its folds are 0 to 2"):
        rows_of(table, 9, TEST)
