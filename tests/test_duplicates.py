"""Copies: the search against brute force, planted copies found, clean data left alone."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import COPIES, cells, scenes

from thaw import duplicates
from thaw.appearance import appearance_of
from thaw.duplicates import (
    Pairs,
    close_pairs,
    cosine_threshold,
    count_equal,
    distances,
    hash_threshold,
    joined_groups,
    mutual_pairs,
    near_identical,
    nearest_by_features,
    pair_cosines,
    pair_distances,
    unit_rows,
    worst_first,
)


def codes(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**63, (8, n, 4), dtype=np.uint64)


def slow_distance(first: np.ndarray, symmetries: np.ndarray) -> int:
    return min(sum((int(a) ^ int(b)).bit_count() for a, b in zip(first, other, strict=True)) for other in symmetries)


def features_of(images: np.ndarray) -> np.ndarray:
    """Something that a network might see: block means, through fixed random directions and a ReLU."""
    thumbnails = appearance_of(images).thumbnails.reshape(len(images), -1)
    return np.maximum(0, thumbnails @ np.random.default_rng(0).normal(size=(1024, 64)).astype(np.float32))


def found_in(images: np.ndarray) -> set[tuple[int, int]]:
    pairs = near_identical(appearance_of(images).thumbnails, features_of(images)).pairs
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


def test_distances_and_pairs_are_those_of_counting_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "BLOCK", 7)  # so that blocks have ends inside
    monkeypatch.setattr(duplicates, "WIDTH", 11)
    code = codes(40)
    slow = np.array([[slow_distance(code[0, i], code[:, j]) for j in range(40)] for i in range(40)])
    np.testing.assert_array_equal(distances(code[0], code), slow)
    limit = int(np.quantile(slow, 0.2))
    wanted = [pair for pair in combinations(range(40), 2) if slow[pair] <= limit]
    assert sorted(map(tuple, close_pairs(code, limit).tolist())) == wanted
    np.testing.assert_array_equal(pair_distances(code, np.array(wanted)), [slow[pair] for pair in wanted])


def test_the_hash_threshold_is_a_share_of_the_distance_to_the_fifth_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    code = codes(30)
    slow = distances(code[0], code).astype(int)
    np.fill_diagonal(slow, 999)
    assert hash_threshold(code) == int(0.5 * np.quantile(np.sort(slow, axis=1)[:, 4], 0.1))
    monkeypatch.setattr(duplicates, "ASKED", 10)  # every third row
    assert hash_threshold(code) == int(0.5 * np.quantile(np.sort(slow, axis=1)[::3, 4], 0.1))
    assert hash_threshold(code[:, :1]) == duplicates.FLOOR == hash_threshold(np.repeat(code[:, :1], 9, axis=1))


def test_pairs_are_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    code = np.repeat(codes(1), 50, axis=1)
    assert len(close_pairs(code, 0)) == 50 * 49 // 2
    monkeypatch.setattr(duplicates, "MOST", 100)
    assert len(close_pairs(code, 0)) == 100


def test_nearest_by_features_is_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    monkeypatch.setattr(duplicates, "BLOCK", 7)
    X = np.random.default_rng(0).gamma(0.5, size=(60, 12)).astype(np.float32)
    X[:, 3] = 2.0  # a constant feature
    gap, nearest = (
        NearestNeighbors(n_neighbors=2, metric="cosine", algorithm="brute").fit(Z := StandardScaler().fit_transform(X)).kneighbors(Z)
    )
    found, cosine = nearest_by_features(unit_rows(X))
    np.testing.assert_array_equal(found, nearest[:, 1])
    np.testing.assert_allclose(cosine, 1 - gap[:, 1], atol=1e-5)
    rows = np.stack([np.arange(60), found], axis=1)
    np.testing.assert_allclose(pair_cosines(unit_rows(X), rows), cosine, atol=1e-5)


def test_the_cosine_threshold_stands_above_what_is_typical() -> None:
    """Six robust standard deviations: few normal values pass, a copy does; too few images say nothing."""
    rng = np.random.default_rng(0)
    typical = np.tanh(rng.normal(1.0, 0.1, 2000)).astype(np.float32)
    assert np.arctanh(cosine_threshold(typical)) == pytest.approx(1.0 + 6 * 0.1, abs=0.03)
    assert np.arctanh(cosine_threshold(np.r_[typical, np.ones(100, np.float32)])) == pytest.approx(1.6, abs=0.1)
    assert cosine_threshold(typical[:19]) == 1.0
    np.testing.assert_array_equal(mutual_pairs(np.array([1, 0, 1, 4, 3]), np.array([True, True, True, False, False])), [[0, 1]])


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("make", [scenes, cells])
def test_planted_copies_are_found_and_nothing_else(make: Callable[[int], np.ndarray], kind: str) -> None:
    images = make(120)
    copies = np.stack([COPIES[kind](image) for image in images[:6]])
    assert found_in(np.concatenate([images, copies])) == {(row, 120 + row) for row in range(6)}


@pytest.mark.parametrize("make", [scenes, cells])
def test_clean_images_have_no_pairs(make: Callable[[int], np.ndarray]) -> None:
    assert found_in(make(300)) == set()


def test_copies_of_everything_are_found() -> None:
    """Images multiplied before the split: what is typical must not be taken from the copies."""
    images = scenes(60)
    everything = np.concatenate([images, *(np.stack([COPIES[kind](image) for image in images]) for kind in ("flipped", "brightened"))])
    pairs = found_in(everything)
    assert {(row, row + 60) for row in range(60)} | {(row, row + 120) for row in range(60)} <= pairs
    assert {(a % 60 == b % 60) for a, b in pairs} == {True}


def test_what_features_alone_see_is_found_unless_the_hashes_are_at_odds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images whose features agree far more than usual, and whose hashes do not object."""
    images = scenes(100)
    features = np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32)
    features[41] = features[40] + 0.01
    thumbnails = appearance_of(images).thumbnails
    assert len(near_identical(thumbnails, features).pairs.first) == 0
    monkeypatch.setattr(duplicates, "AT_ODDS", 255)
    found = near_identical(thumbnails, features)
    assert (found.pairs.first.tolist(), found.pairs.second.tolist()) == ([40], [41])
    assert found.pairs.cosine[0] > found.cosine_threshold and found.pairs.distance[0] > found.hash_threshold


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), n=st.integers(2, 30))
def test_equal_pairs_are_counted_as_one_by_one(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    keys, labels = rng.integers(0, 4, n).astype(str).tolist(), rng.integers(0, 3, n)
    side = rng.choice(np.array([-1, 1], np.int8), (n, 3))
    pairs = [(a, b) for a, b in combinations(range(n), 2) if keys[a] == keys[b]]
    assert count_equal(keys, side, labels) == {
        "pairs": len(pairs),
        "across_folds": sum(any(side[a, k] * side[b, k] < 0 for k in range(3)) for a, b in pairs),
        "conflicting_labels": sum(labels[a] != labels[b] for a, b in pairs),
    }


def test_the_worst_come_first_and_groups_that_may_be_one_are_named() -> None:
    pairs = Pairs(np.array([0, 0, 1, 3]), np.array([1, 2, 3, 4]), np.array([0, 9, 9, 2]), np.array([0.9, 0.5, 0.8, 0.9]))
    across = np.array([False, True, True, False])
    assert worst_first(pairs, across, np.zeros(4, dtype=bool)).tolist() == [2, 1, 0, 3]
    assert worst_first(pairs, across, np.array([True, False, False, False])).tolist() == [2, 1, 3, 0]
    groups = np.array(["b", "b", "a", "a", "c"])
    assert joined_groups(pairs, groups) == [{"a": "a", "b": "b", "pairs": 2}, {"a": "a", "b": "c", "pairs": 1}]
    assert joined_groups(pairs, groups, most=1) == [{"a": "a", "b": "b", "pairs": 2}]
