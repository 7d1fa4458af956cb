"""What a phase feeds into the network, batch by batch: views of pixels, or kept activations of the blocks that are frozen."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8, UInt64
from torch import nn

from thaw.activations import ATOL, RTOL, Halves, Store, keys_of
from thaw.augment import augment, number_of_views, view_codes
from thaw.backbones import Network
from thaw.devices import sent, taken
from thaw.engines import AT_ONCE, Engine, Name, OfGraphs, Unfit, on_cores, unfit
from thaw.randomness import derive_seed, draw
from thaw.strategies import ResolvedPhase
from thaw.views import Recipe, dihedral, normalise

PLAIN = -1
"""The code of the view that validation sees."""
WORTH = 512
"""Images that frozen blocks must have to see in a phase, so that an engine saves more time than tracing them for it takes."""
ENGINE_MB = 64
"""Memory for what an engine's threads give at a time, beside the few images that each has in hand."""


@dataclass(frozen=True)
class Material:
    """What a cell learns from. Labels of test rows are -1: the loop cannot see them, and a use of one is an error."""

    view: UInt8[torch.Tensor, "N C S S"]
    labels: Int[torch.Tensor, " N"]
    id_numbers: UInt64[np.ndarray, " N"]
    train: Int[np.ndarray, " n"]  # row numbers
    val: Int[np.ndarray, " m"]
    recipe: Recipe


@dataclass(frozen=True)
class Views:
    """Augmented images: functions of (seed, epoch, id), or with ``limit`` of (seed, which of so many views, id)."""

    material: Material
    names: Sequence[str]
    seed: int
    limit: int | None = None

    @property
    def count(self) -> int | None:
        """How many views an image can have, None without end."""
        return self.limit or number_of_views(self.names)

    def codes(self, rows: Int[np.ndarray, " b"], epoch: int) -> Int[np.ndarray, " b"] | None:
        """Which view each image has in an epoch; None where views have no number."""
        numbers = self.material.id_numbers[rows]
        if self.limit is None:
            return view_codes(numbers, self.names, self.seed, epoch)
        return (draw(numbers, derive_seed(self.seed, "view"), epoch) % np.uint64(self.limit)).astype(np.int64)

    def pixels(self, rows: Int[np.ndarray, " b"], epoch: int) -> UInt8[torch.Tensor, "b C S S"]:
        """What the epoch shows."""
        codes = self.codes(rows, epoch)
        if codes is None:
            return augment(taken(self.material.view, rows), self.material.id_numbers[rows], self.names, self.seed, epoch)
        return self.of(rows, codes)

    def of(self, rows: Int[np.ndarray, " b"], codes: Int[np.ndarray, " b"]) -> UInt8[torch.Tensor, "b C S S"]:
        """The views of these codes."""
        plain = taken(self.material.view, rows)
        if self.limit is None:
            return dihedral(plain, np.maximum(codes, 0))  # the finite views are the square's symmetries, and 0 is none
        out = plain.clone()
        for code in np.unique(codes[codes != PLAIN]):
            here = np.flatnonzero(codes == code)
            out[here] = augment(plain[here], self.material.id_numbers[rows[here]], self.names, self.seed, int(code))
        return out


class Recomputed:
    """Every batch goes through the whole network."""

    def __init__(self, network: Network, views: Views, batch_size: int) -> None:
        self.network, self.views, self.material, self.batch_size = network, views, views.material, batch_size

    def begin(self, rows: Int[np.ndarray, " b"], epoch: int) -> None:
        """Make ready for an epoch of these rows."""

    def batch(self, rows: Int[np.ndarray, " b"], epoch: int) -> Float32[torch.Tensor, "b *A"]:
        return self._normalised(self.views.pixels(rows, epoch))

    def logits(self, inputs: Float[torch.Tensor, "b *A"]) -> Float[torch.Tensor, "b K"]:
        return self.network(inputs)

    def validation(self) -> Float32[np.ndarray, "m K"]:
        return predict(self.network, self.material.view, self.material.val, self.material.recipe)

    def close(self) -> None:
        """Nothing is held."""

    def _normalised(self, pixels: UInt8[torch.Tensor, "b C S S"]) -> Float32[torch.Tensor, "b 3 S S"]:
        """Where the network is; bytes travel, not floats."""
        return normalise(sent(pixels, self.network.device), self.material.recipe)


