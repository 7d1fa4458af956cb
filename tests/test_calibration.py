"""Calibration error against its definition, temperature against a search, reliability by hand."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve

from thaw import calibration, metrics


def random_logits(rng, n, k, scale=2.0):
    logits = rng.normal(scale=scale, size=(n, k))
    labels = np.array([rng.choice(k, p=p) for p in metrics.probabilities_of(logits)])
    return logits, labels


def by_definition(probability, true, weight):
    """Sum over bins of (weight of the bin / all weight) x |mean probability - mean outcome|, images put into bins one by one."""
    total = 0.0
    for b in range(15):
        inside = np.array([(b / 15 < p <= (b + 1) / 15) or (b == 0 and p == 0) for p in probability])
        if weight[inside].sum() > 0:
            gap = np.average(probability[inside], weights=weight[inside]) - np.average(true[inside], weights=weight[inside])
            total += weight[inside].sum() / weight.sum() * abs(gap)
    return total


def test_of_two_classes_it_is_the_error_of_the_positive_probability():
    rng = np.random.default_rng(0)
    logits, labels = random_logits(rng, 300, 2)
    p, weights = metrics.probabilities_of(logits), rng.integers(0, 4, size=(5, 300)).astype(float)
    found = calibration.expected_calibration_error(labels, p, weights)
    for b in range(5):
        assert found[b] == pytest.approx(by_definition(p[:, 1], labels == 1, weights[b]))


def test_beyond_two_classes_it_is_the_error_of_the_likeliest_class():
    rng = np.random.default_rng(1)
    logits, labels = random_logits(rng, 300, 4)
    p, weights = metrics.probabilities_of(logits), rng.integers(0, 4, size=(5, 300)).astype(float)
    found = calibration.expected_calibration_error(labels, p, weights)
    for b in range(5):
        assert found[b] == pytest.approx(by_definition(p.max(axis=1), labels == p.argmax(axis=1), weights[b]))


def test_sure_and_right_is_zero_sure_and_wrong_is_one_and_nothing_is_undefined():
    p = np.array([[1.0, 0.0], [0.0, 1.0]])
    weights = np.array([[1.0, 1.0], [0.0, 0.0]])
    right, undefined = calibration.expected_calibration_error(np.array([0, 1]), p, weights)
    wrong = calibration.expected_calibration_error(np.array([1, 0]), p, weights)[0]
    assert (right, wrong) == (0.0, 1.0) and np.isnan(undefined)


def test_bins_are_closed_above_and_blind_to_the_last_bits():
    edge = 3 / 15
    found = calibration.bin_of(np.array([0.0, 1e-9, 1 / 15, edge, np.nextafter(edge, 1), np.nextafter(edge, 0), edge + 1e-9, 1.0]))
    assert found.tolist() == [0, 0, 0, 2, 2, 2, 3, 14]


def test_reliability_is_scikit_learns_curve():
    rng = np.random.default_rng(2)
    logits, labels = random_logits(rng, 200, 2, scale=1.0)
    p = metrics.probabilities_of(logits)
    table: Any = calibration.reliability(labels, p)
    share, mean = calibration_curve(labels, p[:, 1], n_bins=15)
    np.testing.assert_allclose(table["share"], share)
    np.testing.assert_allclose(table["confidence"], mean)
    assert table["n"].sum() == 200 and (table["n"] > 0).all()
    assert ((table["lower"] < table["confidence"]) & (table["confidence"] <= table["upper"])).all()
    gaps = (table["n"] / 200 * (table["confidence"] - table["share"]).abs()).sum()
    assert calibration.expected_calibration_error(labels, p, np.ones((1, 200)))[0] == pytest.approx(gaps)


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_the_temperature_minimises_log_loss_and_finds_the_one_that_was_applied(k, true):
    logits, labels = random_logits(np.random.default_rng(k), 4000, k)
    found = calibration.fit_temperature(logits * true, labels)

    def loss(log_t):
        return metrics.log_losses(labels, calibration.tempered(logits * true, np.exp(log_t))).mean()

    searched: Any = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-9})
    assert found == pytest.approx(np.exp(searched.x), rel=1e-4)
    assert loss(np.log(found)) <= searched.fun + 1e-12
    assert found == pytest.approx(true, rel=0.15)


def test_the_temperature_stays_within_its_bounds():
    labels = np.array([0, 1, 0, 1])
    perfect = np.eye(2)[labels]
    assert calibration.fit_temperature(perfect, labels) == calibration.COLDEST
    assert calibration.fit_temperature(-perfect, labels) == calibration.HOTTEST
    assert calibration.fit_temperature(np.full((4, 2), 7.0), labels) == 1.0


def test_tempering_keeps_the_order_and_undoes_scale():
    logits = np.random.default_rng(4).normal(size=(20, 3)).astype(np.float32)
    np.testing.assert_allclose(calibration.tempered(2.5 * logits, 2.5), metrics.probabilities_of(logits), rtol=1e-6)
    assert (calibration.tempered(logits, 9.0).argmax(axis=1) == logits.argmax(axis=1)).all()
