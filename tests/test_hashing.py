"""Hashes: the eight symmetries against turned pictures, invariance, and what unrelated images differ in."""

import numpy as np
import pytest
from pictures import cells, scenes

from thaw.appearance import appearance_of, gray_of, thumbnail
from thaw.hashing import BITS, coefficients, hashes, packed, symmetries


def dihedral(image: np.ndarray) -> list[np.ndarray]:
    return [turned for k in range(4) for turned in (np.rot90(image, k), np.fliplr(np.rot90(image, k)))]


def bits_of(words: np.ndarray) -> np.ndarray:
    return np.unpackbits(words.view(np.uint8), axis=-1)


def test_the_symmetries_of_a_spectrum_are_the_spectra_of_the_turned_pictures() -> None:
    image = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    wanted = np.concatenate([coefficients(turned[None].copy()) for turned in dihedral(image)])
    found = np.concatenate(list(symmetries(coefficients(image[None]))))
    np.testing.assert_array_equal(found[0], wanted[0])
    gaps = np.abs(found[:, None] - wanted[None]).max(axis=(2, 3))
    assert sorted(gaps.argmin(axis=1).tolist()) == list(range(8)) and gaps.min(axis=1).max() < 1e-5


def test_coefficients_are_projections_on_cosines() -> None:
    """Against the definition of the transform, for one frequency."""
    image = np.random.default_rng(1).normal(size=(32, 32)).astype(np.float32)
    wave = [np.cos(np.pi * (np.arange(32) + 0.5) * k / 32) * np.sqrt(2 / 32) for k in (3, 5)]
    spectrum = coefficients(image[None])[0]
    everything = np.array([[(image * np.outer(*basis(u, v))).sum() for v in range(16)] for u in range(16)])
    everything[0, 0] = 0
    assert spectrum[3, 5] == pytest.approx(wave[0] @ image @ wave[1] / np.linalg.norm(everything), abs=1e-5)
    assert np.linalg.norm(spectrum) == pytest.approx(1, abs=1e-5)


def basis(u: int, v: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = (np.cos(np.pi * (np.arange(32) + 0.5) * k / 32) * np.sqrt((2 if k else 1) / 32) for k in (u, v))
    return first, second


def test_brightness_and_contrast_change_no_bit() -> None:
    thumbnails = appearance_of(cells(60)).thumbnails
    spectrum = coefficients(thumbnails)
    middle = np.median(spectrum, axis=0)
    changed = bits_of(packed(coefficients(1.3 * thumbnails + 20), middle)) != bits_of(packed(spectrum, middle))
    assert changed.mean() < 0.002  # rounding at the median itself


@pytest.mark.parametrize("images", [scenes(80), cells(80)], ids=["scenes", "cells"])
def test_unrelated_images_differ_in_half_of_the_bits_however_alike_they_look(images: np.ndarray) -> None:
    words = hashes(appearance_of(images).thumbnails)
    assert words.shape == (8, 80, 4)
    bits = bits_of(words[0])
    assert bits.shape[1] == BITS + 1 and (bits[:, 0] == 0).all()  # the mean
    apart = (bits[:40] != bits[40:]).sum(axis=1)
    assert apart.mean() == pytest.approx(BITS / 2, rel=0.05)


def test_flat_images_have_a_hash() -> None:
    flat = np.stack([np.full((20, 20, 1), level, dtype=np.uint8) for level in (0, 90, 255)])
    words = hashes(appearance_of(flat).thumbnails)
    assert (words == words[:1, :1]).all()


def test_appearance_of_gray_and_colour_of_any_size() -> None:
    rng = np.random.default_rng(0)
    gray, colour = rng.integers(0, 256, (96, 64, 1), dtype=np.uint8), rng.integers(0, 256, (30, 60, 3), dtype=np.uint8)
    found = appearance_of([gray, colour, colour.copy()])
    np.testing.assert_allclose(gray_of(colour), colour @ [0.299, 0.587, 0.114], atol=1)
    np.testing.assert_allclose(found.thumbnails[0], gray[..., 0].reshape(32, 3, 32, 2).mean(axis=(1, 3)), rtol=1e-5)
    assert found.brightness[0] == pytest.approx(gray.mean() / 255) and found.contrast[0] == pytest.approx(gray.std() / 255)
    assert found.pixels[1] == found.pixels[2] != found.pixels[0]
    reshaped = appearance_of([gray.reshape(64, 96, 1)])
    assert reshaped.pixels[0] != found.pixels[0]


@pytest.mark.parametrize("side", [8, 32, 45, 100])
def test_thumbnails_of_any_size_keep_the_mean_and_turn_with_the_image(side: int) -> None:
    """A resampler that rounds its cells to whole pixels would see another picture in a flipped one."""
    gray = np.random.default_rng(0).integers(0, 256, (side, side + 7), dtype=np.uint8)
    small = thumbnail(gray)
    assert small.mean() == pytest.approx(gray.mean(), rel=1e-5)
    np.testing.assert_allclose(thumbnail(gray[:, ::-1]), small[:, ::-1], rtol=1e-4)
    np.testing.assert_allclose(thumbnail(np.rot90(gray)), np.rot90(small), rtol=1e-4)