class Kept(Recomputed):
    """The frozen lower blocks run once for each image and view, by an engine if there is one."""

    def __init__(self, network: Network, views: Views, batch_size: int, halves: Halves, store: Store, engine: Engine | None) -> None:
        super().__init__(network, views, batch_size)
        self.halves, self.store, self.engine = halves, store, engine
        self.by = engine.name if engine else f"torch {torch.__version__}"  # what runs the frozen blocks
        self.at_a_time = 0  # images that go through them together, known when the first has

    def begin(self, rows: Int[np.ndarray, " b"], epoch: int) -> None:
        self.network.eval()  # what is frozen is in evaluation mode; some layers round differently in the other (MultiheadAttention)
        val = self.material.val
        for keys in (keys_of(val, np.full(len(val), PLAIN)), self._keys(rows, epoch)):
            self.store.fill(keys, self._at_a_time(keys[:1]), self._compute)

    def batch(self, rows: Int[np.ndarray, " b"], epoch: int) -> Float32[torch.Tensor, "b *A"]:
        return self._kept(self._keys(rows, epoch))

    def logits(self, inputs: Float[torch.Tensor, "b *A"]) -> Float[torch.Tensor, "b K"]:
        return self.halves.upper(inputs)

    def validation(self) -> Float32[np.ndarray, "m K"]:
        self.network.eval()
        val = self.material.val
        with torch.no_grad():
            parts = np.array_split(val, math.ceil(len(val) / 64))
            return torch.cat([self.logits(self._kept(keys_of(part, np.full(len(part), PLAIN)))) for part in parts]).cpu().numpy()

    def close(self) -> None:
        self.store.close()
        self.engine = None  # its graph holds the weights once more

    def _keys(self, rows: Int[np.ndarray, " b"], epoch: int) -> list[tuple[int, int]]:
        codes = self.views.codes(rows, epoch)
        assert codes is not None  # else `inputs_of` would not have kept anything
        return keys_of(rows, codes)

    def _kept(self, keys: Sequence[tuple[int, int]]) -> Float[torch.Tensor, "b *A"]:
        return sent(self.store.get(keys), self.network.device)

    def _compute(self, keys: Sequence[tuple[int, int]]) -> torch.Tensor:
        rows, codes = (np.array(column) for column in zip(*keys, strict=True))
        pixels = self.views.of(rows, codes)
        return torch.from_numpy(self.engine(pixels)[0]) if self.engine else self.halves.lower(self._normalised(pixels))

    def _at_a_time(self, keys: Sequence[tuple[int, int]]) -> int:
        """Images that go through the frozen blocks together: with an engine, enough for every core, which decides no bit."""
        if self.engine is None:
            return self.batch_size
        if not self.at_a_time:
            self.at_a_time = max(self.engine.ahead, ENGINE_MB * 2**20 // self._compute(keys).nbytes)
        return self.at_a_time


def inputs_of(
    network: Network, phase: ResolvedPhase, views: Views, batch_size: int, activations_mb: int, folder: Path, engine: Name = "auto"
) -> Recomputed:
    """Kept activations where the phase has frozen lower blocks and finitely many views of each image; else every batch is recomputed."""
    material, plain = views.material, Recomputed(network, views, batch_size)
    mixed = phase.mixup(len(material.train)) > 0  # mixes pixels, so that no two inputs are alike
    if not (activations_mb and phase.frozen and views.count) or mixed:
        return plain
    pixels = normalise(material.view[material.train[:2]].to(network.device), material.recipe)
    halves = Halves(network, phase.first, pixels[:1])
    if not halves.fit(pixels):
        return plain
    n, m = len(material.train), len(material.val)
    per_epoch = steps_per_epoch(n, batch_size)
    seen = min(n * views.count, round(phase.total_steps(per_epoch, n) * n / per_epoch)) + m
    runs = None
    if seen >= WORTH and engine != "torch" and network.device.type == "cpu":
        first, others = (material.view[rows[: AT_ONCE + more]] for rows, more in ((material.train, 0), (material.val, 1)))
        runs = engine_below(Below(halves, material.recipe), first, others, "openvino" if engine == "openvino" else "onnxruntime")
    return Kept(network, views, batch_size, halves, Store(n * views.count + m, activations_mb, folder), runs)


class Below(nn.Module):
    """The frozen blocks as a network of their own, in evaluation mode."""

    def __init__(self, halves: Halves, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.halves, self.recipe = halves.network, halves, recipe
        self.eval()

    def forward(self, pixels: UInt8[torch.Tensor, "b C S S"]) -> tuple[Float32[torch.Tensor, "b *A"]]:
        return (self.halves.lower(normalise(pixels, self.recipe)),)


def engine_below(
    below: Below, first: UInt8[torch.Tensor, "b C S S"], others: UInt8[torch.Tensor, "c C S S"], name: OfGraphs = "onnxruntime"
) -> Engine | None:
    """What runs the frozen blocks, traced on the ``first`` images and found to give what PyTorch gives for ``others``; else None."""
    try:
        engine = on_cores(name, below, first)
        with unfit("it stops"):
            (found,), expected = engine(others), below(others)[0].numpy()
        if found.shape != expected.shape:
            raise Unfit("its results and PyTorch's have other shapes")
        if not np.allclose(found, expected, rtol=RTOL, atol=ATOL * float(np.abs(expected).max())):
            raise Unfit(f"its results and PyTorch's differ by {float(np.abs(found - expected).max()):.1e}")
    except Unfit as why:
        print(f"thaw: PyTorch runs the frozen blocks, since {name} cannot ({why})", file=sys.stderr)
        return None
    return engine


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Every image once; no batch of one image, which would break batch statistics."""
    return max(1, min(math.ceil(images / batch_size), images // 2))


def predict(
    network: Network, view: UInt8[torch.Tensor, "N C S S"], rows: Int[np.ndarray, " n"], recipe: Recipe, batch_size: int = 64
) -> Float32[np.ndarray, "n K"]:
    """Logits in evaluation mode, in the order of ``rows``."""
    network.eval()
    with torch.inference_mode():
        parts = np.array_split(rows, math.ceil(len(rows) / batch_size))
        return torch.cat([network(normalise(sent(taken(view, part), network.device), recipe)) for part in parts]).cpu().numpy()
