"""Figures against scikit-learn with sample weights, on data with ties, missing classes and weights of zero."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from thaw import metrics, scoring


@st.composite
def samples(draw, least_classes=2, most_classes=4):
    """(labels, probabilities with ties, predicted, weights (B, N)); classes may be missing, weights may be 0, no row is all 0."""
    n, k, b = draw(st.integers(2, 25)), draw(st.integers(least_classes, most_classes)), draw(st.integers(1, 3))
    labels = draw(hnp.arrays(np.int64, n, elements=st.integers(0, k - 1)))
    parts = draw(hnp.arrays(np.int64, (n, k), elements=st.integers(0, 3)))
    parts[:, 0] += parts.sum(axis=1) == 0
    weights = draw(hnp.arrays(np.float64, (b, n), elements=st.sampled_from([0.0, 0.25, 1.0, 2.0, 3.7])))
    weights[:, 0] += 1.0
    predicted = draw(hnp.arrays(np.int64, n, elements=st.integers(0, k - 1)))
    return labels, parts / parts.sum(axis=1, keepdims=True), predicted, weights


def area(function, positive, scores, weight, needs_negative):
    """scikit-learn's area, or nan where it is not defined."""
    if weight[positive].sum() == 0 or (needs_negative and weight[~positive].sum() == 0):
        return np.nan
    return function(positive, scores, sample_weight=weight)


@given(samples())
@settings(max_examples=40, deadline=None)
def test_figures_of_decisions_equal_scikit_learn(sample):
    labels, probabilities, predicted, weights = sample
    classes = list(range(probabilities.shape[1]))
    found = scoring.figures(labels, probabilities, predicted, weights, None)
    matrix = metrics.confusion(labels, predicted, len(classes), weights)
    for b, weight in enumerate(weights):
        np.testing.assert_allclose(matrix[b], sk.confusion_matrix(labels, predicted, labels=classes, sample_weight=weight), atol=1e-12)
        assert found["accuracy"][b] == pytest.approx(sk.accuracy_score(labels, predicted, sample_weight=weight))
        seen = sorted({int(y) for y, w in zip(labels, weight, strict=True) if w > 0})
        same = {"sample_weight": weight, "zero_division": 0.0}
        expected = sk.recall_score(labels, predicted, labels=seen, average="macro", **same)
        assert found["balanced_accuracy"][b] == pytest.approx(expected)
        expected = np.array(sk.precision_recall_fscore_support(labels, predicted, labels=classes, **same)[:3])
        each = [metrics.precision(matrix)[b], metrics.recall(matrix)[b], metrics.f1(matrix)[b]]
        np.testing.assert_allclose(each, expected, atol=1e-12)
        macro = [found[name][b] for name in ("precision_macro", "recall_macro", "f1_macro")]
        np.testing.assert_allclose(macro, expected.mean(axis=1), atol=1e-12)


@given(samples())
@settings(max_examples=40, deadline=None)
def test_areas_equal_scikit_learn_with_ties(sample):
    labels, probabilities, _, weights = sample
    for k in range(probabilities.shape[1]):
        roc, pr = metrics.roc_and_pr_auc(probabilities[:, k], labels == k, weights)
        for b, weight in enumerate(weights):
            assert roc[b] == pytest.approx(area(sk.roc_auc_score, labels == k, probabilities[:, k], weight, True), nan_ok=True)
            assert pr[b] == pytest.approx(area(sk.average_precision_score, labels == k, probabilities[:, k], weight, False), nan_ok=True)


@given(samples(least_classes=3))
@settings(max_examples=30, deadline=None)
def test_areas_beyond_two_classes_are_the_mean_over_the_classes_that_are_defined(sample):
    labels, probabilities, _, weights = sample
    columns = range(probabilities.shape[1])
    roc, pr = metrics.areas(labels, probabilities, weights)
    for b, weight in enumerate(weights):
        each = np.array([area(sk.roc_auc_score, labels == k, probabilities[:, k], weight, True) for k in columns])
        expected = each[~np.isnan(each)].mean() if not np.isnan(each).all() else np.nan
        assert roc[b] == pytest.approx(expected, nan_ok=True)
        each = np.array([area(sk.average_precision_score, labels == k, probabilities[:, k], weight, False) for k in columns])
        assert pr[b] == pytest.approx(each[~np.isnan(each)].mean())


