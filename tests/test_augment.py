"""Augmentation is a function of (seed, epoch, id), and does to pixels what torchvision does."""

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from thaw.augment import RANDAUGMENT_OPERATIONS, SYMMETRIES, TRANSFORMS, augment, compose, crop_box, number_of_views, operate, view_codes
from thaw.randomness import derive_seed, draw, id_numbers
from thaw.views import dihedral

EVERY = [*([name] for name in TRANSFORMS), list(TRANSFORMS)]
FINITE = ["hflip", "vflip", "quarter_turns", "dihedral"]
COLOURLESS = {"saturation", "hue"}  # leave gray as it is


def pictures(count: int, channels: int, side: int = 23) -> torch.Tensor:
    """Smooth and different images: shapes that a crop keeps, colours that a hue moves. Vector instructions leave a rest of an odd side."""
    coarse = torch.rand(count, channels, 5, 5, generator=torch.Generator().manual_seed(channels)) * 255
    fine = torch.nn.functional.interpolate(coarse, size=side, mode="bicubic", align_corners=False)
    return fine.clamp(0, 255).to(torch.uint8)


def numbers_of(count: int) -> np.ndarray:
    return id_numbers([f"image{row}" for row in range(count)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("names", EVERY, ids="+".join)
def test_an_image_looks_the_same_together_alone_and_in_another_order(names: list[str], channels: int) -> None:
    pixels, numbers = pictures(12, channels), numbers_of(12)
    together = augment(pixels, numbers, names, 5, 2)
    alone = torch.cat([augment(pixels[row : row + 1], numbers[row : row + 1], names, 5, 2) for row in range(12)])
    order = np.random.default_rng(0).permutation(12)
    assert torch.equal(together, alone)
    assert torch.equal(together[order], augment(pixels[order], numbers[order], names, 5, 2))
    last = pixels.contiguous(memory_format=torch.channels_last)
    assert torch.equal(together, augment(last, numbers, names, 5, 2))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("names", EVERY, ids="+".join)
def test_every_transform_changes_images_by_seed_and_epoch(names: list[str], channels: int) -> None:
    pixels, numbers = pictures(12, channels), numbers_of(12)
    before = pixels.clone()
    out = augment(pixels, numbers, names, 5, 2)
    assert out.dtype == torch.uint8 and out.shape == pixels.shape
    assert torch.equal(pixels, before)  # the input is the user's
    if channels == 1 and COLOURLESS.issuperset(names):
        assert torch.equal(out, pixels)
        return
    for other in (pixels, augment(pixels, numbers, names, 5, 3), augment(pixels, numbers, names, 6, 2)):
        assert not torch.equal(out, other)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31 - 1), st.integers(1, 1000), st.permutations(TRANSFORMS), st.integers(1, len(TRANSFORMS)))
def test_the_order_of_names_does_not_matter(seed: int, epoch: int, shuffled: list[str], count: int) -> None:
    pixels, numbers, names = pictures(3, 3), numbers_of(3), shuffled[:count]
    in_order = [name for name in TRANSFORMS if name in names]
    one_by_one = pixels
    for name in in_order:
        one_by_one = augment(one_by_one, numbers, [name], seed, epoch)
    assert torch.equal(augment(pixels, numbers, names, seed, epoch), one_by_one)


def test_no_transform_changes_nothing() -> None:
    pixels, numbers = pictures(3, 3), numbers_of(3)
    assert torch.equal(augment(pixels, numbers, [], 0, 1), pixels)
    codes = view_codes(numbers, [], 0, 1)
    assert codes is not None and codes.tolist() == [0, 0, 0] and number_of_views([]) == 1


def test_an_empty_batch_is_one() -> None:
    assert augment(pictures(2, 3)[:0], numbers_of(0), TRANSFORMS, 0, 1).shape == (0, 3, 23, 23)


@pytest.mark.parametrize("call", [view_codes, lambda numbers, names, seed, epoch: augment(pictures(1, 1), numbers, names, seed, epoch)])
def test_an_unknown_name_is_named(call) -> None:
    with pytest.raises(ValueError, match="unknown transform 'mirror'; known are hflip, "):
        call(numbers_of(1), ["hflip", "mirror"], 0, 1)
    with pytest.raises(ValueError, match="'mirror'"):
        number_of_views(["mirror"])


def test_importing_does_not_load_torchvision() -> None:
    """It takes a second or two; functions import it. Read in the source, since a process of its own would load torch for seconds."""
    for name in ("augment", "randomness", "views"):
        lines = (Path(__file__).parents[1] / "src" / "thaw" / f"{name}.py").read_text().splitlines()
        assert not any(line.startswith(("import torchvision", "from torchvision")) for line in lines)


