"""heads@B: frozen features -> a run for every head strategy and control, in every fold. The backbone never runs."""

import hashlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from thaw.closure import import_closure
from thaw.errors import exit_with_one_line
from thaw.files import read_json, write_with
from thaw.heads import (
    Fitted,
    Part,
    fit_head2toe,
    fit_knn,
    fit_logistic,
    fit_majority,
    fit_metadata,
    fit_nearest_centroid,
    fit_ridge,
    raw_pixels,
    shuffled,
)
from thaw.index import Dataset, data_sha256, labels_of, read_dataset, read_index
from thaw.metrics import validation_figures
from thaw.params import Heads, read_params
from thaw.progress import progress
from thaw.provenance import cost_of
from thaw.randomness import derive_seed
from thaw.runs import (
    CONTROLS,
    HEADS,
    Identity,
    Predictions,
    Record,
    code_sha256,
    identify,
    library_versions,
    write_cost,
    write_predictions,
    write_record,
)
from thaw.splits import TEST, TRAIN, VAL, fold_sha256, read_splits, rows_of


@dataclass(frozen=True)
class Fold:
    """Row numbers of one fold's roles."""

    number: int
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def main(backbone: str) -> None:
    params = read_params()
    index, dataset = read_index(Path("data/index.csv")), read_dataset(Path("data/dataset.json"))
    splits, labels = read_splits(Path("data/splits.csv")), labels_of(index, dataset.classes)
    manifest = read_json(Path("data/features") / backbone / "manifest.json")
    inputs = {
        "features": np.load(Path("data/features") / backbone / "features.npy"),
        "blocks": np.load(Path("data/features") / backbone / "blocks.npy"),
        "pixels": raw_pixels(np.load("data/images.npy", mmap_mode="r"), params.heads.raw_pixels_side),
        "position": np.arange(len(index), dtype=np.float64)[:, None],
    }
    fits = strategies(params.heads, params.selection.metric, len(dataset.classes))
    seen = {source: hashlib.sha256(np.ascontiguousarray(X).data).hexdigest() for source, X in inputs.items()}
    common = {
        "data_sha256": data_sha256(index, dataset),
        "code_sha256": code_sha256(import_closure("thaw.stages.heads")),
        "libraries": library_versions(),
    }
    with progress(f"heads@{backbone}", len(fits) * len(params.split.folds)) as shown:
        for number in params.split.folds:
            fold = Fold(number, *(rows_of(splits, number, role) for role in (TRAIN, VAL, TEST)))
            reached = []
            for name, (source, settings, fit) in fits.items():
                identity = Identity(backbone, name, number)
                shown.note(f"fold {number}, {name}")
                seed = derive_seed(params.heads.seed, "heads", number)
                settings = settings | {"metric": params.selection.metric}
                said = common | {"weights_sha256": None, "preprocessing": {}, "inputs_sha256": seen[source]}
                if source in ("features", "blocks"):
                    said |= {"weights_sha256": manifest["weights_sha256"], "preprocessing": manifest["preprocessing"]}
                said |= {"identity": str(identity), "split_sha256": fold_sha256(splits, number), "seed": seed, "settings": settings}
                auc = fit_and_write(identity, inputs[source], labels, index, dataset, fold, fit, said)
                reached.append(f"{name} {auc:.3f}")
                shown.advance(1)
            shown.line(f"fold {number}: validation AUC {', '.join(reached)}")


Fit = Callable[[Part, Part, int], Fitted]


def strategies(heads: Heads, metric: str, n_classes: int) -> dict[str, tuple[str, dict[str, Any], Fit]]:
    """Name -> (which inputs, the settings that decide it, how to fit (train, val, seed))."""
    C, ridge, ks, keep = list(heads.C), list(heads.ridge), list(heads.k), list(heads.keep)
    found: dict[str, tuple[str, dict[str, Any], Fit]] = {
        "linear_probe": ("features", {"C": C}, lambda train, val, seed: fit_logistic(train, val, C, metric, n_classes)),
        "ridge": ("features", {"ridge": ridge}, lambda train, val, seed: fit_ridge(train, val, ridge, metric, n_classes)),
        "nearest_centroid": ("features", {}, lambda train, val, seed: fit_nearest_centroid(train, val, n_classes)),
        "knn": ("features", {"k": ks}, lambda train, val, seed: fit_knn(train, val, ks, metric, n_classes)),
        "head2toe": (
            "blocks",
            {"C": C, "keep": keep, "relevance": heads.relevance},
            lambda train, val, seed: fit_head2toe(train, val, C, keep, heads.relevance, metric, n_classes),
        ),
        "majority": ("features", {}, lambda train, val, seed: fit_majority(train, n_classes)),
        "metadata": ("position", {"k": ks}, lambda train, val, seed: fit_metadata(train, val, ks, metric, n_classes)),
        "raw_pixels": (
            "pixels",
            {"C": C, "raw_pixels_side": heads.raw_pixels_side},
            lambda train, val, seed: fit_logistic(train, val, C, metric, n_classes),
        ),
        "shuffled_labels": (
            "features",
            {"C": C},
            lambda train, val, seed: fit_logistic(shuffled(train, seed), shuffled(val, seed + 1), C, metric, n_classes),
        ),
    }
    assert tuple(found) == (*HEADS, *CONTROLS)
    return found


def fit_and_write(
    identity: Identity,
    X: np.ndarray,
    labels: np.ndarray,
    index: pd.DataFrame,
    dataset: Dataset,
    fold: Fold,
    fit: Fit,
    inputs: dict[str, Any],
) -> float:
    """Fit one strategy on one fold, write its run folder and cost, return its validation AUC."""
    start = time.perf_counter()
    fitted = fit(Part(X[fold.train], labels[fold.train]), Part(X[fold.val], labels[fold.val]), inputs["seed"])
    seconds = time.perf_counter() - start
    asked = np.concatenate([fold.val, fold.test])
    logits = fitted.predict(X[asked]).astype(np.float32)
    figures = validation_figures(logits[: len(fold.val)], labels[fold.val])
    trainable = 0 if fitted.head is None or identity.strategy == "majority" else fitted.head.W.size + fitted.head.b.size
    record = Record(
        record_id=identify(inputs),
        backbone=identity.backbone,
        strategy=identity.strategy,
        fold=identity.fold,
        dataset=dataset.name,
        kind="head",
        control=identity.strategy in CONTROLS,
        classes=dataset.classes,
        inputs=inputs,
        groups=[],
        history=[],
        metrics={f"best_val_{name}": value for name, value in figures.items() if not np.isnan(value)} | fitted.chosen,
        trainable_parameters=trainable,
        preprocessing=inputs["preprocessing"],
    )
    folder = identity.folder()
    if fitted.head is not None:
        tensors = {"weight": fitted.head.W, "bias": fitted.head.b}
        write_with(folder / "head.safetensors", lambda path: save_file(tensors, path))
    role = np.repeat([VAL, TEST], [len(fold.val), len(fold.test)])
    write_predictions(Predictions(index["id"].to_numpy()[asked].astype(str), role, logits), folder)
    write_record(record, folder)
    write_cost(identity, cost_of(seconds, len(fold.train), trainable, resumed=False))
    return figures["auc"]


if __name__ == "__main__":
    exit_with_one_line(main, *sys.argv[1:])
