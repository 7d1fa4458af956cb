"""From image files to one uint8 array. No torch here: the stages that read files do not need it."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

GRAY_MODES = ("1", "L", "I;16", "LA")


class BadImage(Exception):
    """The file is not an image that can be decoded; the message is the reason."""


def measure(path: Path) -> tuple[int, int, int]:
    """Decode the file fully; (width, height, channels). Raises `BadImage`."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.width, image.height, 1 if image.mode in GRAY_MODES else 3
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadImage(str(error) or type(error).__name__) from None


def decode_square(path: Path, side: int, channels: int) -> UInt8[np.ndarray, "side side channels"]:
    """Decode; unless already ``side`` x ``side``, resize the shorter side (bicubic) and crop the centre."""
    with Image.open(path) as opened:
        image = opened.convert("L" if channels == 1 else "RGB")
    if image.size != (side, side):
        scale = side / min(image.size)
        width, height = (max(side, round(length * scale)) for length in image.size)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + side, top + side))
    return np.asarray(image).reshape(side, side, channels)
