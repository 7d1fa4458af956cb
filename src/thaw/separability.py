"""How well features tell groups apart, and what a probe gains where a split tears them: why groups must stay whole, in numbers."""

import numpy as np
from jaxtyping import Bool, Float32, Int

from thaw.duplicates import BLOCK, unit_rows
from thaw.heads import Part, fit_logistic
from thaw.out_of_fold import Predict
from thaw.randomness import derive_seed


def group_recognition(features: Float32[np.ndarray, "N D"], groups: np.ndarray, seed: int) -> dict[str, float | int] | None:
    """``accuracy``: share of images whose nearest (cosine of standardised features) is of their own group; ``chance``: of a random one.

    Within random halves of each group of two images or more, so that every image asked has its group among those it could find.
    None without such a group.
    """
    _, number = np.unique(groups, return_inverse=True)
    kept = np.flatnonzero(np.bincount(number)[number] > 1)
    if not len(kept):
        return None
    shown = halves(number, seed)
    asked, gallery = kept[~shown[kept]], kept[shown[kept]]
    unit = unit_rows(features)
    blocks = [asked[start : start + BLOCK] for start in range(0, len(asked), BLOCK)]
    nearest = np.concatenate([gallery[(unit[rows] @ unit[gallery].T).argmax(axis=1)] for rows in blocks])
    shares = [np.bincount(number[rows], minlength=number.max() + 1) / len(rows) for rows in (asked, gallery)]
    return {
        "accuracy": round(float((number[nearest] == number[asked]).mean()), 4),
        "chance": round(float(shares[0] @ shares[1]), 4),
        "groups": len(np.unique(number[kept])),
    }


def halves(number: Int[np.ndarray, " N"], seed: int) -> Bool[np.ndarray, " N"]:
    """A random half of each group, the smaller one where it is odd."""
    order = np.random.default_rng(derive_seed(seed, "halves")).permutation(len(number))
    order = order[np.argsort(number[order], kind="stable")]
    counts = np.bincount(number)
    place = np.arange(len(number)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = np.zeros(len(number), dtype=bool)
    chosen[order] = place < np.repeat(counts // 2, counts)
    return chosen


def by_probe(features: Float32[np.ndarray, "N D"], labels: Int[np.ndarray, " N"], C: float, metric: str) -> Predict:
    """Logistic regression on standardised features, as `thaw.heads` fits it, at one strength: there is nothing to choose."""
    classes = int(labels.max()) + 1

    def predict(seen: np.ndarray, asked: np.ndarray) -> np.ndarray:
        part = Part(features[seen], labels[seen])
        return fit_logistic(part, part, [C], metric, classes).predict(features[asked])

    return predict
