"""The model that is handed on: which strategy, refitted on all data, with its temperature and threshold.

"All data" is every image whatever its role in the folds, but for an internal validation part, which still chooses the epoch, C or whatever
else a strategy leaves to validation. It is cut as the folds are: whole groups, about ``split.validation`` of all images.
"""

import hashlib
import math
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from thaw.augment import number_of_views
from thaw.backbones import Backbone, Network, backbone_of
from thaw.calibration import fit_temperature, tempered
from thaw.cells import best_metrics, frozen_told, regime_of, sole_owner, train_all, trials_told
from thaw.checkpoints import read_progress
from thaw.closure import import_closure
from thaw.deployed import FORMAT, RECORD, WEIGHTS, About, BlocksNetwork, Model, network_on
from thaw.depthwise import quicken
from thaw.devices import find_device, make_deterministic, placed
from thaw.errors import InputError
from thaw.files import read_json, sha256_of_file, write_with
from thaw.finetune import choose_alpha, planned_images, state_of
from thaw.folding import hold_out
from thaw.head_runs import source_of, strategies
from thaw.heads import Fitted, Part
from thaw.index import Dataset, data_sha256, labels_of, read_dataset, read_index
from thaw.inputs import Material
from thaw.metrics import choose_threshold, validation_figures
from thaw.params import BEST, KEEPS_IMAGES, Params
from thaw.progress import progress
from thaw.randomness import derive_seed, id_numbers
from thaw.runs import HEADS, Identity, Record, code_sha256, identify, library_versions, read_record, write_record
from thaw.strategies import group_table, resolve, trainable_scalars
from thaw.tuning import scaled, trials
from thaw.views import evaluation_view

EXPORTED_WITH = ("onnx", "onnxruntime", "onnxscript", "safetensors")
NO_FOLD = -1
"""``fold`` in the record of a model that no fold was left out for."""


# ---- which


@dataclass(frozen=True)
class Choice:
    """The strategy of the model at the end. ``reason``: one sentence for the card."""

    backbone: str
    strategy: str
    reason: str
    runs: tuple[Record, ...]  # what the folds made of it


def choose(params: Params) -> Choice:
    """As params.yaml names it; ``best`` is the best mean over the folds of what validation measured, never test.

    Where the best keeps images (knn), the next that can be handed on is taken, and the reason says so.
    """
    wanted = params.final
    asked = [
        (backbone, strategy)
        for backbone, strategy in params.candidates()
        if wanted.backbone in (BEST, backbone) and wanted.strategy in (BEST, strategy)
    ]
    runs = {pair: tuple(read_record(Identity(*pair, fold).folder()) for fold in params.split.folds) for pair in asked}
    metric, sign = params.selection.metric, 1 if params.selection.metric == "auc" else -1
    means = {pair: np.mean([record.metrics.get(f"best_val_{metric}", math.nan) for record in records]) for pair, records in runs.items()}
    ranked = sorted(means, key=lambda pair: -math.inf if math.isnan(means[pair]) else sign * means[pair], reverse=True)  # equals: the first
    left = [pair for pair in ranked if pair[1] != KEEPS_IMAGES]
    if not left:
        raise InputError(f"params.yaml: final.backbone: nothing that is compared on {wanted.backbone!r} can be handed on; use best")
    backbone, strategy = left[0]
    if len(asked) == 1:
        return Choice(backbone, strategy, "params.yaml names it (final.strategy, final.backbone)", runs[left[0]])
    figure = f"{'AUC' if metric == 'auc' else 'log loss'} {means[left[0]]:.4f}"
    reason = f"the best of {len(asked)} on validation, mean over {len(params.split.folds)} folds ({figure}); test images did not choose it"
    if passed := ranked[: ranked.index(left[0])]:
        names = ", ".join("/".join(pair) for pair in passed)
        reason += f". {names} did better, but keeps every training image, so that it cannot be handed on"
    return Choice(backbone, strategy, reason, runs[left[0]])


# ---- what it is made from


