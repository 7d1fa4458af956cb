"""The fast path of logistic fits: scikit-learn's optima, on tall and on wide data, of two classes and of more."""

from itertools import product

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from thaw.logistic import curvatures, log_losses, path

STRENGTHS = [1e-4, 1e-3, 1e-2, 0.1, 1.0]


def problem(n: int, D: int, K: int, signal: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features of very different directions, and labels that they tell in part."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, D)) @ (rng.normal(size=(D, D)) * np.geomspace(1, 1e-3, D))
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    y = np.argmax(signal * Z[:, :K] + rng.gumbel(size=(n, K)), axis=1)
    y[:K] = np.arange(K)  # every class has a row
    return Z, y


def objective(W: np.ndarray, b: np.ndarray, Z: np.ndarray, y: np.ndarray, C: float) -> float:
    """As scikit-learn's documentation has it."""
    logits = Z @ W.T + b
    logits = np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits
    return -C * log_softmax(logits, axis=1)[np.arange(len(y)), y].sum() + (W**2).sum() / 2


@pytest.mark.parametrize(
    ("n", "D", "K", "signal"), [*product([300], [20, 200, 500], [2, 5], [0.5]), (300, 40, 2, 20.0), (40, 300, 3, 20.0)]
)
def test_optima_are_scikit_learns(n: int, D: int, K: int, signal: float) -> None:
    """Also where the classes can be told without a mistake, so that weights grow with C."""
    Z, y = problem(n, D, K, signal)
    for C, (W, b) in zip(STRENGTHS, path(Z, y, STRENGTHS), strict=True):
        theirs = LogisticRegression(C=C, tol=1e-9, max_iter=50_000).fit(Z, y)
        ours, best = objective(W, b, Z, y, C), objective(theirs.coef_, np.asarray(theirs.intercept_), Z, y, C)
        assert ours <= best * (1 + 2e-6)
        assert W.shape == theirs.coef_.shape
        np.testing.assert_allclose(
            Z @ W.T + b, theirs.decision_function(Z).reshape(n, -1), atol=0.02 * (1 + np.abs(theirs.coef_ @ Z.T).max())
        )


def test_where_a_fit_starts_decides_nothing() -> None:
    Z, y = problem(200, 60, 3)
    *_, (W, b) = path(Z, y, STRENGTHS)
    ((alone, offset),) = path(Z, y, STRENGTHS[-1:])
    assert objective(W, b, Z, y, 1.0) == pytest.approx(objective(alone, offset, Z, y, 1.0), rel=1e-5)


def test_a_constant_feature_and_equal_rows_are_no_obstacle() -> None:
    Z, y = problem(50, 80, 2)
    Z[:, 3], Z[10:20], y[10:20] = 0, Z[:10], y[:10]
    for W, b in path(Z, y, STRENGTHS):
        assert np.isfinite(W).all() and np.isfinite(b).all() and W[0, 3] == 0


def test_one_class_is_said() -> None:
    with pytest.raises(ValueError, match="two classes"):
        next(path(np.eye(3), np.zeros(3, dtype=np.int64), [1.0]))


@pytest.mark.parametrize("R", [1, 4])
def test_losses_derivatives_are_differences(R: int) -> None:
    rng, step = np.random.default_rng(1), 1e-6
    logits, y = rng.normal(size=(6, R)) * 3, rng.integers(0, max(2, R), 6)
    value, residuals = log_losses(logits, y)
    whole = np.hstack([np.zeros((6, 1)), logits]) if R == 1 else logits
    assert value == pytest.approx(-log_softmax(whole, axis=1)[np.arange(6), y].sum())
    for row, column in np.ndindex(6, R):
        moved = logits.copy()
        moved[row, column] += step
        assert (log_losses(moved, y)[0] - value) / step == pytest.approx(residuals[row, column], abs=1e-5)


def test_curvatures_bound_every_direction() -> None:
    logits = np.random.default_rng(2).normal(size=(50, 5)) * 4
    p = softmax(logits, axis=1)
    largest = [np.linalg.eigvalsh(np.diag(row) - np.outer(row, row))[-1] for row in p]
    assert (curvatures(logits) >= largest).all() and (curvatures(logits) <= 2 * np.array(largest) + 1e-12).all()
