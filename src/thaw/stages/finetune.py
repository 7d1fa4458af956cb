"""finetune@B-S-F: one cell = backbone x strategy x fold: independent, restartable, and cached by DVC."""

import hashlib
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
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
from thaw.index import data_sha256, labels_of, read_dataset, read_index
from thaw.params import Params, read_params
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
from thaw.strategies import ResolvedPhase, group_table, resolve, trainable_scalars
from thaw.tracking import LiveRun, params_of, tags_of
from thaw.views import evaluation_view

RESUME = Path(".thaw/resume")


@dataclass(frozen=True)
class Cell:
    """Everything that one training needs, resolved; ``record`` is complete but for what training finds out."""

    network: Network
    phases: list[ResolvedPhase]
    material: Material
    test: np.ndarray  # row numbers that the training loop does not get to see
    ids: np.ndarray
    record: Record


def main(backbone: str, strategy: str, fold: str) -> None:
    signal.signal(signal.SIGTERM, _terminate)  # so that `with` blocks end and the live run is closed
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid that costs a tenth of a step
    keep_freed_memory()
    params = read_params()
    if strategy not in params.strategies:
        raise InputError(f"params.yaml: strategies: unknown name {strategy!r}; {nearest(strategy, params.strategies)}")
    if backbone not in params.backbones:
        raise InputError(f"params.yaml: backbones: unknown name {backbone!r}; {nearest(backbone, params.backbones)}")
    if not fold.isdecimal():
        raise InputError(f"finetune: fold {fold!r} is not a number; for example `dvc repro finetune@{backbone}-{strategy}-0`")
    cell = assemble(params, Identity(backbone, strategy, int(fold)))
    with sole_owner(cell.record.record_id) as folder:
        run(cell, params.finetune.batch_size, params.finetune.augment, params.selection.metric, params.track.experiment, folder)


def assemble(params: Params, identity: Identity) -> Cell:
    """Read what the cell reads; resolve its network, phases and identity."""
    strategy, settings, fold = params.strategies[identity.strategy], params.backbones[identity.backbone], identity.fold
    seed = derive_seed(params.finetune.seed, "finetune", fold)
    index, dataset = read_index(Path("data/index.csv")), read_dataset(Path("data/dataset.json"))
    splits, labels = read_splits(Path("data/splits.csv")), labels_of(index, dataset.classes)

    backbone = build_backbone(settings.weights, settings.image_size, derive_seed(seed, "init") if strategy.start == "random" else None)
    network = Network(backbone.encoder, backbone.dim, len(dataset.classes))
    head = replace(identity, strategy="linear_probe").folder() / "head.safetensors" if strategy.start == "linear_probe" else None
    if head is not None:
        network.head.load_state_dict(load_file(head))
    phases = resolve(network, backbone.blocks, strategy.phases, strategy.norm, f"params.yaml: strategies.{identity.strategy}")
    view = evaluation_view(np.load("data/images.npy", mmap_mode="r"), backbone.recipe)
    recipe = asdict(backbone.recipe)
    dials = {"batch_size": params.finetune.batch_size, "augment": params.finetune.augment, "metric": params.selection.metric}
    inputs = {
        "identity": str(identity),
        "data_sha256": data_sha256(index, dataset),
        "view_sha256": hashlib.sha256(view.numpy().data).hexdigest(),
        "split_sha256": fold_sha256(splits, fold),
        "weights_sha256": backbone.weights_sha256,
        "head_sha256": None if head is None else sha256_of_file(head),
        "seed": seed,
        "settings": strategy.model_dump() | dials | {"backbone_weights": settings.weights, "preprocessing": recipe},
        "code_sha256": code_sha256(import_closure("thaw.stages.finetune")),
        "libraries": library_versions(),
    }
    record = Record(
        record_id=identify(inputs),
        backbone=identity.backbone,
        strategy=identity.strategy,
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
        preprocessing=recipe,
    )
    ids = index["id"].to_numpy().astype(str)
    train_rows, val_rows, test_rows = (rows_of(splits, fold, role) for role in (TRAIN, VAL, TEST))
    labels[test_rows] = -1
    material = Material(view, torch.from_numpy(labels), id_numbers(ids.tolist()), train_rows, val_rows, backbone.recipe)
    return Cell(network, phases, material, test_rows, ids, record)


def run(cell: Cell, batch_size: int, augment: str, metric: str, experiment: str, folder: Path) -> None:
    """Train, or go on training, and write the run folder; ``folder`` holds what outlives a kill."""
    checkpoint, images = folder / "state.safetensors", len(cell.material.train)
    earlier = read_history(checkpoint)
    identity, seed = cell.record.identity, cell.record.inputs["seed"]
    with (
        progress(f"finetune@{str(identity).replace('/', '-')}", sum(phase.epochs for phase in cell.phases) * images) as shown,
        LiveRun(cell.record.record_id, identity, params_of(cell.record), tags_of(cell.record, commit()), experiment, earlier) as live,
    ):
        shown.skip(len(earlier) * images)
        state = train(cell.network, cell.phases, cell.material, batch_size, augment, seed, metric, checkpoint, observe(shown, live))
        write(cell, state)
    write_cost(identity, cost_of(state.seconds, len(state.history) * images, cell.record.trainable_parameters, resumed=bool(earlier)))


def write(cell: Cell, state: Training) -> None:
    """Tensors, predictions on validation and test, and last the record: where there is a record, the result is whole."""
    material, folder = cell.material, cell.record.identity.folder()
    parts = {role: predict(cell.network, material.view, rows, material.recipe) for role, rows in ((VAL, material.val), (TEST, cell.test))}
    predictions = Predictions(
        id=cell.ids[np.concatenate([material.val, cell.test])],
        split=np.repeat(list(parts), [len(logits) for logits in parts.values()]),
        logits=np.concatenate(list(parts.values())),
    )
    tensors = {name: tensor.contiguous() for name, tensor in cell.network.state_dict().items()}
    write_with(folder / "model.safetensors", lambda path: save_file(tensors, path))
    write_predictions(predictions, folder)
    write_record(replace(cell.record, history=state.history, metrics=best_metrics(state)), folder)


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
