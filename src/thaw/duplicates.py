"""Equal and near-identical images: by their bytes, by their pixels, by a perceptual hash, by features of a backbone.

Both thresholds are set by the data, because what is near for photographs is nothing for solar cells.

- Hash (`thaw.hashing`; the least distance over the eight symmetries): near is at most `SHARE` of the distance to the fifth-nearest image,
  which a few copies of each image do not change, in the tenth of the images that stand closest.
- Features: standardised, since ReLU features of one kind of image all point the same way. Near is a cosine `SPREADS` robust standard
  deviations above the median cosine with the nearest image (on Fisher's scale, artanh, where spread does not shrink towards 1; of images
  that have no near one by hash), between two images of which each is the other's nearest and whose hashes are not at odds.
  It finds crops and shifts in varied data, and stays silent where everything looks alike.

Everything runs in blocks: memory grows with the number of images, not with its square.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int8, UInt8, UInt64

from thaw.hashing import BITS, hashes
from thaw.heads import standardisation
from thaw.sides import crosses

NEIGHBOUR = 5
CLOSEST = 0.1
SHARE = 0.5
FLOOR = 5  # bits; re-encoding alone changes as many
SPREADS = 6.0
AT_ODDS = BITS // 3  # bits; unrelated images differ in half of them, in the best of eight symmetries in .45
FEWEST = 20  # images; fewer do not say what a typical cosine is
ASKED = 2000  # images, at most, that are asked for their fifth-nearest
BLOCK, WIDTH = 128, 1024  # images; a block of distances stays in the processor's cache
MOST = 5_000_000  # pairs that are kept


@dataclass(frozen=True)
class Pairs:
    """Row numbers, ``first < second``, with the distance of their hashes (bits) and the cosine of their features."""

    first: Int[np.ndarray, " P"]
    second: Int[np.ndarray, " P"]
    distance: Int[np.ndarray, " P"]
    cosine: Float[np.ndarray, " P"]


@dataclass(frozen=True)
class NearIdentical:
    pairs: Pairs
    hash_threshold: int  # bits; at most this
    cosine_threshold: float  # more than this


def near_identical(thumbnails: Float32[np.ndarray, "N S S"], features: Float32[np.ndarray, "N D"]) -> NearIdentical:
    """Pairs that are near by hash or by features."""
    code, unit = hashes(thumbnails), unit_rows(features)
    bits = hash_threshold(code)
    by_hash = close_pairs(code, bits)
    nearest, cosine = nearest_by_features(unit)
    threshold = cosine_threshold(np.delete(cosine, by_hash.ravel()))
    by_features = mutual_pairs(nearest, cosine > threshold)
    by_features = by_features[pair_distances(code, by_features) <= AT_ODDS]
    rows = np.unique(np.concatenate([by_hash, by_features]), axis=0)
    pairs = Pairs(rows[:, 0], rows[:, 1], pair_distances(code, rows), pair_cosines(unit, rows))
    return NearIdentical(pairs, bits, threshold)


# ---- by hash


def distances(asked: UInt64[np.ndarray, "n W"], others: UInt64[np.ndarray, "8 m W"]) -> UInt8[np.ndarray, "n m"]:
    """Bits in which each hash differs from the nearest symmetry of each other image."""
    least = np.full((len(asked), others.shape[1]), 255, dtype=np.uint8)
    for turned in others:
        differing = np.zeros_like(least)
        for word in range(asked.shape[1]):
            differing += np.bitwise_count(asked[:, word, None] ^ turned[None, :, word])
        np.minimum(least, differing, out=least)
    return least


def hash_threshold(code: UInt64[np.ndarray, "8 N W"]) -> int:
    """`SHARE` of the distance to the fifth-nearest image that a share of `CLOSEST` of the images do not reach, in bits."""
    n = code.shape[1]
    if n < 2:
        return FLOOR
    place, found = min(NEIGHBOUR, n - 1) - 1, []
    for row in range(0, n, -(-n // ASKED)):
        others = distances(code[0, row : row + 1], code)[0]
        found.append(np.partition(np.delete(others, row), place)[place])
    return max(FLOOR, int(SHARE * np.quantile(found, CLOSEST)))


def close_pairs(code: UInt64[np.ndarray, "8 N W"], threshold: int) -> Int[np.ndarray, "P 2"]:
    """Pairs whose hashes differ in at most ``threshold`` bits; the first `MOST` of them."""
    found, count = [np.zeros((0, 2), dtype=np.int64)], 0
    for start, stop, column in _upper_blocks(code.shape[1]):
        near = distances(code[0, start:stop], code[:, column : column + WIDTH]) <= threshold
        rows = np.argwhere(near) + np.array([start, column])
        found.append(rows[rows[:, 0] < rows[:, 1]])
        count += len(found[-1])
        if count >= MOST:
            break
    return np.concatenate(found)[:MOST]


def pair_distances(code: UInt64[np.ndarray, "8 N W"], rows: Int[np.ndarray, "P 2"]) -> Int[np.ndarray, " P"]:
    first, second = code[0, rows[:, 0]], code[:, rows[:, 1]]
    return np.bitwise_count(first ^ second).sum(axis=2, dtype=np.int64).min(axis=0)


def _upper_blocks(n: int) -> Iterator[tuple[int, int, int]]:
    """(First row, last row, first column) of blocks that cover every pair of rows i < j."""
    for start in range(0, n, BLOCK):
        for column in range(start, n, WIDTH):
            yield start, min(start + BLOCK, n), column


# ---- by features


def unit_rows(features: Float32[np.ndarray, "N D"]) -> Float32[np.ndarray, "N D"]:
    """Standardised features, scaled to length 1."""
    mean, scale = standardisation(features)
    Z = ((features - mean) / scale).astype(np.float32)
    return Z / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), np.float32(1e-12))


def nearest_by_features(unit: Float32[np.ndarray, "N D"]) -> tuple[Int[np.ndarray, " N"], Float32[np.ndarray, " N"]]:
    """Row of the nearest other image of each, and its cosine; of a single image itself, and -2."""
    nearest, cosine = [], []
    for start in range(0, len(unit), BLOCK):
        block = unit[start : start + BLOCK] @ unit.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -2  # itself
        nearest.append(block.argmax(axis=1))
        cosine.append(block[rows, nearest[-1]])
    return np.concatenate(nearest), np.concatenate(cosine)


def cosine_threshold(nearest: Float32[np.ndarray, " N"]) -> float:
    """tanh(median + `SPREADS` x 1.4826 x median absolute deviation) of artanh of the cosines of images with their nearest.

    1, which nothing exceeds, for fewer than `FEWEST` images.
    """
    if len(nearest) < FEWEST:
        return 1.0
    scale = np.arctanh(np.clip(nearest.astype(np.float64), -1 + 1e-7, 1 - 1e-7))
    middle = np.median(scale)
    return float(np.tanh(middle + SPREADS * 1.4826 * np.median(np.abs(scale - middle))))


def mutual_pairs(nearest: Int[np.ndarray, " N"], wanted: Bool[np.ndarray, " N"]) -> Int[np.ndarray, "P 2"]:
    """Pairs of ``wanted`` rows each of which is the other's nearest."""
    rows = np.flatnonzero(wanted)
    rows = rows[(nearest[nearest[rows]] == rows) & (rows < nearest[rows])]
    return np.stack([rows, nearest[rows]], axis=1)


