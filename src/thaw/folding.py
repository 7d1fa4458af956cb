"""Labels, groups, domains, seed -> folds. What must not be torn never is."""

import numpy as np
import pandas as pd
from jaxtyping import Int

from thaw.errors import InputError
from thaw.randomness import derive_seed
from thaw.splits import INSIDE, NOWHERE, TEST, TRAIN, VAL


def make_splits(
    labels: Int[np.ndarray, " N"], groups: np.ndarray, ids: list[str], method: str, n_folds: int, validation: float, seed: int
) -> pd.DataFrame:
    """Table of id, fold (where the row is tested) and ``role_k`` (train, val or test in fold k). Every image is tested once.

    ``method`` "grouped" keeps groups whole between all three roles; "stratified" looks at labels alone.
    Raises `InputError` where the data cannot fill the folds.
    """
    _check_feasible(labels, groups, method, n_folds)
    fold = _parts(labels, groups, method, n_folds, derive_seed(seed, "folds"))
    table = pd.DataFrame({"id": ids, "fold": fold})
    for k in range(n_folds):
        rest = np.flatnonzero(fold != k)
        n_parts = max(2, min(round(1 / validation), len(np.unique(groups[rest]))))
        part = _parts(labels[rest], groups[rest], method, n_parts, derive_seed(seed, "validation", k))
        role = np.where(fold == k, TEST, TRAIN).astype(object)
        role[rest[part == _most_typical(part, labels[rest], validation)]] = VAL
        table[f"role_{k}"] = role
        if min(len(np.unique(labels[role == part])) for part in (VAL, TEST)) < 2:
            raise InputError(
                f"split: fold {k} has one class only to validate or to test on; "
                "use fewer folds (split.folds), a larger split.validation or another split.seed"
            )
        missing = set(np.unique(labels)) - set(labels[role == TRAIN])
        if missing:
            raise InputError(
                f"split: class number {min(missing)} has no training image in fold {k}; "
                "use fewer folds (split.folds), another split.seed or split.method: stratified"
            )
    return table


def given_split(
    labels: Int[np.ndarray, " N"], groups: np.ndarray, given: np.ndarray, ids: list[str], validation: float, seed: int
) -> pd.DataFrame:
    """The same table with one fold, of the parts that the data come with (``given``: train, val or test).

    Where there is no test part, the val part is tested. Where none is left to validate on, about ``validation`` of the train part does, in
    whole groups. ``fold``: 0 where the row is tested, `NOWHERE` elsewhere. Raises `InputError` where the parts cannot be used.
    """
    instead = "use split.method: grouped or stratified"
    if not np.isin(given, (TRAIN, VAL, TEST)).all():
        raise InputError(f"split.method: given needs images that come with train, val or test, and not all do; {instead}")
    role = given.astype(object)
    if not (role == TEST).any():
        role[role == VAL] = TEST
    if not (role == VAL).any():
        rest = np.flatnonzero(role == TRAIN)
        if len(np.unique(groups[rest])) < 2:
            raise InputError(f"split: the train part that the data come with has one image or group, so none can validate; {instead}")
        n_parts = max(2, min(round(1 / validation), len(np.unique(groups[rest]))))
        part = _parts(labels[rest], groups[rest], "grouped", n_parts, derive_seed(seed, "validation", 0))
        role[rest[part == _most_typical(part, labels[rest], validation)]] = VAL
    for name in (VAL, TEST):
        if len(np.unique(labels[role == name])) < 2:
            raise InputError(f"split: of the split that the data come with, the {name} part has one class only; {instead}")
    if missing := set(np.unique(labels)) - set(labels[role == TRAIN]):
        raise InputError(f"split: class number {min(missing)} has no training image in the split that the data come with; {instead}")
    return pd.DataFrame({"id": ids, "fold": np.where(role == TEST, 0, NOWHERE), "role_0": role})


def leave_domains_out(
    labels: Int[np.ndarray, " N"],
    groups: np.ndarray,
    domains: np.ndarray,
    ids: list[str],
    n_folds: int,
    validation: float,
    inside: float,
    seed: int,
) -> pd.DataFrame:
    """The same table where fold k trains on domain k alone (names in order) and tests on all the others.

    Of domain k, whole groups that make about ``inside`` of it are held out, to be tested beside the others ("inside"), and of the rest
    about ``validation`` validate. ``fold``: the row's own domain. Raises `InputError` where the data cannot fill this.
    """
    names = sorted(set(domains.tolist()))
    if len(names) < 2:
        raise InputError("split.method: leave_domain_out needs two domains or more, and the data names one; use grouped")
    if n_folds != len(names):
        listed, wanted = ", ".join(names), list(range(len(names)))
        raise InputError(f"split.folds: leave_domain_out trains on one of {len(names)} domains ({listed}) in each fold; use {wanted}")
    table = pd.DataFrame({"id": ids, "fold": np.searchsorted(names, domains)})
    for k, name in enumerate(names):
        role = np.full(len(labels), TEST, dtype=object)
        own = np.flatnonzero(domains == name)
        rest, role[own] = _cut(own, labels, groups, inside, derive_seed(seed, "inside", k), name), TRAIN
        role[np.setdiff1d(own, rest)] = INSIDE
        role[np.setdiff1d(rest, _cut(rest, labels, groups, validation, derive_seed(seed, "validation", k), name))] = VAL
        _check_roles(labels, role, name)
        table[f"role_{k}"] = role
    return table


