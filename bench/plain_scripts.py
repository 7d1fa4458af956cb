"""The default strategies as a person writes them without thaw: a Dataset that opens files, a DataLoader, and a plain PyTorch loop.

    python -m bench.plain_scripts            # in a project where `dvc repro split` has run

Every step opens its images, and every epoch of a head-only phase runs the frozen backbone again. Memory format and precision are PyTorch's
defaults. The last line printed is a JSON object: for each strategy what was measured of one cell, and all cells by multiplication; likewise
for the features of each backbone and for the linear probe on them. `bench.comparison` reads it.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from bench.heads import Grid, Task, loop
from bench.plain import Labelled, labelled, loader, transforms_of
from thaw.backbones import Backbone, Network, backbone_of
from thaw.heads import Part
from thaw.inputs import steps_per_epoch
from thaw.params import Params, read_params
from thaw.splits import TRAIN, VAL, read_splits, rows_of
from thaw.strategies import ResolvedPhase, apply_freeze, resolve

RAW = Path("data/raw")
FOLD = 0


@dataclass(frozen=True)
class Images:
    """What the data set holds, and the roles of one fold."""

    data: Labelled
    train: np.ndarray  # row numbers
    val: np.ndarray


@dataclass(frozen=True)
class Dials:
    steps: int | None  # of a phase that are measured at most; None: an epoch
    images: int  # that are measured of the features


@dataclass(frozen=True)
class Cost:
    """What was measured, and what it comes to."""

    measured: float  # s
    whole: float  # s, of all folds
    what: str


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--steps", type=int, help="of a phase that are measured at most; without it, one epoch or all where it is shorter")
    asked.add_argument("--images", type=int, default=512, help="that are measured of the extraction of features")
    given = asked.parse_args()
    dials, params = Dials(given.steps, given.images), read_params()
    images = images_of(FOLD)
    found = {
        "strategies": {name: asdict(strategy_cost(params, name, images, dials)) for name in params.finetune.strategies},
        "features": {name: asdict(features_cost(params, name, images, dials)) for name in params.features.backbones},
        "linear_probe": {name: asdict(probe_cost(params, name, images)) for name in params.features.backbones},
    }
    print(json.dumps(found), flush=True)


def images_of(fold: int) -> Images:
    splits = read_splits(Path("data/splits.csv"))
    return Images(labelled(), *(rows_of(splits, fold, role) for role in (TRAIN, VAL)))


def plain(backbone: Backbone) -> Backbone:
    """With weights in PyTorch's own memory format."""
    backbone.encoder.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch stubs know only dtype and device
    return backbone


# ---- strategies


def strategy_cost(params: Params, name: str, images: Images, dials: Dials) -> Cost:
    """An epoch at most of each phase of one cell, and a pass over validation; times steps, epochs and folds. What trains is as in thaw."""
    strategy, settings = params.strategies[name], params.backbones[params.finetune.backbones[0]]
    backbone = plain(backbone_of(settings, 0 if strategy.start == "random" else None))
    network = Network(backbone.encoder, backbone.dim, len(images.data.classes))
    phases = resolve(network, backbone.blocks, strategy.phases, strategy.norm, f"strategies.{name}")
    batch, per_epoch = params.finetune.batch_size, steps_per_epoch(len(images.train), params.finetune.batch_size)
    training = loader(images.data.pairs(images.train), transforms_of(backbone.recipe, True), batch, shuffle=True)
    checking = loader(images.data.pairs(images.val), transforms_of(backbone.recipe, False), batch, shuffle=False)
    training_seconds(network, phases[-1], training, 1)  # allocates
    measured, cell = 0.0, 0.0
    for phase in phases:
        total = phase.total_steps(per_epoch, len(images.train))
        steps = min(total, per_epoch, dials.steps or per_epoch)
        seconds = training_seconds(network, phase, training, steps)
        measured, cell = measured + seconds, cell + seconds * total / steps
    validation = validation_seconds(network, checking)
    epochs = sum(math.ceil(phase.total_steps(per_epoch, len(images.train)) / per_epoch) for phase in phases)
    whole = (cell + epochs * validation) * len(params.split.folds) * len(params.finetune.backbones)
    what = f"{len(phases)} phases of one cell, an epoch at most of each, and one pass over validation"
    return Cost(measured + validation, whole, what)


def training_seconds(network: Network, phase: ResolvedPhase, batches: "DataLoader[Any]", steps: int) -> float:
    """Seconds of so many steps, the loader's start included, as it is in every epoch."""
    apply_freeze(network, phase)
    network.train()
    optimiser = torch.optim.AdamW([parameter for parameter in network.parameters() if parameter.requires_grad], lr=1e-4)
    criterion = torch.nn.CrossEntropyLoss()
    started = time.perf_counter()
    for pixels, labels in islice(batches, steps):
        loss = criterion(network(pixels), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()  # a script adds it up
    return time.perf_counter() - started


def validation_seconds(network: Network, batches: "DataLoader[Any]") -> float:
    network.eval()
    started = time.perf_counter()
    with torch.no_grad():
        for pixels, _ in batches:
            network(pixels)
    return time.perf_counter() - started


# ---- frozen features and the probe on them


def features_cost(params: Params, name: str, images: Images, dials: Dials) -> Cost:
    """The first images through a frozen backbone; all images by multiplication, once for all folds."""
    settings = params.backbones[name]
    backbone = plain(backbone_of(settings))
    rows = np.arange(min(dials.images, len(images.data.files)))
    batches = loader(images.data.pairs(rows), transforms_of(backbone.recipe, False), params.features.batch_size, shuffle=False)
    started = time.perf_counter()
    with torch.no_grad():
        for pixels, _ in batches:
            backbone.encoder(pixels)
    seconds = time.perf_counter() - started
    return Cost(seconds, seconds * len(images.data.files) / len(rows), f"{len(rows)} images")


def probe_cost(params: Params, name: str, images: Images) -> Cost:
    """scikit-learn's loop over C in one fold, of `bench.heads`; all folds by multiplication. On thaw's features, if they are there."""
    X = np.load(Path("data/features") / name / "features.npy")
    grid = Grid([], list(params.heads.C), params.selection.metric, len(images.data.classes), tol=1e-4)
    task = Task(name, *(Part(X[rows], images.data.labels[rows]) for rows in (images.train, images.val)))
    started = time.perf_counter()
    loop(grid, task)
    seconds = time.perf_counter() - started
    return Cost(seconds, seconds * len(params.split.folds), "one fold, every C")


def costs(found: dict[str, Any]) -> Iterator[tuple[str, Cost]]:
    """Name -> cost, out of what `main` prints."""
    for kind, each in found.items():
        for name, cost in each.items():
            yield f"{kind} {name}", Cost(**cost)


if __name__ == "__main__":
    main()
