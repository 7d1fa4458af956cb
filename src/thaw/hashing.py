"""Perceptual hashes: 255 bits that re-encoding, resizing and brightness hardly change, for each of the square's eight symmetries.

A bit says whether one of the lowest 16 x 16 frequencies of the gray image (discrete cosine transform, the mean left out, scaled to
length 1, so that brightness and contrast cancel) is above its median over the data set. A fixed threshold would spend the bits on what all
images of one kind share (the busbars of a solar cell, the black around a scan); by the medians, unrelated images differ in half of them.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, UInt64
from scipy.fft import dctn

FREQUENCIES = 16
BITS = FREQUENCIES**2 - 1
"""Of a hash; the mean is no information."""
FLAT = 1e-3
"""Length (grey levels) below which what varies in a picture is rounding."""


def coefficients(thumbnails: Float32[np.ndarray, "N S S"]) -> Float32[np.ndarray, "N 16 16"]:
    """Lowest frequencies of each image, rows down and columns across, without the mean, of length 1 (0 for a flat image)."""
    spectrum = np.asarray(dctn(thumbnails, axes=(1, 2), norm="ortho"), dtype=np.float32)[:, :FREQUENCIES, :FREQUENCIES].copy()
    spectrum[:, 0, 0] = 0
    length = np.sqrt((spectrum**2).sum(axis=(1, 2), keepdims=True))
    return np.where(length < FLAT, np.float32(0), spectrum / np.maximum(length, FLAT))


def symmetries(spectrum: Float32[np.ndarray, "N F F"]) -> Iterator[Float32[np.ndarray, "N F F"]]:
    """Spectra of the eight turns and flips of each image, itself first.

    A flip changes the sign of the odd frequencies along its axis; a transposed image has the transposed spectrum.
    """
    signs = ((-1.0) ** np.arange(spectrum.shape[1])).astype(np.float32)
    for turned in (spectrum, spectrum.transpose(0, 2, 1)):
        for down in (np.ones_like(signs), signs):
            for across in (np.ones_like(signs), signs):
                yield turned * down[:, None] * across


def hashes(thumbnails: Float32[np.ndarray, "N S S"]) -> UInt64[np.ndarray, "8 N 4"]:
    """Hash of every symmetry of every image; ``[0]`` holds those of the images as they are."""
    spectrum = coefficients(thumbnails)
    middle = np.median(spectrum, axis=0)
    return np.stack([packed(turned, middle) for turned in symmetries(spectrum)])


def packed(spectrum: Float32[np.ndarray, "N 16 16"], middle: Float32[np.ndarray, "16 16"]) -> UInt64[np.ndarray, "N 4"]:
    """Bits of ``spectrum > middle`` in four words; the mean's bit is 0."""
    bits = (spectrum > middle).reshape(len(spectrum), -1)
    return np.packbits(bits, axis=1).view(np.uint64)
