"""What a network sees: the recipe as the checkpoint's library applies it, and symmetries."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from thaw.views import Recipe, dihedral, evaluation_view, normalise

RECIPE = Recipe(image_size=56, native_size=224, crop=0.875, interpolation="bicubic", mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1))


def picture(width: int, height: int, mode: str = "L") -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def test_evaluation_view_equals_torchvisions_transform_on_pil_images() -> None:
    """The recipe as the checkpoint's library would apply it: resize, centre crop; one grey level of rounding apart."""
    image = picture(90, 90, "RGB")
    pipeline = v2.Compose([v2.Resize(64, interpolation=v2.InterpolationMode.BICUBIC), v2.CenterCrop(56)])
    reference = np.asarray(pipeline(image)).astype(int)
    ours = evaluation_view(np.asarray(image)[None], RECIPE)[0].permute(1, 2, 0).numpy().astype(int)
    assert ours.shape == (56, 56, 3)
    assert np.abs(ours - reference).max() <= 2 and np.abs(ours - reference).mean() < 0.5


def test_batches_of_the_view_do_not_matter() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 1), dtype=np.uint8)
    assert torch.equal(evaluation_view(images, RECIPE, batch=2), evaluation_view(images, RECIPE, batch=100))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("side", [40, 64, 90])
@pytest.mark.parametrize("count", [1, 4, 6])
def test_gray_images_are_resized_as_if_each_were_alone(interpolation: str, side: int, count: int) -> None:
    recipe = replace(RECIPE, interpolation=interpolation)
    images = np.random.default_rng(side).integers(0, 256, (count, side, side, 1), dtype=np.uint8)
    mode = v2.InterpolationMode(interpolation)
    for image, view in zip(images, evaluation_view(images, recipe), strict=True):
        alone = v2.functional.resize(torch.from_numpy(image).permute(2, 0, 1), [64, 64], interpolation=mode, antialias=True)
        assert torch.equal(view, v2.functional.center_crop(alone, [56, 56]))


def test_normalise_gives_the_checkpoints_scale_and_repeats_gray() -> None:
    gray = torch.full((2, 1, 4, 4), 255, dtype=torch.uint8)
    out = normalise(gray, RECIPE)
    assert out.shape == (2, 3, 4, 4) and out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor([1.0, 3.0, 7.0]))


def test_dihedral_gives_the_eight_symmetries() -> None:
    image = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3).repeat(8, 1, 1, 1)
    out = dihedral(image, np.arange(8))
    grid = image[0, 0].numpy()
    expected = [np.rot90(grid, k) for k in range(4)] + [np.fliplr(np.rot90(grid, k)) for k in range(4)]
    assert [o.tolist() for o in out[:, 0].numpy()] == [e.tolist() for e in expected]
    assert len({str(o.tolist()) for o in out}) == 8
