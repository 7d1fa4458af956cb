"""split: index -> data/splits.csv, and the leak audit of that split in reports/leakage.json."""

from pathlib import Path

from thaw.errors import exit_with_one_line
from thaw.files import write_json
from thaw.folding import make_splits
from thaw.index import labels_of, read_dataset, read_index
from thaw.leakage import audit
from thaw.params import read_params
from thaw.splits import write_splits


def main() -> None:
    params = read_params()
    method, validation, seed = params.split.method, params.split.validation, params.split.seed
    index, dataset = read_index(Path("data/index.csv")), read_dataset(Path("data/dataset.json"))
    labels = labels_of(index, dataset.classes)
    splits = make_splits(labels, index["group"].to_numpy(), index["id"].tolist(), method, len(params.split.folds), validation, seed)
    found = audit(index, dataset, splits, method, validation, seed)
    write_splits(splits, Path("data/splits.csv"))
    write_json(Path("reports/leakage.json"), found)
    print("split:", *found["words"])


if __name__ == "__main__":
    exit_with_one_line(main)
