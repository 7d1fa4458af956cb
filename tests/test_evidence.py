"""Jackknife and bootstrap against closed forms and simulations, t against scipy, Holm against a worked example."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

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


def test_bootstrap_of_a_mean_over_equal_groups_spreads_as_the_closed_form_says():
    values, groups = clustered(np.random.default_rng(0), groups=15, size=6, spread=1.0)
    [found] = evidence.bootstrap([mean_of(values)], groups, resamples=20_000, seed=1)
    means = values.reshape(15, 6).mean(axis=1)
    assert found["mean"].std() == pytest.approx(means.std() / np.sqrt(15), rel=0.02)  # 4 of its own errors


def test_jackknife_leaves_out_each_group_once_in_the_order_of_names(monkeypatch):
    monkeypatch.setattr(evidence, "CELLS", 8)  # two at a time
    values, groups = np.array([1.0, 2.0, 4.0, 8.0]), ["b", "a", "b", "c"]
    [found] = evidence.jackknife([lambda weights: {"total": weights @ values}], groups, seed=0)
    np.testing.assert_array_equal(found["total"], [13.0, 10.0, 7.0])


def test_many_groups_are_left_out_in_equal_blocks(monkeypatch):
    monkeypatch.setattr(evidence, "BLOCKS", 4)
    values = 10.0 ** np.arange(8)
    groups = [f"g{i}" for i in range(8)]
    [found] = evidence.jackknife([lambda weights: {"total": weights @ values}], groups, seed=0)
    gone = values.sum() - found["total"]
    assert len(gone) == 4 and gone.sum() == values.sum()
    assert all(sorted(str(int(block))).count("1") == 2 for block in gone)  # two groups to a block
    again, other = (evidence.jackknife([lambda weights: {"total": weights @ values}], groups, seed)[0]["total"] for seed in (0, 1))
    assert np.array_equal(found["total"], again) and not np.array_equal(np.sort(found["total"]), np.sort(other))


@pytest.mark.parametrize("resample", [lambda s, g: evidence.jackknife(s, g, 2), lambda s, g: evidence.bootstrap(s, g, 300, 2)])
def test_order_of_images_changes_nothing(resample):
    rng = np.random.default_rng(4)
    values, groups = clustered(rng, groups=8, size=5, spread=1.0)
    shuffled = rng.permutation(len(values))
    [straight] = resample([mean_of(values)], groups)
    [mixed] = resample([mean_of(values[shuffled])], [groups[i] for i in shuffled])
    np.testing.assert_allclose(straight["mean"], mixed["mean"], rtol=1e-12)


def test_same_seed_same_bits():
    values, groups = clustered(np.random.default_rng(5), 6, 4, 1.0)
    first, again, other = (evidence.bootstrap([mean_of(values)], groups, 50, seed)[0]["mean"] for seed in (0, 0, 1))
    assert first.tobytes() == again.tobytes() != other.tobytes()


# ---- intervals


def test_interval_of_a_mean_over_equal_groups_is_students():
    rng = np.random.default_rng(1)
    values, groups = clustered(rng, groups=15, size=6, spread=1.0)
    means = values.reshape(15, 6).mean(axis=1)
    [found] = evidence.jackknife([mean_of(values)], groups, seed=0)
    error = evidence.jackknife_error(found["mean"])
    assert error.se == pytest.approx(stats.sem(means))
    assert stats.kurtosis(means) < 0 and error.freedom == 14  # lighter tails than a normal's give no more freedom than there is
    limits = evidence.interval(values.mean(), found["mean"], 0.9)
    assert (limits.lo, limits.hi) == pytest.approx(stats.t.interval(0.9, 14, means.mean(), stats.sem(means)))


def test_freedom_falls_with_the_kurtosis_of_what_the_groups_contribute():
    replicates = np.array([0.0] * 20 + [1.0, -1.0])
    error = evidence.jackknife_error(replicates)
    assert error.freedom == pytest.approx(2 / (2 / 21 + stats.kurtosis(replicates) / 22))
    assert error.freedom < 5  # two groups of 22 say it all
    variances = np.random.default_rng(3).normal(size=(4000, 22)).var(axis=1, ddof=1)
    assert 2 * variances.mean() ** 2 / variances.var() == pytest.approx(21, rel=0.12)  # the definition, where the kurtosis is a normal's


def test_the_scale_keeps_limits_inside_the_range_and_is_undone():
    rng = np.random.default_rng(2)
    replicates = expit(logit(0.97) + rng.normal(scale=0.2, size=30))
    limits = evidence.interval(0.97, replicates, 0.95, "logit")
    plain = evidence.interval(float(logit(0.97)), logit(replicates), 0.95)
    assert (limits.lo, limits.hi) == pytest.approx((expit(plain.lo), expit(plain.hi)))
    assert 0 < limits.lo < 0.97 < limits.hi < 1
    assert 0.97 - limits.lo > limits.hi - 0.97  # further on the side where there is room
    losses = evidence.interval(0.5, 0.5 * np.exp(rng.normal(scale=0.3, size=30)), 0.95, "log")
    assert losses.lo * losses.hi == pytest.approx(0.25)
    kappas = evidence.interval(-0.5, np.tanh(-0.55 + rng.normal(scale=0.3, size=30)), 0.95, "atanh")
    assert np.arctanh(kappas.lo) + np.arctanh(kappas.hi) == pytest.approx(2 * np.arctanh(-0.5))


def test_at_the_end_of_the_range_the_interval_is_cut_off():
    replicates = np.array([0.98] * 9 + [1.0])
    limits = evidence.interval(0.982, replicates, 0.95, "logit")
    plain = evidence.interval(0.982, replicates, 0.95)
    assert limits.lo == plain.lo and limits.hi == 1.0 < plain.hi
    assert evidence.interval(1.0, np.ones(10), 0.95, "logit") == evidence.Interval(1.0, 1.0)


def test_what_is_undefined_without_a_group_has_no_interval():
    for replicates in (np.array([0.4, np.nan, 0.6]), np.array([0.5])):
        for link in (None, "logit"):
            limits = evidence.interval(0.5, replicates, 0.95, link)
            assert np.isnan([limits.lo, limits.hi]).all()
        found = evidence.contrast(0.5, 0.3, replicates, np.full(len(replicates), 0.3), 0.95)
        assert found.diff == pytest.approx(0.2) and np.isnan([found.lo, found.hi, found.p, found.mde]).all()


def test_intervals_over_groups_cover_and_intervals_over_images_do_not():
    rng = np.random.default_rng(6)
    covered = np.zeros(2)
    for _ in range(300):
        values, groups = clustered(rng, groups=12, size=8, spread=1.0)
        images = [f"{i:04d}" for i in range(len(values))]
        for column, unit in enumerate((groups, images)):
            [found] = evidence.jackknife([mean_of(values)], unit, seed=0)
            limits = evidence.interval(values.mean(), found["mean"], confidence=0.9)
            covered[column] += limits.lo <= 0.0 <= limits.hi
    by_group, by_image = covered / 300
    assert 0.85 <= by_group <= 0.96  # 3 standard errors either way
    assert by_image < 0.65  # theory: 2 Phi(1.645 / sqrt(design effect 4.5)) - 1 = 0.56


# ---- contrasts


def test_contrast_of_the_same_predictions_is_nothing():
    values, groups = clustered(np.random.default_rng(7), 10, 3, 1.0)
    order = np.argsort(values)  # the same mean, summed in another order: differs in the last bits
    one, same = evidence.jackknife([mean_of(values), lambda w: {"mean": w[:, order] @ values[order] / w.sum(axis=1)}], groups, 0)
    found = evidence.contrast(1.0, 1.0, one["mean"], same["mean"], 0.95)
    assert (found.diff, found.lo, found.hi, found.p, found.mde) == (0.0, 0.0, 0.0, 1.0, 0.0)


def test_contrast_of_two_means_is_the_paired_t_test():
    rng = np.random.default_rng(8)
    values, groups = clustered(rng, 20, 5, spread=3.0)
    better = values + 0.2 + np.repeat(rng.uniform(-0.5, 0.5, size=20), 5)
    one, two = evidence.jackknife([mean_of(values), mean_of(better)], groups, seed=0)
    found = evidence.contrast(better.mean(), values.mean(), two["mean"], one["mean"], 0.95)
    differences = (better - values).reshape(20, 5).mean(axis=1)
    assert stats.kurtosis(differences) < 0
    expected: Any = stats.ttest_1samp(differences, 0.0)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.lo, found.hi) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.mde == pytest.approx((stats.t.ppf(0.975, 19) + stats.t.ppf(0.8, 19)) * stats.sem(differences))
    assert evidence.jackknife_error(one["mean"]).se > 10 * stats.sem(differences)


def test_contrast_is_antisymmetric():
    one, two = np.array([0.1, 0.2, 0.4, 0.3]), np.array([0.2, 0.2, 0.1, 0.5])
    there, back = evidence.contrast(0.3, 0.2, one, two, 0.9), evidence.contrast(0.2, 0.3, two, one, 0.9)
    assert (there.diff, there.lo, there.hi) == pytest.approx((-back.diff, -back.hi, -back.lo))
    assert there.p == back.p and there.mde == back.mde


def test_p_is_the_level_at_which_the_interval_reaches_zero():
    replicates = np.random.default_rng(9).normal(0.3, 0.02, size=25)
    found = evidence.contrast(0.3, 0.0, replicates, np.zeros(25), 0.95)
    limits = evidence.interval(0.3, replicates, 1 - found.p)
    assert limits.lo == pytest.approx(0.0, abs=1e-9)


def test_a_difference_without_any_spread_is_certain():
    found = evidence.contrast(0.5, 0.25, np.full(5, 0.5), np.full(5, 0.25), 0.95)
    assert (found.diff, found.lo, found.hi, found.p) == (0.25, 0.25, 0.25, 0.0)


def test_share_better_counts_ties_by_half_and_knows_the_direction():
    differences = np.array([0.1, 0.2, 1e-15, -0.1, np.nan])
    assert evidence.share_better(differences, lower_is_better=False) == 2.5 / 4
    assert evidence.share_better(differences, lower_is_better=True) == 1.5 / 4
    assert np.isnan(evidence.share_better(np.full(3, np.nan), lower_is_better=False))


def test_without_a_difference_p_is_about_uniform():
    rng = np.random.default_rng(9)
    p = np.empty(500)
    for repetition in range(500):
        values, groups = clustered(rng, groups=20, size=4, spread=1.0)
        other = values + np.repeat(rng.normal(size=20), 4) + rng.normal(size=80)
        one, two = evidence.jackknife([mean_of(values), mean_of(other)], groups, seed=0)
        p[repetition] = evidence.contrast(other.mean(), values.mean(), two["mean"], one["mean"], 0.95).p
    assert 0.02 <= np.mean(p <= 0.05) <= 0.08  # 3 standard errors: 0.029
    assert 0.42 <= np.mean(p <= 0.5) <= 0.58


# ---- many contrasts


def test_holm_on_a_worked_example():
    # sorted .005 .01 .03 .04 -> x4 x3 x2 x1 = .02 .03 .06 .04 -> never falling .02 .03 .06 .06
    found = evidence.holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])


def test_holm_stops_at_one_and_leaves_out_what_is_undefined():
    np.testing.assert_allclose(evidence.holm(np.array([0.6, np.nan, 0.5, 0.01])), [1.0, np.nan, 1.0, 0.03])
    assert evidence.holm(np.zeros(0)).shape == (0,)
    assert np.isnan(evidence.holm(np.array([np.nan]))).all()


def test_minimum_detectable_difference_is_found_with_the_promised_chance():
    for confidence, freedom in ((0.9, 200.0), (0.95, 43.0), (0.99, 60.0)):
        shift = evidence.minimum_detectable(evidence.Error(2.0, freedom), confidence) / 2.0
        limit = stats.t.ppf((1 + confidence) / 2, freedom)
        assert stats.nct.sf(limit, freedom, shift) == pytest.approx(0.8, abs=0.01)  # Bloom's sum is the usual approximation
    assert evidence.minimum_detectable(evidence.Error(1.0, 1e9), 0.95) == pytest.approx(2.8016, abs=1e-4)
