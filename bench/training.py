"""One epoch of full fine-tuning: thaw's loop beside the tutorial's, fastai's, Lightning's, and the bare computation; in both precisions.

    python -m bench.training                 # in a project where `dvc repro prepare split` has run; about half an hour
    python -m bench.training --images 256 --rounds 1

The same encoder and weights, image size, batch size, training images and optimiser (AdamW at the strategy's rate) everywhere. Every way
runs in a process of its own. fastai and Lightning are optional (requirements-bench.txt); without them their rows are missing.
"""

import argparse
import importlib.util
import json
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import nn
from torch.nn import functional

from bench.plain import WORKERS, in_nchw, labelled, loader, settle, spread, transforms_of
from bench.results import Ratio, Row, Section, Target, at_least, in_a_process, interleaved, ratio, write_section
from thaw.allocator import keep_freed_memory
from thaw.backbones import Network, ordered_blocks
from thaw.cells import Cell, assemble
from thaw.depthwise import quicken
from thaw.devices import Precision, autocast, find_device, make_deterministic, precision_of
from thaw.finetune import Observer, train
from thaw.inputs import steps_per_epoch
from thaw.metrics import validation_figures
from thaw.params import Params, read_params
from thaw.runs import Identity
from thaw.strategies import resolve
from thaw.views import normalise

THAW, TUTORIAL, FASTAI, LIGHTNING, BARE = "thaw", "tutorial", "fastai", "lightning", "bare"
THAW_32, TUTORIAL_16 = "thaw, float32", "tutorial, bfloat16"
ACCELERATOR = {"cpu": "cpu", "cuda": "gpu"}  # in Lightning's words
NEEDS = {FASTAI: "fastai", LIGHTNING: "lightning"}
NOTES = {
    THAW: "images decoded once by stage prepare and held as bytes, flips and turns on tensors, channels last",
    THAW_32: "the same with finetune.precision: float32, which the peers' loops are in as people leave them",
    TUTORIAL: f"PyTorch's transfer-learning tutorial: DataLoader of {WORKERS} workers, Pillow, torchvision's flips, NCHW",
    TUTORIAL_16: "the same under torch.autocast to bfloat16, as PyTorch's recipe for it goes",
    FASTAI: f"Learner.fit_one_cycle, everything unfrozen: DataLoaders of {WORKERS} workers, Pillow, flips on batches, NCHW",
    LIGHTNING: "Trainer with BackboneFinetuning that unfreezes at epoch 0, the tutorial's DataLoader, NCHW",
    BARE: "forward, backward and AdamW alone on batches that lie in memory, channels last, memory and precision as thaw's",
}
FOLD = 0
STRATEGY = "full"


@dataclass(frozen=True)
class Setting:
    """What all ways have in common."""

    cell: Cell
    train: Int[np.ndarray, " n"]  # row numbers
    val: Int[np.ndarray, " m"]
    batch_size: int
    epochs: int
    rate: float
    weight_decay: float

    @property
    def network(self) -> Network:
        return self.cell.network


@dataclass(frozen=True)
class Trained:
    """``images``: that an epoch takes in; a loader may drop a last, smaller batch. ``ready``: seconds before the first epoch."""

    each: list[float]  # seconds of each epoch, loading included, validation not; on a GPU the first is unlike the others
    images: int
    ready: float
    auc: float | None  # on validation, after the last epoch; None where nothing was to be learnt

    @property
    def seconds(self) -> float:
        return mean(self.each)


# ---- the parent


def main() -> None:
    dials = asked()
    if dials.way:
        print(json.dumps(asdict(run_way(dials.way, dials.images, dials.epochs))))
        return
    took = interleaved({name: partial(one_round, name, dials) for name in ways()}, dials.rounds)
    rows = [row_of(name, found) for name, found in took.items()]
    write_section("training", section_of(rows, dials, took))
    for row in rows:
        print(f"{row.name:10} {(row.images or 0) / median(row.seconds):6.1f} images/s  {row.quality}")


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, help="training images, spread evenly; the fold's all without it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1, help="in a row; an epoch's seconds are their mean; each is written, too")
    parser.add_argument("--way", choices=list(NOTES), help=argparse.SUPPRESS)  # measure this one and print what came out
    return parser.parse_args()


def ways() -> list[str]:
    """Those that can run here."""
    return [name for name in NOTES if name not in NEEDS or importlib.util.find_spec(NEEDS[name])]


