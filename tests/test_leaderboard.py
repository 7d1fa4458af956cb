"""Pooling, ranking, thinning and remarks, on cases small enough to work out by hand."""

import numpy as np
import pytest

from thaw import leaderboard, metrics
from thaw.leaderboard import Candidate, FoldPredictions, Images, Scored

LABELS = np.array([0, 1, 0, 1, 1, 0])
IMAGES = Images(LABELS, np.array([0, 0, 0, 1, 1, 1]), list("aabbcc"), None, ["sound", "defective"])


def log_odds(probability):
    """(N, 2) float32 logits whose softmax gives ``probability`` to the second class."""
    p = np.array(probability, dtype=np.float64)
    return np.log(np.stack([1 - p, p], axis=1)).astype(np.float32)


def fold(val, val_probability, test, test_probability):
    return FoldPredictions(np.array(val), log_odds(val_probability), np.array(test), log_odds(test_probability))


def scored(name, replicates=(0.5, 0.6, 0.7), control=False, **pooled):
    candidate = Candidate("b", name, "head", control, np.full((6, 2), 0.5), np.zeros(6, dtype=np.int64), [0.5, 0.5])
    return Scored(candidate, pooled, {metric: np.array(replicates) for metric in pooled})


def test_each_image_is_predicted_by_its_fold_with_the_threshold_of_that_folds_validation():
    folds = [
        fold([3, 5], [0.3, 0.1], [2, 0, 1], [0.25, 0.15, 0.5]),  # threshold 0.2
        fold([0, 1], [0.7, 0.9], [3, 4, 5], [0.75, 0.85, 0.15]),  # threshold 0.8
    ]
    probabilities, predicted, thresholds = leaderboard.pool(folds, IMAGES, "balanced_accuracy")
    assert thresholds == pytest.approx([0.2, 0.8])
    np.testing.assert_allclose(probabilities[:, 1], [0.15, 0.5, 0.25, 0.75, 0.85, 0.15], rtol=1e-6)
    assert predicted.tolist() == [0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize("second", [[3, 4], [3, 4, 2], [3, 4, 5, 5]])
def test_images_tested_twice_or_never_are_refused(second):
    folds = [fold([3, 5], [0.3, 0.1], [0, 1, 2], [0.2, 0.2, 0.2]), fold([0, 1], [0.3, 0.1], second, [0.2] * len(second))]
    with pytest.raises(ValueError, match="exactly once"):
        leaderboard.pool(folds, IMAGES, "f1")


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


def test_holm_counts_the_contrasts_of_one_metric():
    reference = scored("reference", roc_auc=0.5, brier=0.1)
    up = np.linspace(0.6, 0.7, 99)
    still = Scored(reference.candidate, reference.pooled, {"roc_auc": np.full(99, 0.5), "brier": np.full(99, 0.1)})
    ranked = [
        scored("one", up, roc_auc=0.65, brier=0.65),
        scored("control", up, control=True, roc_auc=0.9, brier=0.9),
        scored("two", up, roc_auc=0.6, brier=0.6),
        still,
    ]
    table = leaderboard.contrasts(ranked, still, confidence=0.95)
    assert table[["strategy", "metric"]].values.tolist() == [["one", "roc_auc"], ["one", "brier"], ["two", "roc_auc"], ["two", "brier"]]
    np.testing.assert_allclose(table["p"], 0.02)
    np.testing.assert_allclose(table["p_holm"], 0.04)
    np.testing.assert_allclose(table["diff"], [0.15, 0.55, 0.1, 0.5])


def test_thinned_curve_keeps_ends_and_shape():
    rng = np.random.default_rng(0)
    positive = rng.random(3000) < 0.3
    x, y = metrics.roc_curve(rng.normal(size=3000) + positive, positive)
    few_x, few_y = leaderboard.thin(x, y)
    assert 150 < len(few_x) <= leaderboard.CURVE_POINTS
    assert (few_x[0], few_y[0], few_x[-1], few_y[-1]) == (0, 0, 1, 1)
    assert set(zip(few_x, few_y, strict=True)) <= set(zip(x, y, strict=True))
    assert np.trapezoid(few_y, few_x) == pytest.approx(np.trapezoid(y, x), abs=1e-3)
    assert leaderboard.thin(x[:5], y[:5])[0] is not None and len(leaderboard.thin(x[:5], y[:5])[0]) == 5


def test_remarks_say_what_the_resamples_cannot():
    ranked = [scored("a", replicates=[0.1, np.nan, 0.2], roc_auc=0.1), scored("b", roc_auc=0.2), scored("c", roc_auc=0.3)]
    table = leaderboard.contrasts(ranked, ranked[1], 0.95)
    undefined, coarse = leaderboard.remarks(ranked, table, resamples=3, confidence=0.95)
    assert undefined == "roc_auc is undefined in 1 of 3 resamples, which its intervals leave out"
    assert "use 80 or more" in coarse
    assert leaderboard.remarks(ranked[1:], table, resamples=80, confidence=0.95) == []
