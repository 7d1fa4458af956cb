"""finetune@B-S-F: one cell = backbone x strategy x fold: independent, restartable, and cached by DVC."""

import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file

from thaw.allocator import keep_freed_memory
from thaw.backbones import Network, build_backbone
from thaw.checkpoints import Training, read_history
from thaw.closure import import_closure
from thaw.errors import InputError, exit_with_one_line, nearest
from thaw.files import sha256_of_file, write_with
from thaw.finetune import Material, Observer, predict, train
from thaw.images import evaluation_view
from thaw.index import data_sha256, labels_of, read_dataset, read_index
from thaw.params import read_params
from thaw.progress import Progress, progress
from thaw.provenance import commit, cost_of
from thaw.randomness import derive_seed, id_numbers
from thaw.runs import (
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
from thaw.strategies import group_table, resolve, trainable_scalars
from thaw.tracking import LiveRun, params_of, tags_of

RESUME = Path(".thaw/resume")


def main(backbone_name: str, strategy_name: str, fold_name: str) -> None:
    signal.signal(signal.SIGTERM, _terminate)  # so that `with` blocks end and the live run is closed
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that costs a tenth of a step
    keep_freed_memory()
    params = read_params()
    if strategy_name not in params.strategies:
        raise InputError(f"params.yaml: strategies: unknown name {strategy_name!r}; {nearest(strategy_name, params.strategies)}")
    identity, fold = Identity(backbone_name, strategy_name, int(fold_name)), int(fold_name)
    strategy, settings = params.strategies[strategy_name], params.backbones[backbone_name]
    seed = derive_seed(params.finetune.seed, "finetune", fold)

    index, dataset = read_index(Path("data/index.csv")), read_dataset(Path("data/dataset.json"))
    splits, labels = read_splits(Path("data/splits.csv")), labels_of(index, dataset.classes)
    backbone = build_backbone(settings.weights, settings.image_size, derive_seed(seed, "init") if strategy.start == "random" else None)
    network = Network(backbone.encoder, backbone.dim, len(dataset.classes))
    probe = Identity(backbone_name, "linear_probe", fold).folder() / "head.safetensors" if strategy.start == "linear_probe" else None
    if probe is not None:
        network.head.load_state_dict(load_file(probe))
    phases = resolve(network, backbone.blocks, strategy.phases, strategy.norm, f"strategies.{strategy_name}")
    inputs = {
        "identity": str(identity),
        "data_sha256": data_sha256(index, dataset),
        "split_sha256": fold_sha256(splits, fold),
        "weights_sha256": backbone.weights_sha256,
        "head_sha256": None if probe is None else sha256_of_file(probe),
        "seed": seed,
        "settings": strategy.model_dump()
        | {
            "backbone_weights": settings.weights,
            "preprocessing": asdict(backbone.recipe),
            "batch_size": params.finetune.batch_size,
            "augment": params.finetune.augment,
            "metric": params.selection.metric,
        },
        "code_sha256": code_sha256(import_closure("thaw.stages.finetune")),
        "libraries": library_versions(),
    }
    record_id = identify(inputs)
    view = evaluation_view(np.load("data/images.npy", mmap_mode="r"), backbone.recipe)
    rows = {role: rows_of(splits, fold, role) for role in (TRAIN, VAL, TEST)}
    material = Material(view, torch.from_numpy(labels), id_numbers(index["id"].tolist()), rows[TRAIN], rows[VAL], backbone.recipe)

    record = Record(
        record_id=record_id,
        backbone=backbone_name,
        strategy=strategy_name,
        fold=fold,
        dataset=dataset.name,
        kind="finetune",
        control=False,
        classes=dataset.classes,
        inputs=inputs,
        groups=group_table(network, phases),
        history=[],
        metrics={},
        trainable_parameters=trainable_scalars(network, phases),
        preprocessing=asdict(backbone.recipe),
    )
    with sole_owner(record_id) as scratch:
        checkpoint = scratch / "state.safetensors"
        earlier = read_history(checkpoint)
        with (
            progress(f"finetune@{backbone_name}-{strategy_name}-{fold}", sum(p.epochs for p in phases) * len(rows[TRAIN])) as shown,
            LiveRun(record_id, identity, params_of(record), tags_of(record, commit()), params.track.experiment, earlier) as live,
        ):
            shown.advance(len(earlier) * len(rows[TRAIN]))
            batch_size, augment, metric = params.finetune.batch_size, params.finetune.augment, params.selection.metric
            state = train(network, phases, material, batch_size, augment, seed, metric, checkpoint, observe(shown, live))
            parts = [(role, predict(network, view, rows[role], backbone.recipe)) for role in (VAL, TEST)]
            predictions = Predictions(
                id=np.concatenate([index["id"].to_numpy()[rows[role]].astype(str) for role, _ in parts]),
                split=np.repeat([role for role, _ in parts], [len(logits) for _, logits in parts]),
                logits=np.concatenate([logits for _, logits in parts]),
            )
            tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
            write_with(identity.folder() / "model.safetensors", lambda path: save_file(tensors, path))
            write_predictions(predictions, identity.folder())
            write_record(replace(record, history=state.history, metrics=best_metrics(state)), identity.folder())
            images_seen = len(state.history) * len(rows[TRAIN])
            write_cost(identity, cost_of(state.seconds, images_seen, record.trainable_parameters, resumed=bool(earlier)))


def observe(shown: Progress, live: LiveRun) -> Observer:
    def epoch(row: dict[str, Any]) -> None:
        auc = "undefined" if row["val/auc"] is None else f"{row['val/auc']:.4f}"
        figures = f"train loss {row['train/loss']:.4f}, validation AUC {auc}, log loss {row['val/log_loss']:.4f}"
        shown.line(f"epoch {row['epoch']} ({row['phase']}): {figures}, {shown.rate:,.0f} images/s")
        live.epoch(row)

    return Observer(shown.advance, epoch, shown.note)


def best_metrics(state: Training) -> dict[str, float | int]:
    row = state.history[state.best_epoch - 1]
    figures = {
        f"best_val_{name.removeprefix('val/')}": value for name, value in row.items() if name.startswith("val/") and value is not None
    }
    return figures | {"best_epoch": state.best_epoch}


@contextmanager
def sole_owner(record_id: str) -> Iterator[Path]:
    """A folder for this result's resume state. It outlives a kill and goes when the result is written; one process at a time."""
    folder = RESUME / record_id
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(RESUME / f"{record_id}.lock", timeout=0)
    try:
        with lock:
            yield folder
            shutil.rmtree(folder)
    except Timeout:
        raise InputError(f"another process is training this very cell (record {record_id}); wait for it or stop it") from None


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    exit_with_one_line(main, *sys.argv[1:])
