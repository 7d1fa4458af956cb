"""L2 logistic regression along a path of strengths, by L-BFGS in coordinates in which every problem is nearly round.

Minimises, as scikit-learn's `LogisticRegression` does, ``C * sum of log losses + |W|^2 / 2`` over W and b; b is free. A path starts every
fit at the last one's optimum, where the Hessian is known: its Cholesky factor U turns W into ``U W``, in which the Hessian is the identity
there and not far from it at the next optimum, so that ten passes over the rows are enough where L-BFGS alone takes a hundred. The factor
only preconditions, so single precision will do for it; losses and gradients are double.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax, softmax

TOLERANCE = 1e-6
"""Largest squared norm of the gradient at the end, in those coordinates, over the objective. On a path its value is then within a millionth
or so of the optimum's; from far away, where the factor fits worse, within some hundred-thousandths (docs/benchmarks.md)."""
MOST_STEPS = 1000


def path(
    Z: Float[np.ndarray, "n D"], y: Int[np.ndarray, " n"], strengths: Sequence[float]
) -> Iterator[tuple[Float64[np.ndarray, "R D"], Float64[np.ndarray, " R"]]]:
    """(W, b) at each C of ``strengths``, which had better grow; R = 1 for two classes (logit of the second), else K.

    ``Z`` is standardised. ``y`` counts from 0, and every class has a row. Raises `ValueError` where there is but one class.
    """
    if not y.any():
        raise ValueError("a logistic regression needs rows of two classes")
    K, design = int(y.max()) + 1, Design(Z)
    V, b = np.zeros((1 if K == 2 else K, design.rows.shape[1])), np.zeros(1 if K == 2 else K)
    for C in strengths:
        V, b = _fit(design, y, C, V, b)
        yield design.weights(V), b


class Design:
    """Rows to fit on. Where they are fewer than the features, W is a sum of rows: the Cholesky factor of their products stands for them."""

    def __init__(self, Z: Float[np.ndarray, "n D"]) -> None:
        self.Z, self.factor = Z.astype(np.float64, copy=False), None
        if Z.shape[1] > len(Z):
            products = self.Z @ self.Z.T
            # Centred rows are not independent: without a little more on the diagonal there is no factor.
            products[np.diag_indices(len(Z))] += 1e-10 * np.trace(products) / len(Z) + np.finfo(np.float64).tiny
            self.factor = cholesky(products, lower=True, overwrite_a=True, check_finite=False)
        self.rows: Float64[np.ndarray, "n d"] = self.Z if self.factor is None else self.factor
        self.single: Float32[np.ndarray, "n d"] = self.rows.astype(np.float32)

    def weights(self, V: Float64[np.ndarray, "R d"]) -> Float64[np.ndarray, "R D"]:
        """Of the features, from those of ``rows``; of equal norm."""
        return V if self.factor is None else solve_triangular(self.factor, V.T, lower=True, trans=1, check_finite=False).T @ self.Z

    def root(self, curvature: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "d d"]:
        """Upper U with U'U = rows' diag(curvature) rows + 1, nearly."""
        scaled = self.single * np.sqrt(curvature).astype(np.float32)[:, None]
        hessian = scaled.T @ scaled
        hessian[np.diag_indices(len(hessian))] += 1
        return cholesky(hessian, overwrite_a=True, check_finite=False).astype(np.float64)


def _fit(
    design: Design, y: Int[np.ndarray, " n"], C: float, V: Float64[np.ndarray, "R d"], b: Float64[np.ndarray, " R"]
) -> tuple[Float64[np.ndarray, "R d"], Float64[np.ndarray, " R"]]:
    """The optimum at C, from a start that is not far."""
    curvature = C * curvatures(design.rows @ V.T + b)
    U, scale, size = design.root(curvature), np.sqrt(curvature.sum()), V.size

    def unpacked(packed: Float64[np.ndarray, " P"]) -> tuple[Float64[np.ndarray, "R d"], Float64[np.ndarray, " R"]]:
        return solve_triangular(U, packed[:size].reshape(V.shape).T, check_finite=False).T, packed[size:] / scale

    def objective(packed: Float64[np.ndarray, " P"]) -> tuple[float, Float64[np.ndarray, " P"]]:
        W, b = unpacked(packed)
        value, residuals = log_losses(design.rows @ W.T + b, y)
        slopes = solve_triangular(U, (C * residuals.T @ design.rows + W).T, trans=1, check_finite=False).T
        return C * value + (W**2).sum() / 2, np.concatenate([slopes.ravel(), C * residuals.sum(axis=0) / scale])

    start = np.concatenate([(V @ U.T).ravel(), b * scale])
    largest = np.sqrt(TOLERANCE * objective(start)[0] / start.size)  # L-BFGS-B asks for the gradient's largest entry
    dials = {"gtol": largest, "ftol": 0, "maxiter": MOST_STEPS, "maxcor": 10}
    found: Any = minimize(objective, start, jac=True, method="L-BFGS-B", options=dials)
    return unpacked(found.x)


def log_losses(logits: Float64[np.ndarray, "n R"], y: Int[np.ndarray, " n"]) -> tuple[float, Float64[np.ndarray, "n R"]]:
    """Their sum, and its derivative."""
    if logits.shape[1] == 1:
        sign = 2.0 * y[:, None] - 1
        return -float(log_expit(sign * logits).sum()), -sign * expit(-sign * logits)
    log_p, own = log_softmax(logits, axis=1), (np.arange(len(y)), y)
    residuals = np.exp(log_p)
    residuals[own] -= 1
    return -float(log_p[own].sum()), residuals


def curvatures(logits: Float64[np.ndarray, "n R"]) -> Float64[np.ndarray, " n"]:
    """The log loss's second derivative in a row's logit; of several logits, a bound of all directions' (Gershgorin)."""
    p = expit(logits) if logits.shape[1] == 1 else softmax(logits, axis=1)
    return (p * (1 - p)).max(axis=1) * (1 if logits.shape[1] == 1 else 2)
