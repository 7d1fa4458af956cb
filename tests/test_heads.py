"""Heads against closed forms and scikit-learn; controls that know nothing reach nothing."""

import tracemalloc

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from thaw import heads
from thaw.heads import (
    Head,
    Part,
    calibrated,
    fit_head2toe,
    fit_knn,
    fit_logistic,
    fit_majority,
    fit_metadata,
    fit_nearest_centroid,
    fit_ridge,
    raw_pixels,
    shuffled,
    smallest,
)
from thaw.selection import Relevance, kept, ranked


def example(n_classes: int = 2, n: int = 300, dim: int = 12, seed: int = 0) -> tuple[Part, Part]:
    """Two noisy samples around class centres, with features of very different scales and one that is constant."""
    rng = np.random.default_rng(seed)
    centres, scales = rng.normal(0, 1, (n_classes, dim)), 10 ** rng.uniform(-2, 2, dim)
    parts = []
    for _ in range(2):
        y = rng.integers(0, n_classes, n)
        X = (centres[y] + rng.normal(0, 1.5, (n, dim))) * scales + 3 * scales
        X[:, 0] = 7.0
        parts.append(Part(X.astype(np.float32), y))
    return parts[0], parts[1]


def standardised(train: Part, X: np.ndarray) -> np.ndarray:
    scale = train.X.std(axis=0, dtype=np.float64)
    return (X - train.X.mean(axis=0, dtype=np.float64)) / np.where(scale > 0, scale, 1)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_logistic_head_equals_scikit_learn_on_standardised_features(n_classes: int) -> None:
    train, val = example(n_classes)
    fitted = fit_logistic(train, val, [0.05], "auc", n_classes)
    theirs = LogisticRegression(C=0.05, tol=1e-8, max_iter=5000).fit(standardised(train, train.X), train.y)
    expected = theirs.predict_proba(standardised(train, val.X))
    np.testing.assert_allclose(softmax(fitted.predict(val.X), axis=1), expected, atol=2e-3)
    assert fitted.head is not None and fitted.head.W.shape == (n_classes, 12)
    np.testing.assert_allclose(fitted.head.logits(val.X), fitted.predict(val.X))
    if n_classes == 2:
        np.testing.assert_allclose(fitted.head.W[0], -fitted.head.W[1])


def test_the_path_ends_where_a_cold_start_does() -> None:
    train, val = example()
    path = fit_logistic(train, val, [1e-3, 1e-2, 0.1], "auc", 2)
    cold = fit_logistic(train, val, [path.chosen["C"]], "auc", 2)
    np.testing.assert_allclose(path.predict(val.X), cold.predict(val.X), atol=5e-3)


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
@pytest.mark.parametrize("seed", range(4))
def test_validation_chooses(metric: str, seed: int) -> None:
    """The strength that is kept is the one whose fit alone does best on validation."""
    train, val = example(n=60, seed=seed)
    strengths = [1e-6, 1e-2, 1e2]
    alone = {C: fit_logistic(train, val, [C], metric, 2).predict(val.X) for C in strengths}

    def reached(logits: np.ndarray) -> float:
        if metric == "auc":
            return roc_auc_score(val.y, logits[:, 1])
        return log_softmax(logits, axis=1)[np.arange(len(val.y)), val.y].mean()

    assert fit_logistic(train, val, strengths, metric, 2).chosen["C"] == max(alone, key=lambda C: reached(alone[C]))


def test_ridge_orders_images_as_ridge_classifier_does() -> None:
    train, val = example()
    fitted = fit_ridge(train, val, [10.0], "auc", 2)
    theirs = RidgeClassifier(alpha=10.0).fit(standardised(train, train.X), train.y).decision_function(standardised(train, val.X))
    ours = fitted.predict(val.X)
    margin = ours[:, 1] - ours[:, 0]
    assert np.corrcoef(margin, theirs)[0, 1] > 1 - 1e-6


def test_ridge_without_a_solution_is_said() -> None:
    with pytest.raises(ValueError, match="use larger strengths"):
        heads._ridge_weights(np.full((30, 4), np.nan), np.zeros((30, 2)), [1.0])


@pytest.mark.parametrize("n", [8, 300])
def test_ridge_weights_solve_the_normal_equations(n: int) -> None:
    """With more rows than features, and with fewer."""
    rng = np.random.default_rng(0)
    X, targets = rng.normal(size=(n, 20)), rng.normal(size=(n, 3))
    for strength, W in zip([100.0, 1.0], heads._ridge_weights(X, targets, [100.0, 1.0]), strict=True):
        np.testing.assert_allclose((X.T @ X + strength * np.eye(20)) @ W.T, X.T @ targets, atol=1e-8)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_nearest_centroid_decides_as_scikit_learn_does(n_classes: int) -> None:
    train, val = (Part(part.X[:, 1:], part.y) for part in example(n_classes))  # theirs warns of a constant feature
    theirs = NearestCentroid().fit(standardised(train, train.X), train.y).predict(standardised(train, val.X))
    assert (fit_nearest_centroid(train, val, n_classes).predict(val.X).argmax(axis=1) == theirs).mean() > 0.995


