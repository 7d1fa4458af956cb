"""What one pass over the pixels keeps of every image for the audit: a small gray copy, brightness, contrast, the hash of its pixels."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Real, UInt8
from PIL import Image

SIDE = 32
"""Of the gray copy, px."""


@dataclass(frozen=True)
class Appearance:
    thumbnails: Float32[np.ndarray, "N 32 32"]  # gray, 0..255
    brightness: Float64[np.ndarray, " N"]  # mean of gray, 0..1
    contrast: Float64[np.ndarray, " N"]  # standard deviation of gray, 0..0.5
    pixels: list[str]  # sha256; equal where images have the same size and the same pixels


def appearance_of(images: Iterable[UInt8[np.ndarray, "_ _ _"]]) -> Appearance:
    """Of images of any sizes, gray (C = 1) or colour (C = 3); one is held at a time, so a memory map will do."""
    small, brightness, contrast, pixels = [], [], [], []
    for image in images:
        gray = gray_of(image)
        small.append(thumbnail(gray))
        brightness.append(gray.mean(dtype=np.float64) / 255)
        contrast.append(gray.std(dtype=np.float64) / 255)
        pixels.append(hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest())
    return Appearance(np.stack(small), np.array(brightness), np.array(contrast), pixels)


def joined(parts: list[Appearance]) -> Appearance:
    """Parts of one data set, one after the other."""
    return Appearance(
        np.concatenate([part.thumbnails for part in parts]),
        np.concatenate([part.brightness for part in parts]),
        np.concatenate([part.contrast for part in parts]),
        [pixels for part in parts for pixels in part.pixels],
    )


def gray_of(image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W"]:
    """Luma (ITU-R BT.601) of colour; gray as it is."""
    return image[..., 0] if image.shape[-1] == 1 else np.asarray(Image.fromarray(np.ascontiguousarray(image)).convert("L"))


def thumbnail(gray: UInt8[np.ndarray, "H W"]) -> Float32[np.ndarray, "32 32"]:
    """Means over the cells of a 32 x 32 grid. Not rounded, and pixels that two cells share count in both by their share: an image that is
    turned or flipped has the same cells, whatever its size."""
    return cell_means(cell_means(gray).T).T.astype(np.float32)


def cell_means(values: Real[np.ndarray, "L M"]) -> Float64[np.ndarray, "32 M"]:
    """Means of columns over `SIDE` cells of equal height: differences of their sums up to each edge, linear within a pixel."""
    sums = np.vstack([np.zeros(values.shape[1]), np.cumsum(values, axis=0, dtype=np.float64)])
    edges = np.arange(SIDE + 1) * len(values) / SIDE
    above = np.minimum(edges.astype(np.int64), len(values) - 1)
    at_edges = sums[above] + (edges - above)[:, None] * (sums[above + 1] - sums[above])
    return np.diff(at_edges, axis=0) * SIDE / len(values)
