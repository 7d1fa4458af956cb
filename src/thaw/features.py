"""Encoder + images -> X (N, D), and every block's output, pooled: frozen backbone, evaluation mode, row order of the index, no chance."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import nn
from torch.nn import functional

from thaw.engines import Begun, Name, engine_for
from thaw.errors import InputError
from thaw.files import whole
from thaw.views import Recipe, normalise


@dataclass(frozen=True)
class Extracted:
    """``features``: the encoder's pooled output. ``blocks``: every block's output, pooled, side by side from the stem up."""

    features: Float32[np.ndarray, "N D"]
    blocks: Float32[np.ndarray, "N E"]
    widths: list[tuple[str, int]]  # of ``blocks``: block name, columns; the encoder's output is the last, named ENCODER
    engine: str  # what ran the network, and its version


ENCODER = "encoder"
"""Name of the encoder's own output among the blocks' ones."""


def extract(
    encoder: nn.Module,
    blocks: Mapping[str, Sequence[str]],
    views: Iterable[UInt8[torch.Tensor, "_ C S S"]],
    recipe: Recipe,
    engine: Name = "torch",
) -> Generator[Extracted]:
    """Both kinds of features of every batch, in one pass, one batch at a time. ``blocks``: name -> parameter names, stem first.

    A block's output is that of the layer that it executes last; layers without parameters (activations, pooling) belong to the block
    before them. The last block is the exception: libraries put into it what follows the blocks (EfficientNet's ``conv_head``, a ViT's
    final norm), after which its output would be the encoder's own. It gives the output of its first layer, and the encoder's output comes
    after it, or alone where the two are the same (ResNet), which the first batch tells.
    Raises `InputError` for features that are not finite.
    """
    views = iter(views)
    for first in views:
        frozen, begun = Frozen(encoder, blocks, recipe, first[:2]), deque[tuple[Begun, int]]()
        runs = engine_for(engine, frozen, first)
        try:
            for view in chain([first], views):
                begun.append((runs.begin(view), len(view)))
                if sum(images for _, images in begun) - begun[0][1] >= runs.ahead:
                    yield _extracted(begun.popleft()[0].wait(), frozen.widths, runs.name)
            while begun:
                yield _extracted(begun.popleft()[0].wait(), frozen.widths, runs.name)
        finally:
            for one, _ in begun:
                one.cancel()


def _extracted(found: list[np.ndarray], widths: list[tuple[str, int]], engine: str) -> Extracted:
    features, outputs = found
    if not (np.isfinite(features).all() and np.isfinite(outputs).all()):
        raise InputError("backbone: it gives features that are not finite numbers; its weights are spoilt, choose other ones")
    return Extracted(features, outputs, widths, engine)


def write_features(
    batches: Iterable[Extracted], images: int, folder: Path, advance: Callable[[int], None]
) -> tuple[int, list[tuple[str, int]], str]:
    """features.npy and blocks.npy, batch by batch, so that memory does not grow with their number. D, the blocks' widths, the engine."""
    dim, widths, engine = 0, list[tuple[str, int]](), ""
    with (
        whole(folder / "features.npy") as features,
        whole(folder / "blocks.npy") as blocks,
        features.open("wb") as own,
        blocks.open("wb") as all_of_them,
    ):
        for found in batches:
            parts = ((own, found.features), (all_of_them, found.blocks))
            for file, X in parts:
                if not dim:
                    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (images, X.shape[1])})
                file.write(np.ascontiguousarray(X, dtype="<f4").data)
            dim, widths, engine = found.features.shape[1], found.widths, found.engine
            advance(len(found.features))
    return dim, widths, engine


