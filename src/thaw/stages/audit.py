"""audit: index, images, features of the reference backbone, splits -> reports/leakage.json."""

from pathlib import Path

import numpy as np

from thaw.appearance import appearance_of
from thaw.files import write_json
from thaw.index import read_dataset, read_index
from thaw.leakage import Cut, Seen, audit
from thaw.params import read_params
from thaw.splits import read_splits
from thaw.startup import run_stage


def main() -> None:
    params = read_params()
    index, dataset = read_index(Path("data/index.csv")), read_dataset(Path("data/dataset.json"))
    cut = Cut(read_splits(Path("data/splits.csv")), params.split.method, params.split.validation, params.split.seed)
    seen = Seen(
        appearance_of(np.load("data/images.npy", mmap_mode="r")),
        np.array([(Path("data/raw") / path).stat().st_size for path in index["path"]]),
        np.load(Path("data/features") / params.evaluate.reference_backbone / "features.npy"),
    )
    strengths = sorted(params.heads.C)
    found = audit(index, dataset, cut, seen, strengths[len(strengths) // 2], params.selection.metric)
    write_json(Path("reports/leakage.json"), found)
    print(f"audit: {found['verdict']['level']}.", *found["verdict"]["sentences"])


if __name__ == "__main__":
    run_stage(main)
