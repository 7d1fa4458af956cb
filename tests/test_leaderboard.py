"""Pooling, scoring and ranking, on cases small enough to work out by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from thaw import leaderboard, metrics
from thaw.leaderboard import Candidate, Pooled, Scored
from thaw.samples import FoldPredictions, Images

LABELS = np.array([0, 1, 0, 1, 1, 0])
FOLD = np.array([0, 0, 0, 1, 1, 1])
IMAGES = Images(np.arange(6), FOLD, LABELS, list("aabbcc"), ["all"] * 6, None, ["sound", "defective"])


def log_odds(probability):
    """(N, 2) float32 logits whose softmax gives ``probability`` to the second class."""
    p = np.array(probability, dtype=np.float64)
    return np.log(np.stack([1 - p, p], axis=1)).astype(np.float32)


def fold(number, val, val_probability, test, test_probability):
    return FoldPredictions(number, LABELS[val], log_odds(val_probability), np.array(test), log_odds(test_probability))


def candidate(name, control=False, probability=(0.5,) * 6, classes=2):
    p = np.array(probability)
    probabilities = np.stack([1 - p, p], axis=1) if classes == 2 else p
    return Candidate("b", name, "head", control, Pooled(probabilities, probabilities.argmax(axis=1), [0.5, 0.5], probabilities, [1.0, 1.0]))


def scored(name, replicates=(0.5, 0.6, 0.7), control=False, **pooled):
    return Scored(candidate(name, control), pooled, {metric: np.array(replicates) for metric in pooled})


def test_each_image_is_predicted_by_its_fold_with_the_threshold_of_that_folds_validation():
    folds = [
        fold(0, [3, 5], [0.3, 0.1], [2, 0, 1], [0.25, 0.15, 0.5]),  # threshold 0.2
        fold(1, [0, 1], [0.7, 0.9], [3, 4, 5], [0.75, 0.85, 0.15]),  # threshold 0.8
    ]
    found = leaderboard.pool(folds, IMAGES, "balanced_accuracy")
    assert found.thresholds == pytest.approx([0.2, 0.8])
    np.testing.assert_allclose(found.probabilities[:, 1], [0.15, 0.5, 0.25, 0.75, 0.85, 0.15], rtol=1e-6)
    assert found.predicted.tolist() == [0, 1, 1, 0, 1, 0]


def test_each_fold_has_the_temperature_of_its_validation():
    folds = [
        fold(0, [1, 3, 4, 0], [0.9, 0.9, 0.9, 0.9], [0, 1, 2], [0.9, 0.5, 0.1]),  # three of four are positive: 0.75 would be right
        fold(1, [1, 0], [0.6, 0.4], [3, 4, 5], [0.6, 0.6, 0.5]),  # separated: as cold as may be
    ]
    found = leaderboard.pool(folds, IMAGES, "f1")
    assert found.temperatures == pytest.approx([2.0, 0.05], rel=1e-5)  # log 9 / log 3
    np.testing.assert_allclose(found.scaled[:, 1], [0.75, 0.5, 0.25, 1, 1, 0.5], atol=4e-4)


@pytest.mark.parametrize("second", [[3, 4], [3, 4, 2], [3, 4, 5, 5]])
def test_images_tested_twice_or_never_are_refused(second):
    folds = [fold(0, [3, 5], [0.3, 0.1], [0, 1, 2], [0.2, 0.2, 0.2]), fold(1, [0, 1], [0.3, 0.1], second, [0.2] * len(second))]
    with pytest.raises(ValueError, match="exactly once"):
        leaderboard.pool(folds, IMAGES, "f1")


def test_an_image_may_be_tested_by_several_models():
    twice = Images(np.array([0, 1, 1, 2]), np.array([1, 0, 1, 0]), LABELS[[0, 1, 1, 2]], list("aaab"), ["all"] * 4, None, ["a", "b"])
    folds = [fold(0, [3, 5], [0.3, 0.1], [2, 1], [0.2, 0.6]), fold(1, [3, 5], [0.3, 0.1], [0, 1], [0.4, 0.8])]
    np.testing.assert_allclose(leaderboard.pool(folds, twice, "f1").probabilities[:, 1], [0.4, 0.6, 0.8, 0.2], rtol=1e-6)
    with pytest.raises(ValueError, match="fold 0 predicts what is no sample of it"):
        leaderboard.pool([folds[1], fold(0, [3, 5], [0.3, 0.1], [0, 2], [0.2, 0.6])], twice, "f1")


def test_replicates_are_the_figures_without_each_group():
    p = np.array([0.2, 0.4, 0.6, 0.7, 0.8, 0.1])
    [found] = leaderboard.score([candidate("a", probability=p)], IMAGES, seed=0)
    for j, group in enumerate("abc"):
        kept = np.array([g != group for g in IMAGES.groups])
        assert found.replicates["roc_auc"][j] == pytest.approx(roc_auc_score(LABELS[kept], p[kept]))
        assert found.replicates["accuracy"][j] == pytest.approx(np.mean((p > 0.5)[kept] == LABELS[kept]))
    assert found.pooled["roc_auc"] == pytest.approx(roc_auc_score(LABELS, p))
    within = [roc_auc_score(LABELS[:3], p[:3]), roc_auc_score(LABELS[3:], p[3:])]
    assert found.pooled["roc_auc_within"] == pytest.approx(np.mean(within))
    assert list(found.pooled) == [name for name in leaderboard.FIGURES if name not in ("weighted_accuracy", "quadratic_kappa")]


def test_ordered_classes_have_a_kappa():
    images = Images(np.arange(4), np.zeros(4, int), np.arange(4), list("abcd"), ["all"] * 4, None, ["p0", "p33", "p67", "p100"])
    probabilities = np.eye(4)[[0, 1, 2, 2]] * 0.6 + 0.1
    who = Candidate("b", "s", "head", False, Pooled(probabilities, probabilities.argmax(axis=1), None, probabilities, [1.0]))
    found = who.pooled_figures(metrics.equal_weights(4), images)
    assert found["quadratic_kappa"][0] == pytest.approx(1 - 1 / ((14 + 6 + 2 * 6) / 4))  # squared distances, observed and by chance


def test_calibration_is_measured_before_and_after():
    raw, scaled = np.array([[0.1, 0.9], [0.1, 0.9]]), np.array([[0.25, 0.75], [0.25, 0.75]])
    who = Candidate("b", "s", "head", False, Pooled(raw, np.array([1, 1]), [0.5], scaled, [2.0]))
    images = Images(np.arange(2), np.zeros(2, int), np.array([1, 0]), ["a", "b"], ["all"] * 2, None, ["no", "yes"])
    found = leaderboard.calibration(who, images)
    assert found["temperatures"] == [2.0]
    assert found["raw"] == pytest.approx({"log_loss": -np.log(0.9 * 0.1) / 2, "brier": (0.01 + 0.81) / 2, "ece": 0.4})
    assert found["scaled"] == pytest.approx({"log_loss": -np.log(0.75 * 0.25) / 2, "brier": (0.0625 + 0.5625) / 2, "ece": 0.25})


def test_undefined_classes_are_counted_and_named_for_all_folds_and_each():
    images = Images(np.arange(4), np.array([0, 0, 1, 1]), np.array([0, 2, 0, 0]), list("abcd"), ["all"] * 4, None, ["x", "y", "z"])
    assert leaderboard.undefined_classes(images) == {
        "pooled": {"count": 1, "names": ["y"]},
        "folds": {"0": {"count": 1, "names": ["y"]}, "1": {"count": 3, "names": ["x", "y", "z"]}},
    }


def test_best_first_in_the_direction_of_the_metric_with_equals_in_order_and_undefined_last():
    entries = [scored("a", roc_auc=np.nan, log_loss=0.3), scored("b", roc_auc=0.7, log_loss=0.5), scored("c", roc_auc=0.9, log_loss=0.2)]
    entries.append(scored("d", roc_auc=0.9 + 1e-13, log_loss=0.9))
    assert [e.candidate.strategy for e in leaderboard.rank(entries, "roc_auc")] == ["c", "d", "b", "a"]
    assert [e.candidate.strategy for e in leaderboard.rank(entries, "log_loss")] == ["c", "a", "b", "d"]


def test_controls_are_never_on_the_podium():
    ranked = [scored("majority", control=True, roc_auc=1.0), scored("ridge", roc_auc=0.9), scored("knn", roc_auc=0.8)]
    names = {place: who and who["strategy"] for place, who in leaderboard.podium(ranked, ranked[2]).items()}
    assert names == {"reference": "knn", "winner": "ridge", "runner_up": "knn"}
    assert leaderboard.podium(ranked[:2], ranked[1])["runner_up"] is None
