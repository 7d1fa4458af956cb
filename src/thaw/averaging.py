"""Averages of weights: over training (EMA), and between two ends of it (WiSE-FT)."""

from collections.abc import Mapping

import torch
from torch import nn

State = dict[str, torch.Tensor]


class Average:
    """Exponential moving average of everything that changes: shadow <- shadow + (1 - decay) (now - shadow), after each step.

    Norm statistics are averaged like weights; what is frozen stays bit-equal, since its difference is exactly zero. Counters are copied.
    """

    def __init__(self, network: nn.Module, decay: float, shadow: Mapping[str, torch.Tensor] | None = None) -> None:
        """``shadow``: where an interrupted average stood; it starts at the network as it is."""
        self.decay = decay
        now = network.state_dict()
        self.shadow: State = {name: tensor.detach().to(now[name].device, copy=True) for name, tensor in (shadow or now).items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.shadow[name].lerp_(tensor, 1 - self.decay)
            else:
                self.shadow[name].copy_(tensor)


def interpolated(start: Mapping[str, torch.Tensor], end: Mapping[str, torch.Tensor], alpha: float) -> State:
    """(1 - alpha) start + alpha end for every floating tensor, the end's counters; at 0 and 1 the ends to the bit (Wortsman 2022)."""
    return {
        name: tensor.clone() if not tensor.is_floating_point() or alpha == 1 else (1 - alpha) * start[name] + alpha * tensor
        for name, tensor in end.items()
    }
