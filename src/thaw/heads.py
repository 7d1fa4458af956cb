"""X, y -> a head, and the controls. A head is (W, b) on raw features, whoever fitted it: standardisation is folded in.

Every choice (C, ridge strength, k) is made on the validation rows. Binary heads give two logits, symmetric about zero.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from thaw.logistic import blas, lapack, path
from thaw.metrics import validation_figures
from thaw.position import position_logits
from thaw.selection import Relevance, kept, ranked


@dataclass(frozen=True)
class Head:
    """logits = X @ W.T + b."""

    W: Float32[np.ndarray, "K D"]
    b: Float32[np.ndarray, " K"]

    def logits(self, X: Float[np.ndarray, "N D"]) -> Float32[np.ndarray, "N K"]:
        return (X @ self.W.T + self.b).astype(np.float32)


@dataclass(frozen=True)
class Part:
    """Features and labels of one role of one fold."""

    X: Float[np.ndarray, "n D"]
    y: Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Fitted:
    """``predict`` gives logits; ``head`` is None where the predictor is not linear. ``chosen``: the dial that validation chose."""

    predict: Callable[[np.ndarray], np.ndarray]
    head: Head | None
    chosen: dict[str, float | int]


def fit_logistic(train: Part, val: Part, strengths: Sequence[float], metric: str, n_classes: int) -> Fitted:
    """L2 logistic regression on standardised features along a path of C from strong to weak, each from the last one's optimum."""
    mean, scale = standardisation(train.X)
    present, y = np.unique(train.y, return_inverse=True)
    ordered = sorted(strengths)
    fits = list(path((train.X - mean) / scale, y, ordered))  # all of them before the first is scored: numpy's products are in scipy's way
    heads = ((C, fold_in(*fit, mean, scale, present, n_classes)) for C, fit in zip(ordered, fits, strict=True))
    return _best_head(heads, val, metric, "C")


def fit_head2toe(
    train: Part, val: Part, strengths: Sequence[float], shares: Sequence[float], relevance: Relevance, metric: str, n_classes: int
) -> Fitted:
    """`fit_logistic` on the most relevant share of the features of every block; the others' weights are zero (Head2Toe, Evci et al. 2022).

    Training rows rank the features once; validation chooses the share together with C.
    """
    mean, scale = standardisation(train.X)
    ranking = ranked((train.X - mean) / scale, train.y, relevance, strengths)

    def fit(share: float) -> tuple[Head, float | int]:
        columns = kept(ranking, share)
        narrow = fit_logistic(Part(train.X[:, columns], train.y), Part(val.X[:, columns], val.y), strengths, metric, n_classes)
        assert narrow.head is not None  # a logistic fit has one
        W = np.zeros((n_classes, train.X.shape[1]), np.float32)
        W[:, columns] = narrow.head.W
        return Head(W, narrow.head.b), narrow.chosen["C"]

    fits = {share: fit(share) for share in sorted(shares)}
    share = max(fits, key=lambda share: score(fits[share][0].logits(val.X), val.y, metric))  # the first, smallest, of equals
    head, C = fits[share]
    return Fitted(head.logits, head, {"C": C, "keep": share})


def fit_ridge(train: Part, val: Part, strengths: Sequence[float], metric: str, n_classes: int) -> Fitted:
    """Ridge regression on -1/1 targets; one factor, from validation log loss, turns its scores into logits."""
    mean, scale = standardisation(train.X)
    X, targets = (train.X - mean) / scale, 2.0 * np.eye(n_classes)[train.y] - 1
    offsets = targets.mean(axis=0)  # X is centred, so that the intercepts are the targets' means
    ordered = sorted(strengths, reverse=True)
    heads = (
        (strength, calibrated(fold_in(W, offsets, mean, scale, np.arange(n_classes), n_classes), val))
        for strength, W in zip(ordered, _ridge_weights(X, targets - offsets, ordered), strict=True)
    )
    return _best_head(heads, val, metric, "ridge")


