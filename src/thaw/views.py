"""From the uint8 array to what a network sees: the checkpoint's own preprocessing, and augmentation."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8

from thaw.devices import sent

TOGETHER = 4
"""Channels that torch resizes at once."""


@dataclass(frozen=True)
class Recipe:
    """The preprocessing that a checkpoint was trained with; a wrong one costs points without a word (pytorch/vision issue 5958)."""

    image_size: int  # px, what the network sees
    native_size: int  # px, what the checkpoint saw
    crop: float  # share of the resized side that the centre crop keeps
    interpolation: str  # "bicubic" | "bilinear"; "nearest" as a mistake on purpose
    mean: tuple[float, float, float]  # of values in [0, 1]
    std: tuple[float, float, float]

    @property
    def resize(self) -> int:
        """Side to resize to, px, before the centre crop (floor, as timm does; 224 of 224 / 232 is 232, though floats say a little less)."""
        return int(self.image_size / self.crop + 1e-6)


def evaluation_view(images: UInt8[np.ndarray, "N H W C"], recipe: Recipe, batch: int = 256) -> UInt8[torch.Tensor, "N C S S"]:
    """Resize and centre crop, deterministic, still uint8: all that preprocessing does to pixels before normalisation."""
    from torchvision.transforms.v2 import functional as transform

    views = torch.empty((len(images), images.shape[3], recipe.image_size, recipe.image_size), dtype=torch.uint8)
    for start in range(0, len(images), batch):
        pixels = torch.from_numpy(np.array(images[start : start + batch])).permute(0, 3, 1, 2).contiguous()  # a copy: the map is read-only
        resized = _resized(pixels, recipe.resize, recipe.interpolation)
        views[start : start + batch] = transform.center_crop(resized, [recipe.image_size, recipe.image_size])
    return views


def _resized(pixels: UInt8[torch.Tensor, "B C H W"], side: int, interpolation: str) -> UInt8[torch.Tensor, "B C side side"]:
    """Each channel is resized by itself, and four take no longer than one: gray images go four at a time, as if they were channels."""
    from torchvision.transforms import v2
    from torchvision.transforms.v2 import functional as transform

    B, C, H, W = pixels.shape
    if C == 1:
        missing = -B % TOGETHER
        pixels = torch.cat([pixels, pixels.new_zeros((missing, 1, H, W))]).view(-1, TOGETHER, H, W)
    resized = transform.resize(pixels, [side, side], interpolation=v2.InterpolationMode(interpolation), antialias=True)
    return resized.reshape(-1, C, side, side)[:B]


def normalise(pixels: UInt8[torch.Tensor, "B C S S"], recipe: Recipe) -> Float32[torch.Tensor, "B 3 S S"]:
    """To the checkpoint's scale; gray is repeated to three channels; channels-last, which convolutions on a CPU prefer."""
    # Made here and sent: torch.tensor(..., device=...) would wait for a GPU (pytorch/pytorch issue 120996).
    mean, std = (sent(torch.tensor(values), pixels.device).view(1, 3, 1, 1) for values in (recipe.mean, recipe.std))
    return ((pixels.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


_PATHS = np.array(
    [  # the corner that goes to the upper left, a step down from there, a step to the right; each (rows, columns)
        [(0, 0), (1, 0), (0, 1)],
        [(0, 1), (0, -1), (1, 0)],
        [(1, 1), (-1, 0), (0, -1)],
        [(1, 0), (0, 1), (-1, 0)],
        [(0, 1), (1, 0), (0, -1)],
        [(1, 1), (0, -1), (-1, 0)],
        [(1, 0), (-1, 0), (0, 1)],
        [(0, 0), (0, 1), (1, 0)],
    ]
)
"""Code -> where `dihedral` reads an image."""


def dihedral(pixels: UInt8[torch.Tensor, "B C S S"], codes: Int64[np.ndarray, " B"]) -> UInt8[torch.Tensor, "B C S S"]:
    """Apply one of the square's eight symmetries to each image: ``code % 4`` quarter turns, then a flip if ``code >= 4``.

    All images at once: a GPU takes longer to be asked than to move a batch's bytes.
    """
    B, C, S, _ = pixels.shape
    paths = _PATHS[codes] @ np.array([S, 1]) * np.array([S - 1, 1, 1])  # in positions of an image's S * S
    start, down, right = sent(torch.from_numpy(paths), pixels.device).view(B, 3, 1, 1).unbind(1)
    along = torch.arange(S, device=pixels.device)
    sources = (start + down * along.view(S, 1)) + right * along
    return pixels.flatten(2).gather(2, sources.view(B, 1, S * S).expand(B, C, S * S)).view(B, C, S, S)
