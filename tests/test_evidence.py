"""The bootstrap against closed forms and simulations, Holm against a worked example."""

from statistics import NormalDist

import numpy as np
import pytest

from thaw import evidence


def mean_of(values):
    return lambda weights: {"mean": weights @ values / weights.sum(axis=1)}


def clustered(rng, groups, size, spread):
    """Values and group names: a normal effect per group plus unit noise per image."""
    values = np.repeat(rng.normal(scale=spread, size=groups), size) + rng.normal(size=groups * size)
    return values, [f"g{i:04d}" for i in np.repeat(np.arange(groups), size)]


# ---- resamples


def test_each_resample_draws_as_many_groups_as_there_are():
    counts = np.concatenate(list(evidence.draws(groups=7, resamples=5000, seed=3, at_once=999)))
    assert counts.shape == (5000, 7)
    assert (counts.sum(axis=1) == 7).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=0.06)  # 4 standard errors
    np.testing.assert_allclose(counts.var(axis=0), 6 / 7, rtol=0.15)  # binomial(7, 1/7)


def test_drawing_in_parts_changes_nothing_but_the_seed_does():
    whole = np.concatenate(list(evidence.draws(5, 100, seed=0, at_once=100)))
    parts = np.concatenate(list(evidence.draws(5, 100, seed=0, at_once=7)))
    np.testing.assert_array_equal(whole, parts)
    assert not np.array_equal(whole, np.concatenate(list(evidence.draws(5, 100, seed=1, at_once=100))))


def test_images_of_a_group_share_its_count(monkeypatch):
    monkeypatch.setattr(evidence, "CELLS", 10)  # two resamples at a time
    seen = []

    def statistic(weights):
        seen.append(weights)
        return {"total": weights.sum(axis=1)}

    [figures] = evidence.bootstrap([statistic], ["b", "a", "b", "c"], resamples=9, seed=0)
    weights = np.concatenate(seen)
    expected = np.concatenate(list(evidence.draws(3, 9, 0, 9)))
    np.testing.assert_array_equal(weights, expected[:, [1, 0, 1, 2]])
    np.testing.assert_array_equal(figures["total"], weights.sum(axis=1))
    assert max(map(len, seen)) == 2


def test_standard_error_of_a_mean_over_equal_groups_has_a_closed_form():
    values, groups = clustered(np.random.default_rng(0), groups=15, size=6, spread=1.0)
    [found] = evidence.bootstrap([mean_of(values)], groups, resamples=20_000, seed=1)
    means = values.reshape(15, 6).mean(axis=1)
    assert evidence.standard_error(found["mean"]) == pytest.approx(means.std() / np.sqrt(15), rel=0.02)  # 4 of its own errors


def test_order_of_images_changes_nothing():
    rng = np.random.default_rng(4)
    values, groups = clustered(rng, groups=8, size=5, spread=1.0)
    shuffled = rng.permutation(len(values))
    [straight] = evidence.bootstrap([mean_of(values)], groups, 300, seed=2)
    [mixed] = evidence.bootstrap([mean_of(values[shuffled])], [groups[i] for i in shuffled], 300, seed=2)
    np.testing.assert_allclose(straight["mean"], mixed["mean"], rtol=1e-12)


def test_same_seed_same_bits():
    values, groups = clustered(np.random.default_rng(5), 6, 4, 1.0)
    first, again, other = (evidence.bootstrap([mean_of(values)], groups, 50, seed)[0]["mean"] for seed in (0, 0, 1))
    assert first.tobytes() == again.tobytes() != other.tobytes()


# ---- intervals


def test_interval_is_the_middle_of_the_replicates():
    found = evidence.interval(np.arange(101.0), confidence=0.9)
    assert (found.lo, found.hi, found.left_out) == (pytest.approx(5), pytest.approx(95), 0)


def test_undefined_replicates_are_left_out_and_counted():
    found = evidence.interval(np.array([np.nan, 1.0, 2.0, 3.0, np.nan]), confidence=0.5)
    assert (found.lo, found.hi, found.left_out) == (1.5, 2.5, 2)
    nothing = evidence.interval(np.full(4, np.nan), confidence=0.95)
    assert np.isnan([nothing.lo, nothing.hi]).all() and nothing.left_out == 4


def test_intervals_over_groups_cover_and_intervals_over_images_do_not():
    rng = np.random.default_rng(6)
    covered = np.zeros(2)
    for repetition in range(300):
        values, groups = clustered(rng, groups=40, size=8, spread=1.0)
        images = [f"{i:04d}" for i in range(len(values))]
        for column, unit in enumerate((groups, images)):
            [found] = evidence.bootstrap([mean_of(values)], unit, resamples=200, seed=repetition)
            limits = evidence.interval(found["mean"], confidence=0.9)
            covered[column] += limits.lo <= 0.0 <= limits.hi
    by_group, by_image = covered / 300
    assert 0.83 <= by_group <= 0.95  # 0.9, less what 40 groups and 200 resamples cost; 3 standard errors either way
    assert by_image < 0.6  # theory: 2 Phi(1.645 / sqrt(design effect 4.5)) - 1 = 0.56