def one_round(way: str, dials: argparse.Namespace) -> Trained:
    images = [] if dials.images is None else ["--images", str(dials.images)]
    return Trained(**in_a_process("bench.training", "--way", way, "--epochs", str(dials.epochs), *images))


def row_of(name: str, found: list[Trained]) -> Row:
    """Quality is the median of the rounds: data order and flips of the peers are not seeded, as people leave them."""
    aucs = [one.auc for one in found if one.auc is not None]
    quality = {"validation_auc": median(aucs)} if aucs else {}
    return Row(name, [one.seconds for one in found], found[0].images, NOTES[name], quality)


def section_of(rows: list[Row], dials: argparse.Namespace, took: dict[str, list[Trained]]) -> Section:
    settings = read_params()
    extra: dict[str, Any] = {"epochs": dials.epochs}
    extra["seconds_before_the_first_epoch"] = {name: [one.ready for one in found] for name, found in took.items()}
    if dials.epochs > 1:
        extra["seconds_of_each_epoch"] = {
            name: [median(same) for same in zip(*(one.each for one in found), strict=True)] for name, found in took.items()
        }
    name = settings.finetune.backbones[0]
    others = [row.name for row in rows if row.name != THAW]
    ratios = [ratio(rows, THAW, other, f"thaw to {other}") for other in others]
    ratios.append(ratio(rows, THAW_32, TUTORIAL, f"{THAW_32} to {TUTORIAL}"))
    return Section(
        title=f"An epoch of full fine-tuning, {name}, {settings.backbones[name].image_size} px, batches of {settings.finetune.batch_size}",
        about=about(dials.epochs, {row.name for row in rows}),
        rounds=dials.rounds,
        rows=rows,
        ratios=ratios,
        targets=targets_of(ratios),
        extra=extra,
    )


def about(epochs: int, measured: set[str]) -> str:
    absent = [name for name in NEEDS if name not in measured]
    missing = f" Not installed, so missing: {', '.join(absent)}." if absent else ""
    return (
        f"Seconds of an epoch (mean of {epochs}) on the training images of fold {FOLD}, loading included and validation not, for every "
        "way. What is done once before the first epoch is not in it and stands under seconds_before_the_first_epoch; for thaw, and for no "
        "peer, that includes building the network. All start from the same weights and use AdamW at the rate of strategy full, the peers "
        "without the strategy's warm-up and decline, fastai with its own one-cycle schedule. Batch norm uses batch statistics in all. "
        f"Steps of thaw and of the bare computation are in {precision_here()}, the others' in float32 unless they say otherwise. "
        f"Validation AUC is that after the last epoch; the bare computation is not judged.{missing}"
    )


def precision_here() -> Precision:
    return precision_of(find_device(), read_params().finetune.precision)


def targets_of(ratios: list[Ratio]) -> list[Target]:
    """A target per peer that was measured."""
    wanted = {
        TUTORIAL: (f"at least 2.5 times as fast as the tutorial's loop in float32, in {precision_here()}", 2.5),
        FASTAI: (f"at least 2.5 times as fast as fastai in float32, in {precision_here()}", 2.5),
        BARE: ("at least 0.85 of the bare computation", 0.85),
    }
    return [at_least(wanted[one.to][0], one.median, wanted[one.to][1]) for one in ratios if one.of == THAW and one.to in wanted]


# ---- a way, in a process of its own


def run_way(way: str, images: int | None, epochs: int) -> Trained:
    import timm  # noqa: F401  # imported late by what builds networks; imports are not measured
    from torchvision.transforms import v2  # noqa: F401

    run = {
        THAW: with_thaw,
        THAW_32: partial(with_thaw, precision="float32"),
        TUTORIAL: with_tutorial,
        TUTORIAL_16: partial(with_tutorial, precision="bfloat16"),
        FASTAI: with_fastai,
        LIGHTNING: with_lightning,
        BARE: bare,
    }[way]
    return run(setting_of(read_params(), images, epochs))


