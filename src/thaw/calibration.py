"""Do probabilities mean what they say? Calibration error, reliability, and one temperature fitted on validation images.

What is said of an image is, of two classes, the probability of the second, and it comes true where the image is of it; beyond two
classes it is the probability of the likeliest class, and it comes true where that is the right one (Guo et al. 2017, arXiv 1706.04599).
"""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float64, Int
from scipy.optimize import brentq

from thaw.metrics import probabilities_of

BINS = 15
EDGES = np.linspace(0.0, 1.0, BINS + 1)
COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of a temperature: of logits that separate the validation images perfectly, the coldest possible would be the best."""
DIGITS = 10  # of a probability that choose its bin: the last bits may differ from one processor to another


def said(
    labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N K"]
) -> tuple[Float64[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
    """The probability that is said of each image, and whether it came true."""
    if probabilities.shape[1] == 2:
        return probabilities[:, 1].astype(np.float64), labels == 1
    likeliest = probabilities.argmax(axis=1)
    return probabilities.max(axis=1).astype(np.float64), labels == likeliest


def bin_of(probability: Float64[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Number of the bin (l, u] of 15 equally wide ones; 0 is in the first."""
    return np.clip(np.searchsorted(EDGES.round(DIGITS), probability.round(DIGITS), side="left") - 1, 0, BINS - 1)


def expected_calibration_error(
    labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N K"], weights: Float64[np.ndarray, "B N"]
) -> Float64[np.ndarray, " B"]:
    """Mean over images of |mean probability - share that came true| of their bin, in [0, 1]: (B,), nan for weight 0.

    15 bins of equal width; of the positive probability where K = 2, of the likeliest class's where K > 2 (Guo et al. 2017).
    Noise alone makes it positive, also for perfect probabilities, the more the fewer images: compare it on the same images only.
    """
    probability, true = said(labels, probabilities)
    excess = np.zeros((len(labels), BINS))
    excess[np.arange(len(labels)), bin_of(probability)] = probability - true
    total = weights.sum(axis=1)
    return np.divide(np.abs(weights @ excess).sum(axis=1), total, out=np.full(len(weights), np.nan), where=total > 0)


def reliability(labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N K"]) -> pd.DataFrame:
    """A row for each bin that holds images: bin, lower, upper, mean probability, share that came true, number of images."""
    probability, true = said(labels, probabilities)
    place = bin_of(probability)
    n, mean, share = (np.bincount(place, weights=w, minlength=BINS) for w in (np.ones(len(place)), probability, true))
    held = np.flatnonzero(n)
    columns = {
        "bin": held,
        "lower": EDGES[held],
        "upper": EDGES[held + 1],
        "confidence": mean[held] / n[held],
        "share": share[held] / n[held],
    }
    return pd.DataFrame(columns | {"n": n[held].astype(np.int64)})


def tempered(logits: Float[np.ndarray, "N K"], temperature: float) -> Float64[np.ndarray, "N K"]:
    """Probabilities of the logits divided by a temperature: above 1 less sure, below 1 more; the likeliest class stays."""
    return probabilities_of(logits.astype(np.float64) / temperature)


def fit_temperature(logits: Float[np.ndarray, "N K"], labels: Int[np.ndarray, " N"]) -> float:
    """The temperature within the bounds that minimises log loss (Guo et al. 2017, section 4.2); 1 where no logit differs from another.

    Log loss is convex in 1 / T. Its slope there, the mean over images of (expected - true logit), crosses zero at most once, so the
    root is found to the last digits that matter, where a search for the minimum would find half of them.
    """
    logits = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    true = logits[np.arange(len(labels)), labels]

    def slope(log_temperature: float) -> float:
        return float(((tempered(logits, np.exp(log_temperature)) * logits).sum(axis=1) - true).mean())

    if not logits.any():
        return 1.0
    if slope(np.log(HOTTEST)) >= 0:
        return HOTTEST
    if slope(np.log(COLDEST)) <= 0:
        return COLDEST
    return float(np.exp(brentq(slope, np.log(COLDEST), np.log(HOTTEST), xtol=1e-13)))  # type: ignore[arg-type]  # no OptimizeResult unless asked
