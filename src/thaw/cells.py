"""One cell = backbone x strategy x fold, on all labels or on a share of them: assembled, trained or trained on, and written."""

import hashlib
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file

from thaw.allocator import keep_freed_memory
from thaw.augment import number_of_views
from thaw.averaging import State
from thaw.backbones import Network, backbone_of
from thaw.checkpoints import Training, read_progress
from thaw.closure import import_closure
from thaw.devices import find_device, make_deterministic, placed, precision_of
from thaw.errors import InputError, nearest
from thaw.files import sha256_of_file, write_with
from thaw.finetune import Observer, Regime, choose_alpha, planned_images, state_of, train
from thaw.fractions import FINETUNE, Fraction, share
from thaw.fractions import HEADS as PART_HEADS
from thaw.index import data_sha256, labels_of, read_dataset, read_index
from thaw.inputs import Material, predict
from thaw.params import Params, Phase
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
from thaw.splits import INSIDE, TEST, TRAIN, VAL, fold_sha256, read_splits, rows_of
from thaw.startup import uncollected
from thaw.strategies import ResolvedPhase, group_table, resolve, trainable_scalars
from thaw.tracking import LiveRun, params_of, tags_of
from thaw.tuning import Trial, edges, scaled, trials
from thaw.views import evaluation_view

RESUME = Path(".thaw/resume")


@dataclass(frozen=True)
class Cell:
    """Everything that one training needs, resolved; ``record`` is complete but for what training finds out."""

    network: Network
    start: State  # the network's tensors before anything is trained
    plans: list[tuple[Trial | None, list[ResolvedPhase]]]  # a plan for each tuning trial; without tuning the strategy as it stands
    interpolate: list[float] | None
    regime: Regime
    material: Material
    held: dict[str, np.ndarray]  # role -> row numbers that the training loop does not get to see
    ids: np.ndarray
    record: Record
    fraction: Fraction | None = None  # of the labelled images; None: all of them

    @property
    def stage(self) -> str:
        """As DVC calls it."""
        backbone, strategy, fold = self.record.backbone, self.record.strategy, self.record.fold
        if self.fraction is None:
            return f"finetune@{backbone}-{strategy}-{fold}"
        return f"finetune_part@{backbone}-{strategy}-{self.fraction.percent}-{fold}"

    @property
    def folder(self) -> Path:
        identity = self.record.identity
        return identity.folder() if self.fraction is None else self.fraction.folder(identity, FINETUNE)


def train_cell(params: Params, identity: Identity, fraction: Fraction | None = None) -> None:
    """The whole of stages finetune and finetune_part. Raises `InputError`."""
    signal.signal(signal.SIGTERM, _terminate)  # so that `with` blocks end and the live run is closed
    make_deterministic(find_device())
    keep_freed_memory()
    with uncollected():
        cell = assemble(params, identity, fraction)
    with sole_owner(cell.record.record_id) as folder:
        run(cell, params.track.experiment, folder)


def identity_of(params: Params, backbone: str, strategy: str, fold: str) -> Identity:
    """From the words of a command line. Raises `InputError` for a name that params.yaml does not have."""
    if strategy not in params.strategies:
        raise InputError(f"params.yaml: strategies: unknown name {strategy!r}; {nearest(strategy, params.strategies)}")
    if backbone not in params.backbones:
        raise InputError(f"params.yaml: backbones: unknown name {backbone!r}; {nearest(backbone, params.backbones)}")
    if not fold.isdecimal():
        raise InputError(f"finetune: fold {fold!r} is not a number; for example `dvc repro finetune@{backbone}-{strategy}-0`")
    return Identity(backbone, strategy, int(fold))


