"""Whether the data can fill the folds, by counts alone: told by names, before anything is computed. `thaw.folding` looks closer."""

from collections import Counter

import pandas as pd

from thaw.errors import InputError
from thaw.index import Dataset
from thaw.splits import TEST, TRAIN, VAL

MEND = "use fewer (split.folds), or add images"


def check_enough(index: pd.DataFrame, dataset: Dataset, method: str, n_folds: int) -> None:
    """Raises `InputError`: one class only, a class with too few images or groups, one group only, too few domains, no given split."""
    counts = Counter(index["label"])
    if len(counts) < 2:
        raise InputError(f"fetch: all {len(index)} images are of one class, {next(iter(counts))!r}; there is nothing to tell apart")
    if method == "given":
        _check_given(index)
        return
    if method == "leave_domain_out":
        _check_domains(index, n_folds)
        return
    name, count = min(counts.items(), key=lambda item: item[1])
    if count < n_folds + 1:
        some = "image" if count == 1 else "images"
        raise InputError(f"fetch: class {name!r} has {count} {some}, too few for {n_folds} folds, which need {n_folds + 1}; {MEND}")
    if method == "grouped" and dataset.grouped:
        _check_groups(index, n_folds)


def _check_groups(index: pd.DataFrame, n_folds: int) -> None:
    instead = "use split.method: stratified, which tears groups, or correct the groups"
    groups = index["group"].tolist()
    n_groups = len(set(groups))
    if n_groups == 1:
        raise InputError(f"fetch: all {len(index)} images are of one group, {groups[0]!r}; {instead}")
    if n_groups < 2 * n_folds:
        needed = f"{n_folds} folds with validation, which need {2 * n_folds}"
        raise InputError(f"fetch: {n_groups} groups cannot fill {needed}; {MEND}; or {instead}")
    in_groups = Counter(label for label, _ in set(zip(index["label"], groups, strict=True)))
    name, count = min(in_groups.items(), key=lambda item: item[1])
    if count < 2:
        raise InputError(f"fetch: class {name!r} lies in one group alone, so it cannot be both learnt and tested; {instead}")


def _check_domains(index: pd.DataFrame, n_folds: int) -> None:
    names = sorted(set(index["domain"]))
    if len(names) < 2:
        raise InputError(f"split.method: leave_domain_out needs two domains or more, and the data name one, {names[0]!r}; use grouped")
    if len(names) != n_folds:
        wanted = list(range(len(names)))
        raise InputError(f"split.folds: leave_domain_out needs a fold for each of {len(names)} domains ({', '.join(names)}); use {wanted}")


def _check_given(index: pd.DataFrame) -> None:
    """Whoever is tested must have been learnt."""
    without = index["split"].tolist().count("")
    if without:
        some = "no image has" if without == len(index) else f"{without} of {len(index)} images lack"
        raise InputError(f"split.method: given needs images that come with train, val and test, and {some} one; use grouped or stratified")
    pairs = list(zip(index["split"], index["label"], strict=True))
    parts = {part: Counter(label for split, label in pairs if split == part) for part in (TRAIN, VAL, TEST)}
    tested = TEST if parts[TEST] else VAL
    if not (parts[TRAIN] and parts[tested]):
        missing = TRAIN if not parts[TRAIN] else f"{TEST} and no {VAL}"
        raise InputError(f"split.method: given: no image is in {missing}; use grouped or stratified")
    for part in (VAL, TEST):
        if parts[part] and len(parts[part]) < 2:
            only = next(iter(parts[part]))
            raise InputError(f"split.method: given: all {part} images are of one class, {only!r}; use grouped or stratified")
    least = 1 if tested == TEST and parts[VAL] else 2  # without validation images, some of each class are cut from train
    for name in sorted(set(index["label"])):
        if parts[TRAIN][name] < least:
            found = f"{parts[TRAIN][name]} in train, where {least} are needed"
            raise InputError(f"split.method: given: class {name!r} has {found}; use grouped or stratified, or add images")