# Symmetries


def test_dihedral_keeps_the_stream_it_had() -> None:
    """Results that were published with it stay as they are."""
    pixels, numbers = pictures(40, 3), numbers_of(40)
    codes = (draw(numbers, derive_seed(7, "augment"), 4) % np.uint64(8)).astype(np.int64)
    assert torch.equal(augment(pixels, numbers, ["dihedral"], 7, 4), dihedral(pixels, codes))


def test_composition_equals_one_after_the_other() -> None:
    first, second = (codes.ravel() for codes in np.meshgrid(np.arange(8), np.arange(8)))
    pixels = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3).repeat(64, 1, 1, 1)
    assert torch.equal(dihedral(dihedral(pixels, first), second), dihedral(pixels, compose(first, second)))


@pytest.mark.parametrize(
    ("name", "views"),
    [
        ("hflip", lambda image: [image, image.flip(2)]),
        ("vflip", lambda image: [image, image.flip(1)]),
        ("quarter_turns", lambda image: [torch.rot90(image, turns, (1, 2)) for turns in range(4)]),
    ],
)
def test_flips_and_turns_are_what_they_say(name: str, views) -> None:
    image = torch.arange(9, dtype=torch.uint8).reshape(1, 3, 3)
    out = augment(image.repeat(60, 1, 1, 1), numbers_of(60), [name], 0, 1)
    assert {str(view.tolist()) for view in out} == {str(view.tolist()) for view in views(image)}


@pytest.mark.parametrize("names", [list(names) for size in range(4) for names in permutations(FINITE, size)], ids="+".join)
def test_equal_codes_are_equal_pixels_and_every_code_appears(names: list[str]) -> None:
    numbers = numbers_of(200)
    codes = view_codes(numbers, names, 3, 5)
    assert codes is not None
    out = augment(torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3).repeat(200, 1, 1, 1), numbers, names, 3, 5)
    same = (out.flatten(1)[:, None] == out.flatten(1)[None]).all(2).numpy()
    assert (same == (codes[:, None] == codes[None])).all()
    assert len(np.unique(codes)) == number_of_views(names)
    assert codes.min() >= 0 and codes.max() < 8


@pytest.mark.parametrize(
    ("names", "views"),
    [(["hflip"], 2), (["vflip"], 2), (["hflip", "vflip"], 4), (["quarter_turns"], 4), (["hflip", "quarter_turns"], 8), (FINITE, 8)],
)
def test_number_of_views(names: list[str], views: int) -> None:
    assert number_of_views(names) == views


@pytest.mark.parametrize("name", sorted(set(TRANSFORMS) - set(SYMMETRIES)))
def test_views_without_number(name: str) -> None:
    assert view_codes(numbers_of(2), ["hflip", name], 0, 1) is None and number_of_views(["hflip", name]) is None


@pytest.mark.parametrize("names", [["hflip"], ["vflip"], ["quarter_turns"], ["hflip", "vflip"], FINITE], ids="+".join)
def test_views_are_equally_frequent(names: list[str]) -> None:
    """Within five standard deviations of a binomial."""
    codes, views = view_codes(numbers_of(2000), names, 0, 1), number_of_views(names)
    assert codes is not None and views is not None
    counts = np.unique(codes, return_counts=True)[1]
    assert np.abs(counts / 2000 - 1 / views).max() < 5 * np.sqrt(1 / views * (1 - 1 / views) / 2000)


def test_streams_are_independent() -> None:
    """Pairs of flips, of two transforms, epochs or seeds, are as frequent as chance has it."""
    numbers = numbers_of(2000)
    draws = [("hflip", 0, 1), ("vflip", 0, 1), ("hflip", 0, 2), ("hflip", 1, 1)]
    first, *others = (view_codes(numbers, [name], seed, epoch) != np.zeros(2000) for name, seed, epoch in draws)
    for other in others:
        assert abs((first & other).mean() - 0.25) < 0.05


# Crops and colours


@given(st.tuples(*[st.floats(0, 1, exclude_max=True)] * 4), st.integers(1, 300))
def test_crops_lie_in_the_image_with_the_areas_and_ratios_promised(shares: tuple[float, ...], side: int) -> None:
    top, left, height, width = crop_box(shares, side)
    assert 0 <= top <= side - height and 0 <= left <= side - width and height >= 1 and width >= 1
    half = 0.5 + 1e-9  # sides are rounded to pixels
    assert (height + half) * (width + half) >= 0.35 * side**2
    assert (width - half) / (height + half) <= 4 / 3 and (height - half) / (width + half) <= 4 / 3


