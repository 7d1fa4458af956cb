"""Phases as values: what a strategy of params.yaml means for a given network. No strategy has code of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from thaw.backbones import NORMS, Network
from thaw.groups import HEAD, Group, partition, select, unroll
from thaw.params import Phase
from thaw.schedules import bit_mixup, bit_steps

DROPOUTS = (nn.modules.dropout._DropoutNd,)
DROPOUT_NAMES = frozenset({"DropPath", "StochasticDepth", "DropBlock2d", "PatchDropout"})  # of timm and torchvision


@dataclass(frozen=True)
class ResolvedPhase:
    """A phase for one network: an exact partition of what trains, and the layers that stay in evaluation mode."""

    name: str
    settings: Phase  # length, schedule and the dials that may be off
    groups: tuple[Group, ...]
    fixed: frozenset[str]  # names of norm and dropout modules kept in evaluation mode
    frozen: tuple[str, ...]  # blocks below the first that changes in any way, stem first: their activations can be kept
    first: str  # the block above them, the lowest that changes

    @property
    def trainable(self) -> frozenset[str]:
        return frozenset(name for group in self.groups for name in group.tensors)

    def total_steps(self, steps_per_epoch: int, images: int) -> int:
        """Length in steps, for a training set of so many images."""
        if self.settings.steps == "bit":
            return bit_steps(images)
        return self.settings.steps or (self.settings.epochs or 0) * steps_per_epoch

    @property
    def length(self) -> str:
        """For people: ``1 epoch``, ``25 steps``, ``steps by BiT's rule``."""
        if self.settings.steps == "bit":
            return "steps by BiT's rule"
        count, unit = (self.settings.epochs, "epoch") if self.settings.epochs else (self.settings.steps, "step")
        return f"{count} {unit}" + ("s" if count != 1 else "")

    def mixup(self, images: int) -> float:
        """Mixup's alpha, 0 for none; BiT's rule decides it by the number of images."""
        return bit_mixup(images) if self.settings.steps == "bit" else self.settings.mixup or 0.0


def resolve(network: Network, backbone_blocks: dict[str, list[str]], phases: Sequence[Phase], norm: str, where: str) -> list[ResolvedPhase]:
    """``where`` is the strategy's path in params.yaml, for messages. ``norm``: see `fixed_layers`. ``each_block``: a phase a block."""
    blocks = network_blocks(backbone_blocks)
    normal = norm_tensors(network)
    undecayed = normal | {name for name, tensor in network.named_parameters() if tensor.ndim <= 1}
    resolved = []
    for number, phase in enumerate(phases):
        place = f"{where}.phases[{number}]"
        unrolled = unroll(phase.train, blocks)
        for part, train in enumerate(unrolled, start=1):
            trainable = select(train, blocks, normal, place)
            groups = partition(blocks, trainable, phase.rates, phase.weight_decay, undecayed, place, phase.layer_decay)
            names = frozenset(name for group in groups for name in group.tensors)
            label = phase.name if len(unrolled) == 1 else f"{phase.name}_{part}"
            below = 0 if norm == "train" and normal else _blocks_below(blocks, names)
            order = tuple(blocks)
            resolved.append(ResolvedPhase(label, phase, tuple(groups), fixed_layers(network, names, norm), order[:below], order[below]))
    return resolved


def _blocks_below(blocks: dict[str, list[str]], trainable: frozenset[str]) -> int:
    """How many blocks lie below the first that trains."""
    return next(number for number, names in enumerate(blocks.values()) if trainable & set(names))


def network_blocks(backbone_blocks: dict[str, list[str]]) -> dict[str, list[str]]:
    """Blocks of `Network`: the backbone's from the stem up, then the head."""
    return {block: [f"backbone.{name}" for name in names] for block, names in backbone_blocks.items()} | {
        HEAD: ["head.weight", "head.bias"]
    }


def norm_tensors(network: nn.Module) -> frozenset[str]:
    return frozenset(
        f"{module_name}.{name}"
        for module_name, module in network.named_modules()
        if isinstance(module, NORMS)
        for name, _ in module.named_parameters(recurse=False)
    )


def fixed_layers(network: nn.Module, trainable: frozenset[str], norm: str) -> frozenset[str]:
    """Layers kept in evaluation mode: dropout in modules that do not train, and of the norm layers, by ``norm``,

    frozen_eval  those none of whose tensors train; the others use and update batch statistics. Keras's rule: the frozen stays bit-equal.
    eval         all of them: the statistics of pretraining are used and kept everywhere, while scales and shifts may train.
    train        none: batch statistics are used and updated in frozen blocks too, as fastai does.
    """
    fixed = set()
    for name, module in network.named_modules():
        if isinstance(module, NORMS):
            own = {f"{name}.{parameter}" for parameter, _ in module.named_parameters(recurse=False)} or _siblings(network, name)
            if norm == "eval" or (norm == "frozen_eval" and not own & trainable):
                fixed.add(name)
        elif (isinstance(module, DROPOUTS) or type(module).__name__ in DROPOUT_NAMES) and not _siblings(network, name) & trainable:
            fixed.add(name)
    return frozenset(fixed)


def _siblings(network: nn.Module, name: str) -> set[str]:
    """Parameters of the nearest ancestor that has any: a layer without parameters is frozen when its surroundings are."""
    while name:
        name = name.rpartition(".")[0]
        found = {f"{name}.{p}".lstrip(".") for p, _ in network.get_submodule(name).named_parameters()}
        if found:
            return found
    return set()


def group_table(network: nn.Module, phases: Sequence[ResolvedPhase]) -> list[dict[str, Any]]:
    """One row per phase and group, for the record and for people."""
    sizes = {name: tensor.numel() for name, tensor in network.named_parameters()}
    return [
        {
            "phase": phase.name,
            "length": phase.length,
            "schedule": phase.settings.schedule,
            "group": group.name,
            "rate": group.rate,
            "weight_decay": group.weight_decay,
            "tensors": len(group.tensors),
            "scalars": sum(sizes[name] for name in group.tensors),
        }
        for phase in phases
        for group in phase.groups
    ]


def trainable_scalars(network: nn.Module, phases: Sequence[ResolvedPhase]) -> int:
    """Scalars that any phase trains."""
    ever = frozenset().union(*(phase.trainable for phase in phases))
    return sum(tensor.numel() for name, tensor in network.named_parameters() if name in ever)


def apply_freeze(network: Network, phase: ResolvedPhase) -> None:
    """Make exactly the phase's tensors trainable and fix exactly its frozen layers."""
    for name, tensor in network.named_parameters():
        tensor.requires_grad_(name in phase.trainable)
        tensor.grad = None
    network.fixed = phase.fixed
