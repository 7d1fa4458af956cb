"""Folds that leave domains out: who trains on what, who is tested where, and one line where the data cannot."""

import numpy as np
import pandas as pd
import pytest

from thaw.errors import InputError
from thaw.folding import given_split, hold_out, leave_domains_out
from thaw.splits import INSIDE, NOWHERE, TEST, TRAIN, VAL


def world(domains: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(12 * domains), 20)
    labels = rng.integers(0, 2, len(group))
    names = np.array(["mono", "poly", "thin"])[group % domains]
    return {"labels": labels, "groups": np.array([f"m{g:02d}" for g in group]), "domains": names}


def table_of(data: dict[str, np.ndarray], folds: int, seed: int = 0) -> pd.DataFrame:
    ids = [f"im{i}" for i in range(len(data["labels"]))]
    return leave_domains_out(data["labels"], data["groups"], data["domains"], ids, folds, 0.2, 0.2, seed)


@pytest.mark.parametrize("domains", [2, 3])
def test_a_fold_trains_on_one_domain_and_tests_on_the_others(domains: int) -> None:
    data = world(domains)
    table = table_of(data, domains)
    for k, name in enumerate(sorted(set(data["domains"].tolist()))):
        role, own = table[f"role_{k}"].to_numpy(), data["domains"] == name
        assert set(role[own]) == {TRAIN, VAL, INSIDE} and set(role[~own]) == {TEST}
        for group in np.unique(data["groups"][own]):
            assert len(set(role[data["groups"] == group])) == 1
        assert (role == INSIDE).sum() == pytest.approx(0.2 * own.sum(), rel=0.5)
        assert (role == VAL).sum() == pytest.approx(0.16 * own.sum(), rel=0.5)
        for part in (TRAIN, VAL, INSIDE, TEST):
            assert len(np.unique(data["labels"][role == part])) == 2


def test_the_seed_decides() -> None:
    data = world()
    assert table_of(data, 2).equals(table_of(data, 2))
    assert not table_of(data, 2).equals(table_of(data, 2, seed=1))


def test_what_the_data_cannot_fill_is_one_line() -> None:
    data = world()
    with pytest.raises(InputError, match=r"split\.folds: .* one of 2 domains \(mono, poly\) in each fold; use \[0, 1\]"):
        table_of(data, 4)
    with pytest.raises(InputError, match="needs two domains or more"):
        table_of(data | {"domains": np.full(len(data["labels"]), "all")}, 2)
    one_class = data | {"labels": np.where(data["domains"] == "mono", 0, data["labels"])}
    with pytest.raises(InputError, match="domain 'mono' has one class or one group only"):
        table_of(one_class, 2)


# ---- a split that the data come with


def given_of(given: list[str], groups: np.ndarray | None = None, labels: np.ndarray | None = None) -> pd.DataFrame:
    n = len(given)
    labels = np.arange(n) % 2 if labels is None else labels
    groups = np.array([f"g{k}" for k in range(n)]) if groups is None else groups
    return given_split(labels, groups, np.array(given), [f"im{k}" for k in range(n)], 0.25, 0)


def test_given_parts_are_kept() -> None:
    given = [TRAIN] * 20 + [VAL] * 10 + [TEST] * 10
    table = given_of(given)
    assert table["role_0"].tolist() == given and table["fold"].tolist() == [NOWHERE] * 30 + [0] * 10


@pytest.mark.parametrize("tested", [VAL, TEST])
def test_two_given_parts_are_train_and_test_and_validation_is_cut_from_train_in_whole_groups(tested: str) -> None:
    groups = np.array([f"g{k // 4}" for k in range(60)])
    table = given_of([TRAIN] * 40 + [tested] * 20, groups)
    role = table["role_0"].to_numpy()
    assert (role[40:] == TEST).all() and set(role[:40]) == {TRAIN, VAL} and (role == VAL).sum() == pytest.approx(10, abs=4)
    assert all(len(set(role[groups == group])) == 1 for group in np.unique(groups))
    assert table["fold"].tolist() == [NOWHERE] * 40 + [0] * 20


def test_what_given_parts_cannot_fill_is_one_line() -> None:
    for given, labels, said in (
        ([TRAIN] * 10 + [""] * 10, None, "not all do"),
        ([TRAIN] * 20, None, "the test part has one class only"),
        ([TRAIN] * 10 + [VAL] * 5 + [TEST] * 5, np.r_[np.arange(15) % 2, np.zeros(5, int)], "the test part has one class only"),
        ([TRAIN] * 10 + [VAL] * 5 + [TEST] * 5, np.r_[np.arange(15) % 2, 2, 2, 0, 0, 0], "class number 2 has no training image"),
    ):
        with pytest.raises(InputError, match=said):
            given_of(given, labels=labels)
    with pytest.raises(InputError, match="one image or group, so none can validate"):
        given_of([TRAIN] * 10 + [TEST] * 10, np.array(["g"] * 10 + ["h"] * 10))


def test_a_part_is_held_out_in_whole_groups_or_by_class_alone() -> None:
    labels, groups = np.arange(200) % 2, np.array([f"g{row // 10}" for row in range(200)])
    for method in ("grouped", "leave_domain_out", "stratified"):
        kept, held = hold_out(labels, groups, method, 0.2, 0)
        assert sorted([*kept, *held]) == list(range(200)) and 30 <= len(held) <= 50
        torn = set(groups[kept]) & set(groups[held])
        assert bool(torn) == (method == "stratified")
        assert (hold_out(labels, groups, method, 0.2, 0)[1] == held).all() and list(hold_out(labels, groups, method, 0.2, 1)[1]) != list(
            held
        )
    with pytest.raises(InputError, match="one group only"):
        hold_out(labels, np.array(["g"] * 200), "grouped", 0.2, 0)
    with pytest.raises(InputError, match="leaves a class without images"):
        hold_out(np.array([0] * 100 + [1] * 100), np.repeat(["a", "b"], 100), "grouped", 0.2, 0)
