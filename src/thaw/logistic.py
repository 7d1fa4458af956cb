"""L2 logistic regression along a path of strengths, by conjugate gradients in coordinates in which every problem is nearly round.

Minimises, as scikit-learn's `LogisticRegression` does, ``C * sum of log losses + |W|^2 / 2`` over W and b; b is free. With V = (W, b) and
g its gradient, steps go along ``-M g + s * last step``, s of Polak and Ribiere and never below zero (Nocedal and Wright 2006, section 5.2),
to the lowest point on that line: logits are linear in V, so that the search costs no pass over the rows. M is the inverse of a Hessian on
the way, by its Cholesky factor. A factor costs as much as dozens of passes, and the optima of a path are neighbours, so it is used until
a fit takes `PATIENCE` steps with it. A fit starts on the line through the last two optima, at its lowest point.

Matrices are in single precision, what is added up over rows and steps in double: an error in g raises the objective by its square. All
products are scipy's, whose OpenBLAS is another than numpy's: where two of them take turns, the idle threads of one wait on the cores that
the other needs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Float, Float32, Float64, Int
from scipy.special import expit, log_expit, log_softmax, softmax

blas: Any = scipy.linalg.blas  # its stubs know no routine
lapack: Any = scipy.linalg.lapack

TOLERANCE = 1e-6
"""g'Mg at the end, over the objective. Half of it is how far the objective lies above the optimum's, were M the inverse Hessian there.
With C of 10,000 and more, M falls short of that in flat directions, and the objective may lie some millionths higher."""
PATIENCE, MOST_STEPS = 20, 2000


def path(
    Z: Float[np.ndarray, "n D"], y: Int[np.ndarray, " n"], strengths: Sequence[float]
) -> Iterator[tuple[Float64[np.ndarray, "R D"], Float64[np.ndarray, " R"]]]:
    """(W, b) at each C of ``strengths``, which had better grow; R = 1 for two classes (logit of the second), else K.

    ``Z`` is standardised. ``y`` counts from 0, and every class has a row. Raises `ValueError` where there is but one class, or numbers
    that are not finite in single precision.
    """
    if not y.any():
        raise ValueError("a logistic regression needs rows of two classes")
    K, design = int(y.max()) + 1, Design(Z)
    found, drift, U = design.origin(1 if K == 2 else K), None, None
    for C in strengths:
        U = design.flat(C * curvatures(found.logits)) if U is None else U
        start = found if drift is None else found.moved(drift, lowest(found, drift, y, C))
        last, (found, U) = found, _fit(design, y, C, start, U)
        drift = found.moved(last, -1.0)
        yield design.weights(found.W), found.V[-1]


@dataclass(frozen=True)
class Point:
    """Weights of d features, the intercept in row P = d + 1, and the logits that they give. A direction is one too."""

    V: Float64[np.ndarray, "P R"]
    logits: Float64[np.ndarray, "n R"]

    def moved(self, way: "Point", length: float) -> "Point":
        return Point(self.V + length * way.V, self.logits + length * way.logits)

    @property
    def W(self) -> Float64[np.ndarray, "d R"]:
        return self.V[:-1]


class Design:
    """Rows to fit on. Where they are fewer than the features, W is a sum of rows: the Cholesky factor of their products stands for them."""

    def __init__(self, Z: Float[np.ndarray, "n D"]) -> None:
        self.Z: Float64[np.ndarray, "n D"] | None = None  # kept where it is needed again
        self.factor: Float64[np.ndarray, "n n"] | None = None
        if Z.shape[1] > len(Z):
            self.Z = np.ascontiguousarray(Z, np.float64)
            products = blas.dsyrk(1.0, self.Z.T, trans=1)
            # Centred rows are not independent: without a little more on the diagonal there is no factor.
            products[np.diag_indices(len(Z))] += 1e-10 * np.trace(products) / len(Z) + np.finfo(np.float64).tiny
            self.factor, failed = lapack.dpotrf(products, overwrite_a=1)
            if failed:
                raise ValueError("rows whose products have no Cholesky factor: are they finite?")
        rows = Z if self.factor is None else self.factor.T
        self.columns: Float32[np.ndarray, "P n"] = np.empty((rows.shape[1] + 1, len(Z)), np.float32, order="F")
        self.columns[:-1], self.columns[-1] = rows.T, 1

    def origin(self, R: int) -> Point:
        return Point(np.zeros((len(self.columns), R)), np.zeros((self.columns.shape[1], R)))

    def towards(self, V: Float64[np.ndarray, "P R"]) -> Point:
        return Point(V, times(self.columns, V, trans=1))

    def summed(self, factors: Float64[np.ndarray, "n R"]) -> Float64[np.ndarray, "P R"]:
        """Of the rows, each times its factors."""
        return times(self.columns, factors, trans=0)

    def flat(self, curvature: Float64[np.ndarray, " n"]) -> Float32[np.ndarray, "P P"]:
        """Upper U with U'U the least that the Hessian can be: 1 for every weight, and the intercept's own."""
        return np.diag(np.append(np.ones(len(self.columns) - 1), np.sqrt(curvature.sum())).astype(np.float32)).T

    def root(self, curvature: Float64[np.ndarray, " n"]) -> Float32[np.ndarray, "P P"]:
        """Upper U with U'U the Hessian, rows' diag(curvature) rows + 1 for each weight, nearly."""
        hessian = blas.ssyrk(1.0, self.columns * np.sqrt(curvature).astype(np.float32))
        ones, trace = np.append(np.ones(len(hessian) - 1, np.float32), 0), np.trace(hessian)
        for share in (1e-6, 1e-5, 1e-4, 1e-3):  # what single precision makes of the smallest pivots
            lifted = hessian.copy(order="F")
            lifted[np.diag_indices(len(hessian))] += ones + share * trace
            factor, failed = lapack.spotrf(lifted, clean=0, overwrite_a=1)
            if not failed:
                return factor
        raise ValueError("a Hessian without a Cholesky factor: are rows and C finite in single precision?")

    def weights(self, W: Float64[np.ndarray, "d R"]) -> Float64[np.ndarray, "R D"]:
        """Of the features, from those of the rows that stand for them; of equal norm."""
        if self.factor is None or self.Z is None:
            return W.T
        return blas.dgemm(1.0, blas.dtrsm(1.0, self.factor, W), self.Z.T, trans_a=1, trans_b=1)


def _fit(
    design: Design, y: Int[np.ndarray, " n"], C: float, point: Point, U: Float32[np.ndarray, "P P"]
) -> tuple[Point, Float32[np.ndarray, "P P"]]:
    """The optimum at C, from a start that is not far, and the last factor that was used on the way."""
    last: Step | None = None
    for step in range(MOST_STEPS):
        if step and step % PATIENCE == 0:
            U, last = design.root(C * curvatures(point.logits)), None
        value, residuals = log_losses(point.logits, y)
        slopes = C * design.summed(residuals)
        slopes[:-1] += point.W
        newton = solved(U, solved(U, slopes, trans=1), trans=0)
        decrement = (slopes * newton).sum()
        if not np.isfinite(decrement):
            raise ValueError("rows, or C, are not finite in single precision")
        if decrement <= TOLERANCE * (C * value + (point.W**2).sum() / 2):
            break
        way = design.towards(turned(newton, slopes, last))
        point, last = point.moved(way, lowest(point, way, y, C)), (way, slopes, decrement)
    return point, U


Step = tuple[Point, Float64[np.ndarray, "P R"], float]
"""The way that it went, and g and g'Mg where it began."""


