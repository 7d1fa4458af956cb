"""Awkward image files, written by the tests: name -> how it is made."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


def scene(width: int = 48, height: int = 32, mode: str = "RGB") -> Image.Image:
    """Red, but for a blue upper left quarter; gray: dark there."""
    image = Image.new("RGB", (width, height), (230, 20, 20))
    image.paste((20, 20, 230), (0, 0, width // 2, height // 2))
    return image.convert(mode)


def ramp(values: Any, dtype: Any = np.uint16) -> np.ndarray:
    return np.tile(np.asarray(values, dtype=dtype), (len(values), 1))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def bomb(path: Path, side: int = 20_000) -> None:
    """A PNG of a few hundred kilobytes and ``side`` x ``side`` px of gray."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (side + 1) * 16, 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-2000])


def transparent(mode: str) -> Image.Image:
    """The scene with a right half that cannot be seen."""
    image = scene(mode="RGBA")
    image.paste((0, 0, 0, 0), (24, 0, 48, 32))
    return image.convert(mode)


def palette_with_a_transparent_colour(path: Path) -> None:
    image = scene().quantize(2)
    image.save(path, transparency=image.getpixel((40, 20)))


GOOD: dict[str, tuple[Callable[[Path], Any], tuple[int, int, int]]] = {
    "colour.jpg": (lambda p: scene().save(p, quality=95), (48, 32, 3)),
    "UPPER.JPEG": (lambda p: scene().save(p, quality=95), (48, 32, 3)),
    "with spaces in it.png": (lambda p: scene().save(p), (48, 32, 3)),
    "日本語 é ñ 🐈.png": (lambda p: scene().save(p), (48, 32, 3)),
    'quote" comma, semi;.png': (lambda p: scene().save(p), (48, 32, 3)),
    "line\nbreak.png": (lambda p: scene().save(p), (48, 32, 3)),
    "no_ending": (lambda p: scene().save(p, format="PNG"), (48, 32, 3)),
    "wrong_ending.jpg": (lambda p: scene().save(p, format="BMP"), (48, 32, 3)),
    "w.webp": (lambda p: scene().save(p, lossless=True), (48, 32, 3)),
    "t.tiff": (lambda p: scene().save(p), (48, 32, 3)),
    "pages.tif": (lambda p: scene().save(p, save_all=True, append_images=[Image.new("RGB", (9, 9))]), (48, 32, 3)),
    "b.bmp": (lambda p: scene().save(p), (48, 32, 3)),
    "frames.gif": (lambda p: scene().save(p, save_all=True, append_images=[Image.new("RGB", (48, 32))]), (48, 32, 3)),
    "gray.png": (lambda p: scene(mode="L").save(p), (48, 32, 1)),
    "gray.jpg": (lambda p: scene(mode="L").save(p, quality=95), (48, 32, 1)),
    "bits.png": (lambda p: scene(mode="L").convert("1").save(p), (48, 32, 1)),
    "palette.png": (lambda p: scene().quantize(4).save(p), (48, 32, 3)),
    "cmyk.jpg": (lambda p: scene(mode="CMYK").save(p, quality=95), (48, 32, 3)),
    "cmyk.tif": (lambda p: scene(mode="CMYK").save(p), (48, 32, 3)),
    "lab.tif": (lambda p: Image.new("LAB", (48, 32), (128, 128, 128)).save(p), (48, 32, 3)),
    "rgba.png": (lambda p: transparent("RGBA").save(p), (48, 32, 3)),
    "la.png": (lambda p: transparent("LA").save(p), (48, 32, 1)),
    "rgba.webp": (lambda p: transparent("RGBA").save(p, lossless=True), (48, 32, 3)),
    "transparent palette.png": (palette_with_a_transparent_colour, (48, 32, 3)),
    "sixteen.png": (lambda p: Image.fromarray(ramp(range(0, 65536, 4096))).save(p), (16, 16, 1)),
    "sixteen.tif": (lambda p: Image.fromarray(ramp(range(0, 65536, 4096))).save(p), (16, 16, 1)),
    "sixteen.pgm": (lambda p: Image.fromarray(ramp(range(0, 65536, 4096))).save(p), (16, 16, 1)),
    "exif.jpg": (lambda p: scene().save(p, exif=turned(6), quality=95), (32, 48, 3)),
    "exif.png": (lambda p: scene().save(p, exif=turned(8)), (32, 48, 3)),
    "exif.webp": (lambda p: scene().save(p, exif=turned(5), lossless=True), (32, 48, 3)),
    "exif.tif": (lambda p: scene().save(p, exif=turned(6)), (32, 48, 3)),
    "nonsense exif.png": (lambda p: scene().save(p, exif=b"nonsense"), (48, 32, 3)),
    "nonsense exif.webp": (lambda p: scene().save(p, exif=b"nonsense", lossless=True), (48, 32, 3)),
    "dot.png": (lambda p: Image.new("RGB", (1, 1), "red").save(p), (1, 1, 3)),
    "line.png": (lambda p: Image.new("L", (20_000, 1), 200).save(p), (20_000, 1, 1)),
    "pillar.jpg": (lambda p: Image.new("RGB", (3, 20_000), "red").save(p), (3, 20_000, 3)),
    "large.jpg": (lambda p: scene(20_000, 500).save(p), (20_000, 500, 3)),
}
"""How each is made, and what is measured: (width, height, channels) of the upright picture."""

BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty.png": (lambda p: p.write_bytes(b""), "the file is empty"),
    "text.jpg": (lambda p: p.write_text("this is no image"), "cannot identify image file"),
    "notes.txt": (lambda p: p.write_text("remember the milk"), "cannot identify image file"),
    "truncated.png": (truncated, "truncated"),
    "truncated.jpg": (truncated, "truncated"),
    "truncated.tif": (truncated, "."),
    "truncated.webp": (truncated, "."),
    "truncated.bmp": (truncated, "truncated"),
    "float.tif": (lambda p: Image.fromarray(np.ones((8, 8), dtype=np.float32)).save(p), "floating-point pixels.*8 or 16 bits"),
    "long.tif": (lambda p: Image.fromarray(np.ones((8, 8), dtype=np.int32)).save(p), "32-bit integer pixels.*8 or 16 bits"),
    "bomb.png": (bomb, "has 400 Mpx, above 179; make it smaller"),
    "program.eps": (lambda p: scene().save(p), "is EPS"),
    "loop.png": (lambda p: p.symlink_to(p), "."),
    "folder.png": (lambda p: p.mkdir(), "is not a file"),
    "gone.png": (lambda p: p.symlink_to(p.parent / "nowhere"), "no such file or directory"),
}
"""How each is made, and a pattern for the reason."""