def test_crop_areas_are_uniform_and_crops_reach_every_edge() -> None:
    shares = np.random.default_rng(0).random((4000, 4)).tolist()
    top, left, height, width = np.array([crop_box(row, 1000) for row in shares]).T
    area = height * width / 1e6
    assert 0.349 <= area.min() < 0.36 and 0.99 < area.max() <= 1
    assert abs(area.mean() - 0.675) < 5 * 0.65 / np.sqrt(12 * 4000)
    assert abs(np.log(width / height).mean()) < 0.02
    for before, after in ((top, 1000 - top - height), (left, 1000 - left - width)):
        assert abs((before - after).mean()) < 10 and before.min() == after.min() == 0


def test_a_crop_is_torchvisions() -> None:
    pixels, numbers = pictures(8, 3), numbers_of(8)
    out = augment(pixels, numbers, ["random_resized_crop"], 2, 3)
    bits = draw(numbers, derive_seed(2, "augment", "random_resized_crop"), 3)
    for row, image in enumerate(pixels):
        shares = [int(bits[row]) >> shift & 0xFFFF for shift in (0, 16, 32, 48)]
        box = crop_box([share / 65536 for share in shares], 23)
        assert torch.equal(out[row], functional.resized_crop(image, *box, size=[23, 23]))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "low", "high", "reference"),
    [
        ("brightness", 0.6, 1.4, functional.adjust_brightness),
        ("contrast", 0.6, 1.4, functional.adjust_contrast),
        ("saturation", 0.6, 1.4, functional.adjust_saturation),
        ("hue", -0.1, 0.1, functional.adjust_hue),
    ],
)
def test_colours_are_torchvisions_with_uniform_factors(name: str, low: float, high: float, reference, channels: int) -> None:
    pixels, numbers = pictures(24, channels), numbers_of(24)
    bits = draw(numbers, derive_seed(2, "augment", name), 3)
    factors = [low + (high - low) * (int(number) & 0xFFFF) / 65536 for number in bits]
    assert min(factors) < low + 0.2 * (high - low) and max(factors) > high - 0.2 * (high - low)
    expected = torch.stack([reference(image, factor) for image, factor in zip(pixels, factors, strict=True)])
    assert torch.equal(augment(pixels, numbers, [name], 2, 3), expected)


# RandAugment


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("operation", RANDAUGMENT_OPERATIONS)
def test_operations_are_those_of_torchvisions_randaugment(operation: str, sign: int, channels: int) -> None:
    """Within a level and but for a pixel in a hundred: torchvision's strengths went through float32, 0.09 is 0.0899999962 there."""
    policy, image = v2.RandAugment(num_ops=2, magnitude=9), pictures(1, channels, side=47)[0]
    title = {"autocontrast": "AutoContrast"}.get(operation, operation.title().replace("_", ""))
    strengths, signed = policy._AUGMENTATION_SPACE[title]
    table = strengths(31, 47, 47)
    strength = 0.0 if table is None else float(table[9]) * (sign if signed else 1)
    apply: Any = policy._apply_image_or_video_transform
    expected = apply(image, title, strength, policy.interpolation, policy._fill)
    apart = (operate(image, operation, sign).int() - expected.int()).abs()
    if operation in ("brightness", "color", "contrast", "sharpness"):
        assert apart.max() <= 1
    else:
        assert (apart > 0).float().mean() < 0.01


def test_the_operations_are_all_that_torchvision_has() -> None:
    titles = {title.lower() for title in v2.RandAugment._AUGMENTATION_SPACE}
    assert {operation.replace("_", "") for operation in RANDAUGMENT_OPERATIONS} == titles


def test_randaugment_chooses_every_operation_twice_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[tuple[str, int]] = []

    def record(image: torch.Tensor, operation: str, sign: int) -> torch.Tensor:
        chosen.append((operation, sign))
        return image

    monkeypatch.setattr("thaw.augment.operate", record)
    augment(pictures(1, 1, 4).repeat(1000, 1, 1, 1), numbers_of(1000), ["randaugment"], 0, 1)
    names, counts = np.unique([operation for operation, _ in chosen], return_counts=True)
    assert len(chosen) == 2000 and set(names) == set(RANDAUGMENT_OPERATIONS)
    assert np.abs(counts / 2000 - 1 / 14).max() < 5 * np.sqrt(1 / 14 * 13 / 14 / 2000)
    assert abs(np.mean([sign for _, sign in chosen])) < 5 / np.sqrt(2000)


def test_there_is_no_other_operation() -> None:
    with pytest.raises(ValueError, match="unknown operation 'invert'"):
        operate(pictures(1, 1)[0], "invert", 1)