@dataclass(frozen=True)
class Plan:
    """What is to be fitted, resolved. ``record`` is complete but for what fitting finds out; its id is what the model is known by."""

    params: Params
    choice: Choice
    index: pd.DataFrame
    dataset: Dataset
    labels: np.ndarray
    train: np.ndarray  # row numbers
    val: np.ndarray
    images: np.ndarray  # (N, H, W, C), mapped
    backbone: Backbone
    record: Record

    @property
    def seed(self) -> int:
        return self.record.inputs["seed"]

    def parts(self, X: np.ndarray) -> tuple[Part, Part]:
        """Features of the training and of the validation images."""
        return Part(X[self.train], self.labels[self.train]), Part(X[self.val], self.labels[self.val])


def plan_of(params: Params, choice: Choice) -> Plan:
    """Read what the model is made from, cut the validation part, and say what determines the result."""
    index, dataset = read_index(Path("data/index.csv")), read_dataset(Path("data/dataset.json"))
    labels, images = labels_of(index, dataset.classes), np.load("data/images.npy", mmap_mode="r")
    split, settings = params.split, params.backbones[choice.backbone]
    train_rows, val_rows = hold_out(labels, index["group"].to_numpy(), split.method, split.validation, derive_seed(split.seed, "final"))
    trained = choice.strategy in params.strategies
    seed = derive_seed(params.finetune.seed if trained else params.heads.seed, "final")
    random_seed = derive_seed(seed, "init") if trained and params.strategies[choice.strategy].start == "random" else None
    backbone = backbone_of(settings, random_seed)
    recipe = asdict(backbone.recipe)
    inputs = {
        "identity": f"{choice.backbone}/{choice.strategy}/final",
        "data_sha256": data_sha256(index, dataset),
        "images_sha256": sha256_of_file(Path("data/images.npy")),
        "cut_sha256": hashlib.sha256(index["id"].to_numpy()[val_rows].astype(str).tobytes()).hexdigest(),
        "features_sha256": _features_sha256(params, choice),
        "weights_sha256": backbone.weights_sha256,
        "seed": seed,
        "settings": _settings(params, choice) | {"backbone_weights": settings.weights, "preprocessing": recipe},
        "code_sha256": code_sha256(import_closure("thaw.final_model")),
        "libraries": library_versions(),
    }
    record = Record(
        record_id=identify(inputs),
        backbone=choice.backbone,
        strategy=choice.strategy,
        fold=NO_FOLD,
        dataset=dataset.name,
        kind="finetune" if trained else "head",
        control=False,
        classes=dataset.classes,
        inputs=inputs,
        groups=[],
        history=[],
        metrics={},
        trainable_parameters=0,
        preprocessing=recipe,
    )
    return Plan(params, choice, index, dataset, labels, train_rows, val_rows, images, backbone, record)


def _settings(params: Params, choice: Choice) -> dict[str, Any]:
    """The dials that decide the result."""
    dials: dict[str, Any] = {
        "metric": params.selection.metric,
        "validation": params.split.validation,
        "threshold": params.evaluate.threshold,
    }
    fits = strategies(params.heads, params.selection.metric, 2)  # the number of classes is none of the settings
    if choice.strategy in HEADS:
        return dials | fits[choice.strategy][0]
    strategy, finetune = params.strategies[choice.strategy], params.finetune
    dials |= {"batch_size": finetune.batch_size, "augment": list(finetune.augment), "keep_activations": finetune.activations_mb > 0}
    dials |= {"precision": finetune.precision}
    if finetune.activations_mb:
        dials |= {"engine": params.features.engine}
    if strategy.start == "linear_probe":
        dials |= {"probe": fits["linear_probe"][0]}
    if params.tune.trials:
        dials |= {"tune": params.tune.model_dump()}
    return strategy.model_dump(exclude_none=True) | dials


def _features_file(params: Params, choice: Choice) -> Path | None:
    """What a head, or the probe that a training starts from, is fitted on."""
    folder = Path("data/features") / choice.backbone
    if choice.strategy in HEADS:
        return folder / f"{source_of(choice.strategy)}.npy"
    return folder / "features.npy" if params.strategies[choice.strategy].start == "linear_probe" else None


def _features_sha256(params: Params, choice: Choice) -> str | None:
    path = _features_file(params, choice)
    return None if path is None else sha256_of_file(path)


# ---- fitting