def setting_of(params: Params, images: int | None, epochs: int) -> Setting:
    cell = assemble(params, Identity(params.finetune.backbones[0], STRATEGY, FOLD))
    material, phase = cell.material, params.strategies[STRATEGY].phases[0]
    few = None if images is None else max(8, images // 4)
    return Setting(
        cell=cell,
        train=spread(material.train, images),
        val=spread(material.val, few),
        batch_size=cell.regime.batch_size,
        epochs=epochs,
        rate=phase.rates["*"],
        weight_decay=phase.weight_decay,
    )


def with_thaw(setting: Setting, precision: Precision | None = None) -> Trained:
    """`thaw.finetune.train` as the stage calls it. An epoch ends with its last step; validation and the saved state come after it."""
    started = time.perf_counter()
    cell = assemble(read_params(), Identity(setting.cell.record.backbone, STRATEGY, FOLD))
    make_deterministic(find_device())  # as the stage does
    keep_freed_memory()
    strategy = read_params().strategies[STRATEGY]
    phase = strategy.phases[0].model_copy(update={"epochs": setting.epochs})
    phases = resolve(cell.network, ordered_blocks(cell.network.backbone), [phase], strategy.norm, "bench")
    material, regime = replace(cell.material, train=setting.train, val=setting.val), cell.regime
    regime = regime if precision is None else replace(regime, precision=precision)
    begins, steps, per_epoch = list[float](), list[float](), steps_per_epoch(len(setting.train), regime.batch_size)

    def stepped(_: int) -> None:
        if len(steps) % per_epoch == per_epoch - 1:
            settle(cell.network.device)
        steps.append(time.perf_counter())

    observer = Observer(stepped, lambda _: None, lambda _: begins.append(time.perf_counter()))
    with tempfile.TemporaryDirectory() as folder:
        state = train(cell.network, phases, material, regime, cell.record.inputs["seed"], Path(folder) / "state", observer)
    ends = steps[per_epoch - 1 :: per_epoch]
    each = [end - begin for begin, end in zip(begins, ends, strict=True)]
    return Trained(each, len(setting.train), begins[0] - started, state.history[-1]["val/auc"])


def with_tutorial(setting: Setting, precision: Precision = "float32") -> Trained:
    """https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html, `train_model`, with the optimiser that all have."""
    started = time.perf_counter()
    model, loaders, device = in_nchw(setting.network), loaders_of(setting), setting.network.device
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=setting.rate, weight_decay=setting.weight_decay)
    ready, each, logits = time.perf_counter() - started, list[float](), torch.empty(0)
    for _ in range(setting.epochs):
        for phase in ("train", "val"):
            model.train(phase == "train")
            begun, running_loss, running_corrects, outs = time.perf_counter(), 0.0, 0, []
            for inputs, labels in ((pixels.to(device), wanted.to(device)) for pixels, wanted in loaders[phase]):
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    with autocast(inputs.device, precision):
                        outputs = model(inputs)
                        _, preds = torch.max(outputs, 1)
                        loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += int(torch.sum(preds == labels.data))
                outs.append(outputs.detach().float())
            settle(device)
            if phase == "train":
                each.append(time.perf_counter() - begun)
            logits = torch.cat(outs).cpu()
    return Trained(each, len(setting.train), ready, auc_of(logits.numpy(), setting))


def loaders_of(setting: Setting) -> dict[str, torch.utils.data.DataLoader[Any]]:
    """Part -> its loader. Flips in training alone."""
    data, recipe, parts = labelled(), setting.cell.material.recipe, {"train": setting.train, "val": setting.val}
    return {
        part: loader(data.pairs(rows), transforms_of(recipe, part == "train"), setting.batch_size, shuffle=part == "train")
        for part, rows in parts.items()
    }


def with_fastai(setting: Setting) -> Trained:
    """A `Learner` on an unfrozen model; its training loader drops a last, smaller batch."""
    from fastai.vision import all as fast  # type: ignore[import-not-found]  # optional

    started = time.perf_counter()
    recipe, pairs = setting.cell.material.recipe, labelled().pairs(np.concatenate([setting.train, setting.val]))
    block = fast.DataBlock(
        blocks=(fast.ImageBlock, fast.CategoryBlock),
        get_x=lambda number: pairs[number][0],
        get_y=lambda number: pairs[number][1],
        splitter=fast.IndexSplitter(range(len(setting.train), len(pairs))),
        item_tfms=fast.Resize(recipe.image_size),
        batch_tfms=fast.aug_transforms(flip_vert=True, max_rotate=0, max_zoom=1, max_lighting=0, max_warp=0),  # flips and turns alone
    )
    loaders = block.dataloaders(range(len(pairs)), bs=setting.batch_size, num_workers=WORKERS, device=(device := find_device()))
    loaders.add_tfms([fast.Normalize.from_stats(recipe.mean, recipe.std, cuda=device.type == "cuda")], "after_batch")
    times = list[float]()

    class Clock(fast.Callback):
        def before_train(self) -> None:
            times.append(time.perf_counter())

        def after_train(self) -> None:
            settle(device)
            times.append(time.perf_counter())

    learn = fast.Learner(loaders, in_nchw(setting.network), loss_func=fast.CrossEntropyLossFlat(), wd=setting.weight_decay, cbs=Clock())
    learn.unfreeze()
    ready = time.perf_counter() - started
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(setting.epochs, setting.rate)
        chances, _ = learn.get_preds()
    images = len(loaders.train) * setting.batch_size
    return Trained(between(times), images, ready, auc_of(np.log(chances.numpy() + 1e-12), setting))


