"""Runs of head strategies and controls on frozen features: on all labels of a fold or on a share of them."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from thaw.closure import import_closure
from thaw.files import read_json, write_with
from thaw.fractions import HEADS as PART_HEADS
from thaw.fractions import Fraction, share
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
from thaw.params import Heads, Params
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
from thaw.splits import INSIDE, TEST, TRAIN, VAL, fold_sha256, read_splits, rows_of


@dataclass(frozen=True)
class Fold:
    """Row numbers of one fold's roles; ``held``: role -> rows that no fit gets to see."""

    number: int
    train: np.ndarray
    val: np.ndarray
    held: dict[str, np.ndarray]


@dataclass(frozen=True)
class Prepared:
    """What every fit on one backbone reads. ``inputs``: source -> one row for each image of the index."""

    params: Params
    backbone: str
    index: pd.DataFrame
    dataset: Dataset
    splits: pd.DataFrame
    labels: np.ndarray
    inputs: dict[str, np.ndarray]
    said: dict[str, dict[str, Any]]  # source -> what it puts into a record's identity

    def fold(self, number: int) -> Fold:
        held = {role: rows for role in (TEST, INSIDE) if len(rows := rows_of(self.splits, number, role))}
        return Fold(number, rows_of(self.splits, number, TRAIN), rows_of(self.splits, number, VAL), held)

    def seed(self, fold: int) -> int:
        return derive_seed(self.params.heads.seed, "heads", fold)

    def part(self, fold: Fold, fraction: Fraction) -> Fold:
        """The same fold with a share of its labelled images. The order of images and groups is that of the fine-tuned cells."""
        groups, ids = self.index["group"].to_numpy(), self.index["id"].to_numpy().astype(str)
        seed = derive_seed(self.params.finetune.seed, "finetune", fold.number)
        train, val = (share(rows, self.labels, groups, ids, fraction, seed) for rows in (fold.train, fold.val))
        return replace(fold, train=train, val=val)


def prepare(params: Params, backbone: str, names: Sequence[str]) -> Prepared:
    """``names``: strategies whose inputs are wanted."""
    sources = dict.fromkeys(source_of(name) for name in names)
    index, dataset = read_index(Path("data/index.csv")), read_dataset(Path("data/dataset.json"))
    folder = Path("data/features") / backbone
    manifest = read_json(folder / "manifest.json")
    readers: dict[str, Callable[[], np.ndarray]] = {
        "features": lambda: np.load(folder / "features.npy"),
        "blocks": lambda: np.load(folder / "blocks.npy"),
        "pixels": lambda: raw_pixels(np.load("data/images.npy", mmap_mode="r"), params.heads.raw_pixels_side),
        "position": lambda: np.arange(len(index), dtype=np.float64)[:, None],
    }
    inputs = {source: readers[source]() for source in sources}
    seen = {source: hashlib.sha256(np.ascontiguousarray(X).data).hexdigest() for source, X in inputs.items()}
    of_backbone = {name: manifest[name] for name in ("weights_sha256", "preprocessing", "engine", "precision")}
    common = {
        "data_sha256": data_sha256(index, dataset),
        "code_sha256": code_sha256(import_closure("thaw.head_runs")),
        "libraries": library_versions(),
        "weights_sha256": None,
        "preprocessing": {},
    }
    said = {
        source: common | {"inputs_sha256": seen[source]} | (of_backbone if source in ("features", "blocks") else {}) for source in sources
    }
    splits, labels = read_splits(Path("data/splits.csv")), labels_of(index, dataset.classes)
    return Prepared(params, backbone, index, dataset, splits, labels, inputs, said)


Fit = Callable[[Part, Part, int], Fitted]


def source_of(strategy: str) -> str:
    """Which inputs a head strategy or control is fitted on."""
    return {"head2toe": "blocks", "metadata": "position", "raw_pixels": "pixels"}.get(strategy, "features")