def _ridge_weights(X: Float[np.ndarray, "n D"], targets: Float[np.ndarray, "n K"], strengths: Sequence[float]) -> list[np.ndarray]:
    """(K, D) for each strength; with few rows through their products, the dual."""
    narrow = X.shape[1] <= len(X)
    products = blas.dsyrk(1.0, X.T, trans=0 if narrow else 1)
    right, diagonal = blas.dgemm(1.0, X.T, targets) if narrow else targets, np.diagonal(products).copy()

    def solution(strength: float) -> np.ndarray:
        np.fill_diagonal(products, diagonal + strength)
        _, found, failed = lapack.dposv(products, right)
        if failed or not np.isfinite(found).all():
            raise ValueError(f"ridge of strength {strength:g}: the features are too nearly dependent, or not finite; use larger strengths")
        return found

    found = [solution(strength) for strength in strengths]
    return [(own if narrow else blas.dgemm(1.0, X.T, own)).T for own in found]


def fit_nearest_centroid(train: Part, val: Part, n_classes: int) -> Fitted:
    """Squared distance to class means of standardised features, which is linear: -|x - m|^2 / 2 = m.x - |m|^2 / 2 + const."""
    mean, scale = standardisation(train.X)
    X = (train.X - mean) / scale
    present = np.unique(train.y)
    centroids = np.stack([X[train.y == k].mean(axis=0) for k in present])
    head = calibrated(fold_in(centroids, -(centroids**2).sum(axis=1) / 2, mean, scale, present, n_classes), val)
    return Fitted(head.logits, head, {})


def fit_knn(train: Part, val: Part, neighbours: Sequence[int], metric: str, n_classes: int) -> Fitted:
    """k-NN on standardised features; logits are logs of smoothed class shares."""
    mean, scale = standardisation(train.X)
    rows = ((train.X - mean) / scale).T
    half, allowed = (rows**2).sum(axis=0) / 2, [min(k, len(train.y)) for k in neighbours]

    def nearest(X: np.ndarray) -> np.ndarray:
        """By half the squared distance, less what all rows have in common."""
        return smallest(half - ((X - mean) / scale) @ rows, max(allowed))

    def found_for(X: np.ndarray) -> np.ndarray:
        return np.concatenate([nearest(X[start : start + 512]) for start in range(0, max(1, len(X)), 512)])  # not all distances at once

    def logits(found: np.ndarray, k: int) -> np.ndarray:
        counts = np.stack([(train.y[found[:, :k]] == c).sum(axis=1) for c in range(n_classes)], axis=1)
        return np.log((counts + 1 / n_classes) / (k + 1)).astype(np.float32)

    found = found_for(val.X)
    k = max(sorted(allowed, reverse=True), key=lambda k: score(logits(found, k), val.y, metric))
    return Fitted(lambda X: logits(found_for(X), k), None, {"k": k})


def smallest(values: Float[np.ndarray, "B N"], count: int) -> Int[np.ndarray, "B count"]:
    """Of each row, where its ``count`` smallest are, smallest first, and the first of equals. Sorts no more than those."""
    found = np.sort(np.argpartition(values, count - 1, axis=1)[:, :count], axis=1)
    own = np.take_along_axis(values, found, axis=1)
    found = np.take_along_axis(found, np.argsort(own, axis=1, kind="stable"), axis=1)
    for row in np.flatnonzero((values <= own.max(axis=1, keepdims=True)).sum(axis=1) > count):  # which of the last equals, was chance
        found[row] = np.argsort(values[row], kind="stable")[:count]
    return found


def fit_majority(train: Part, n_classes: int) -> Fitted:
    """Class shares of the training rows, whatever the image."""
    shares = (np.bincount(train.y, minlength=n_classes) + 1) / (len(train.y) + n_classes)
    head = Head(np.zeros((n_classes, train.X.shape[1]), np.float32), np.log(shares).astype(np.float32))
    return Fitted(head.logits, head, {})


