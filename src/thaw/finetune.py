"""The one training loop. Strategies are lists of phases; this runs any of them."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int, UInt8, UInt64
from torch.nn.functional import cross_entropy

from thaw.backbones import Network
from thaw.checkpoints import Training, load_training, restore_optimiser, save_training
from thaw.errors import InputError
from thaw.metrics import validation_figures
from thaw.randomness import derive_seed, draw
from thaw.schedules import factor
from thaw.strategies import ResolvedPhase, apply_freeze, build_optimiser
from thaw.views import Recipe, dihedral, normalise


@dataclass(frozen=True)
class Material:
    """What a cell learns from. Labels of test rows are -1: the loop cannot see them, and a use of one is an error."""

    view: UInt8[torch.Tensor, "N C S S"]
    labels: Int[torch.Tensor, " N"]
    id_numbers: UInt64[np.ndarray, " N"]
    train: Int[np.ndarray, " n"]  # row numbers
    val: Int[np.ndarray, " m"]
    recipe: Recipe


@dataclass(frozen=True)
class Observer:
    """Who is told what happens; none of it changes a result."""

    advance: Callable[[int], None]
    epoch: Callable[[dict[str, Any]], None]
    phase: Callable[[str], None]


def train(
    network: Network,
    phases: Sequence[ResolvedPhase],
    material: Material,
    batch_size: int,
    augment: str,
    seed: int,
    metric: str,
    checkpoint: Path,
    observer: Observer,
) -> Training:
    """Train ``network`` in place through all phases and leave it with the tensors of the best validation epoch.

    Resumes from ``checkpoint`` if it exists and saves it after every epoch. ``metric``: "auc" or "log_loss".
    Raises `InputError` at the first loss that is not finite, with the step and the rates.
    """
    state, moments = load_training(checkpoint, network) if checkpoint.exists() else (Training(), {})
    steps = max(1, min(math.ceil(len(material.train) / batch_size), len(material.train) // 2))  # no batch of one
    for number in range(state.phase, len(phases)):
        phase = phases[number]
        apply_freeze(network, phase)
        optimiser = build_optimiser(network, phase.groups)
        restore_optimiser(optimiser, network, moments)
        for epoch in range(state.epochs_in_phase, phase.epochs):
            started, overall = time.perf_counter(), len(state.history) + 1
            observer.phase(f"phase {phase.name}, epoch {epoch + 1}/{phase.epochs}")
            torch.manual_seed(derive_seed(seed, "epoch", overall))  # for dropout, where a network has it
            network.train()
            losses = []
            for step, rows in enumerate(batches(material, steps, seed, overall)):
                scale = factor(phase.schedule, epoch * steps + step, phase.epochs * steps, phase.warmup)
                for group in optimiser.param_groups:
                    group["lr"] = group["peak"] * scale
                pixels = augmented(material, rows, augment, seed, overall)
                loss = cross_entropy(network(normalise(pixels, material.recipe)), material.labels[rows])
                optimiser.zero_grad()
                loss.backward()
                losses.append(loss.item() * len(rows))
                if not math.isfinite(losses[-1]):
                    raise InputError(_not_finite(phase, epoch, step + 1, optimiser))
                optimiser.step()
                observer.advance(len(rows))
            logits = predict(network, material.view, material.val, material.recipe)
            if not np.isfinite(logits).all():
                raise InputError(_not_finite(phase, epoch, steps, optimiser))
            figures = validation_figures(logits, material.labels[material.val].numpy())
            row = {"epoch": overall, "phase": phase.name, "train/loss": sum(losses) / len(material.train)}
            row |= {f"val/{name}": None if math.isnan(value) else value for name, value in figures.items()}
            row |= {f"lr/{name}": rate for name, rate in _rates(phase, optimiser).items()}
            score = _score(figures, metric)
            if score > state.best_score or not state.best:
                state.best_epoch, state.best_score = overall, score
                state.best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            state.history.append(row)
            state.phase, state.epochs_in_phase = number, epoch + 1
            state.seconds += time.perf_counter() - started
            save_training(checkpoint, state, network, optimiser)
            observer.epoch(row)
        state.epochs_in_phase, moments = 0, {}
    network.load_state_dict(state.best)
    return state


def batches(material: Material, steps: int, seed: int, epoch: int) -> list[Int[np.ndarray, " b"]]:
    """Training rows in an order that (seed, epoch, ids) decide, in ``steps`` batches whose sizes differ by one at most:
    a last batch of one image would break batch statistics."""
    order = np.argsort(draw(material.id_numbers[material.train], derive_seed(seed, "order"), epoch), kind="stable")
    return np.array_split(material.train[order], steps)


def augmented(material: Material, rows: Int[np.ndarray, " b"], augment: str, seed: int, epoch: int) -> UInt8[torch.Tensor, "b C S S"]:
    """The rows' images as this epoch sees them: a function of (seed, epoch, id)."""
    pixels = material.view[rows]
    if augment == "none":
        return pixels
    bits = draw(material.id_numbers[rows], derive_seed(seed, "augment"), epoch)
    return dihedral(pixels, (bits % np.uint64(8)).astype(np.int64))


def predict(
    network: Network, view: UInt8[torch.Tensor, "N C S S"], rows: Int[np.ndarray, " n"], recipe: Recipe, batch_size: int = 64
) -> Float32[np.ndarray, "n K"]:
    """Logits in evaluation mode, in the order of ``rows``."""
    network.eval()
    with torch.inference_mode():
        parts = np.array_split(rows, math.ceil(len(rows) / batch_size))
        return np.concatenate([network(normalise(view[part], recipe)).numpy() for part in parts])


def _score(figures: dict[str, float], metric: str) -> float:
    """Higher is better; a figure that is undefined never wins."""
    value = figures["auc"] if metric == "auc" else -figures["log_loss"]
    return -math.inf if math.isnan(value) else value


def _rates(phase: ResolvedPhase, optimiser: torch.optim.Optimizer) -> dict[str, float]:
    return {group.name: row["lr"] for group, row in zip(phase.groups, optimiser.param_groups, strict=True)}


def _not_finite(phase: ResolvedPhase, epoch: int, step: int, optimiser: torch.optim.Optimizer) -> str:
    rates = ", ".join(f"{name} {rate:.3g}" for name, rate in _rates(phase, optimiser).items())
    place = f"phase {phase.name}, epoch {epoch + 1}, step {step}"
    return f"the loss is not finite at {place} (rates: {rates}); lower the phase's rates in params.yaml"
