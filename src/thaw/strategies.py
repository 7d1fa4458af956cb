"""Phases as values: what a strategy of params.yaml means for a given network. No strategy has code of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from thaw.backbones import Network
from thaw.groups import HEAD, Group, partition, select
from thaw.params import Phase

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)
DROPOUTS = (nn.modules.dropout._DropoutNd,)


@dataclass(frozen=True)
class ResolvedPhase:
    """A phase for one network: an exact partition of what trains, and the layers that stay in evaluation mode."""

    name: str
    epochs: int
    schedule: str
    warmup: float
    groups: tuple[Group, ...]
    fixed: frozenset[str]  # names of norm and dropout modules kept in evaluation mode

    @property
    def trainable(self) -> frozenset[str]:
        return frozenset(name for group in self.groups for name in group.tensors)


def resolve(network: Network, backbone_blocks: dict[str, list[str]], phases: Sequence[Phase], norm: str, where: str) -> list[ResolvedPhase]:
    """``where`` is the strategy's path in params.yaml, for messages. ``norm``: statistics of norm layers that train, "train" or "eval"."""
    blocks = network_blocks(backbone_blocks)
    normal = norm_tensors(network)
    undecayed = normal | {name for name, tensor in network.named_parameters() if tensor.ndim <= 1}
    resolved = []
    for number, phase in enumerate(phases):
        place = f"{where}.phases[{number}]"
        trainable = select(phase.train, blocks, normal, place)
        groups = partition(blocks, trainable, phase.rates, phase.weight_decay, undecayed, place)
        names = frozenset(name for group in groups for name in group.tensors)
        resolved.append(
            ResolvedPhase(phase.name, phase.epochs, phase.schedule, phase.warmup, tuple(groups), fixed_layers(network, names, norm))
        )
    return resolved


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
    """Norm layers none of whose tensors train (all of them under norm "eval"), and dropout in modules that do not train.

    Keras's rule, frozen means evaluation mode, is the one that leaves frozen statistics bit-equal.
    """
    fixed = set()
    for name, module in network.named_modules():
        if isinstance(module, NORMS):
            own = {f"{name}.{parameter}" for parameter, _ in module.named_parameters(recurse=False)} or _siblings(network, name)
            if norm == "eval" or not own & trainable:
                fixed.add(name)
        elif isinstance(module, DROPOUTS) and not _siblings(network, name) & trainable:
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
            "epochs": phase.epochs,
            "schedule": phase.schedule,
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


def build_optimiser(network: nn.Module, groups: Sequence[Group]) -> torch.optim.AdamW:
    """Fresh at each phase: adding groups to a running optimiser is where most tools go wrong (Lightning issue 6891)."""
    tensors = dict(network.named_parameters())
    rows = [
        {"params": [tensors[name] for name in group.tensors], "lr": group.rate, "weight_decay": group.weight_decay, "peak": group.rate}
        for group in groups
    ]
    return torch.optim.AdamW(rows, fused=True)
