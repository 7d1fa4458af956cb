"""From image files of any kind to one uint8 array. No torch here: the stages that read files do not need it.

What is taken for the picture: the first frame or page; turned upright as EXIF or XMP says; transparent places on white; CMYK, palettes and
other colours as Pillow turns them into RGB, colour profiles not looked at; 12 and 16 bits of gray as 8 over their full range, the largest
becoming 255.
Numbers that name no colour (floating point, 32-bit integers) are refused.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
NUMBERS = {"F": "floating-point", "I": "32-bit integer"}
NO_PICTURES = ("EPS", "WMF")
"""Programs and recordings for other programs: Pillow would have to run something to see a picture."""
ORIENTATION = 0x0112  # EXIF tag
BITS, PHOTOMETRIC = 258, 262  # TIFF tags
WHITE_IS_ZERO = 0  # of PHOTOMETRIC
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""`ImageOps.exif_transpose` does the same and writes the tags back, which fails on tags that other programs wrote wrongly."""
SIDEWAYS = (5, 6, 7, 8)
ELONGATED = 16
"""What is longer than so many times its width is cut to that, around its centre, before it is resized: 1 x 20,000 px would fill memory."""
LARGEST_MPX = 179  # at which Pillow refuses: twice its MAX_IMAGE_PIXELS
WORDS = 160  # characters of a reason


class BadImage(Exception):
    """The file is not an image that can be decoded; the message is the reason, in one line, without the path."""


def measure(path: Path) -> tuple[int, int, int]:
    """Decode the file fully; (width, height, channels) of the upright picture. Raises `BadImage`."""
    with _opened(path) as image:
        size = image.size
        at_an_eighth = image.draft(None, (1, 1)) is not None  # of JPEG: reads every byte, for a fraction of the time and memory
        image.load()
        _check_pixels(image)
        width, height = size if at_an_eighth else image.size
        if _orientation(image) in SIDEWAYS:
            width, height = height, width
        return width, height, 1 if image.mode in GRAY_MODES else 3


def decode_square(path: Path, side: int, channels: int) -> UInt8[np.ndarray, "side side channels"]:
    """Decode; unless already ``side`` x ``side``, resize the shorter side (bicubic) and crop the centre. Raises `BadImage`.

    A large JPEG is decoded at an integer share of its size, at twice ``side`` at least.
    """
    with _opened(path) as opened:
        opened.draft(None, (2 * side, 2 * side))
        opened.load()
        _check_pixels(opened)
        turn = TURNS.get(_orientation(opened))
        image = _plain(_middle(_in_8_bits(opened) if _has_16_bits(opened) else opened)).convert("L" if channels == 1 else "RGB")
        image = image if turn is None else image.transpose(turn)
        if image.size != (side, side):
            scale = side / min(image.size)
            width, height = (max(side, round(length * scale)) for length in image.size)
            left, top = (width - side) // 2, (height - side) // 2
            image = image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + side, top + side))
        return np.asarray(image).reshape(side, side, channels)


# ---- whatever the file is


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file, its header read. Whatever Pillow raises on it within the block becomes `BadImage`; what it warns of is kept quiet.

    Decoders raise anything on corrupt bytes (`struct.error`, `KeyError`, `zlib.error`, ...), and the reason is reported, so all is caught.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images, of tags that are cut off: an image that decodes is an image
            about = path.stat()
            if not S_ISREG(about.st_mode):
                raise BadImage("is not a file")
            if about.st_size == 0:
                raise BadImage("the file is empty")
            with Image.open(path) as image:
                if image.format in NO_PICTURES:
                    raise BadImage(f"is {image.format}, which is no picture before a program has drawn it; save it as PNG")
                yield image
    except BadImage:
        raise
    except Exception as error:  # noqa: BLE001
        raise BadImage(_reason(error)) from None


def _reason(error: Exception) -> str:
    """One short line, without the path: whoever reports it names the file."""
    if isinstance(error, UnidentifiedImageError):
        return "cannot identify image file"
    if isinstance(error, Image.DecompressionBombError) and (pixels := re.search(r"\d+", str(error))):
        return f"has {int(pixels[0]) / 1e6:,.0f} Mpx, above {LARGEST_MPX}; make it smaller"
    if isinstance(error, MemoryError):
        return "does not fit into memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= WORDS else f"{text[: WORDS - 3]}..."


def _orientation(image: Image.Image) -> int:
    """As EXIF or XMP says; 1, upright, where that cannot be read: of a JPEG Pillow passes over it, of PNG and WebP it would raise."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001
        return 1


# ---- whatever the pixels are


def _check_pixels(image: Image.Image) -> None:
    """Raises `BadImage` for pixels of which nobody says what is black and what is white."""
    if image.mode in NUMBERS and not _has_16_bits(image):
        raise BadImage(f"has {NUMBERS[image.mode]} pixels, which do not say what is black and what is white; save it with 8 or 16 bits")


def _has_16_bits(image: Image.Image) -> bool:
    """PGM has 16 bits at most, which Pillow puts into 32."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")


def _middle(image: Image.Image) -> Image.Image:
    """The image, or the middle of one that is much longer than wide."""
    longest = ELONGATED * min(image.size)
    left, top = (max(0, (length - longest) // 2) for length in image.size)
    box = (left, top, left + min(image.width, longest), top + min(image.height, longest))
    return image if box == (0, 0, *image.size) else _cut(image, box)


def _cut(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """`Image.crop`, with the transparent colour, which says how pixels are to be read."""
    cut = image.crop(box)
    cut.info = image.info
    return cut


def _plain(image: Image.Image) -> Image.Image:
    """8 bits: L where it is gray, else RGB; what is transparent on white."""
    wanted = "L" if image.mode in GRAY_MODES else "RGB"
    if not image.has_transparency_data:
        return image.convert(wanted)
    colours = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours).convert(wanted)


def _in_8_bits(image: Image.Image) -> Image.Image:
    """value * 255 / largest, rounded: 0 stays 0 and 65535, of 12 bits 4095, becomes 255; a transparent value is white.

    Pillow hands out the numbers of such a TIFF as they are, even where the file has fewer bits or calls 0 white.
    """
    values = np.asarray(image).astype(np.uint16)
    if "transparency" in image.info:
        values[values == image.info["transparency"]] = 65535
    tags = getattr(image, "tag_v2", {})
    largest = 2 ** tags.get(BITS, (16,))[0] - 1
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        values = largest - values
    if largest == 65535:  # value / 257, in half the memory
        return Image.fromarray((values // 257 + (values % 257 > 128)).astype(np.uint8))
    return Image.fromarray(((values.astype(np.uint32) * 255 + largest // 2) // largest).astype(np.uint8))
