"""Figures from weights of groups against those from weights of images, resample by resample; test_metrics.py has scikit-learn for those."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from thaw import evidence, leaderboard, metrics, resampled, scoring


def said(n, classes, groups, seed=0):
    """``n`` samples of three folds; groups of about equal size, some across folds; some probabilities are equal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    p = metrics.probabilities_of((rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]).round(1))
    group = rng.permutation(np.arange(n) % groups)
    return resampled.Said(labels, p, p.argmax(axis=1), p, rng.integers(0, 3, n), p, group, rng.random(n))


def plain(of, ordered, weights):
    """Figures from weights (B, N) of the samples."""
    found = scoring.figures(of.labels, of.probabilities, of.predicted, weights, of.confidence, ordered, of.scores)
    found["roc_auc_within"] = leaderboard.within_folds(of.labels, of.fold_scores, of.fold, weights)
    return found


def check(of, counts, ordered=False):
    found, expected = resampled.statistic(of, ordered)(counts), plain(of, ordered, counts[:, of.group])
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-11, atol=1e-14, err_msg=name)
    return found


@pytest.mark.parametrize("classes, groups", [(2, 7), (2, 90), (4, 7), (4, 90)])  # 90: every group is one image
def test_figures_of_resamples_are_the_plain_ones(classes, groups):
    of, counts = said(90, classes, groups), next(evidence.draws(groups, 100, seed=1, at_once=100))
    check(of, counts, ordered=True)
    found = check(replace(of, confidence=None, scores=of.probabilities**3, fold_scores=-of.probabilities), counts)
    assert "weighted_accuracy" not in found and "quadratic_kappa" not in found


def test_parts_change_nothing(monkeypatch):
    of, counts = said(60, 3, 9), next(evidence.draws(9, 20, seed=2, at_once=20))
    whole = resampled.statistic(of, False)(counts)
    monkeypatch.setattr(resampled, "TOGETHER", 7)
    for name, values in resampled.statistic(of, False)(counts).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("classes", [2, 3])
def test_resamples_without_a_class_a_fold_or_anything_are_undefined_where_the_plain_ones_are(classes):
    of = said(60, classes, 60)
    counts = np.ones((5, 60))
    for row, gone in enumerate([of.labels == 1, of.labels != 1, of.fold == 2, (of.fold == 2) & (of.labels == 1), of.labels >= 0]):
        counts[row, of.group[gone]] = 0
    found = check(of, counts)
    assert np.isnan(found["roc_auc"]).tolist() == [classes == 2, True, False, False, True]
    assert np.isnan(found["roc_auc_within"][2]) and all(np.isnan(values[4]) for values in found.values())


def test_a_class_that_no_sample_has_is_left_out():
    of = said(60, 4, 6)
    check(replace(of, labels=np.where(of.labels == 2, 3, of.labels)), next(evidence.draws(6, 10, seed=3, at_once=10)))
    check(replace(said(60, 2, 6), labels=np.zeros(60, dtype=np.int64)), np.ones((1, 6)))


def test_a_resample_is_a_repetition_of_its_images():
    confidence = np.random.default_rng(5).random(80)
    of, counts = replace(said(80, 2, 8), confidence=confidence), next(evidence.draws(8, 12, seed=4, at_once=12))
    found = resampled.statistic(of, False)(counts)
    for b, count in enumerate(counts):
        drawn = np.repeat(np.arange(80), count[of.group].astype(int))
        y, p, called = of.labels[drawn], of.probabilities[drawn, 1], of.predicted[drawn]
        assert found["roc_auc"][b] == pytest.approx(sk.roc_auc_score(y, p))
        assert found["pr_auc"][b] == pytest.approx(sk.average_precision_score(y, p))
        assert found["balanced_accuracy"][b] == pytest.approx(sk.balanced_accuracy_score(y, called))
        assert found["f1_macro"][b] == pytest.approx(sk.f1_score(y, called, average="macro"))
        assert found["log_loss"][b] == pytest.approx(sk.log_loss(y, p))
        assert found["brier"][b] == pytest.approx(sk.brier_score_loss(y, p))
        assert found["weighted_accuracy"][b] == pytest.approx(sk.accuracy_score(y, called, sample_weight=confidence[drawn]))
        within = [sk.roc_auc_score(y[of.fold[drawn] == k], p[of.fold[drawn] == k]) for k in range(3)]
        assert found["roc_auc_within"][b] == pytest.approx(np.mean(within))
