"""Folds that leave domains out: who trains on what, who is tested where, and one line where the data cannot."""

import numpy as np
import pandas as pd
import pytest

from thaw.errors import InputError
from thaw.folding import hold_out, leave_domains_out
from thaw.splits import INSIDE, TEST, TRAIN, VAL


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