def with_lightning(setting: Setting) -> Trained:
    import lightning  # type: ignore[import-not-found]  # optional
    from lightning.pytorch.callbacks import BackboneFinetuning, Callback  # type: ignore[import-not-found]

    started, times, device = time.perf_counter(), list[float](), find_device()

    class Module(lightning.LightningModule):
        def __init__(self, network: Network) -> None:
            super().__init__()
            self.backbone, self.head = network.backbone, network.head

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.head(self.backbone(pixels))

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            pixels, labels = batch
            return functional.cross_entropy(self(pixels), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            training = [tensor for tensor in self.parameters() if tensor.requires_grad]
            return torch.optim.AdamW(training, lr=setting.rate, weight_decay=setting.weight_decay)

    class Clock(Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            times.append(time.perf_counter())

        def on_train_epoch_end(self, *_: Any) -> None:
            settle(device)
            times.append(time.perf_counter())

    module, loaders = Module(in_nchw(setting.network)).train(), loaders_of(setting)  # Lightning trains in the mode that it finds
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    unfreeze = BackboneFinetuning(unfreeze_backbone_at_epoch=0, backbone_initial_lr=setting.rate, lambda_func=lambda _: 1.0, train_bn=True)
    trainer = lightning.Trainer(
        accelerator=ACCELERATOR[device.type], devices=1, max_epochs=setting.epochs, callbacks=[unfreeze, Clock()], **quiet
    )
    trainer.fit(module, loaders["train"])
    ready = times[0] - started
    module.to(device).eval()
    with torch.inference_mode():
        logits = torch.cat([module(pixels.to(device)) for pixels, _ in loaders["val"]]).cpu()
    return Trained(between(times), len(setting.train), ready, auc_of(logits.numpy(), setting))


def bare(setting: Setting) -> Trained:
    """The limit: thaw's layers and steps on batches that are ready. One step before the clock starts, its batch's memory included."""
    keep_freed_memory()
    started, network, material = time.perf_counter(), setting.network, setting.cell.material
    quicken(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=setting.rate, weight_decay=setting.weight_decay, fused=True)
    parts = np.array_split(setting.train, -(-len(setting.train) // setting.batch_size))
    device, normalised = network.device, [normalise(material.view[rows], material.recipe) for rows in parts]
    batches = [(pixels.to(device), material.labels[rows].to(device)) for pixels, rows in zip(normalised, parts, strict=True)]
    network.train()

    def step(pixels: Float32[torch.Tensor, "b 3 S S"], labels: Int[torch.Tensor, " b"]) -> None:
        with autocast(pixels.device, setting.cell.regime.precision):
            loss = functional.cross_entropy(network(pixels), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    step(*batches[0])
    settle(device)
    ready, times = time.perf_counter() - started, list[float]()
    for _ in range(setting.epochs):
        times.append(time.perf_counter())
        for pixels, labels in batches:
            step(pixels, labels)
        settle(device)
        times.append(time.perf_counter())
    return Trained(between(times), len(setting.train), ready, None)


def between(times: list[float]) -> list[float]:
    """``times``: begin and end of an epoch, of the next, ..."""
    return [end - begin for begin, end in zip(times[::2], times[1::2], strict=True)]


def auc_of(logits: Float32[np.ndarray, "m K"], setting: Setting) -> float | None:
    value = validation_figures(logits, setting.cell.material.labels[setting.val].numpy())["auc"]
    return None if np.isnan(value) else value


if __name__ == "__main__":
    main()