# ---- contrasts


def test_contrast_of_the_same_predictions_is_nothing():
    values, groups = clustered(np.random.default_rng(7), 10, 3, 1.0)
    order = np.argsort(values)  # the same mean, summed in another order: differs in the last bits
    one, same = evidence.bootstrap([mean_of(values), lambda w: {"mean": w[:, order] @ values[order] / w.sum(axis=1)}], groups, 200, 0)
    found = evidence.contrast(1.0, 1.0, one["mean"], same["mean"], 0.95)
    assert (found.diff, found.lo, found.hi, found.p, found.mde, found.left_out) == (0.0, 0.0, 0.0, 1.0, 0.0, 0)


def test_contrasts_are_paired():
    rng = np.random.default_rng(8)
    values, groups = clustered(rng, 20, 5, spread=3.0)
    better = values + 0.2 + rng.normal(scale=0.1, size=len(values))
    one, two = evidence.bootstrap([mean_of(values), mean_of(better)], groups, 2000, seed=0)
    found = evidence.contrast(better.mean(), values.mean(), two["mean"], one["mean"], 0.95)
    closed = (better - values).reshape(20, 5).mean(axis=1).std() / np.sqrt(20)
    assert found.mde == pytest.approx((1.959964 + 0.841621) * closed, rel=0.07)
    assert found.lo == pytest.approx(found.diff - 1.96 * closed, abs=closed / 3)
    assert found.hi == pytest.approx(found.diff + 1.96 * closed, abs=closed / 3)
    assert found.p == pytest.approx(2 / 2001)
    assert evidence.standard_error(one["mean"]) > 10 * closed


def test_contrast_is_antisymmetric_and_leaves_out_what_either_side_lacks():
    one, two = np.array([0.1, np.nan, 0.4, 0.3]), np.array([0.2, 0.2, 0.1, np.nan])
    there, back = evidence.contrast(0.3, 0.2, one, two, 0.9), evidence.contrast(0.2, 0.3, two, one, 0.9)
    assert there.left_out == back.left_out == 2
    assert (there.diff, there.lo, there.hi) == pytest.approx((-back.diff, -back.hi, -back.lo))
    assert there.p == back.p


def test_p_counts_ties_on_both_sides():
    assert evidence.two_sided_p(np.array([1.0, 2.0, 3.0, -1.0])) == pytest.approx(2 * 2 / 5)
    assert evidence.two_sided_p(np.array([0.0, 2.0, 3.0, 4.0, 5.0])) == pytest.approx(2 * 2 / 6)
    assert evidence.two_sided_p(np.zeros(9)) == 1.0
    assert evidence.two_sided_p(np.full(99, -1.0)) == pytest.approx(0.02)
    assert np.isnan(evidence.two_sided_p(np.zeros(0)))


def test_without_a_difference_p_is_about_uniform():
    rng = np.random.default_rng(9)
    found = []
    for repetition in range(500):
        values, groups = clustered(rng, groups=40, size=4, spread=1.0)
        other = values + np.repeat(rng.normal(size=40), 4) + rng.normal(size=160)
        one, two = evidence.bootstrap([mean_of(values), mean_of(other)], groups, 199, seed=repetition)
        found.append(evidence.contrast(other.mean(), values.mean(), two["mean"], one["mean"], 0.95).p)
    p = np.array(found)
    assert 0.025 <= np.mean(p <= 0.05) <= 0.09  # 3 standard errors: 0.029
    assert 0.42 <= np.mean(p <= 0.5) <= 0.58
    assert p.min() >= 2 / 200


# ---- many contrasts


def test_holm_on_a_worked_example():
    # sorted .005 .01 .03 .04 -> x4 x3 x2 x1 = .02 .03 .06 .04 -> never falling .02 .03 .06 .06
    found = evidence.holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])


def test_holm_stops_at_one_and_leaves_out_what_is_undefined():
    np.testing.assert_allclose(evidence.holm(np.array([0.6, np.nan, 0.5, 0.01])), [1.0, np.nan, 1.0, 0.03])
    assert evidence.holm(np.zeros(0)).shape == (0,)
    assert np.isnan(evidence.holm(np.array([np.nan]))).all()


def test_smallest_p_is_what_holm_leaves_of_the_smallest_p_of_the_bootstrap():
    least = evidence.two_sided_p(np.ones(999))
    assert evidence.smallest_p(999, 13) == pytest.approx(evidence.holm(np.array([least, *[0.9] * 12]))[0])


def test_minimum_detectable_difference_is_found_with_the_promised_chance():
    normal = NormalDist()
    for confidence in (0.9, 0.95, 0.99):
        shift = evidence.minimum_detectable(2.0, confidence) / 2.0
        limit = normal.inv_cdf((1 + confidence) / 2)
        found = 1 - normal.cdf(limit - shift) + normal.cdf(-limit - shift)
        assert found == pytest.approx(0.8, abs=1e-3)
    assert evidence.minimum_detectable(1.0, 0.95) == pytest.approx(2.8016, abs=1e-4)
