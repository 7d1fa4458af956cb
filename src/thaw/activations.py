"""While the lower blocks are frozen, their output for an image's view never changes: compute it once, keep it, train the rest from it.

The network is cut in front of the lowest block that changes. What the frozen blocks give is kept in memory up to a limit, beyond it in a
memory-mapped file. Activations and logits equal those of recomputing up to rounding, since batches of another size, and engines, sum in
another order. (Recomputed in a step in bfloat16 they would be rounded to it, which they are not where they are kept.) They are the same
bits from run to run and after a resume: what is computed with what depends on (seed, epoch, ids) alone.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from thaw.backbones import Network
from thaw.groups import HEAD

Lower = Callable[[Sequence[tuple[int, int]]], torch.Tensor]
RTOL, ATOL = 1e-4, 1e-5
"""Tolerance of cached against recomputed logits in single precision."""


class _Reached(Exception):
    """The cut is reached; what lies above need not run."""


class Halves:
    """network(pixels) = upper(lower(pixels)), cut in front of block ``first``, whose name is that of its first module."""

    def __init__(self, network: Network, first: str, sample: Float[torch.Tensor, "1 3 S S"]) -> None:
        self.network, self.first, self.sample = network, first, sample

    @torch.no_grad()
    def lower(self, pixels: Float[torch.Tensor, "B 3 S S"]) -> Float[torch.Tensor, "B *A"]:
        if self.first == HEAD:
            return self.network.backbone(pixels)
        found: list[torch.Tensor] = []

        def stop(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            found.append(inputs[0])
            raise _Reached

        with self._module().register_forward_pre_hook(stop):
            try:
                self.network.backbone(pixels)
            except _Reached:
                return found[0]
        raise ValueError(f"{self.first} does not run in a forward pass")

    def upper(self, activations: Float[torch.Tensor, "B *A"]) -> Float[torch.Tensor, "B K"]:
        """A forward pass of one image in which the cut's input is replaced: whatever the network's own code does above it is done."""
        if self.first == HEAD:
            return self.network.head(activations)
        with self._module().register_forward_pre_hook(lambda module, inputs: (activations, *inputs[1:])):
            return self.network.head(self.network.backbone(self.sample))

    def fit(self, pixels: Float[torch.Tensor, "B 3 S S"]) -> bool:
        """Whether cutting here is right: nothing below is random or learns, and both halves give what the whole gives.

        Networks in which something above looks further down than the cut, or something random lies between blocks, are trained uncut.
        """
        mode = self.network.training
        buffers = [buffer.clone() for buffer in self.network.buffers()]  # statistics that are not frozen would remember the check
        try:
            self.network.train()
            with torch.random.fork_rng(devices=[]):
                below = [self.lower(pixels) for _ in range(2)]
            self.network.eval()
            with torch.no_grad():
                whole, halves = self.network(pixels), self.upper(self.lower(pixels))
            learning = [tensor for tensor in self.network.parameters() if tensor.requires_grad]
            reached = torch.autograd.grad(self.upper(self.lower(pixels)).sum(), learning, allow_unused=True)
            above = all(gradient is not None for gradient in reached)  # a block's later modules may run before its first
            return above and torch.equal(*below) and torch.allclose(whole, halves, rtol=RTOL, atol=ATOL)
        except (AttributeError, ValueError, IndexError):  # no such module, one that is not reached, or one that gets no tensor
            return False
        finally:
            self.network.train(mode)
            for buffer, before in zip(self.network.buffers(), buffers, strict=True):
                buffer.copy_(before)

    def _module(self) -> nn.Module:
        return self.network.backbone.get_submodule(self.first)


class Store:
    """Activations by (row, view). ``capacity``: how many there can be; ``limit_mb``: how much of memory they may take."""

    def __init__(self, capacity: int, limit_mb: int, folder: Path) -> None:
        self.capacity, self.limit, self.folder = capacity, limit_mb * 2**20, folder
        self.slots: dict[tuple[int, int], int] = {}
        self.array: np.ndarray | None = None
        self.file: tempfile._TemporaryFileWrapper | None = None  # type: ignore[type-arg]
        self.channels_last = False

    def fill(self, keys: Sequence[tuple[int, int]], batch_size: int, compute: Lower) -> None:
        """Compute what is missing, in the order of the keys and in batches: which bits come out depends on nothing else."""
        missing = sorted(set(keys) - self.slots.keys())
        for start in range(0, len(missing), batch_size):
            part = missing[start : start + batch_size]
            found = compute(part)
            self.channels_last = found.ndim == 4
            values = (found.permute(0, 2, 3, 1) if self.channels_last else found).contiguous().cpu().numpy()
            if self.array is None:
                self.array = self._allocate(values.shape[1:])
            self.array[len(self.slots) : len(self.slots) + len(part)] = values
            self.slots |= {key: len(self.slots) + number for number, key in enumerate(part)}

    def get(self, keys: Sequence[tuple[int, int]]) -> Float[torch.Tensor, "B *A"]:
        assert self.array is not None  # filled before
        values = torch.from_numpy(self.array[[self.slots[key] for key in keys]])
        return values.permute(0, 3, 1, 2) if self.channels_last else values

    def _allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        whole = (self.capacity, *shape)
        if np.prod(whole, dtype=np.int64) * 4 <= self.limit:
            return np.empty(whole, np.float32)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = tempfile.NamedTemporaryFile(dir=self.folder, prefix="activations-")  # noqa: SIM115  # closed by `close`
        return np.memmap(self.file.name, np.float32, "w+", shape=whole)

    @property
    def spilled(self) -> bool:
        return self.file is not None

    def close(self) -> None:
        self.array = None
        if self.file is not None:
            self.file.close()


def keys_of(rows: Int[np.ndarray, " b"], codes: Int[np.ndarray, " b"]) -> list[tuple[int, int]]:
    return list(zip(rows.tolist(), codes.tolist(), strict=True))
