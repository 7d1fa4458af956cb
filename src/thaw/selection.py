"""Which features of many matter, from training rows alone: group-sparse or L2 logistic regression, and the norm of each feature's weights.

Head2Toe (Evci et al. 2022, arXiv 2201.03529) ranks the features of every block in this way and keeps a share of them.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.linalg import eigvalsh
from scipy.special import softmax

from thaw.logistic import path

Relevance = Literal["group_sparse", "l2"]
PENALTY = 0.1
"""Group-sparse strength as a share of the one at which no feature is left."""


def ranked(
    Z: Float[np.ndarray, "n D"], y: Int[np.ndarray, " n"], relevance: Relevance, strengths: Sequence[float]
) -> Int[np.ndarray, " D"]:
    """Columns of standardised ``Z``, the most relevant first; the leftmost of equals.

    ``group_sparse``: by the norm of the column's weights; columns without weight come last, by the norm of their gradient.
    ``l2``: by the norm of the weights at the middle one of ``strengths`` (C, of `thaw.heads.fit_logistic`).
    """
    if relevance == "l2":
        ((W, _),) = path(Z, np.unique(y, return_inverse=True)[1], [sorted(strengths)[len(strengths) // 2]])
        return np.argsort(-_norms(W.T), kind="stable")
    present, classes = np.unique(y, return_inverse=True)
    targets = np.eye(len(present))[classes]
    W, b = group_lasso(Z, targets, PENALTY * vanishing_penalty(Z, targets))
    return np.lexsort((-_norms(gradient(Z, targets, W, b)), -_norms(W)))


def kept(ranking: Int[np.ndarray, " D"], share: float) -> Int[np.ndarray, " d"]:
    """The first ``share`` of a ranking, at least one column, from left to right."""
    return np.sort(ranking[: max(1, round(share * len(ranking)))])


def group_lasso(
    Z: Float[np.ndarray, "n D"], targets: Float[np.ndarray, "n K"], penalty: float, tolerance: float = 1e-3
) -> tuple[Float64[np.ndarray, "D K"], Float64[np.ndarray, " K"]]:
    """(W, b) that minimise mean log loss + ``penalty`` x the sum over features of the norm of their K weights; b is free.

    A feature without weight whose gradient's norm is below the penalty stays without (the optimality condition), so that only those that
    break this are handed to `fista`, round by round. ``tolerance``: how far the conditions may be missed, as a share of the penalty.
    """
    W, b = np.zeros((Z.shape[1], targets.shape[1])), np.log(targets.mean(axis=0))
    working = np.zeros(len(W), dtype=bool)
    while True:
        norms = np.where(working, 0.0, _norms(gradient(Z, targets, W, b)))
        missing = norms > penalty * (1 + tolerance)
        if not missing.any():
            return W, b
        working[np.argsort(-norms, kind="stable")[: min(missing.sum(), max(32, working.sum()))]] = True  # at most twice as many as before
        W[working], b = fista(Z[:, working], targets, penalty, W[working], b, tolerance)


def fista(
    Z: Float[np.ndarray, "n D"],
    targets: Float[np.ndarray, "n K"],
    penalty: float,
    W: Float64[np.ndarray, "D K"],
    b: Float64[np.ndarray, " K"],
    tolerance: float,
    most_steps: int = 20_000,
) -> tuple[Float64[np.ndarray, "D K"], Float64[np.ndarray, " K"]]:
    """Proximal gradient steps from (W, b), accelerated (Beck and Teboulle 2009), the momentum dropped where it leads uphill (O'Donoghue
    and Candes 2015). A step is 1/L, L = ||[Z 1]||^2 / 2n: the Hessian of log loss in the logits is at most 1/2."""
    inputs = np.column_stack([Z, np.ones(len(Z))])
    gram = inputs @ inputs.T if len(Z) < inputs.shape[1] else inputs.T @ inputs
    L = float(eigvalsh(gram, subset_by_index=[len(gram) - 1, len(gram) - 1])[0]) / (2 * len(Z))
    now = ahead = np.vstack([W, b])
    momentum = 1.0
    for _ in range(most_steps):
        moved = ahead - inputs.T @ ((softmax(inputs @ ahead, axis=1) - targets) / len(Z)) / L
        moved[:-1] *= np.maximum(0, 1 - penalty / L / np.maximum(_norms(moved[:-1]), np.finfo(np.float64).tiny))[:, None]
        if L * np.linalg.norm(moved - ahead) <= tolerance * penalty / 2:  # and the gradient changes by no more than that on the way
            return moved[:-1], moved[-1]
        if ((ahead - moved) * (moved - now)).sum() > 0:
            momentum = 1.0
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = moved + (momentum - 1) / grown * (moved - now)
        now, momentum = moved, grown
    return now[:-1], now[-1]


def vanishing_penalty(Z: Float[np.ndarray, "n D"], targets: Float[np.ndarray, "n K"]) -> float:
    """The smallest penalty at which every feature's weights are zero: the largest norm of a feature's gradient there."""
    nothing = np.zeros((Z.shape[1], targets.shape[1]))
    return float(_norms(gradient(Z, targets, nothing, np.log(targets.mean(axis=0)))).max())


def gradient(
    Z: Float[np.ndarray, "n D"], targets: Float[np.ndarray, "n K"], W: Float[np.ndarray, "D K"], b: Float[np.ndarray, " K"]
) -> Float64[np.ndarray, "D K"]:
    """Of the mean log loss with respect to W."""
    return Z.T @ ((softmax(Z @ W + b, axis=1) - targets) / len(Z))


def _norms(W: Float[np.ndarray, "D K"]) -> Float64[np.ndarray, " D"]:
    return np.sqrt((W**2).sum(axis=1))