def test_macro_auc_equals_scikit_learns_one_vs_rest():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    probabilities = metrics.probabilities_of(rng.normal(size=(200, 4)) + np.eye(4)[labels])
    roc, _ = metrics.areas(labels, probabilities, metrics.equal_weights(200))
    assert roc[0] == pytest.approx(sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"))


@given(samples())
@settings(max_examples=40, deadline=None)
def test_log_loss_and_brier_equal_scikit_learn(sample):
    labels, probabilities, predicted, weights = sample
    classes = list(range(probabilities.shape[1]))
    found = scoring.figures(labels, probabilities, predicted, weights, None)
    for b, weight in enumerate(weights):
        expected = sk.log_loss(labels, probabilities, sample_weight=weight, labels=classes)
        assert found["log_loss"][b] == pytest.approx(expected)
        assert found["brier"][b] == pytest.approx(sk.brier_score_loss(labels, probabilities, sample_weight=weight, labels=classes))


def test_binary_areas_are_those_of_the_second_class():
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    roc, pr = metrics.areas(labels, np.stack([1 - scores, scores], axis=1), metrics.equal_weights(4))
    assert roc[0] == pytest.approx(0.75)  # 3 of 4 pairs in order
    assert pr[0] == pytest.approx((1 + 2 / 3) / 2)


@given(samples())
@settings(max_examples=30, deadline=None)
def test_curves_equal_scikit_learn(sample):
    labels, probabilities, _, _ = sample
    scores, positive = probabilities[:, 1], labels == 1
    if not 0 < positive.sum() < len(positive):
        return
    fpr, tpr, _ = sk.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(metrics.roc_curve(scores, positive), (fpr, tpr))
    precision, recall, _ = sk.precision_recall_curve(positive, scores)
    np.testing.assert_allclose(metrics.pr_curve(scores, positive), (recall[::-1], precision[::-1]))


def test_whole_weights_are_repetition():
    rng = np.random.default_rng(1)
    labels, counts = rng.integers(0, 2, 60), rng.integers(0, 4, 60)
    probabilities = metrics.probabilities_of(rng.normal(size=(60, 2)).round(1))
    predicted, confidence = metrics.decide(probabilities, 0.4), rng.random(60)
    weighted = scoring.figures(labels, probabilities, predicted, counts[None].astype(float), confidence)
    r = np.repeat(np.arange(60), counts)
    repeated = scoring.figures(labels[r], probabilities[r], predicted[r], metrics.equal_weights(len(r)), confidence[r])
    assert tuple(weighted) == scoring.SCALARS
    for name in scoring.SCALARS:
        assert weighted[name][0] == pytest.approx(repeated[name][0]), name


def test_weighted_accuracy_is_accuracy_weighted_by_confidence():
    labels, predicted = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1])
    confidence = np.array([1.0, 1 / 3, 1 / 3, 1.0])
    probabilities = np.full((4, 2), 0.5)
    found = scoring.figures(labels, probabilities, predicted, np.array([[1.0, 1, 1, 1], [1, 1, 2, 0]]), confidence)
    np.testing.assert_allclose(found["weighted_accuracy"], [(4 / 3) / (8 / 3), (4 / 3) / 2])
    assert "weighted_accuracy" not in scoring.figures(labels, probabilities, predicted, np.ones((1, 4)), None)


