"""The one training loop. Strategies are lists of phases; this runs any of them."""

import math
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from thaw.averaging import Average, State, interpolated
from thaw.backbones import Network
from thaw.checkpoints import Training, load_training, restore_optimiser, save_training
from thaw.depthwise import quicken
from thaw.devices import Precision, autocast, sent
from thaw.engines import Name
from thaw.errors import InputError
from thaw.inputs import Kept, Material, Views, inputs_of, predict, steps_per_epoch
from thaw.metrics import validation_figures
from thaw.objective import Objective, balanced_weights, draw_mix, l2sp_penalty
from thaw.optimisers import build_optimiser, set_step
from thaw.params import Stop
from thaw.randomness import derive_seed, draw
from thaw.strategies import ResolvedPhase, apply_freeze


@dataclass(frozen=True)
class Regime:
    """What is the same in every phase."""

    batch_size: int
    augment: tuple[str, ...]
    activations_mb: int  # memory for activations of frozen blocks; 0: recompute them
    metric: str  # "auc" | "log_loss": what best on validation means
    engine: Name = "auto"  # for what is frozen, where its activations are kept
    precision: Precision = "float32"


@dataclass(frozen=True)
class Observer:
    """Who is told what happens; none of it changes a result."""

    advance: Callable[[int], None]
    epoch: Callable[[dict[str, Any]], None]
    phase: Callable[[str], None]


def train(
    network: Network, phases: Sequence[ResolvedPhase], material: Material, regime: Regime, seed: int, checkpoint: Path, observer: Observer
) -> Training:
    """Train ``network`` in place through all phases and leave it with the tensors of the best validation epoch.

    Resumes from ``checkpoint`` if it exists and saves it after every epoch (or part of one, where a phase's steps end inside it).
    Raises `InputError` at the first loss that is not finite, with the step and the rates; on a GPU at the end of its epoch, with
    the last rates.
    """
    quicken(network)
    start = state_of(network)
    state, moments, averaged = load_training(checkpoint, network) if checkpoint.exists() else (Training(), {}, {})
    images, per_epoch = len(material.train), steps_per_epoch(len(material.train), regime.batch_size)
    for number in range(state.phase, len(phases)):
        phase, settings = phases[number], phases[number].settings
        apply_freeze(network, phase)
        optimiser = build_optimiser(network, phase.groups, settings.optimiser)
        restore_optimiser(optimiser, network, moments)
        average = Average(network, settings.ema, averaged) if settings.ema else None
        objective = objective_of(phase, material, network.head.out_features)
        began = time.perf_counter()
        inputs = inputs_of(
            network,
            phase,
            Views(material, regime.augment, seed, settings.views),
            regime.batch_size,
            regime.activations_mb,
            checkpoint.parent,
            regime.engine,
        )
        if isinstance(inputs, Kept):
            state.frozen_by[phase.name] = inputs.by
        state.seconds += time.perf_counter() - began
        total, mixup = phase.total_steps(per_epoch, images), phase.mixup(images)
        epochs = math.ceil(total / per_epoch)
        for epoch in range(epochs):
            overall = len(state.history) - state.epochs_in_phase + epoch + 1
            planned = batches(material, per_epoch, seed, overall)[: total - epoch * per_epoch]
            if epoch < state.epochs_in_phase:  # before an interruption: nothing to train, but the same activations to keep
                if state.epochs_in_phase < epochs:
                    inputs.begin(np.concatenate(planned), overall)
                continue
            if settings.stop and plateaued(state.history, epoch, settings.stop, regime.metric):
                break
            started, losses, sizes = time.perf_counter(), list[torch.Tensor](), [len(rows) for rows in planned]
            observer.phase(f"phase {phase.name}, epoch {epoch + 1}/{epochs}")
            inputs.begin(np.concatenate(planned), overall)
            torch.manual_seed(derive_seed(seed, "epoch", overall))  # for dropout, where a network has it
            network.train()
            for step, rows in enumerate(planned, start=epoch * per_epoch):
                set_step(optimiser, settings.optimiser, settings.schedule, step, total, settings.warmup, settings.div)
                x, labels = inputs.batch(rows, overall), sent(material.labels[rows], network.device)
                mix = draw_mix(mixup, len(rows), derive_seed(seed, "mixup", overall, step)) if mixup else None
                with autocast(network.device, regime.precision):
                    loss = objective.loss(inputs.logits(x if mix is None else mix.of(x)), labels, mix)
                losses.append(loss.detach())
                if network.device.type == "cpu" and not math.isfinite(loss.item()):  # a GPU would be waited for
                    raise InputError(_not_finite(phase, epoch, step - epoch * per_epoch + 1, optimiser))
                optimiser.zero_grad()
                (loss + l2sp_penalty(network, start, settings.l2sp) if settings.l2sp else loss).backward()
                if settings.clip:
                    torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
                optimiser.step()
                if average:
                    average.update(network)
                observer.advance(len(rows))
            last = state_of(network) if average else {}
            if average:
                network.load_state_dict(average.shadow)
            reached = torch.stack(losses).tolist()
            logits = inputs.validation()
            if not np.isfinite([*reached, *logits.ravel()]).all():
                step = next((number for number, loss in enumerate(reached, start=1) if not math.isfinite(loss)), len(planned))
                raise InputError(_not_finite(phase, epoch, step, optimiser))
            figures = validation_figures(logits, material.labels[material.val].numpy())
            row = {"epoch": overall, "phase": phase.name, "train/loss": sum(map(operator.mul, reached, sizes)) / sum(sizes)}
            row |= {f"val/{name}": None if math.isnan(value) else value for name, value in figures.items()}
            row |= {f"lr/{name}": rate for name, rate in _rates(phase, optimiser).items() if not _is_twin(name, phase)}
            if score_of(row, regime.metric) > state.best_score or not state.best:
                state.best_epoch, state.best_score, state.best = overall, score_of(row, regime.metric), state_of(network)
                state.val_logits = torch.from_numpy(logits)
            if average:
                network.load_state_dict(last)
            state.history.append(row)
            state.phase, state.epochs_in_phase, state.images = number, epoch + 1, state.images + sum(sizes)
            state.seconds += time.perf_counter() - started
            save_training(checkpoint, state, network, optimiser, average.shadow if average else {})
            observer.epoch(row)
        inputs.close()
        state.epochs_in_phase, moments, averaged = 0, {}, {}
    network.load_state_dict(state.best)
    return state