@dataclass(frozen=True)
class Refitted:
    """A network and the record of its fitting."""

    network: nn.Module
    blocks: list[list[Any]]  # as in `About`
    record: Record

    @property
    def columns(self) -> int:
        """As in `About`."""
        return len(self.network.columns) if isinstance(self.network, BlocksNetwork) else 0


def fit(plan: Plan) -> Refitted:
    """Minutes for a fine-tuned strategy, seconds for a head. Goes on where a killed one stopped."""
    make_deterministic(find_device())
    return _fit_head(plan) if plan.record.kind == "head" else _fit_network(plan)


def _fit_head(plan: Plan) -> Refitted:
    strategy, n_classes = plan.choice.strategy, len(plan.dataset.classes)
    train, val = plan.parts(_features(plan))
    fitted = _fitted(plan, strategy, train, val)
    head = fitted.head
    assert head is not None  # those that can be handed on are linear
    columns, blocks = np.arange(head.W.shape[1]), []
    if source_of(strategy) == "blocks":
        columns = np.flatnonzero(head.W.any(axis=0))  # the others' weights are zero: they need not be read
        blocks = read_json(Path("data/features") / plan.choice.backbone / "manifest.json")["blocks"]
    weights = head.W[:, columns]
    network = network_on(plan.backbone, blocks, columns, n_classes)
    network.head.load_state_dict({"weight": torch.from_numpy(weights), "bias": torch.from_numpy(head.b)})
    logits = fitted.predict(val.X).astype(np.float32)
    figures = validation_figures(logits, plan.labels[plan.val])
    metrics = {f"best_val_{name}": value for name, value in figures.items() if not math.isnan(value)} | fitted.chosen
    return Refitted(network.eval(), blocks, replace(plan.record, metrics=metrics, trainable_parameters=weights.size + head.b.size))


def _fitted(plan: Plan, strategy: str, train: Part, val: Part) -> Fitted:
    """A head strategy on this plan's training images; validation ones choose its dial."""
    found = strategies(plan.params.heads, plan.params.selection.metric, len(plan.dataset.classes))
    return found[strategy][1](train, val, plan.seed)


def _features(plan: Plan) -> np.ndarray:
    path = _features_file(plan.params, plan.choice)
    assert path is not None  # asked for where there is a head to fit
    return np.load(path)


def _fit_network(plan: Plan) -> Refitted:
    params, strategy, backbone = plan.params, plan.params.strategies[plan.choice.strategy], plan.backbone
    network = Network(backbone.encoder, backbone.dim, len(plan.dataset.classes)).to(device := find_device())
    if strategy.start == "linear_probe":
        head = _fitted(plan, "linear_probe", *plan.parts(_features(plan))).head
        assert head is not None  # a logistic fit has one
        network.head.load_state_dict({"weight": torch.from_numpy(head.W), "bias": torch.from_numpy(head.b)})
    tried = trials(params.tune)
    variants = [[scaled(phase, trial) for phase in strategy.phases] for trial in tried] or [strategy.phases]
    where = f"params.yaml: strategies.{plan.choice.strategy}"
    plans = [resolve(network, backbone.blocks, phases, strategy.norm, where) for phases in variants]
    regime = regime_of(params)
    view, numbers = evaluation_view(plan.images, backbone.recipe), id_numbers(plan.index["id"].astype(str).tolist())
    material = Material(
        placed(view, device, turned=number_of_views(regime.augment) is not None),
        torch.from_numpy(plan.labels),
        numbers,
        plan.train,
        plan.val,
        backbone.recipe,
    )
    # The record's name holds the precision that was asked for; what a kill leaves is of one device and precision.
    with sole_owner(f"{plan.record.record_id}-{device.type}-{regime.precision}") as folder:
        start, files = state_of(network), [folder / f"state-{number}.safetensors" for number in range(len(plans))]
        with progress("final", sum(planned_images(phases, len(material.train), regime.batch_size) for phases in plans)) as shown:
            shown.skip(sum(read_progress(file)[1] for file in files))
            trained = train_all(network, start, plans, material, regime, plan.seed, files, shown)
            shown.line(f"{trained.images:,} images seen in {trained.seconds:.1f} s")
    made = {"device": device.type, "precision": regime.precision}  # how, not what was asked for: a fit stands on another machine
    metrics, extra = best_metrics(trained.state), made | trials_told(tried, trained) | frozen_told(trained.state)
    if strategy.interpolate:
        alpha, figures, rows = choose_alpha(network, start, strategy.interpolate, material, regime.metric)
        metrics |= {f"best_val_{name}": value for name, value in figures.items() if value == value} | {"alpha": alpha}
        extra |= {"interpolation": rows}
    record = replace(
        plan.record,
        metrics=metrics,
        history=trained.state.history,
        groups=group_table(network, plans[trained.number]),
        trainable_parameters=trainable_scalars(network, plans[trained.number]),
        choices=extra,
    )
    return Refitted(network.cpu().eval(), [], record)


