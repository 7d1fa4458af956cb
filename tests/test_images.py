"""From files to what a network sees."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from thaw.images import BadImage, decode_square, measure


def picture(width: int, height: int, mode: str = "L") -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("RGB", 3), ("P", 3)])
def test_measure(tmp_path: Path, mode: str, channels: int) -> None:
    picture(40, 30, mode).save(tmp_path / "a.png")
    assert measure(tmp_path / "a.png") == (40, 30, channels)


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