def hold_out(
    labels: Int[np.ndarray, " N"], groups: np.ndarray, method: str, share: float, seed: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]]:
    """Row numbers (kept, held out): about ``share`` of all images is held out, in whole groups unless ``method`` is "stratified".

    Raises `InputError` where a part would lack what it needs: every class to train on, two classes to validate on.
    """
    rows = np.arange(len(labels))
    units = len(rows) if method == "stratified" else len(np.unique(groups))
    if units < 2:
        raise InputError("split: the data has one group only, so that no part can be held out; use split.method: stratified")
    n_parts = max(2, min(round(1 / share), units))
    part = _parts(labels, groups, "stratified" if method == "stratified" else "grouped", n_parts, seed)
    held = part == _most_typical(part, labels, share)
    if len(np.unique(labels[held])) < 2 or set(labels.tolist()) - set(labels[~held].tolist()):
        mend = "use another split.seed or split.validation, or split.method: stratified"
        raise InputError(
            f"split: holding out {share:g} of all images leaves a class without images to train on, or one to validate; {mend}"
        )
    return rows[~held], rows[held]


def _cut(rows: np.ndarray, labels: np.ndarray, groups: np.ndarray, share: float, seed: int, domain: str) -> Int[np.ndarray, " m"]:
    """What is left of ``rows`` when whole groups that make about ``share`` of them are taken out."""
    n_parts = max(2, min(round(1 / share), len(np.unique(groups[rows]))))
    if np.bincount(labels[rows]).max() == len(rows) or len(np.unique(groups[rows])) < 2:
        raise InputError(f"split: domain {domain!r} has one class or one group only and cannot be trained on; use split.method: grouped")
    part = _parts(labels[rows], groups[rows], "grouped", n_parts, seed)
    return rows[part != _most_typical(part, labels[rows], share)]


def _check_roles(labels: np.ndarray, role: np.ndarray, domain: str) -> None:
    for part in (TRAIN, VAL, INSIDE, TEST):
        if len(np.unique(labels[role == part])) < 2:
            raise InputError(
                f"split: when domain {domain!r} is trained on, {part} images are of one class only; "
                "use another split.seed, or split.method: grouped"
            )


def _parts(labels: np.ndarray, groups: np.ndarray, method: str, n_parts: int, seed: int) -> Int[np.ndarray, " N"]:
    """Part number of every row. Where each row is its own group the plain splitter balances better and is faster."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    alone = method == "stratified" or len(np.unique(groups)) == len(groups)
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(n_parts, shuffle=True, random_state=seed)
    part = np.empty(len(labels), dtype=np.int64)
    for number, (_, held) in enumerate(splitter.split(labels, labels, None if alone else groups)):
        part[held] = number
    return part


def _most_typical(part: np.ndarray, labels: np.ndarray, share: float) -> int:
    """The part whose class counts are nearest to ``share`` of the whole: whole groups make parts uneven."""
    classes = np.unique(labels)
    wanted = share * np.array([(labels == c).sum() for c in classes])
    off = [np.abs(np.array([((part == p) & (labels == c)).sum() for c in classes]) - wanted).sum() for p in range(part.max() + 1)]
    return int(np.argmin(off))


def _check_feasible(labels: np.ndarray, groups: np.ndarray, method: str, n_folds: int) -> None:
    counts = np.bincount(labels)
    if len(counts) < 2:
        raise InputError("split: the data has one class only; there is nothing to tell apart")
    rarest = int(np.argmin(counts))
    if counts[rarest] < n_folds + 1:
        raise InputError(f"split: class number {rarest} has {counts[rarest]} images, too few for {n_folds} folds; use fewer (split.folds)")
    n_groups = len(np.unique(groups))
    if method == "grouped" and n_groups < 2 * n_folds:
        raise InputError(
            f"split: {n_groups} groups cannot fill {n_folds} folds with validation; use fewer folds or split.method: stratified"
        )
