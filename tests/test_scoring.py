"""Figures by support, quadratic kappa and undefined classes, against scikit-learn; the others are in test_metrics.py."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from thaw import metrics, scoring
from thaw.measures import MEASURES
from thaw.sources.elpv import CLASSES


@pytest.fixture
def sample():
    """Four classes, of which predictions and resamples miss some; ten resamples."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 120)
    probabilities = metrics.probabilities_of(rng.normal(size=(120, 4)) + 1.5 * np.eye(4)[labels])
    weights = rng.integers(0, 3, size=(10, 120)).astype(float)
    weights[0, labels == 2] = 0
    predicted = np.where(probabilities.argmax(axis=1) == 3, 1, probabilities.argmax(axis=1))
    return labels, probabilities, predicted, weights


def test_figures_by_support_and_kappa_equal_scikit_learn(sample):
    labels, probabilities, predicted, weights = sample
    found = scoring.figures(labels, probabilities, predicted, weights, None, ordered=True)
    for b, weight in enumerate(weights):
        given: Any = {"average": "weighted", "sample_weight": weight, "zero_division": 0}
        expected = sk.precision_recall_fscore_support(labels, predicted, **given)
        assert [found[f"{name}_weighted"][b] for name in ("precision", "recall", "f1")] == pytest.approx(list(expected[:3]))
        assert found["quadratic_kappa"][b] == pytest.approx(
            sk.cohen_kappa_score(labels, predicted, weights="quadratic", sample_weight=weight)
        )


def test_kappa_is_one_for_agreement_minus_one_for_the_opposite_and_undefined_without_variety():
    same, opposite = np.diag([3.0, 0.0, 3.0]), np.array([[0, 0, 3.0], [0, 0, 0], [3, 0, 0]])
    alone = np.diag([3.0, 0.0, 0.0])
    found = scoring.quadratic_kappa(np.stack([same, opposite, alone, np.zeros((3, 3))]))
    assert found[:2].tolist() == [1.0, -1.0] and np.isnan(found[2:]).all()


def test_kappa_is_there_where_classes_are_ordered(sample):
    labels, probabilities, predicted, weights = sample
    assert list(scoring.figures(labels, probabilities, predicted, weights, np.ones(120))) == list(scoring.SCALARS)
    assert scoring.ordered(CLASSES["four_classes"])
    assert not any(scoring.ordered(names) for rule, names in CLASSES.items() if rule != "four_classes")
    assert not scoring.ordered(["p100", "p67", "p33", "p0"])


def test_scores_order_the_images_for_the_areas_alone(sample):
    labels, probabilities, predicted, weights = sample
    scores = np.random.default_rng(1).random((120, 4))
    plain = scoring.figures(labels, probabilities, predicted, weights, None)
    other = scoring.figures(labels, probabilities, predicted, weights, None, scores=scores)
    np.testing.assert_array_equal(other["roc_auc"], metrics.areas(labels, scores, weights)[0])
    assert all(np.array_equal(plain[name], other[name]) for name in plain if name not in ("roc_auc", "pr_auc"))
    monotone = scoring.figures(labels, probabilities, predicted, weights, None, scores=probabilities**3)
    np.testing.assert_allclose(monotone["pr_auc"], plain["pr_auc"])


def test_classes_that_no_image_or_every_image_has_are_undefined():
    assert scoring.undefined_classes(np.array([0, 2, 2, 0]), ["a", "b", "c"]) == ["b"]
    assert scoring.undefined_classes(np.array([1, 1]), ["a", "b", "c"]) == ["a", "b", "c"]
    assert scoring.undefined_classes(np.array([0, 0]), ["sound", "defective"]) == ["defective"]
    assert scoring.undefined_classes(np.array([0, 1]), ["sound", "defective"]) == []


def test_every_figure_has_a_name_and_a_direction():
    assert {*scoring.SCALARS, "roc_auc_within", "quadratic_kappa"} == set(MEASURES)
    assert {"log_loss", "brier", "ece"} == scoring.LOWER_IS_BETTER