def strategies(heads: Heads, metric: str, n_classes: int) -> dict[str, tuple[dict[str, Any], Fit]]:
    """Name -> (the settings that decide it, how to fit (train, val, seed))."""
    C, ridge, ks, keep = list(heads.C), list(heads.ridge), list(heads.k), list(heads.keep)
    found: dict[str, tuple[dict[str, Any], Fit]] = {
        "linear_probe": ({"C": C}, lambda train, val, seed: fit_logistic(train, val, C, metric, n_classes)),
        "ridge": ({"ridge": ridge}, lambda train, val, seed: fit_ridge(train, val, ridge, metric, n_classes)),
        "nearest_centroid": ({}, lambda train, val, seed: fit_nearest_centroid(train, val, n_classes)),
        "knn": ({"k": ks}, lambda train, val, seed: fit_knn(train, val, ks, metric, n_classes)),
        "head2toe": (
            {"C": C, "keep": keep, "relevance": heads.relevance},
            lambda train, val, seed: fit_head2toe(train, val, C, keep, heads.relevance, metric, n_classes),
        ),
        "majority": ({}, lambda train, val, seed: fit_majority(train, n_classes)),
        "metadata": ({"k": ks}, lambda train, val, seed: fit_metadata(train, val, ks, metric, n_classes)),
        "raw_pixels": (
            {"C": C, "raw_pixels_side": heads.raw_pixels_side},
            lambda train, val, seed: fit_logistic(train, val, C, metric, n_classes),
        ),
        "shuffled_labels": (
            {"C": C},
            lambda train, val, seed: fit_logistic(shuffled(train, seed), shuffled(val, seed + 1), C, metric, n_classes),
        ),
    }
    assert tuple(found) == (*HEADS, *CONTROLS)
    return found


def fit_and_write(
    prepared: Prepared, strategy: str, fold: Fold, settings: dict[str, Any], fit: Fit, fraction: Fraction | None = None
) -> float:
    """Fit one strategy on one fold, write its run folder and, on all labels, its cost; return its validation AUC.

    ``fold``: with ``fraction`` already cut down to it.
    """
    identity, source, labels = Identity(prepared.backbone, strategy, fold.number), source_of(strategy), prepared.labels
    X = prepared.inputs[source]
    inputs = prepared.said[source] | {
        "identity": str(identity),
        "split_sha256": fold_sha256(prepared.splits, fold.number),
        "seed": prepared.seed(fold.number),
        "settings": settings
        | {"metric": prepared.params.selection.metric}
        | ({"fraction": asdict(fraction), "fraction_seed": prepared.params.finetune.seed} if fraction else {}),
    }
    start = time.perf_counter()
    fitted = fit(Part(X[fold.train], labels[fold.train]), Part(X[fold.val], labels[fold.val]), inputs["seed"])
    seconds = time.perf_counter() - start
    asked = {VAL: fold.val, **fold.held}
    rows = np.concatenate(list(asked.values()))
    logits = fitted.predict(X[rows]).astype(np.float32)
    figures = validation_figures(logits[: len(fold.val)], labels[fold.val])
    trainable = 0 if fitted.head is None or strategy == "majority" else fitted.head.W.size + fitted.head.b.size
    record = Record(
        record_id=identify(inputs),
        backbone=identity.backbone,
        strategy=strategy,
        fold=fold.number,
        dataset=prepared.dataset.name,
        kind="head",
        control=strategy in CONTROLS or prepared.params.backbones[prepared.backbone].control,
        classes=prepared.dataset.classes,
        inputs=inputs,
        groups=[],
        history=[],
        metrics={f"best_val_{name}": value for name, value in figures.items() if not np.isnan(value)} | fitted.chosen,
        trainable_parameters=trainable,
        preprocessing=inputs["preprocessing"],
    )
    folder = identity.folder() if fraction is None else fraction.folder(identity, PART_HEADS)
    if fitted.head is not None:
        tensors = {"weight": fitted.head.W, "bias": fitted.head.b}
        write_with(folder / "head.safetensors", lambda path: save_file(tensors, path))
    role = np.repeat(list(asked), [len(own) for own in asked.values()])
    write_predictions(Predictions(prepared.index["id"].to_numpy()[rows].astype(str), role, logits), folder)
    write_record(record, folder)
    if fraction is None:
        write_cost(identity, cost_of(seconds, len(fold.train), trainable, resumed=False))
    return figures["auc"]