def pair_cosines(unit: Float32[np.ndarray, "N D"], rows: Int[np.ndarray, "P 2"]) -> Float[np.ndarray, " P"]:
    parts = [(unit[part[:, 0]] * unit[part[:, 1]]).sum(axis=1) for part in np.array_split(rows, 1 + len(rows) // BLOCK)]
    return np.concatenate(parts).astype(np.float64)


# ---- what is found


def count_equal(keys: Sequence[str], side: Int8[np.ndarray, "N F"], labels: Int[np.ndarray, " N"]) -> dict[str, int]:
    """Pairs of rows with equal keys: all, those that lie on both sides of a fold, those with different labels.

    Counted by class and by side, so that ten thousand copies cost no more than ten.
    """
    counts = {"pairs": 0, "across_folds": 0, "conflicting_labels": 0}
    _, number, times = np.unique(np.asarray(keys), return_inverse=True, return_counts=True)
    order = np.argsort(number, kind="stable")
    for rows in np.split(order, np.cumsum(times)[:-1]):
        if len(rows) > 1:
            total = _pairs_in(len(rows))
            counts["pairs"] += total
            counts["across_folds"] += _crossing(side[rows])
            counts["conflicting_labels"] += total - sum(_pairs_in(int(n)) for n in np.bincount(labels[rows]))
    return counts


def _crossing(side: Int8[np.ndarray, "n F"]) -> int:
    patterns, times = np.unique(side, axis=0, return_counts=True)
    first, second = np.triu_indices(len(patterns), 1)
    return int((times[first] * times[second])[crosses(patterns[first], patterns[second])].sum())


def _pairs_in(n: int) -> int:
    return n * (n - 1) // 2


def worst_first(pairs: Pairs, across: Bool[np.ndarray, " P"], same_group: Bool[np.ndarray, " P"]) -> Int[np.ndarray, " P"]:
    """Order: those across folds, then those of two groups, then the smallest distance of hashes, then the highest cosine."""
    return np.lexsort((-pairs.cosine, pairs.distance, same_group, ~across))


def joined_groups(pairs: Pairs, groups: np.ndarray, most: int = 5) -> list[dict[str, Any]]:
    """Which two groups are joined by the most pairs: they may be one."""
    names = (sorted((str(groups[a]), str(groups[b]))) for a, b in zip(pairs.first, pairs.second, strict=True))
    counted = Counter((a, b) for a, b in names if a != b)
    return [{"a": a, "b": b, "pairs": n} for (a, b), n in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:most]]
