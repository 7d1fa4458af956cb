"""Nested shares of the labelled images: what is left when labels are few. A larger share holds every image of a smaller one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int, UInt64

from thaw.randomness import derive_seed, draw, id_numbers
from thaw.runs import Identity

HEADS = Path("learning/heads")
FINETUNE = Path("learning/finetune")
By = Literal["images", "groups"]


@dataclass(frozen=True)
class Fraction:
    """``percent`` of the training images, and of the validation images: who has few labels has few of both."""

    by: By
    percent: int

    def __str__(self) -> str:
        return f"{self.by}-{self.percent}"

    def folder(self, identity: Identity, root: Path) -> Path:
        """``root``/<backbone>/<strategy>/<by>-<percent>/<fold>."""
        return root / identity.backbone / identity.strategy / str(self) / str(identity.fold)


def share(
    rows: Int[np.ndarray, " n"], labels: Int[np.ndarray, " N"], groups: np.ndarray, ids: np.ndarray, fraction: Fraction, seed: int
) -> Int[np.ndarray, " m"]:
    """The part of ``rows`` that is left, in their order. ``labels``, ``groups`` and ``ids`` are those of all N images.

    By images: of each class its share, rounded up, so that none is lost. By groups: whole groups in random order until their images reach
    the share, and on until there are two classes. Images and groups are ordered by (seed, id) alone.
    """
    if fraction.by == "images":
        numbers = draw(id_numbers(ids[rows].tolist()), derive_seed(seed, "fraction", "images"), 0)
        return rows[_first_of_each_class(labels[rows], numbers, fraction.percent)]
    return rows[_first_groups(labels[rows], groups[rows].astype(str), fraction.percent, derive_seed(seed, "fraction", "groups"))]


def _first_of_each_class(labels: Int[np.ndarray, " n"], numbers: UInt64[np.ndarray, " n"], percent: int) -> Int[np.ndarray, " m"]:
    kept = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        count = -(-len(own) * percent // 100)
        kept.append(own[np.argsort(numbers[own], kind="stable")[:count]])
    return np.sort(np.concatenate(kept))


def _first_groups(labels: Int[np.ndarray, " n"], groups: np.ndarray, percent: int, seed: int) -> Int[np.ndarray, " m"]:
    names, group = np.unique(groups, return_inverse=True)
    order = np.argsort(draw(id_numbers(names.tolist()), seed, 0), kind="stable")
    kept = np.zeros(len(labels), dtype=bool)
    for number in order:
        if kept.sum() * 100 >= percent * len(labels) and len(np.unique(labels[kept])) >= min(2, len(np.unique(labels))):
            break
        kept |= group == number
    return np.flatnonzero(kept)