def test_knn_equals_scikit_learn() -> None:
    train, val = example(3)
    fitted = fit_knn(train, val, [7], "auc", 3)
    theirs = KNeighborsClassifier(7).fit(standardised(train, train.X), train.y).predict_proba(standardised(train, val.X))
    np.testing.assert_allclose(softmax(fitted.predict(val.X), axis=1), (theirs * 7 + 1 / 3) / 8, atol=1e-5)
    assert fitted.head is None and fitted.chosen == {"k": 7}


def test_knn_of_more_images_than_one_table_of_distances_holds() -> None:
    train, _ = example(3, n=60)
    many, _ = example(3, n=1100, seed=1)
    fitted = fit_knn(train, many, [5], "auc", 3)
    parts = [fitted.predict(many.X[start : start + 100]) for start in range(0, 1100, 100)]
    np.testing.assert_array_equal(fitted.predict(many.X), np.concatenate(parts))


def test_more_neighbours_than_rows_are_cut() -> None:
    train, val = example(n=20)
    assert fit_knn(train, val, [500], "auc", 2).chosen == {"k": 20}


@pytest.mark.parametrize("count", [1, 2, 7, 39, 40])
@pytest.mark.parametrize("kinds", [1, 3, 30, 10**6])  # distinct values, fewer than there are places or not
def test_the_smallest_are_the_first_of_a_stable_order(count: int, kinds: int) -> None:
    values = np.random.default_rng(count).integers(0, kinds, (50, 40)).astype(float)
    np.testing.assert_array_equal(smallest(values, count), np.argsort(values, axis=1, kind="stable")[:, :count])
    assert smallest(values[:0], count).shape == (0, count)


def test_memory_of_knn_does_not_grow_with_the_rows_asked() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8192, 4)).astype(np.float32), rng.integers(0, 2, 8192)
    fitted = fit_knn(Part(X[:1000], y[:1000]), Part(X[:50], y[:50]), [5], "auc", 2)

    def peak(rows: int) -> int:
        tracemalloc.start()
        try:
            fitted.predict(X[:rows])
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(8192) < 1.5 * peak(1024)


def deep(n_classes: int, n: int = 240) -> tuple[Part, Part, Part]:
    """Features of four blocks of 60, then 40 of the encoder: the classes stand in six columns of the second block alone, from 70 on."""
    rng = np.random.default_rng(n_classes)
    centres, scales = rng.normal(0, 1, (n_classes, 6)), 10 ** rng.uniform(-2, 2, 280)
    parts = []
    for _ in range(3):
        y = rng.integers(0, n_classes, n)
        X = rng.normal(0, 1, (n, 280))
        X[:, 70:76] += centres[y]
        parts.append(Part((X * scales + scales).astype(np.float32), y))
    return parts[0], parts[1], parts[2]


BOTH: list[Relevance] = ["group_sparse", "l2"]


@pytest.mark.parametrize("relevance", BOTH)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_head2toe_finds_what_an_early_block_knows(relevance: Relevance, n_classes: int) -> None:
    """It keeps the planted columns, beats the probe on the encoder's output and, having less to fit, all columns at once."""
    train, val, test = deep(n_classes)
    strengths = [1e-3, 1e-2, 0.1, 1.0]
    fitted = fit_head2toe(train, val, strengths, [0.025, 0.2, 1.0], relevance, "log_loss", n_classes)
    assert fitted.head is not None and fitted.chosen["keep"] < 1
    used = np.flatnonzero(np.abs(fitted.head.W).max(axis=0))
    assert len(used) == round(fitted.chosen["keep"] * 280) and len(set(range(70, 76)) & set(used)) >= 5

    probe = fit_logistic(Part(train.X[:, -40:], train.y), Part(val.X[:, -40:], val.y), strengths, "log_loss", n_classes)
    everything = fit_logistic(train, val, strengths, "log_loss", n_classes)

    def loss(logits: np.ndarray) -> float:
        return log_loss(test.y, softmax(logits.astype(float), axis=1))

    reached = loss(fitted.predict(test.X))
    assert reached < loss(probe.predict(test.X[:, -40:])) - 0.2 and reached < loss(everything.predict(test.X))
    np.testing.assert_array_equal(fitted.head.logits(test.X), fitted.predict(test.X))


