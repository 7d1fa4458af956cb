"""Group-sparse relevance against its optimality conditions and scikit-learn's lasso."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from thaw.selection import PENALTY, gradient, group_lasso, kept, ranked, vanishing_penalty


def problem(n_classes: int, n: int = 200, dim: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features, correlated in pairs, of which the last three carry the classes."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % n_classes)
    Z = rng.normal(size=(n, dim))
    Z[:, 1::2] += 0.9 * Z[:, : dim - 1 : 2]
    Z[:, -3:] += 2 * rng.normal(size=(n_classes, 3))[y]
    return (Z - Z.mean(axis=0)) / Z.std(axis=0), y


def norms(W: np.ndarray) -> np.ndarray:
    return np.linalg.norm(W, axis=1)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_the_optimality_conditions_hold(n_classes: int, share: float) -> None:
    """Gradient = -penalty x direction where a feature has weight, of at most the penalty's length elsewhere, zero for b."""
    Z, y = problem(n_classes)
    targets = np.eye(n_classes)[y]
    penalty = share * vanishing_penalty(Z, targets)
    W, b = group_lasso(Z, targets, penalty, tolerance=1e-5)
    slope, used = gradient(Z, targets, W, b), norms(W) > 0
    assert 0 < used.sum() < len(W)
    np.testing.assert_allclose(slope[used], -penalty * W[used] / norms(W[used])[:, None], atol=1.1e-5 * penalty)
    assert norms(slope[~used]).max() <= penalty * (1 + 1.1e-5)
    np.testing.assert_allclose(softmax(Z @ W + b, axis=1).mean(axis=0), targets.mean(axis=0), atol=1.1e-5 * penalty)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_gradient_is_that_of_finite_differences(n_classes: int) -> None:
    Z, y = problem(n_classes, n=30, dim=5)
    rng = np.random.default_rng(1)
    W, b, targets = rng.normal(size=(5, n_classes)), rng.normal(size=n_classes), np.eye(n_classes)[y]

    def loss(W: np.ndarray) -> float:
        return -(targets * log_softmax(Z @ W + b, axis=1)).sum() / len(Z)

    steps = 1e-5 * np.eye(5 * n_classes).reshape(-1, 5, n_classes)
    differences = [(loss(W + step) - loss(W - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(gradient(Z, targets, W, b).ravel(), differences, atol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_features_leave_at_the_vanishing_penalty_and_not_before(n_classes: int) -> None:
    Z, y = problem(n_classes)
    targets = np.eye(n_classes)[y]
    limit = vanishing_penalty(Z, targets)
    for factor in (1.0, 1.5):
        W, b = group_lasso(Z, targets, factor * limit)
        assert (W == 0).all()
        np.testing.assert_allclose(softmax(b), targets.mean(axis=0))
    assert norms(group_lasso(Z, targets, 0.98 * limit)[0]).max() > 0


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_two_classes_are_the_lasso_of_scikit_learn(share: float) -> None:
    """W = (-w/2, w/2), whose rows have the norm |w| / sqrt 2: an L1 penalty on the one vector w."""
    Z, y = problem(2)
    penalty = share * vanishing_penalty(Z, np.eye(2)[y])
    W, _ = group_lasso(Z, np.eye(2)[y], penalty, tolerance=1e-7)
    C = np.sqrt(2) / (penalty * len(Z))
    theirs = LogisticRegression(l1_ratio=1.0, C=C, solver="saga", tol=1e-9, max_iter=50_000, random_state=0).fit(Z, y)
    np.testing.assert_allclose(W[:, 1] - W[:, 0], theirs.coef_[0], atol=1e-5)
    np.testing.assert_allclose(W.sum(axis=1), 0, atol=1e-12)


def test_almost_no_penalty_is_the_maximum_likelihood_of_scikit_learn() -> None:
    Z, y = problem(3, n=400, dim=6)
    y = np.where(np.random.default_rng(2).random(400) < 0.3, (y + 1) % 3, y)  # noisy labels: the optimum is finite
    W, b = group_lasso(Z, np.eye(3)[y], 1e-7, tolerance=0.1)
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(Z, y)
    np.testing.assert_allclose(softmax(Z @ W + b, axis=1), theirs.predict_proba(Z), atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_group_sparse_ranking(n_classes: int) -> None:
    """Columns with weight by its norm, then the others by their gradient's; what carries the classes comes first."""
    Z, y = problem(n_classes)
    targets = np.eye(n_classes)[y]
    ranking = ranked(Z, y, "group_sparse", [1.0])
    W, b = group_lasso(Z, targets, PENALTY * vanishing_penalty(Z, targets))
    used, rest = ranking[: (norms(W) > 0).sum()], ranking[(norms(W) > 0).sum() :]
    assert (np.diff(norms(W)[used]) <= 0).all() and (norms(W)[rest] == 0).all() and len(rest) > 0
    assert (np.diff(norms(gradient(Z, targets, W, b))[rest]) <= 0).all()
    assert set(ranking[:3]) == {117, 118, 119} and sorted(ranking) == list(range(120))
    assert (ranked(Z, y, "group_sparse", [1.0]) == ranking).all()
    missing = np.where(y == 0, 7, y)  # names of classes do not matter, nor that some are absent
    assert set(ranked(Z, missing, "group_sparse", [1.0])[:3]) == {117, 118, 119}


@pytest.mark.parametrize("n_classes", [2, 4])
def test_l2_ranking_is_by_the_weights_at_the_middle_strength(n_classes: int) -> None:
    Z, y = problem(n_classes)
    theirs = LogisticRegression(C=0.01, tol=1e-10, max_iter=10_000).fit(Z, y)
    ranking = ranked(Z, y, "l2", [1.0, 0.01, 1e-4])
    norms = np.linalg.norm(theirs.coef_, axis=0)[ranking]
    assert sorted(ranking) == list(range(Z.shape[1])) and (np.diff(norms) <= 1e-3 * norms.max()).all()  # but for near equals, falling
    assert set(ranking[:3]) == {117, 118, 119}


def test_constant_columns_come_last_and_equal_ones_from_left_to_right() -> None:
    Z, y = problem(2)
    Z[:, [3, 10]] = 0
    assert list(ranked(Z, y, "group_sparse", [1.0])[-2:]) == [3, 10]
    assert list(ranked(Z, y, "l2", [1.0])[-2:]) == [3, 10]


def test_a_share_is_kept_from_left_to_right() -> None:
    ranking = np.array([4, 0, 3, 1, 2])
    assert list(kept(ranking, 0.4)) == [0, 4] and list(kept(ranking, 0.01)) == [4] and list(kept(ranking, 1.0)) == [0, 1, 2, 3, 4]
