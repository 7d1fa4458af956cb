"""From files to what a network sees."""

import io
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2
from zoo import BAD, GOOD, ramp, scene, transparent, turned

from thaw.images import BadImage, decode_square, measure

RED, BLUE, WHITE = (230, 20, 20), (20, 20, 230), (255, 255, 255)


def picture(width: int, height: int, mode: str = "L") -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("RGB", 3), ("P", 3)])
def test_measure(tmp_path: Path, mode: str, channels: int) -> None:
    picture(40, 30, mode).save(tmp_path / "a.png")
    assert measure(tmp_path / "a.png") == (40, 30, channels)


@pytest.mark.parametrize("name", GOOD)
def test_whatever_shows_a_picture_is_measured_and_decoded(tmp_path: Path, name: str) -> None:
    make, expected = GOOD[name]
    make(tmp_path / name)
    assert measure(tmp_path / name) == expected
    for channels in (1, 3):
        square = decode_square(tmp_path / name, 24, channels)
        assert square.shape == (24, 24, channels) and square.dtype == np.uint8


@pytest.mark.parametrize("name", BAD)
def test_whatever_does_not_is_bad_with_a_short_reason(tmp_path: Path, name: str) -> None:
    make, reason = BAD[name]
    make(tmp_path / name)
    for read in (lambda: measure(tmp_path / name), lambda: decode_square(tmp_path / name, 24, 3)):
        with pytest.raises(BadImage) as caught:
            read()
        assert re.search(reason, str(caught.value)), caught.value
        assert str(tmp_path) not in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) <= 200


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "webp", "gif", "bmp"])
def test_whatever_the_bytes_are_nothing_but_a_reason_escapes(tmp_path: Path, kind: str) -> None:
    """Flipped bytes and cut ends: decoders raise anything."""
    file, rng, path = io.BytesIO(), np.random.default_rng(0), tmp_path / "a"
    picture(40, 30, "RGB").save(file, kind, exif=turned(6)) if kind in ("png", "jpeg", "tiff", "webp") else picture(40, 30, "P").save(
        file, kind
    )
    whole, bad = np.frombuffer(file.getvalue(), dtype=np.uint8), 0
    for _ in range(150):
        spoilt = whole.copy()
        spoilt[rng.integers(0, min(len(whole), 400), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(spoilt[: rng.integers(len(whole) // 2, len(whole) + 1)].tobytes())
        for read in (lambda: measure(path), lambda: decode_square(path, 8, 3)):
            try:
                read()
            except BadImage as error:
                bad += 1
                assert str(error) and "\n" not in str(error)
    assert bad > 50


def corners(path: Path, side: int = 32) -> list[tuple[int, ...]]:
    """Colours near the upper left, upper right, lower left and lower right corner."""
    square = decode_square(path, side, 3).astype(int)
    near = [(3, 3), (3, side - 4), (side - 4, 3), (side - 4, side - 4)]
    return [tuple(square[place].tolist()) for place in near]


def close(found: list[tuple[int, ...]], expected: list[tuple[int, ...]]) -> bool:
    return bool(np.abs(np.array(found) - np.array(expected)).max() < 12)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize(
    ("orientation", "blue"),
    [(1, 0), (2, 1), (3, 3), (4, 2), (5, 0), (6, 1), (7, 3), (8, 2)],  # where the upper left corner goes
)
def test_pictures_are_turned_upright(tmp_path: Path, kind: str, orientation: int, blue: int) -> None:
    options: dict[str, Any] = {"quality": 95} if kind == "jpg" else {"lossless": True} if kind == "webp" else {}
    scene(48, 48).save(tmp_path / f"a.{kind}", exif=turned(orientation), **options)
    assert close(corners(tmp_path / f"a.{kind}"), [BLUE if corner == blue else RED for corner in range(4)])


@pytest.mark.parametrize(("name", "mode"), [("a.png", "RGBA"), ("a.webp", "RGBA"), ("a.tif", "RGBA"), ("a.png", "LA")])
def test_what_is_transparent_is_white(tmp_path: Path, name: str, mode: str) -> None:
    options: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
    transparent(mode).save(tmp_path / name, **options)
    square = decode_square(tmp_path / name, 32, 3)
    assert (square[:, -4:] == 255).all() and square[:, :4].max(axis=2).max() < 240


def test_a_transparent_colour_of_a_palette_is_white(tmp_path: Path) -> None:
    GOOD["transparent palette.png"][0](tmp_path / "a.png")
    found = corners(tmp_path / "a.png")
    assert close(found, [BLUE, WHITE, WHITE, WHITE])


@pytest.mark.parametrize("alpha", [0, 64, 128, 255])
def test_what_is_half_transparent_is_a_mix_with_white(tmp_path: Path, alpha: int) -> None:
    Image.new("RGBA", (8, 8), (100, 0, 200, alpha)).save(tmp_path / "a.png")
    expected = np.rint(np.array([100, 0, 200]) * alpha / 255 + 255 * (1 - alpha / 255))
    assert np.abs(decode_square(tmp_path / "a.png", 8, 3).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("name", ["cmyk.jpg", "cmyk.tif", "palette.png", "frames.gif", "pages.tif", "b.bmp", "w.webp"])
def test_colours_are_what_they_were(tmp_path: Path, name: str) -> None:
    GOOD[name][0](tmp_path / name)
    assert close(corners(tmp_path / name), [BLUE, RED, RED, RED])


@pytest.mark.parametrize("kind", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_over_their_full_range(tmp_path: Path, kind: str) -> None:
    values = [0, 128, 129, 257, 4000, 32767, 32768, 65406, 65407, 65535]
    Image.fromarray(ramp(values)).save(tmp_path / f"a.{kind}")
    expected = np.rint(np.array(values) / 257)
    np.testing.assert_array_equal(decode_square(tmp_path / f"a.{kind}", 10, 1)[0, :, 0], expected)


def test_sixteen_bits_of_the_other_byte_order(tmp_path: Path) -> None:
    Image.frombytes("I;16B", (2, 2), bytes([0, 0, 255, 255] * 2)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(decode_square(tmp_path / "a.tif", 2, 1)[0, :, 0], [0, 255])


def tiff(bits: int, photometric: int, pixels: bytes, side: int) -> bytes:
    """An uncompressed square of gray, as Pillow would not write it."""
    tags = {256: side, 257: side, 258: bits, 259: 1, 262: photometric, 273: 122, 277: 1, 278: side, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + pixels


def test_twelve_bits_are_scaled_over_their_full_range(tmp_path: Path) -> None:
    values = np.tile(np.arange(0, 4096, 63)[:64], (64, 1))
    first, second = values.ravel()[::2], values.ravel()[1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype(np.uint8)
    (tmp_path / "a.tif").write_bytes(tiff(12, 1, packed.tobytes(), 64))
    found = decode_square(tmp_path / "a.tif", 64, 1)[..., 0]
    np.testing.assert_array_equal(found, np.rint(values * 255 / 4095))
    (tmp_path / "white.tif").write_bytes(tiff(12, 1, b"\xff" * 6, 2))
    assert (decode_square(tmp_path / "white.tif", 2, 1) == 255).all()


def test_sixteen_bits_of_which_zero_is_white(tmp_path: Path) -> None:
    pixels = np.array([0, 257, 65278, 65535], dtype="<u2")
    (tmp_path / "a.tif").write_bytes(tiff(16, 0, pixels.tobytes(), 2))
    np.testing.assert_array_equal(decode_square(tmp_path / "a.tif", 2, 1).ravel(), [255, 254, 1, 0])
    (tmp_path / "long.tif").write_bytes(
        tiff(16, 0, bytes(2 * 64), 64).replace(struct.pack("<HHII", 257, 4, 1, 64), struct.pack("<HHII", 257, 4, 1, 1))
    )
    assert (decode_square(tmp_path / "long.tif", 4, 1) == 255).all()


@pytest.mark.parametrize(("size", "corner"), [((20_000, 1), 200), ((1, 20_000), 200), ((1, 1), 200)])
def test_the_middle_of_what_is_very_long(tmp_path: Path, size: tuple[int, int], corner: int) -> None:
    Image.new("L", size, corner).save(tmp_path / "a.png")
    assert (decode_square(tmp_path / "a.png", 300, 1) == corner).all()


def test_the_middle_is_the_middle(tmp_path: Path) -> None:
    image = np.zeros((10, 1000), dtype=np.uint8)
    image[:, 495:505] = 255
    Image.fromarray(image).save(tmp_path / "a.png")
    assert (decode_square(tmp_path / "a.png", 10, 1) == 255).all()


def test_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path: Path) -> None:
    image = picture(1600, 1200, "RGB")
    image.save(tmp_path / "a.jpg", quality=95)
    image.save(tmp_path / "a.png")
    small, whole = (decode_square(tmp_path / f"a.{kind}", 96, 3).astype(int) for kind in ("jpg", "png"))
    assert np.abs(small - whole).max() <= 6 and np.abs(small - whole).mean() < 1


def test_large_images_warn_nobody(tmp_path: Path) -> None:
    Image.new("L", (10_000, 9_500)).save(tmp_path / "a.png")  # above half of Pillow's limit
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert measure(tmp_path / "a.png") == (10_000, 9_500, 1)
    assert seen == []


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_a_file_that_does_not_decode_is_bad(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.png"
    picture(60, 60).save(path)
    path.write_bytes(path.read_bytes()[:-400] if content is None else content)  # None: a truncated file
    with pytest.raises(BadImage, match=r".+"):
        measure(path)


def test_a_square_of_the_right_size_is_untouched(tmp_path: Path) -> None:
    picture(50, 50).save(tmp_path / "a.png")
    assert (decode_square(tmp_path / "a.png", 50, 1)[..., 0] == np.asarray(picture(50, 50))).all()


@pytest.mark.parametrize("size", [(80, 50), (50, 80), (33, 101)])
def test_other_shapes_are_resized_on_the_shorter_side_and_cropped_in_the_middle(tmp_path: Path, size: tuple[int, int]) -> None:
    image = picture(*size)
    image.save(tmp_path / "a.png")
    square = decode_square(tmp_path / "a.png", 40, 3)
    assert square.shape == (40, 40, 3) and square.dtype == np.uint8
    reference = v2.Compose([v2.Resize(40, interpolation=v2.InterpolationMode.BICUBIC), v2.CenterCrop(40)])(image.convert("RGB"))
    assert np.abs(square.astype(int) - np.asarray(reference).astype(int)).mean() < 2
