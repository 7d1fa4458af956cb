"""In-domain against out of domain, where each fold trains on one domain alone: the same models on both, without the same groups in turn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int

from thaw import evidence
from thaw.leaderboard import Candidate, interval
from thaw.metrics import equal_weights
from thaw.samples import Images

COLUMNS = ["backbone", "strategy", "trained_on", "metric", "inside", "inside_lo", "inside_hi", "outside", "outside_lo", "outside_hi"]
COLUMNS += ["drop", "drop_lo", "drop_hi", "n_inside", "n_outside"]
ALL = "all"


@dataclass(frozen=True)
class Side:
    """One strategy's predictions on the samples of one side; ``trained_on``: the domain that each sample's model was trained on."""

    candidate: Candidate
    images: Images
    trained_on: Sequence[str]


@dataclass(frozen=True)
class Pair:
    """The same strategy on held-out images of the domain that it was trained on, and on those of the others."""

    inside: Side
    outside: Side


@dataclass(frozen=True)
class Measured:
    """Figures of a pair by `_name` of (trained on, side, metric), and the same without each block of groups."""

    pair: Pair
    plain: dict[str, float]
    replicates: Mapping[str, Float64[np.ndarray, " J"]]

    def series(self, side: str, metric: str) -> tuple[float, Float64[np.ndarray, " J"]]:
        """The figure of all folds together on ``side`` ("inside" | "outside"), and its replicates."""
        name = _name((ALL, side, metric))
        return self.plain[name], self.replicates[name]


def measure(pairs: Sequence[Pair], seed: int) -> list[Measured]:
    """Both sides of every pair without each block of groups. All pairs must be of the same samples, in the same order."""
    if not pairs:
        return []
    groups = [*pairs[0].inside.images.groups, *pairs[0].outside.images.groups]
    replicates = evidence.jackknife([partial(_both, pair) for pair in pairs], groups, seed)
    return [Measured(pair, _plain(pair), found) for pair, found in zip(pairs, replicates, strict=True)]


def table(measured: Sequence[Measured], confidence: float) -> pd.DataFrame:
    """A row for each strategy, training domain (and all of them) and figure. ``drop``: outside minus inside."""
    return pd.DataFrame([row for found in measured for row in _rows(found, confidence)], columns=COLUMNS)


Key = tuple[str, str, str]  # trained on, side, metric


def _both(pair: Pair, weights: Float64[np.ndarray, "B N"]) -> dict[str, Float64[np.ndarray, " B"]]:
    """Every figure of both sides, by domain and altogether; the samples inside come first in ``weights``."""
    first = len(pair.inside.trained_on)
    sides = {"inside": (pair.inside, weights[:, :first]), "outside": (pair.outside, weights[:, first:])}
    found = {}
    for name, (side, own) in sides.items():
        for domain, rows in _parts(side).items():
            for metric, values in side.candidate.figures(own[:, rows], side.images, rows).items():
                found[_name((domain, name, metric))] = values
    return found


def _parts(side: Side) -> Mapping[str, Int[np.ndarray, " m"]]:
    trained = np.asarray(side.trained_on)
    return {ALL: np.arange(len(trained))} | {str(domain): np.flatnonzero(trained == domain) for domain in np.unique(trained)}


def _plain(pair: Pair) -> dict[str, float]:
    weights = equal_weights(len(pair.inside.trained_on) + len(pair.outside.trained_on))
    return {name: float(value[0]) for name, value in _both(pair, weights).items()}


def _rows(measured: Measured, confidence: float) -> Iterator[tuple[object, ...]]:
    plain, replicates, who = measured.plain, measured.replicates, measured.pair.inside.candidate
    inside, outside = _parts(measured.pair.inside), _parts(measured.pair.outside)
    for domain in inside:
        for metric in dict.fromkeys(name.split("|")[2] for name in plain):
            one, other = (_name((domain, side, metric)) for side in ("inside", "outside"))
            found = evidence.contrast(plain[other], plain[one], replicates[other], replicates[one], confidence)
            limits = [interval(metric, plain[name], replicates[name], confidence) for name in (one, other)]
            sides = [(plain[name], limit.lo, limit.hi) for name, limit in zip((one, other), limits, strict=True)]
            counts = (len(inside[domain]), len(outside[domain]))
            yield (who.backbone, who.strategy, domain, metric, *sides[0], *sides[1], found.diff, found.lo, found.hi, *counts)


def _name(key: Key) -> str:
    return "|".join(key)
