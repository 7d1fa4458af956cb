"""split: index -> data/splits.csv. What that split lets through is for `audit` to say."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from thaw.folding import given_split, leave_domains_out, make_splits
from thaw.index import labels_of, read_dataset, read_index
from thaw.params import Split, read_params
from thaw.splits import write_splits
from thaw.startup import run_stage


def main() -> None:
    params = read_params()
    index, dataset = read_index(Path("data/index.csv")), read_dataset(Path("data/dataset.json"))
    splits = split(index, labels_of(index, dataset.classes), params.split)
    write_splits(splits, Path("data/splits.csv"))
    if unused := Counter(part for part in index["split"] if part and params.split.method != "given"):
        parts = ", ".join(f"{part} {count:,}" for part, count in sorted(unused.items()))
        print(f"split: the split that the data come with ({parts}) is not used; split.method: given would", file=sys.stderr)
    groups = f" in {index['group'].nunique():,} groups" if dataset.grouped else ""
    print(f"split: {len(index):,} images{groups} -> {_folds(len(params.split.folds))}, {params.split.method}")


def split(index: pd.DataFrame, labels: np.ndarray, dials: Split) -> pd.DataFrame:
    """The table of `thaw.splits`. Raises `InputError` where the data cannot fill the folds."""
    groups, ids, n_folds = index["group"].to_numpy(), index["id"].tolist(), len(dials.folds)
    if dials.method == "leave_domain_out":
        domains = index["domain"].to_numpy()
        return leave_domains_out(labels, groups, domains, ids, n_folds, dials.validation, dials.inside, dials.seed)
    if dials.method == "given":
        return given_split(labels, groups, index["split"].to_numpy().astype(str), ids, dials.validation, dials.seed)
    return make_splits(labels, groups, ids, dials.method, n_folds, dials.validation, dials.seed)


def _folds(count: int) -> str:
    return f"{count} folds" if count > 1 else "1 fold"


if __name__ == "__main__":
    run_stage(main)
