"""Made-up images for the audit: scenes that differ in everything, cells that differ in little, and copies of them."""

import io

import numpy as np
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter


def scenes(n: int, side: int = 96, seed: int = 0) -> np.ndarray:
    """(n, side, side, 1) uint8: smooth patches of several sizes, each image with its own."""
    rng = np.random.default_rng(seed)
    layers = [gaussian_filter(rng.normal(size=(n, side, side)), (0, scale, scale)) * scale for scale in (3, 6, 12)]
    return as_bytes(120 + 60 * np.sum(layers, axis=0))


def cells(n: int, side: int = 96, seed: int = 0) -> np.ndarray:
    """(n, side, side, 1) uint8: the same frame and busbars everywhere, brightness and a faint grain of each image's own, and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    common = 40.0 * (np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) > 0.05) - 60.0 * (np.abs((3 * y) % 1 - 0.5) < 0.06)
    grain = gaussian_filter(rng.normal(size=(n, side, side)), (0, 4, 4))
    light = rng.uniform(80, 140, (n, 1, 1))
    return as_bytes(light + common + 8 * grain / grain.std() + rng.normal(0, 2, grain.shape))


def as_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)[..., None]


def picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0])


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)[..., None]


def reencoded(image: np.ndarray, quality: int = 60, share: float = 0.5) -> np.ndarray:
    """Shrunk to ``share`` of its side, through JPEG, and back to its size."""
    small = picture(image).resize((round(image.shape[1] * share), round(image.shape[0] * share)), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=quality)
    return pixels(Image.open(file).resize(image.shape[1::-1], Image.Resampling.BICUBIC))


def flipped(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[:, ::-1])


def turned(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(image))


def brightened(image: np.ndarray, factor: float = 1.15) -> np.ndarray:
    return pixels(ImageEnhance.Brightness(picture(image)).enhance(factor))


def augmented(image: np.ndarray) -> np.ndarray:
    """Turned, flipped, darker, and saved again."""
    return reencoded(brightened(flipped(turned(image)), 0.8), quality=75, share=1.0)


COPIES = {
    "equal": lambda image: image.copy(),
    "reencoded": reencoded,
    "flipped": flipped,
    "turned": turned,
    "brightened": brightened,
    "augmented": augmented,
}