class Frozen(nn.Module):
    """Views -> the encoder's output and the blocks' pooled ones, side by side. ``widths`` as in `Extracted`, told by ``view``."""

    def __init__(
        self, encoder: nn.Module, blocks: Mapping[str, Sequence[str]], recipe: Recipe, view: UInt8[torch.Tensor, "_ C S S"]
    ) -> None:
        super().__init__()
        self.encoder, self.blocks, self.recipe = encoder.eval(), blocks, recipe
        with torch.inference_mode():
            found = self._outputs(view)
        last = list(blocks)[-1]
        if _same(found[last].numpy(), found[ENCODER].numpy()):
            del found[last]
        self.widths = [(name, output.shape[1]) for name, output in found.items()]

    def forward(self, pixels: UInt8[torch.Tensor, "B C S S"]) -> tuple[Float32[torch.Tensor, "B D"], Float32[torch.Tensor, "B E"]]:
        found = self._outputs(pixels)
        return found[ENCODER], torch.cat([found[name] for name, _ in self.widths], dim=1)

    def _outputs(self, pixels: UInt8[torch.Tensor, "B C S S"]) -> dict[str, torch.Tensor]:
        """Of every block and of the encoder."""
        with pooled_outputs(self.encoder, self.blocks) as seen:
            own = self.encoder(normalise(pixels, self.recipe))
        return {name: _output_of(name, seen) for name in self.blocks} | {ENCODER: own}


@contextmanager
def pooled_outputs(encoder: nn.Module, blocks: Mapping[str, Sequence[str]]) -> Iterator[dict[str, torch.Tensor]]:
    """Block name -> its pooled output in the encoder's latest pass (see `extract` for which output that is)."""
    layers, last = layers_of(encoder, blocks), list(blocks)[-1]
    first_of_last = next((name for tensor in blocks[last] for name, *_ in layers if tensor.startswith(f"{name}.")), None)
    channels_last = str(getattr(encoder, "output_fmt", "NCHW")) == "NHWC"  # timm's word for it
    seen: dict[str, torch.Tensor] = {}
    current = ""  # the block that runs

    def hook(name: str, owner: str | None) -> Callable[[nn.Module, Any, Any], None]:
        def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
            nonlocal current
            current = owner or current
            if isinstance(output, torch.Tensor) and (current not in ("", last) or name == first_of_last):
                seen[current] = pool(output, channels_last)

        return note

    handles = [layer.register_forward_hook(hook(name, owner)) for name, layer, owner in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def layers_of(encoder: nn.Module, blocks: Mapping[str, Sequence[str]]) -> list[tuple[str, nn.Module, str | None]]:
    """The largest modules whose parameters are all of one block: name, module, that block (None for a module without parameters)."""
    owner = {tensor: block for block, tensors in blocks.items() for tensor in tensors}
    found: list[tuple[str, nn.Module, str | None]] = []

    def visit(prefix: str, module: nn.Module) -> None:
        for name, child in module.named_children():
            path = f"{prefix}{name}"
            owners = {
                owner[f"{path}.{tensor}"] for tensor, _ in child.named_parameters() if f"{path}.{tensor}" in owner
            }  # tied: owned once
            if len(owners) > 1:
                visit(f"{path}.", child)
            else:
                found.append((path, child, next(iter(owners), None)))

    visit("", encoder)
    return found


def pool(output: Float[torch.Tensor, "B ..."], channels_last: bool) -> Float[torch.Tensor, "B W"]:
    """Mean over the places of a map (B, C, H, W) or (B, H, W, C), or over the tokens (B, T, C); a vector stays as it is.

    Images are square, so that a map's two equal axes are the places; ``channels_last`` decides where all three are equal.
    """
    second, third, fourth = output.shape[1:] if output.ndim == 4 else (0, 0, 0)
    last = second == third and (channels_last or third != fourth)
    places = {4: (1, 2) if last else (2, 3), 3: (1,), 2: ()}.get(output.ndim)
    if places is None:
        raise InputError(f"backbone: a block gives an array of {output.ndim} axes {tuple(output.shape)}; choose another backbone")
    if places == (2, 3):  # the same sums, in an operation that engines know in their own layout
        return functional.adaptive_avg_pool2d(output, 1).flatten(1)
    return output.mean(dim=places) if places else output.clone()


def _output_of(name: str, seen: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if name not in seen:
        raise InputError(f"backbone: block {name!r} has no layer whose output can be pooled; choose another backbone")
    return seen[name]


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    """Equal but for the order of a sum."""
    with np.errstate(invalid="ignore"):  # what is not finite is told later
        return first.shape == second.shape and np.allclose(first, second, rtol=1e-4, atol=1e-5 * float(np.abs(second).max()))