def turned(newton: Float64[np.ndarray, "P R"], slopes: Float64[np.ndarray, "P R"], last: Step | None) -> Float64[np.ndarray, "P R"]:
    """Downhill as M sees it, ``newton`` = Mg, and conjugate to the last step, if there is one that was taken with this M."""
    if last is None:
        return -newton
    way, before, decrement = last
    return max(0.0, ((slopes - before) * newton).sum() / decrement) * way.V - newton


def lowest(point: Point, way: Point, y: Int[np.ndarray, " n"], C: float) -> float:
    """How far to go from a point for the lowest objective: Newton's steps, between what is known to be too short and too far."""
    length, short, far, first = 0.0, -np.inf, np.inf, None
    for _ in range(30):
        ahead = point.moved(way, length)
        slope = C * (log_losses(ahead.logits, y)[1] * way.logits).sum() + (ahead.W * way.W).sum()
        first = first or slope
        if abs(slope) <= 1e-2 * abs(first):
            break
        short, far = (length, far) if slope < 0 else (short, length)
        tried = length - slope / (C * bends(ahead.logits, way.logits).sum() + (way.W**2).sum())
        length = tried if short < tried < far else (short + far) / 2
    return length


def times(A: Float32[np.ndarray, "a b"], B: Float64[np.ndarray, "c R"], trans: int) -> Float64[np.ndarray, "e R"]:
    """A B or A' B. Of one column BLAS has a routine of its own, eight times as fast here."""
    single = B.astype(np.float32)
    one = B.shape[1] == 1
    return (blas.sgemv(1.0, A, single[:, 0], trans=trans)[:, None] if one else blas.sgemm(1.0, A, single, trans_a=trans)).astype(np.float64)


def solved(U: Float32[np.ndarray, "d d"], B: Float64[np.ndarray, "d R"], trans: int) -> Float64[np.ndarray, "d R"]:
    """The inverse of upper U, or of U', times B."""
    single = B.astype(np.float32)
    one = B.shape[1] == 1
    return (blas.strsv(U, single[:, 0], trans=trans)[:, None] if one else blas.strsm(1.0, U, single, trans_a=trans)).astype(np.float64)


def log_losses(logits: Float64[np.ndarray, "n R"], y: Int[np.ndarray, " n"]) -> tuple[float, Float64[np.ndarray, "n R"]]:
    """Their sum, and its derivative."""
    if logits.shape[1] == 1:
        sign = 2.0 * y[:, None] - 1
        return -float(log_expit(sign * logits).sum()), -sign * expit(-sign * logits)
    log_p, own = log_softmax(logits, axis=1), (np.arange(len(y)), y)
    residuals = np.exp(log_p)
    residuals[own] -= 1
    return -float(log_p[own].sum()), residuals


def bends(logits: Float64[np.ndarray, "n R"], way: Float64[np.ndarray, "n R"]) -> Float64[np.ndarray, " n"]:
    """The log loss's second derivative along ``way``: the variance of its entries."""
    p = expit(logits) if logits.shape[1] == 1 else softmax(logits, axis=1)
    return (p * way**2).sum(axis=1) - (p * way).sum(axis=1) ** 2


def curvatures(logits: Float64[np.ndarray, "n R"]) -> Float64[np.ndarray, " n"]:
    """The log loss's second derivative in a row's logit; of several logits, a bound of all directions' (Gershgorin)."""
    p = expit(logits) if logits.shape[1] == 1 else softmax(logits, axis=1)
    return (p * (1 - p)).max(axis=1) * (1 if logits.shape[1] == 1 else 2)
