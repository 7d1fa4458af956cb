"""What a strategy of params.yaml would train, without loading data."""

from typing import Any

from thaw.errors import InputError, nearest
from thaw.params import Params


def preview(params: Params, strategy: str) -> list[dict[str, Any]]:
    """Rows as in a record's ``groups``, for the first of ``finetune.backbones``. Raises `InputError` for an unknown strategy."""
    if strategy not in params.strategies:
        raise InputError(f"params.yaml: strategies: unknown name {strategy!r}; {nearest(strategy, params.strategies)}")
    from thaw.backbones import Network, build_backbone
    from thaw.strategies import group_table, resolve

    chosen, settings = params.strategies[strategy], params.backbones[(params.finetune.backbones or params.features.backbones)[0]]
    backbone = build_backbone(settings.weights, settings.image_size, random_seed=0)  # shapes do not depend on the weights
    network = Network(backbone.encoder, backbone.dim, n_classes=2)
    return group_table(network, resolve(network, backbone.blocks, chosen.phases, chosen.norm, f"params.yaml: strategies.{strategy}"))
