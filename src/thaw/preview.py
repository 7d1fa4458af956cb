"""What a strategy of params.yaml would train, and what it would cost, without loading data."""

from typing import Any

from thaw.errors import InputError, nearest
from thaw.params import Params

IMAGES = 2000
"""Stands for the size of the training set where a length is in steps and there is no data yet to ask."""


def preview(params: Params, strategy: str, images: int = IMAGES) -> list[dict[str, Any]]:
    """Rows as in a record's ``groups`` and, for each phase, its cost; for the first of ``finetune.backbones``.

    ``cost``: in epochs of training everything, by multiply-adds (see `costs`). Raises `InputError` for an unknown strategy.
    """
    if strategy not in params.strategies:
        raise InputError(f"params.yaml: strategies: unknown name {strategy!r}; {nearest(strategy, params.strategies)}")
    from thaw.augment import number_of_views
    from thaw.backbones import Network, backbone_of
    from thaw.inputs import steps_per_epoch
    from thaw.strategies import group_table, network_blocks, resolve

    chosen, settings = params.strategies[strategy], params.backbones[(params.finetune.backbones or params.features.backbones)[0]]
    backbone = backbone_of(settings, random_seed=0)  # shapes do not depend on the weights
    network = Network(backbone.encoder, backbone.dim, n_classes=2)
    phases = resolve(network, backbone.blocks, chosen.phases, chosen.norm, f"params.yaml: strategies.{strategy}")
    rows = group_table(network, phases)
    work = forward_work(network, network_blocks(backbone.blocks), settings.image_size)
    per_epoch = steps_per_epoch(images, params.finetune.batch_size)
    costs = {}
    for phase in phases:
        epochs = phase.total_steps(per_epoch, images) / per_epoch
        kept = bool(params.finetune.activations_mb) and not phase.mixup(images)
        views = phase.settings.views or number_of_views(params.finetune.augment)
        costs[phase.name] = cost(work, phase.frozen, epochs, views if kept else None)
    return [row | {"cost": round(costs[row["phase"]], 2)} for row in rows]


def total_cost(params: Params, strategy: str, images: int = IMAGES) -> float:
    """Of all phases together, in epochs of training everything."""
    return sum({row["phase"]: row["cost"] for row in preview(params, strategy, images)}.values())


def forward_work(network: Any, blocks: dict[str, list[str]], image_size: int) -> dict[str, int]:
    """Multiply-adds of each block for one image, times two, counted by PyTorch on a forward pass of zeros."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, image_size, image_size))
    modules = {name.partition(".")[2]: sum(by_kind.values()) for name, by_kind in counter.get_flop_counts().items()}
    owners = {tensor.rpartition(".")[0] for names in blocks.values() for tensor in names}
    leaves = {owner: modules.get(owner, 0) for owner in owners}
    return {block: sum(leaves[owner] for owner in {name.rpartition(".")[0] for name in names}) for block, names in blocks.items()}


def cost(work: dict[str, int], frozen: tuple[str, ...], epochs: float, views: int | None) -> float:
    """In epochs of training everything, where backward is twice forward. What is frozen below runs once per image and view.

    ``views``: how many there are of each image; None where nothing is kept.
    """
    whole, below = sum(work.values()), sum(work[block] for block in frozen)
    passes = epochs if views is None else min(epochs, views)
    return (below * passes + 3 * (whole - below) * epochs) / (3 * whole)