def fit_metadata(train: Part, val: Part, neighbours: Sequence[int], metric: str, n_classes: int) -> Fitted:
    """k-NN on the position in the file (``X``: (n, 1) row numbers): no pixels. What it reaches is leak."""

    def logits(X: np.ndarray, k: int) -> np.ndarray:
        return position_logits(train.X[:, 0], train.y, X[:, 0], k, n_classes)

    k = max(sorted(neighbours, reverse=True), key=lambda k: score(logits(val.X, k), val.y, metric))
    return Fitted(lambda X: logits(X, k), None, {"k": k})


def shuffled(part: Part, seed: int) -> Part:
    """The same rows with their labels in random order: whatever is learnt from them is chance."""
    return Part(part.X, np.random.default_rng(seed).permutation(part.y))


def raw_pixels(images: np.ndarray, side: int) -> Float32[np.ndarray, "N P"]:
    """Images shrunk to ``side`` x ``side`` and flattened, values in [0, 1]."""
    from PIL import Image

    small = []
    for image in images:
        pixels = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).resize((side, side), Image.Resampling.BOX)
        small.append(np.asarray(pixels, dtype=np.float32).ravel() / 255)
    return np.stack(small)


def standardisation(X: Float[np.ndarray, "N D"]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per feature, float64; a constant feature is left unscaled."""
    mean, scale = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    return mean, np.where(scale > 0, scale, 1.0)


def fold_in(
    coefficients: Float[np.ndarray, "R D"],
    intercepts: Float[np.ndarray, " R"],
    mean: np.ndarray,
    scale: np.ndarray,
    present: np.ndarray,
    n_classes: int,
) -> Head:
    """(W, b) on raw features from a fit on standardised ones; scikit-learn's single binary row becomes two, -z/2 and z/2.

    Classes without a training row get a logit that no softmax notices.
    """
    rows, offsets = np.asarray(coefficients) / scale, np.asarray(intercepts) - (np.asarray(coefficients) / scale) @ mean
    if len(rows) == 1 and len(present) == 2:
        rows, offsets = np.concatenate([-rows, rows]) / 2, np.concatenate([-offsets, offsets]) / 2
    W, b = np.zeros((n_classes, rows.shape[1]), np.float32), np.full(n_classes, -1e4, np.float32)
    W[present], b[present] = rows, offsets
    return Head(W, b)


def calibrated(head: Head, val: Part) -> Head:
    """The head times the factor that minimises validation log loss: scores become logits, the order of images stays."""
    scores = head.logits(val.X).astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)

    def loss(log_factor: float) -> float:
        return -log_softmax(np.exp(log_factor) * scores, axis=1)[np.arange(len(val.y)), val.y].mean()

    factor = np.float32(np.exp(_minimiser(loss)))
    return Head(head.W * factor, head.b * factor)


def _minimiser(loss: Callable[[float], float]) -> float:
    found: Any = minimize_scalar(loss, bounds=(-12, 6), method="bounded")  # an OptimizeResult, whose stubs say object
    return float(found.x)


def score(logits: np.ndarray, labels: np.ndarray, metric: str) -> float:
    """Validation score, higher is better; undefined is worst."""
    figures = validation_figures(logits, labels)
    value = figures["auc"] if metric == "auc" else -figures["log_loss"]
    return -np.inf if np.isnan(value) else value


def _best_head(fits: Iterable[tuple[float, Head]], val: Part, metric: str, dial: str) -> Fitted:
    """Of (strength, its head), strongest regularisation first, which wins ties: the best on validation."""
    best: tuple[float, float, Head] | None = None
    for strength, head in fits:
        reached = score(head.logits(val.X), val.y, metric)
        if best is None or reached > best[0]:
            best = (reached, strength, head)
    assert best is not None  # params require at least one strength
    return Fitted(best[2].logits, best[2], {dial: best[1]})