def state_of(network: Network) -> State:
    """A copy of every parameter and buffer."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def planned_images(phases: Sequence[ResolvedPhase], images: int, batch_size: int) -> int:
    """Training images that all phases see at most, repeats included, for a progress bar."""
    per_epoch = steps_per_epoch(images, batch_size)
    return round(sum(phase.total_steps(per_epoch, images) for phase in phases) * images / per_epoch)


def objective_of(phase: ResolvedPhase, material: Material, n_classes: int) -> Objective:
    balanced = phase.settings.class_weights == "balanced"
    weights = balanced_weights(material.labels[material.train].numpy(), n_classes) if balanced else None
    return Objective(weights, phase.settings.label_smoothing or 0.0)


def plateaued(history: Sequence[Mapping[str, Any]], in_phase: int, stop: Stop, metric: str) -> bool:
    """Whether the last ``patience`` epochs of the phase all failed to raise the best score, earlier phases' too, by more than ``floor``."""
    scores = [score_of(row, metric) for row in history]
    best, since = max(scores[: len(scores) - in_phase], default=-math.inf), 0
    for score in scores[len(scores) - in_phase :]:
        best, since = (score, 0) if score > best + stop.floor else (best, since + 1)
    return since >= stop.patience


def choose_alpha(
    network: Network, start: Mapping[str, torch.Tensor], alphas: Sequence[float], material: Material, metric: str
) -> tuple[float, dict[str, float], list[dict[str, float | None]]]:
    """Leave ``network`` between ``start`` and itself, where validation likes it best (WiSE-FT, arXiv 2109.01903).

    Returns (the chosen alpha, its validation figures, a row for each alpha). The smaller alpha wins ties.
    """
    end = state_of(network)
    best, chosen, rows = (-math.inf, math.nan), {}, []
    for alpha in sorted(set(alphas)):
        network.load_state_dict(interpolated(start, end, alpha))
        logits = predict(network, material.view, material.val, material.recipe)
        figures = validation_figures(logits, material.labels[material.val].numpy())
        rows.append({"alpha": alpha} | {f"val/{name}": None if math.isnan(value) else value for name, value in figures.items()})
        if score_of(rows[-1], metric) > best[0] or math.isnan(best[1]):
            best, chosen = (score_of(rows[-1], metric), alpha), figures
    network.load_state_dict(interpolated(start, end, best[1]))
    return best[1], chosen, rows


def batches(material: Material, steps: int, seed: int, epoch: int) -> list[Int[np.ndarray, " b"]]:
    """Training rows in an order that (seed, epoch, ids) decide, in ``steps`` batches whose sizes differ by one at most:
    a last batch of one image would break batch statistics."""
    order = np.argsort(draw(material.id_numbers[material.train], derive_seed(seed, "order"), epoch), kind="stable")
    return np.array_split(material.train[order], steps)


def score_of(row: Mapping[str, Any], metric: str) -> float:
    """Of a history row; higher is better, and a figure that is undefined never wins."""
    value = row[f"val/{metric}"]
    return -math.inf if value is None else value if metric == "auc" else -value


def _rates(phase: ResolvedPhase, optimiser: torch.optim.Optimizer) -> dict[str, float]:
    return {group.name: row["lr"] for group, row in zip(phase.groups, optimiser.param_groups, strict=True)}


def _is_twin(name: str, phase: ResolvedPhase) -> bool:
    """A group that differs from another in its decay alone has the same curve."""
    return name.endswith(".no_decay") and name.removesuffix(".no_decay") in {group.name for group in phase.groups}


def _not_finite(phase: ResolvedPhase, epoch: int, step: int, optimiser: torch.optim.Optimizer) -> str:
    rates = ", ".join(f"{name} {rate:.3g}" for name, rate in _rates(phase, optimiser).items())
    place = f"phase {phase.name}, epoch {epoch + 1}, step {step}"
    return f"the loss is not finite at {place} (rates: {rates}); lower the phase's rates in params.yaml"
