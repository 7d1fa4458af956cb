"""The fast path of logistic fits: scikit-learn's optima, on tall and on wide data, of two classes and of more."""

from itertools import product

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from thaw.logistic import TOLERANCE, Design, Point, bends, curvatures, log_losses, lowest, path, solved, times, turned

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


@pytest.mark.parametrize("shape", [(60, 10), (20, 60)])
@pytest.mark.parametrize("spoilt", [np.nan, np.inf, 1e30])
def test_what_is_not_finite_in_single_precision_is_said_at_once(shape: tuple[int, int], spoilt: float) -> None:
    Z = np.random.default_rng(0).normal(size=shape)
    Z[3, 2] = spoilt
    with pytest.raises(ValueError, match="finite"), np.errstate(all="ignore"):
        list(path(Z, np.arange(len(Z)) % 2, [1.0, 10.0]))


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


@pytest.mark.parametrize("R", [1, 4])
def test_bends_are_second_differences(R: int) -> None:
    rng, step = np.random.default_rng(3), 1e-4
    logits, way, y = rng.normal(size=(6, R)) * 2, rng.normal(size=(6, R)), rng.integers(0, max(2, R), 6)
    ahead, here, behind = (log_losses(logits + length * way, y)[0] for length in (step, 0.0, -step))
    assert (ahead - 2 * here + behind) / step**2 == pytest.approx(bends(logits, way).sum(), rel=1e-4)


@pytest.mark.parametrize("n_logits", [1, 3])
@pytest.mark.parametrize("scale", [-30.0, 0.01, 1.0, 1000.0])
def test_the_lowest_point_of_a_line_is_found_however_long_the_way(n_logits: int, scale: float) -> None:
    Z, y = problem(60, 5, max(2, n_logits))
    rng = np.random.default_rng(4)
    point, way = (Point(V, Z @ V[:-1] + V[-1]) for V in (rng.normal(size=(6, n_logits)), rng.normal(size=(6, n_logits)) * scale))
    reached = point.moved(way, lowest(point, way, y, 0.3))
    around = [point.moved(way, lowest(point, way, y, 0.3) + off / abs(scale)) for off in (-0.1, 0.1)]
    value, *others = (objective(p.W.T, p.V[-1], Z, y, 0.3) for p in (reached, *around))
    assert all(value < other for other in others)


@pytest.mark.parametrize("R", [1, 3])
def test_products_and_triangular_solutions_are_numpys(R: int) -> None:
    rng = np.random.default_rng(5)
    A, U = (np.asfortranarray(rng.normal(size=size), np.float32) for size in ((4, 7), (4, 4)))
    U += 4 * np.eye(4, dtype=np.float32)
    B, wide = rng.normal(size=(4, R)), rng.normal(size=(7, R))
    np.testing.assert_allclose(times(A, wide, trans=0), A @ wide, atol=1e-5)
    np.testing.assert_allclose(times(A, B, trans=1), A.T @ B, atol=1e-5)
    np.testing.assert_allclose(np.triu(U) @ solved(U, B, trans=0), B, atol=1e-5)
    np.testing.assert_allclose(np.triu(U).T @ solved(U, B, trans=1), B, atol=1e-5)


def test_a_root_is_that_of_the_hessian() -> None:
    Z, _ = problem(50, 6, 2)
    curvature = np.random.default_rng(6).uniform(0.1, 2, 50)
    U, rows = np.triu(Design(Z).root(curvature)), np.column_stack([Z, np.ones(50)])
    np.testing.assert_allclose(U.T @ U, rows.T @ (curvature[:, None] * rows) + np.diag([1.0] * 6 + [0.0]), rtol=1e-4, atol=1e-2)


def test_turns_are_conjugate_and_never_back() -> None:
    """On a quadratic, with searches that are exact, three turns end at the optimum of three unknowns."""
    A, b = np.diag([1.0, 4.0, 9.0]), np.array([[1.0], [2.0], [3.0]])
    x, last = np.zeros((3, 1)), None
    for _ in range(3):
        slopes = A @ x - b
        way = turned(slopes, slopes, last)
        length = -float((way * slopes).sum() / (way * (A @ way)).sum())
        x, last = x + length * way, (Point(way, way), slopes, float((slopes**2).sum()))
    np.testing.assert_allclose(A @ x, b, atol=1e-9)
    assert last is not None
    shorter = 0.5 * last[1]
    np.testing.assert_array_equal(turned(shorter, shorter, last), -shorter)  # Polak and Ribiere's factor is negative here


@pytest.mark.parametrize(("n", "D"), [(300, 60), (60, 300)])
def test_what_the_stopping_rule_promises_holds(n: int, D: int) -> None:
    """Optima of Newton's steps in double precision; the factor of another strength makes M no more than so much too small."""
    Z, y = problem(n, D, 2)
    for C, (W, b) in zip(STRENGTHS, path(Z, y, STRENGTHS), strict=True):
        theirs = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, max_iter=200).fit(Z, y)
        best = objective(theirs.coef_, np.asarray(theirs.intercept_), Z, y, C)
        assert -1e-9 <= objective(W, b, Z, y, C) / best - 1 <= 2 * TOLERANCE


def test_a_path_twice_gives_the_same_bytes() -> None:
    Z, y = problem(120, 40, 3)
    first, second = (list(path(Z, y, STRENGTHS)) for _ in range(2))
    assert all((a == b).all() for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True))
