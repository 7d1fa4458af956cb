"""Swaps against all 2^G of them and against swapped predictions; McNemar and DeLong against scipy and their definitions."""

from itertools import product
from math import erfc, sqrt

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from thaw import evidence, metrics, paired_tests


def auc_of_both(scores, other, labels):
    both, twice = np.column_stack([np.zeros(2 * len(labels)), np.concatenate([scores, other])]), np.tile(labels, 2)
    return lambda weights: {"auc": metrics.areas(twice, both, weights)[0]}


def total_of(values):
    return lambda weights: {"total": weights @ values}


@pytest.fixture
def pair():
    """Two scores of 60 images in 6 groups."""
    rng = np.random.default_rng(0)
    labels = (rng.random(60) < 0.4).astype(int)
    groups = [f"g{i % 6}" for i in range(60)]
    return rng.normal(size=60) + labels, rng.normal(size=60) + 0.5 * labels, labels, groups


def test_a_swap_is_a_swap_of_the_predictions(pair):
    scores, other, labels, groups = pair
    found = paired_tests.permuted(auc_of_both(scores, other, labels), groups, 20, seed=3)["auc"]
    kept = np.concatenate(list(paired_tests.throws(6, 20, 3, 20)))
    for b, own in enumerate(kept):
        keeps = own[[int(g[1:]) for g in groups]] == 1
        one, two = np.where(keeps, scores, other), np.where(keeps, other, scores)
        assert found[b] == pytest.approx(roc_auc_score(labels, one) - roc_auc_score(labels, two))


def test_throwing_in_parts_changes_nothing_and_coins_are_fair(monkeypatch, pair):
    scores, other, labels, groups = pair
    whole = paired_tests.permuted(auc_of_both(scores, other, labels), groups, 50, seed=1)["auc"]
    monkeypatch.setattr(evidence, "CELLS", 700)  # five at a time
    np.testing.assert_array_equal(whole, paired_tests.permuted(auc_of_both(scores, other, labels), groups, 50, seed=1)["auc"])
    coins = np.concatenate(list(paired_tests.throws(6, 4000, 0, 999)))
    np.testing.assert_allclose(coins.mean(axis=0), 0.5, atol=0.032)  # 4 standard errors
    assert set(np.unique(coins)) == {0.0, 1.0}


def test_p_is_the_share_of_all_swaps_that_differ_as_much(pair):
    scores, other, labels, groups = pair
    statistic = auc_of_both(scores, other, labels)
    group = np.array([int(g[1:]) for g in groups])
    every = np.array(list(product([0.0, 1.0], repeat=6)))[:, group]
    all_swaps = statistic(np.hstack([every, 1 - every]))["auc"] - statistic(np.hstack([1 - every, every]))["auc"]
    diff = roc_auc_score(labels, scores) - roc_auc_score(labels, other)
    exact = np.mean(np.abs(all_swaps) >= abs(diff) - 1e-12)
    p = paired_tests.permutation_p(diff, paired_tests.permuted(statistic, groups, 4000, seed=0)["auc"])
    assert 0.03 < exact < 0.9 and p == pytest.approx(exact, abs=0.03)


def test_the_same_predictions_have_p_one_and_the_smallest_p_is_one_in_all(pair):
    scores, _, labels, groups = pair
    none = paired_tests.permuted(auc_of_both(scores, scores.copy(), labels), groups, 99, seed=0)["auc"]
    assert paired_tests.permutation_p(0.0, none) == 1.0
    assert paired_tests.permutation_p(0.3, none) == 0.01
    assert np.isnan(paired_tests.permutation_p(np.nan, none)) and np.isnan(paired_tests.permutation_p(0.1, np.array([np.nan])))


def test_without_a_difference_p_is_below_a_level_as_often_as_the_level_says():
    rng = np.random.default_rng(1)
    groups = [f"g{i:02d}" for i in np.repeat(np.arange(12), 4)]
    p = np.empty(400)
    for repetition in range(400):
        difference = np.repeat(rng.standard_t(3, size=12), 4)  # any symmetric law will do
        swapped = paired_tests.permuted(total_of(np.concatenate([difference, np.zeros(48)])), groups, 99, seed=repetition)
        p[repetition] = paired_tests.permutation_p(difference.sum(), swapped["total"])
    assert 0.02 <= np.mean(p <= 0.05) <= 0.08  # 0.05 within 3 standard errors
    assert 0.42 <= np.mean(p <= 0.5) <= 0.58


def test_smallest_p_knows_the_number_of_swaps_and_of_groups():
    assert paired_tests.smallest_p(999, 50, 15) == pytest.approx(evidence.holm(np.array([1 / 1000, *[0.9] * 14]))[0])
    assert paired_tests.smallest_p(10**6, 5, 1) == 1 / 16  # 2^5 swaps, in pairs of opposite sign
    assert paired_tests.smallest_p(200, 50, 1000) == 1.0


def test_midranks_are_scipys():
    values = np.random.default_rng(2).integers(0, 9, size=(50, 3)).astype(float)
    np.testing.assert_array_equal(paired_tests.midranks(values), stats.rankdata(values, axis=0))
    np.testing.assert_array_equal(paired_tests.midranks(values[:, 0]), stats.rankdata(values[:, 0]))


@pytest.mark.parametrize("only, only_other", [(0, 0), (3, 12), (12, 3), (7, 7), (0, 6), (40, 61)])
def test_mcnemar_is_the_binomial_test_of_disagreements(only, only_other):
    right = np.repeat([True, True, False, False], [only, 20, only_other, 5])
    other = np.repeat([False, True, True, False], [only, 20, only_other, 5])
    expected = stats.binomtest(only, only + only_other).pvalue if only + only_other else 1.0
    assert paired_tests.mcnemar(right, other) == pytest.approx(expected)


def delong_by_definition(scores, other, positive):
    """Structural components by comparing every positive with every negative."""
    components = []
    for s in (scores, other):
        wins = (s[positive][:, None] > s[~positive]) + 0.5 * (s[positive][:, None] == s[~positive])
        components.append((wins.mean(axis=1), wins.mean(axis=0), wins.mean()))
    (a10, a01, auc), (b10, b01, auc_other) = components
    S10, S01 = np.cov(np.stack([a10, b10])), np.cov(np.stack([a01, b01]))
    S = S10 / len(a10) + S01 / len(a01)
    contrast = np.array([1.0, -1.0])
    return erfc(abs(auc - auc_other) / sqrt(2 * contrast @ S @ contrast))


@pytest.mark.parametrize("decimals", [6, 0])  # without ties, and with many
def test_delong_is_its_definition(decimals):
    rng = np.random.default_rng(3)
    for _ in range(5):
        positive = rng.random(70) < 0.4
        scores, other = (rng.normal(size=(2, 70)) + positive).round(decimals)
        assert paired_tests.delong(scores, other, positive) == pytest.approx(delong_by_definition(scores, other, positive))


def test_delong_of_the_same_order_is_one_and_of_too_few_is_undefined():
    scores, positive = np.arange(8.0), np.arange(8) % 2 == 1
    assert paired_tests.delong(scores, np.exp(scores), positive) == 1.0
    assert np.isnan(paired_tests.delong(scores, -scores, np.arange(8) == 3))
    assert paired_tests.delong(np.array([0.0, 1, 2, 3]), np.array([3.0, 2, 1, 0]), np.array([False, False, True, True])) == 0.0
