"""On which side of a fold an image lies: learnt from or chosen on (train, val), or tested (test, inside)."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Int8

from thaw.splits import INSIDE, TEST, TRAIN, VAL

Folds = list[tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]]
"""Row numbers that each fold learns from or chooses on, and those that it tests."""


def roles_of(splits: pd.DataFrame) -> np.ndarray:
    """(N, F) names of roles."""
    return splits[[column for column in splits if str(column).startswith("role_")]].to_numpy()


def sides(splits: pd.DataFrame) -> Int8[np.ndarray, "N F"]:
    """1 where an image is learnt from or chosen on, -1 where it is tested."""
    roles = roles_of(splits)
    return np.isin(roles, (TRAIN, VAL)).astype(np.int8) - np.isin(roles, (TEST, INSIDE)).astype(np.int8)


def crosses(first: Int8[np.ndarray, "P F"], second: Int8[np.ndarray, "P F"]) -> Bool[np.ndarray, " P"]:
    """Whether some fold tests one image of a pair and has seen the other."""
    return (first * second == -1).any(axis=-1)


def folds_of(splits: pd.DataFrame) -> Folds:
    """An image is tested once, or, where domains are left out, by every fold that trains on another domain."""
    roles, side = roles_of(splits), sides(splits)
    return [(np.flatnonzero(side[:, k] == 1), np.flatnonzero(roles[:, k] == TEST)) for k in range(roles.shape[1])]


def folds_by_number(fold: Int[np.ndarray, " N"]) -> Folds:
    """The same from the number of the fold that tests each row, where all other rows are seen."""
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in np.unique(fold)]
