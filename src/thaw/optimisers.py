"""AdamW and SGD over groups, rebuilt at each phase, and what a schedule does to them at each step."""

from collections.abc import Sequence

import torch
from torch import nn

from thaw.groups import Group
from thaw.params import Optimiser
from thaw.schedules import factor, momentum

ADAMW = Optimiser(name="adamw", momentum=0.9, beta2=0.999, eps=1e-8)
"""What a phase gets that names no optimiser: the values of Loshchilov 2019."""


def build_optimiser(network: nn.Module, groups: Sequence[Group], kind: Optimiser | None = None) -> torch.optim.Optimizer:
    """Fresh at each phase: adding groups to a running optimiser is where most tools go wrong (Lightning issue 6891)."""
    chosen = kind or ADAMW
    tensors = dict(network.named_parameters())
    rows = [
        {"params": [tensors[name] for name in group.tensors], "lr": group.rate, "weight_decay": group.weight_decay, "peak": group.rate}
        for group in groups
    ]
    if chosen.name == "sgd":
        return torch.optim.SGD(rows, momentum=chosen.momentum, fused=True)
    assert chosen.beta2 is not None and chosen.eps is not None  # params ask for both
    return torch.optim.AdamW(rows, betas=(chosen.momentum, chosen.beta2), eps=chosen.eps, fused=True)


def set_step(
    optimiser: torch.optim.Optimizer, kind: Optimiser | None, schedule: str, step: int, total: int, warmup: float, div: float | None
) -> None:
    """Rates, and where the phase asks for it momentum, of ``step`` (from 0) of ``total``."""
    scale = factor(schedule, step, total, warmup, div)
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * scale
    if kind is not None and kind.momentum_at_peak is not None:
        now = momentum(schedule, step, total, warmup, kind.momentum, kind.momentum_at_peak)
        for group in optimiser.param_groups:
            group.update({"betas": (now, group["betas"][1])} if kind.name == "adamw" else {"momentum": now})