def assemble(params: Params, identity: Identity, fraction: Fraction | None = None) -> Cell:
    """Read what the cell reads; resolve its network, phases and identity."""
    strategy, settings, fold = params.strategies[identity.strategy], params.backbones[identity.backbone], identity.fold
    seed = derive_seed(params.finetune.seed, "finetune", fold)
    index, dataset = read_index(Path("data/index.csv")), read_dataset(Path("data/dataset.json"))
    splits, labels = read_splits(Path("data/splits.csv")), labels_of(index, dataset.classes)

    random_seed = derive_seed(seed, "init") if strategy.start == "random" else None
    backbone = backbone_of(settings, random_seed)
    network = Network(backbone.encoder, backbone.dim, len(dataset.classes)).to(device := find_device())
    head = probe_of(identity, fraction) if strategy.start == "linear_probe" else None
    if head is not None:
        network.head.load_state_dict(load_file(head))
    where = f"params.yaml: strategies.{identity.strategy}"

    def plan(phases: list[Phase]) -> list[ResolvedPhase]:
        return resolve(network, backbone.blocks, phases, strategy.norm, where)

    tried = trials(params.tune)
    plans: list[tuple[Trial | None, list[ResolvedPhase]]] = [
        (trial, plan([scaled(phase, trial) for phase in strategy.phases])) for trial in tried
    ]
    phases = plan(strategy.phases)
    view = evaluation_view(np.load("data/images.npy", mmap_mode="r"), backbone.recipe)
    recipe = asdict(backbone.recipe)
    regime = regime_of(params)
    dials = {"batch_size": regime.batch_size, "augment": list(regime.augment), "metric": regime.metric}
    dials |= {"device": device.type, "precision": regime.precision}
    dials |= {"keep_activations": regime.activations_mb > 0}  # how much of them lies in memory decides nothing
    if regime.activations_mb:
        dials |= {"engine": regime.engine}
    if fraction:
        dials |= {"fraction": asdict(fraction)}
    if tried:
        dials |= {"tune": params.tune.model_dump()}
    inputs = {
        "identity": str(identity),
        "data_sha256": data_sha256(index, dataset),
        "view_sha256": hashlib.sha256(view.numpy().data).hexdigest(),
        "split_sha256": fold_sha256(splits, fold),
        "weights_sha256": backbone.weights_sha256,
        "head_sha256": None if head is None else sha256_of_file(head),
        "seed": seed,
        "settings": strategy.model_dump(exclude_none=True) | dials | {"backbone_weights": settings.weights, "preprocessing": recipe},
        "code_sha256": code_sha256(import_closure("thaw.cells")),
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
    train_rows, val_rows = (rows_of(splits, fold, role) for role in (TRAIN, VAL))
    if fraction:
        train_rows, val_rows = (share(rows, labels, index["group"].to_numpy(), ids, fraction, seed) for rows in (train_rows, val_rows))
    held = {role: rows for role in (TEST, INSIDE) if len(rows := rows_of(splits, fold, role))}
    labels[np.concatenate(list(held.values()))] = -1
    material = Material(
        placed(view, device, turned=number_of_views(regime.augment) is not None),
        torch.from_numpy(labels),
        id_numbers(ids.tolist()),
        train_rows,
        val_rows,
        backbone.recipe,
    )
    plans = plans or [(None, phases)]
    return Cell(network, state_of(network), plans, strategy.interpolate, regime, material, held, ids, record, fraction)


def regime_of(params: Params) -> Regime:
    finetune = params.finetune
    augment, precision = tuple(finetune.augment), precision_of(find_device(), finetune.precision)
    return Regime(finetune.batch_size, augment, finetune.activations_mb, params.selection.metric, params.features.engine, precision)


def probe_of(identity: Identity, fraction: Fraction | None) -> Path:
    """The head that a start from the linear probe reads: fitted on the same images, no more."""
    probe = replace(identity, strategy="linear_probe")
    return (probe.folder() if fraction is None else fraction.folder(probe, PART_HEADS)) / "head.safetensors"


def run(cell: Cell, experiment: str, folder: Path) -> None:
    """Train, or go on training, and write the run folder; ``folder`` holds what outlives a kill."""
    record, images = cell.record, len(cell.material.train)
    identity, seed = record.identity, record.inputs["seed"]
    if cell.fraction:
        identity, experiment = replace(identity, strategy=f"{identity.strategy}/{cell.fraction}"), f"{experiment}-learning"
    files = [folder / f"state-{number}.safetensors" for number in range(len(cell.plans))]
    earlier = [read_progress(file) for file in files]
    tuned = len(files) > 1
    total = sum(planned_images(phases, images, cell.regime.batch_size) for _, phases in cell.plans)
    with (
        progress(cell.stage, total) as shown,
        LiveRun(
            record.record_id, identity, params_of(record), tags_of(record, commit()), experiment, [] if tuned else earlier[0][0]
        ) as live,
    ):
        shown.skip(sum(seen for _, seen in earlier))
        plans, told = [phases for _, phases in cell.plans], None if tuned else live.epoch  # curves of trials are not the result's
        trained = train_all(cell.network, cell.start, plans, cell.material, cell.regime, seed, files, shown, told)
        if tuned:
            for row in trained.state.history:
                live.epoch(row)
        write(cell, trained)
    resumed = any(history for history, _ in earlier)
    if cell.fraction is None:  # what a share costs is not asked by anything
        write_cost(identity, cost_of(trained.seconds, trained.images, record.trainable_parameters, resumed=resumed))


@dataclass(frozen=True)
class Trained:
    """What several plans came to: the number of the best on validation, its training, and of all the scores and what they took."""

    number: int
    state: Training
    scores: list[float]
    seconds: float
    images: int


def train_all(
    network: Network,
    start: State,
    plans: Sequence[list[ResolvedPhase]],
    material: Material,
    regime: Regime,
    seed: int,
    files: Sequence[Path],
    shown: Progress,
    told: Callable[[dict[str, Any]], None] | None = None,
) -> Trained:
    """Train each plan from ``start`` and leave the network as the best made it. ``files``: of each plan, for what outlives a kill."""
    best: tuple[int, Training] | None = None
    scores, seconds, images = list[float](), 0.0, 0
    for number, (phases, file) in enumerate(zip(plans, files, strict=True)):
        network.load_state_dict(start)
        observer = observe(shown, told, f"trial {number + 1}/{len(plans)}, " if len(plans) > 1 else "")
        state = train(network, phases, material, regime, seed, file, observer)
        scores, seconds, images = [*scores, state.best_score], seconds + state.seconds, images + state.images
        if best is None or state.best_score > best[1].best_score:
            best = (number, state)
    assert best is not None  # there is at least one plan
    network.load_state_dict(best[1].best)
    return Trained(*best, scores, seconds, images)


def trials_told(tried: Sequence[Trial], trained: Trained) -> dict[str, Any]:
    """For a record: every trial's factors and score; {} where params.yaml asks for none."""
    if not tried:
        return {}
    rows = [{"score": score, **asdict(trial)} for score, trial in zip(trained.scores, tried, strict=True)]
    return {"trials": rows, "chosen_trial": trained.number, "edges": edges(tried, tried[trained.number])}


def frozen_told(state: Training) -> dict[str, Any]:
    """For a record: what ran the frozen blocks of each phase in which their activations were kept."""
    return {"frozen_by": state.frozen_by} if state.frozen_by else {}


def write(cell: Cell, trained: Trained) -> None:
    """Tensors, predictions on validation and test, and last the record: where there is a record, the result is whole."""
    material, folder, state = cell.material, cell.folder, trained.state
    metrics, extra = best_metrics(state), {}
    if cell.interpolate:
        alpha, figures, rows = choose_alpha(cell.network, cell.start, cell.interpolate, material, cell.regime.metric)
        metrics |= {f"best_val_{name}": value for name, value in figures.items() if value == value} | {"alpha": alpha}
        extra |= {"interpolation": rows}
    extra |= trials_told([trial for trial, _ in cell.plans if trial is not None], trained) | frozen_told(state)
    asked = {VAL: material.val, **cell.held}
    known = {} if cell.interpolate else {VAL: state.val_logits.numpy()}  # from the loop, where nothing was changed after it
    parts = {
        role: known[role] if role in known else predict(cell.network, material.view, rows, material.recipe) for role, rows in asked.items()
    }
    predictions = Predictions(
        id=cell.ids[np.concatenate(list(asked.values()))],
        split=np.repeat(list(parts), [len(logits) for logits in parts.values()]),
        logits=np.concatenate(list(parts.values())),
    )
    if cell.fraction is None:  # nobody will use a model that saw a share of the labels
        tensors = {name: tensor.contiguous().cpu() for name, tensor in cell.network.state_dict().items()}
        write_with(folder / "model.safetensors", lambda path: save_file(tensors, path))
    write_predictions(predictions, folder)
    groups = group_table(cell.network, cell.plans[trained.number][1])
    write_record(replace(cell.record, history=state.history, metrics=metrics, groups=groups, choices=extra), folder)


def observe(shown: Progress, told: Callable[[dict[str, Any]], None] | None, which: str) -> Observer:
    """``which``: the trial, for people. ``told``: who else gets the rows."""

    def epoch(row: dict[str, Any]) -> None:
        auc = "undefined" if row["val/auc"] is None else f"{row['val/auc']:.4f}"
        figures = f"train loss {row['train/loss']:.4f}, validation AUC {auc}, log loss {row['val/log_loss']:.4f}"
        shown.line(f"{which}epoch {row['epoch']} ({row['phase']}): {figures}, {shown.rate:,.0f} images/s")
        if told is not None:
            told(row)

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
