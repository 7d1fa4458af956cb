"""Where in an image a network finds what speaks for a class: Grad-CAM (Selvaraju 2017, arXiv 1610.02391)."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import nn

from thaw.backbones import Network


def class_activation(
    network: Network, pixels: Float[torch.Tensor, "B 3 S S"], classes: Int[torch.Tensor, " B"]
) -> Float[torch.Tensor, "B h w"] | None:
    """ReLU of the sum over channels of (mean slope of `contrast`) x (channel), for each image and its class; >= 0, in no unit.

    The channels are those of the encoder's last output that still has places, a map or tokens; of tokens the last whose places the
    logits depend on (a class token that is read at the end leaves the others idle after the last attention). Evaluation mode.
    None where the encoder has no output with places.
    """
    network.eval()
    with torch.enable_grad(), outputs_with_places(network) as outputs:
        score = contrast(network(pixels.detach().requires_grad_()), classes).sum()  # evaluation mode: an image's logits are its own affair
    activation = None
    for output, places in reversed(outputs):
        slopes = places(*torch.autograd.grad(score, output, retain_graph=True, allow_unused=True, materialize_grads=True))
        activation = torch.einsum("bc,bchw->bhw", slopes.mean(dim=(2, 3)), places(output.detach())).relu()
        if output.ndim == 4 or slopes.any():
            break
    return activation


def contrast(logits: Float[torch.Tensor, "B K"], classes: Int[torch.Tensor, " B"]) -> Float[torch.Tensor, " B"]:
    """The class' logit minus the mean of the others: what softmax sees does not change when a constant is added to all logits."""
    chosen = logits.gather(1, classes[:, None])[:, 0]
    return chosen - (logits.sum(dim=1) - chosen) / (logits.shape[1] - 1)


Places = Callable[[torch.Tensor], torch.Tensor]
"""Brings an output of a layer, or its slopes, to (B, C, h, w)."""


@contextmanager
def outputs_with_places(network: Network) -> Iterator[list[tuple[torch.Tensor, Places]]]:
    """What the encoder's layers with parameters give in the passes within the block, in order, where it has places."""
    found: list[tuple[torch.Tensor, Places]] = []

    def note(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        places = places_of(output, network) if isinstance(output, torch.Tensor) else None
        if places is not None:
            found.append((output, places))

    layers = [layer for layer in network.backbone.modules() if any(True for _ in layer.parameters())]  # others can give attention weights
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def places_of(output: torch.Tensor, network: Network) -> Places | None:
    """How to bring an output to (B, C, h, w): of a map (B, C, h, w) or (B, h, w, C), or of tokens (B, T, D) that fill a square
    once those that stand for no place, which come first, are left out. None for anything else, and for a single place.

    Images are square, so that a map's two equal axes are its places; `output_fmt`, timm's word, decides where all three are equal.
    """
    if output.ndim == 4:
        second, third, fourth = output.shape[1:]
        if second == third > 1 and (third != fourth or getattr(network.backbone, "output_fmt", "NCHW") == "NHWC"):
            return lambda values: values.permute(0, 3, 1, 2)
        return (lambda values: values) if third == fourth > 1 else None
    if output.ndim != 3 or output.shape[2] != network.head.in_features:
        return None
    first = _tokens_without_a_place(output.shape[1], network.backbone)
    side = math.isqrt(output.shape[1] - first)
    if side < 2 or side**2 != output.shape[1] - first:
        return None
    return lambda values: values[:, first:].transpose(1, 2).unflatten(2, (side, side))


def _tokens_without_a_place(tokens: int, encoder: nn.Module) -> int:
    """As timm's models say; else one class token, unless the tokens fill a square with it."""
    said = getattr(encoder, "num_prefix_tokens", None)
    return said if isinstance(said, int) else int(math.isqrt(tokens) ** 2 != tokens)


def enlarged(activation: Float[torch.Tensor, "B h w"], side: int) -> Float[torch.Tensor, "B side side"]:
    """Bilinear, each image from 0 to 1 by its largest place; an image without any activation stays 0.

    Places are rounded to hundredths first: sums differ in the last bits from one processor to another, pictures should not.
    """
    shares = activation / activation.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(activation.dtype).tiny)
    return nn.functional.interpolate(shares.round(decimals=2)[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]
