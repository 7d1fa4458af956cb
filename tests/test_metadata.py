"""What tells labels without pictures: the figure against scikit-learn's, intervals, planted and absent tells."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from thaw.metadata import FOREST, by_forest, by_position, metadata_aucs
from thaw.out_of_fold import OutOfFold, auc_gap, auc_with_interval, out_of_fold, plain
from thaw.sides import folds_by_number


def example(n: int = 240, classes: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    return rng, labels, folds_by_number(rng.integers(0, 4, n)), np.array([f"g{row // 6}" for row in range(n)])


@pytest.mark.parametrize("classes", [2, 3])
def test_the_auc_is_scikit_learns_over_all_predictions(classes: int) -> None:
    rng, labels, folds, _ = example(classes=classes)
    X = (labels + rng.normal(0, 1.5, len(labels)))[:, None]
    found = out_of_fold(folds, by_forest(X, labels))
    probabilities = np.full((len(labels), classes), np.nan)
    for seen, tested in folds:
        probabilities[tested] = RandomForestClassifier(max_samples=len(seen), **FOREST).fit(X[seen], labels[seen]).predict_proba(X[tested])
    scores = probabilities[:, 1] if classes == 2 else probabilities
    wanted = roc_auc_score(labels, scores, multi_class="ovr")
    assert plain(found.auc(labels), len(labels)) == pytest.approx(wanted, abs=3e-4)  # logits are rounded: ties
    assert wanted > 0.6


def test_an_image_counts_as_often_as_it_is_tested() -> None:
    """Where domains are left out: rows come twice, and a group's weight takes all of its predictions."""
    labels = np.array([0, 1, 0, 1])
    rows, probability = np.array([0, 1, 2, 3, 0, 1]), np.array([0.2, 0.9, 0.6, 0.4, 0.3, 0.1])
    found = OutOfFold(rows, np.stack([1 - probability, probability], axis=1))
    assert plain(found.auc(labels), 4) == pytest.approx(roc_auc_score(labels[rows], probability))
    without_last = found.auc(labels)(np.array([[1.0, 1.0, 1.0, 0.0]]))["auc"][0]
    kept = rows != 3
    assert without_last == pytest.approx(roc_auc_score(labels[rows][kept], probability[kept]))


def test_a_class_that_a_fold_has_not_seen_is_not_an_error() -> None:
    labels = np.array([0, 1] * 30 + [2] * 10)
    folds = [(np.arange(60), np.arange(60, 70)), (np.arange(10, 70), np.arange(10))]
    found = out_of_fold(folds, by_forest(np.arange(70.0)[:, None], labels))
    assert np.isfinite(found.probabilities).all() and found.probabilities.shape == (20, 3)


def test_a_column_that_says_nothing_is_at_chance_exactly() -> None:
    """Folds differ in their shares of classes; a constant must not be scored by the fold it is in."""
    labels = (np.arange(200) % 10 < 3).astype(int)
    labels[:50] = np.arange(50) % 2
    folds, groups = folds_by_number(np.arange(200) // 50), np.array([f"g{row // 5}" for row in range(200)])
    found = metadata_aucs({"dimensions": np.full((200, 3), 96.0)}, labels, folds, groups, 0)
    assert found["dimensions"] == {"auc": 0.5, "lo": 0.5, "hi": 0.5}


def test_what_gives_labels_away_is_found_alone_and_together() -> None:
    rng, labels, folds, groups = example(classes=2)
    columns = {"file_size": (labels + rng.normal(0, 0.4, len(labels)))[:, None], "brightness": rng.normal(size=(len(labels), 2))}
    found = metadata_aucs(columns, labels, folds, groups, 0)
    assert list(found) == ["position", "file_size", "brightness", "together"]
    for name, tells in (("position", False), ("file_size", True), ("brightness", False), ("together", True)):
        auc, lo, hi = (found[name][key] for key in ("auc", "lo", "hi"))
        assert auc is not None and lo is not None and hi is not None and lo < auc < hi
        assert (lo > 0.5 and auc > 0.8) == tells, name


def test_the_order_of_the_file_is_found() -> None:
    _, _, folds, groups = example(classes=2)
    labels = (np.arange(240) // 40) % 2  # forty of a kind in a row
    found = auc_with_interval(out_of_fold(folds, by_position(labels)), labels, groups, 0, 0.95)
    assert found["auc"] is not None and found["auc"] > 0.8 and found["lo"] is not None and found["lo"] > 0.7


def test_a_gap_is_the_difference_in_points() -> None:
    rng, labels, folds, groups = example(classes=2)
    strong, weak = (out_of_fold(folds, by_forest((labels + rng.normal(0, noise, 240))[:, None], labels)) for noise in (0.4, 3.0))
    gap = auc_gap(strong, weak, labels, groups, 0, 0.95)
    points = 100 * (plain(strong.auc(labels), 240) - plain(weak.auc(labels), 240))
    assert gap["points"] == pytest.approx(points, abs=0.01)
    assert gap["lo"] is not None and gap["hi"] is not None and 0 < gap["lo"] < points < gap["hi"]
    assert auc_gap(weak, weak, labels, groups, 0, 0.95) == {"points": 0.0, "lo": 0.0, "hi": 0.0}
