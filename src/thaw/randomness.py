"""Randomness as a function of its arguments, without state: what makes results independent of workers, order and restarts."""

import hashlib
from typing import Any

import numpy as np
from jaxtyping import UInt64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2^31) from any parts, for example ``(seed, "init", fold)``. Different parts give unrelated seeds."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def id_numbers(ids: list[str]) -> UInt64[np.ndarray, " N"]:
    """A fixed 64-bit number for each id."""
    return np.array([int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") for name in ids], dtype=np.uint64)


def draw(numbers: UInt64[np.ndarray, " N"], seed: int, epoch: int) -> UInt64[np.ndarray, " N"]:
    """64 random bits for each id number in one epoch: SplitMix64's finaliser (Steele 2014) over (seed, epoch, id)."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is the point
        return _mix(numbers ^ _mix(np.uint64(seed) * _GOLDEN + _mix(np.uint64(epoch) + _GOLDEN)))


def _mix(z: Any) -> Any:  # an array or a single number of type uint64
    z = z + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX[0]
    z = (z ^ (z >> np.uint64(27))) * _MIX[1]
    return z ^ (z >> np.uint64(31))