@pytest.mark.parametrize("relevance", BOTH)
def test_head2toe_is_the_probe_on_the_columns_that_training_rows_rank_first(relevance: Relevance) -> None:
    """Whatever validation says of C and share, the ranking does not change with it: other rows have no part in it."""
    train, val, _ = deep(2)
    columns = kept(ranked(standardised(train, train.X), train.y, relevance, [1e-3, 0.1]), 0.1)
    for labels in (val.y, 1 - val.y):
        fitted = fit_head2toe(train, Part(val.X, labels), [1e-3, 0.1], [0.1], relevance, "auc", 2)
        alone = fit_logistic(Part(train.X[:, columns], train.y), Part(val.X[:, columns], labels), [1e-3, 0.1], "auc", 2)
        assert fitted.head is not None and alone.head is not None and len(columns) == 28
        np.testing.assert_array_equal(fitted.head.W[:, columns], alone.head.W)
        np.testing.assert_array_equal(fitted.head.b, alone.head.b)
        assert not np.delete(fitted.head.W, columns, axis=1).any()
        assert fitted.chosen == {"C": alone.chosen["C"], "keep": 0.1}


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("relevance", BOTH)
def test_head2toe_that_keeps_everything_is_the_probe_on_everything(relevance: Relevance, n_classes: int) -> None:
    train, val = example(n_classes)
    strengths = [1e-3, 1e-2, 0.1]
    fitted, probe = (
        fit_head2toe(train, val, strengths, [1.0], relevance, "auc", n_classes),
        fit_logistic(train, val, strengths, "auc", n_classes),
    )
    assert fitted.head is not None and probe.head is not None and fitted.chosen == {**probe.chosen, "keep": 1.0}
    np.testing.assert_array_equal(fitted.head.W, probe.head.W)
    np.testing.assert_array_equal(fitted.predict(val.X), probe.predict(val.X))


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_head2toe_validation_chooses_share_and_strength_together(metric: str) -> None:
    train, val, _ = deep(2, n=80)
    strengths, shares = [1e-4, 1e-2, 1.0], [0.01, 0.1, 1.0]
    alone = {(k, C): fit_head2toe(train, val, [C], [k], "group_sparse", metric, 2).predict(val.X) for k in shares for C in strengths}
    best = max(alone, key=lambda dial: heads.score(alone[dial], val.y, metric))
    chosen = fit_head2toe(train, val, strengths[::-1], shares[::-1], "group_sparse", metric, 2).chosen
    assert chosen == {"keep": best[0], "C": best[1]}


def test_head2toe_prefers_the_smallest_share_and_strongest_penalty_of_equals() -> None:
    y = np.arange(40) % 2
    part = Part(np.column_stack([y * 2.0 - 1, y * 3.0, y + 0.0]).astype(np.float32), y)  # every column alone is perfect
    assert fit_head2toe(part, part, [1.0, 0.1], [1.0, 0.3], "group_sparse", "auc", 2).chosen == {"C": 0.1, "keep": 0.3}


@pytest.mark.parametrize("relevance", BOTH)
def test_head2toe_twice_gives_the_same_bytes(relevance: Relevance) -> None:
    train, val, test = deep(4)
    first, again = (fit_head2toe(train, val, [1e-2, 0.1], [0.05, 0.2], relevance, "auc", 4).predict(test.X) for _ in range(2))
    assert first.tobytes() == again.tobytes()


def test_calibration_is_the_best_factor() -> None:
    train, val = example()
    head = Head(np.asarray(fit_ridge(train, val, [1.0], "auc", 2).head.W * 50), np.zeros(2, np.float32))  # type: ignore[union-attr]
    best = calibrated(head, val)

    def loss(factor: float) -> float:
        return log_loss(val.y, softmax(factor * best.logits(val.X).astype(float), axis=1)[:, 1])

    assert loss(1.0) < loss(0.97) and loss(1.0) < loss(1.03)


def test_majority_knows_the_shares_alone() -> None:
    train = Part(np.zeros((98, 3), np.float32), np.r_[np.zeros(69, int), np.ones(29, int)])
    probabilities = softmax(fit_majority(train, 2).predict(np.ones((4, 3), np.float32)), axis=1)
    np.testing.assert_allclose(probabilities, [[0.7, 0.3]] * 4, atol=1e-6)


def test_metadata_sees_positions() -> None:
    position = np.arange(100, dtype=np.float64)[:, None]
    y = (position[:, 0] > 50).astype(int)
    train, val = Part(position[::2], y[::2]), Part(position[1::2], y[1::2])
    assert (fit_metadata(train, val, [3], "auc", 2).predict(val.X).argmax(axis=1) == val.y).mean() > 0.95


def test_shuffled_labels_are_the_same_labels_elsewhere() -> None:
    train, _ = example()
    mixed = shuffled(train, 3)
    assert sorted(mixed.y) == sorted(train.y) and (mixed.y != train.y).any() and mixed.X is train.X
    assert (shuffled(train, 3).y == mixed.y).all() and (shuffled(train, 4).y != mixed.y).any()


def test_a_class_without_training_rows_is_never_predicted() -> None:
    train, val = example(2)
    head2toes = [fit_head2toe(train, val, [0.1], [0.5], relevance, "auc", 3) for relevance in BOTH]
    for fitted in (fit_logistic(train, val, [0.1], "auc", 3), fit_nearest_centroid(train, val, 3), *head2toes):
        assert softmax(fitted.predict(val.X), axis=1)[:, 2].max() < 1e-6


@pytest.mark.parametrize("channels", [1, 3])
def test_raw_pixels_are_box_means(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, channels), dtype=np.uint8)
    means = images.reshape(3, 4, 2, 4, 2, channels).mean(axis=(2, 4)).reshape(3, -1) / 255
    np.testing.assert_allclose(raw_pixels(images, 4), means, atol=1 / 255 + 1e-6)  # Pillow rounds after each axis