def test_what_is_not_defined_is_nan_and_only_that():
    labels = np.array([0, 0, 1])
    probabilities = np.array([[0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    weights = np.array([[1.0, 1, 0], [0, 0, 1], [0, 0, 0], [1, 1, 1]])
    found = scoring.figures(labels, probabilities, np.array([0, 1, 1]), weights, np.ones(3))
    assert np.isnan(found["roc_auc"]).tolist() == [True, True, True, False]
    assert np.isnan(found["pr_auc"]).tolist() == [True, False, True, False]
    for name in set(scoring.SCALARS) - {"roc_auc", "pr_auc"}:
        assert np.isnan(found[name]).tolist() == [False, False, True, False], name
    assert found["balanced_accuracy"].tolist()[:2] == [0.5, 1.0]


def test_softmax_is_stable_and_double():
    found = metrics.probabilities_of(np.array([[1000.0, 0.0], [-1e4, -1e4]], dtype=np.float32))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[1.0, 0.0], [0.5, 0.5]])


# ---- decisions


def quality(labels, scores, threshold, criterion):
    predicted = (scores >= threshold).astype(int)
    if criterion == "f1":
        return sk.f1_score(labels, predicted, zero_division=0.0)  # type: ignore[arg-type]  # its signature is inferred as str
    return sk.balanced_accuracy_score(labels, predicted)


@pytest.mark.parametrize("criterion", ["balanced_accuracy", "f1"])
@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 1)), min_size=2, max_size=14))
@settings(max_examples=40, deadline=None)
def test_threshold_is_the_best_of_all_and_the_nearest_to_one_half(criterion, pairs):
    scores, labels = np.array([s / 10 for s, _ in pairs]), np.array([y for _, y in pairs])
    chosen = metrics.choose_threshold(scores, labels, criterion)
    if labels.min() == labels.max():
        assert chosen == 0.5
        return
    levels = np.unique(np.concatenate([[0.0], scores, [1.0]]))
    candidates = {float(m) for m in (levels[1:] + levels[:-1]) / 2} | {0.0, chosen}
    best = max(quality(labels, scores, t, criterion) for t in candidates)
    assert quality(labels, scores, chosen, criterion) == pytest.approx(best)
    equals = [t for t in candidates if 0 < t < 1 and quality(labels, scores, t, criterion) == pytest.approx(best)]
    middles = [t for t in equals if scores.min() < t < scores.max()]
    assert all(abs(chosen - 0.5) <= abs(t - 0.5) + 1e-12 for t in middles)


def test_threshold_is_a_midpoint():
    assert metrics.choose_threshold(np.array([0.1, 0.2, 0.6, 0.9]), np.array([0, 0, 1, 1]), "balanced_accuracy") == pytest.approx(0.4)


def test_of_equal_thresholds_at_equal_distance_the_lower_is_taken():
    scores, labels = np.array([0.125, 0.375, 0.625, 0.875]), np.array([0, 1, 0, 1])
    assert metrics.choose_threshold(scores, labels, "balanced_accuracy") == 0.25  # 0.75 is as good and as far


@pytest.mark.parametrize("score, predicted", [(0.3, 0), (0.7, 1), (0.0, 0), (1.0, 1)])
def test_threshold_of_a_constant_score_keeps_its_side(score, predicted):
    scores = np.full(5, score)
    threshold = metrics.choose_threshold(scores, np.array([0, 0, 0, 1, 1]), "balanced_accuracy")
    assert (metrics.decide(np.stack([1 - scores, scores], axis=1), threshold) == predicted).all()


def test_threshold_between_neighbouring_floats_separates_them():
    lower = 0.5
    scores = np.array([lower, np.nextafter(lower, 1.0)])
    threshold = metrics.choose_threshold(scores, np.array([0, 1]), "balanced_accuracy")
    assert (scores >= threshold).tolist() == [False, True]


def test_decide():
    probabilities = np.array([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])
    assert metrics.decide(probabilities, 0.4).tolist() == [0, 1, 1]
    assert metrics.decide(probabilities, None).tolist() == [0, 0, 1]
    three = np.array([[0.2, 0.3, 0.5]])
    assert metrics.decide(three, None).tolist() == [2]
    with pytest.raises(ValueError, match="two classes"):
        metrics.decide(three, 0.5)


# ---- for training loops


def test_validation_figures():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 50)
    logits = rng.normal(size=(50, 3)).astype(np.float32)
    found = metrics.validation_figures(logits, labels)
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert found["auc"] == pytest.approx(sk.roc_auc_score(labels, probabilities, multi_class="ovr"))
    assert found["log_loss"] == pytest.approx(sk.log_loss(labels, probabilities))
    assert found["accuracy"] == pytest.approx((logits.argmax(axis=1) == labels).mean())
    assert all(type(value) is float for value in found.values())


def test_validation_auc_without_a_class_is_that_of_the_others():
    logits = np.array([[2.0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 2, 0]], dtype=np.float32)
    assert metrics.validation_figures(logits, np.array([0, 1, 0, 1]))["auc"] == pytest.approx(1.0)
    assert np.isnan(metrics.validation_figures(logits, np.array([1, 1, 1, 1]))["auc"])
    assert np.isnan(metrics.validation_figures(logits[:, :2], np.array([1, 1, 1, 1]))["auc"])


def test_import_is_light():
    code = "import sys, thaw.metrics; print([m for m in ('torch', 'sklearn', 'pandas', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