# ---- written and read again


def write_fit(refitted: Refitted, folder: Path) -> None:
    """Tensors; and then the record, which says which they are, so that a fit stands or does not."""
    tensors = {name: tensor.contiguous() for name, tensor in refitted.network.state_dict().items()}
    write_with(folder / WEIGHTS, lambda path: save_file(tensors, path))
    written = {"tensors_sha256": sha256_of_file(folder / WEIGHTS), "blocks": refitted.blocks, "columns": refitted.columns}
    write_record(replace(refitted.record, choices=refitted.record.choices | {"model": written}), folder)


def standing(plan: Plan, folder: Path) -> Refitted | None:
    """The fit that lies in ``folder``, if it is the one that the plan asks for, whole; None if it is not.

    The folder outlives the stage (``persist`` in dvc.yaml), since the card follows the reports while the model does not: what the evidence
    says of a strategy changes no tensor, and a training takes minutes. Nor is a training lost where what comes after it failed.
    """
    if not (folder / RECORD).is_file():
        return None
    record = read_record(folder)
    written, weights = record.choices.get("model", {}), folder / WEIGHTS
    whole = weights.is_file() and sha256_of_file(weights) == written.get("tensors_sha256")
    if not whole or record.record_id != plan.record.record_id:
        return None
    network = network_on(plan.backbone, written["blocks"], np.zeros(written["columns"], np.int64), len(plan.dataset.classes))
    network.load_state_dict(load_file(weights))
    if record.kind == "finetune":
        quicken(network)  # as training leaves it, so that the graph of the same model is the same
    return Refitted(network.eval(), written["blocks"], record)


def describe(plan: Plan, refitted: Refitted) -> About:
    """model.json, but for the hashes of the files beside it and what `thaw.export` says of the graph.

    Temperature and threshold come from the internal validation part, by this very network. The medians over the folds would rest on more
    images, but belong to other networks: how large logits get differs from one training to the next, so another's threshold cuts elsewhere.
    As in the folds, the part has chosen the epoch (or C) before, and is a little kinder to the network than new images will be.
    """
    settings, labels, classes = plan.params.backbones[plan.choice.backbone], plan.labels[plan.val], plan.dataset.classes
    about = About(
        format=FORMAT,
        record_id=refitted.record.record_id,
        backbone=plan.choice.backbone,
        strategy=plan.choice.strategy,
        dataset=plan.dataset.name,
        data_sha256=plan.record.inputs["data_sha256"],
        weights=settings.weights,
        architecture=settings.architecture,
        weights_sha256=plan.backbone.weights_sha256,
        image_size=settings.image_size,
        blocks=refitted.blocks,
        columns=refitted.columns,
        stored_side=plan.images.shape[1],
        channels=plan.images.shape[3],
        preprocessing=asdict(plan.backbone.recipe) | {name: list(getattr(plan.backbone.recipe, name)) for name in ("mean", "std")},
        classes=classes,
        temperature=1.0,
        threshold=None,
        runs={str(record.identity): record.record_id for record in plan.choice.runs},
        libraries=library_versions() | {name: version(name) for name in EXPORTED_WITH},
        files={},
        onnx={},
    )
    logits = Model(refitted.network, about).logits(plan.images[plan.val])  # pixels in, also where the head was fitted on kept features
    temperature = fit_temperature(logits, labels)
    positive = tempered(logits, temperature)[:, 1]
    threshold = choose_threshold(positive, labels, plan.params.evaluate.threshold) if len(classes) == 2 else None
    return replace(about, temperature=temperature, threshold=threshold)
