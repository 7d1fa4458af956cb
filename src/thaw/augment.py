"""What an epoch sees of an image: a function of (seed, epoch, id) and of nothing else, so batches, order and workers change nothing.

Each transform draws from a stream of its own: naming one more leaves what the others do as it was.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8, UInt64

from thaw.randomness import derive_seed, draw
from thaw.views import dihedral

Image = UInt8[torch.Tensor, "C S S"]
Shares = Sequence[float]  # four numbers in [0, 1)

# The codes of `thaw.views.dihedral` (quarter turns, + 4 for a flip after them) that a transform chooses from, each as likely as the others.
SYMMETRIES: dict[str, tuple[int, ...]] = {
    "hflip": (0, 4),
    "vflip": (0, 6),  # half a turn and a flip
    "quarter_turns": (0, 1, 2, 3),
    "dihedral": (0, 1, 2, 3, 4, 5, 6, 7),
}
CROP_AREA = (0.35, 1.0)  # share of the image: fastai's train_imagenette.py; torchvision's 0.08 is made for a million images
CROP_RATIO = 4 / 3  # width / height or its inverse, at most: torchvision's RandomResizedCrop (Szegedy 2014)
COLOUR_FACTORS = (0.6, 1.4)  # of brightness, contrast and saturation: ColorJitter(0.4, 0.4, 0.4, 0.1) of MoCo v2 (Chen 2020)
HUE_SHIFT = (-0.1, 0.1)  # of the colour circle: the same
RANDAUGMENT_OPERATIONS = (  # Cubuk 2019, the list that torchvision's RandAugment has
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
RANDAUGMENT_STRENGTH = 9 / 30  # torchvision's default: magnitude 9 of bins 0 to 30; two operations an image, nearest pixel, black outside


def augment(
    pixels: UInt8[torch.Tensor, "B C S S"], numbers: UInt64[np.ndarray, " B"], names: Sequence[str], seed: int, epoch: int
) -> UInt8[torch.Tensor, "B C S S"]:
    """Apply the named transforms in the order of ``TRANSFORMS``, whatever the order of ``names``. ``numbers``: the images' `id_numbers`.

    Raises `ValueError` for a name that is not in ``TRANSFORMS``.
    """
    known = _in_order(names)
    if any(name in SYMMETRIES for name in known):
        pixels = dihedral(pixels, _symmetry(numbers, known, seed, epoch))
    for name in known:
        if name in _IMAGE_TRANSFORMS and len(numbers):
            transform, shares = _IMAGE_TRANSFORMS[name], _shares(_bits(numbers, name, seed, epoch)).tolist()
            # One image at a time: a reduction over a batch may add up in another order than over one image, and round differently.
            pixels = torch.stack([transform(image, row) for image, row in zip(pixels.contiguous(), shares, strict=True)])
    return pixels


def view_codes(numbers: UInt64[np.ndarray, " B"], names: Sequence[str], seed: int, epoch: int) -> Int64[np.ndarray, " B"] | None:
    """Which of finitely many views each image gets: the code in 0..7 of the symmetry that results (see `thaw.views.dihedral`).

    Equal codes of one image mean equal pixels. None where the views are not finite in number.
    """
    known = _in_order(names)
    return _symmetry(numbers, known, seed, epoch) if all(name in SYMMETRIES for name in known) else None


def number_of_views(names: Sequence[str]) -> int | None:
    """How many values `view_codes` takes, all equally often; None where it gives None."""
    known = _in_order(names)
    if not all(name in SYMMETRIES for name in known):
        return None
    reached = np.zeros(1, dtype=np.int64)
    for name in known:
        choices = np.array(SYMMETRIES[name])
        reached = np.unique(compose(np.repeat(reached, len(choices)), np.tile(choices, len(reached))))
    return len(reached)


def compose(first: Int64[np.ndarray, " B"], second: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
    """The code of ``first``, then ``second``. After a flip a turn goes the other way round: flip, turn = turn back, flip."""
    turns = np.where(first >= 4, first - second, first + second) % 4
    return turns + 4 * ((first >= 4) ^ (second >= 4))


def crop_box(shares: Shares, side: int) -> tuple[int, int, int, int]:
    """Top, left, height and width, px, of a crop whose area is uniform and the logarithm of whose ratio is uniform among ratios that fit.

    torchvision tries ten times until a crop fits, which makes large areas rarer; here each area is as likely as any other.
    """
    area = _between(CROP_AREA, shares[0])
    limit = min(math.log(CROP_RATIO), -math.log(area))  # wider, and the crop would not fit
    ratio = math.exp(_between((-limit, limit), shares[1]))
    height, width = (min(side, round(side * math.sqrt(area * r))) for r in (1 / ratio, ratio))
    return int(shares[2] * (side - height + 1)), int(shares[3] * (side - width + 1)), height, width


def _in_order(names: Sequence[str]) -> list[str]:
    unknown = [name for name in names if name not in TRANSFORMS]
    if unknown:
        raise ValueError(f"unknown transform {', '.join(map(repr, unknown))}; known are {', '.join(TRANSFORMS)}")
    return [name for name in TRANSFORMS if name in names]


def _bits(numbers: UInt64[np.ndarray, " B"], name: str, seed: int, epoch: int) -> UInt64[np.ndarray, " B"]:
    parts = () if name == "dihedral" else (name,)  # dihedral was there before the others, and keeps the stream it had
    return draw(numbers, derive_seed(seed, "augment", *parts), epoch)


def _shares(bits: UInt64[np.ndarray, " B"]) -> Float64[np.ndarray, "B 4"]:
    """Four uniform numbers in [0, 1), of 16 bits each."""
    shifts = np.array([0, 16, 32, 48], dtype=np.uint64)
    return ((bits[:, None] >> shifts) % np.uint64(1 << 16)) / float(1 << 16)


def _symmetry(numbers: UInt64[np.ndarray, " B"], known: Sequence[str], seed: int, epoch: int) -> Int64[np.ndarray, " B"]:
    codes = np.zeros(len(numbers), dtype=np.int64)
    for name in known:
        if name in SYMMETRIES:
            choices = np.array(SYMMETRIES[name], dtype=np.int64)
            codes = compose(codes, choices[_bits(numbers, name, seed, epoch) % np.uint64(len(choices))])
    return codes


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])


def _random_resized_crop(image: Image, shares: Shares) -> Image:
    from torchvision.transforms.v2 import functional as transform

    side = image.shape[-1]
    return transform.resized_crop(image, *crop_box(shares, side), size=[side, side], antialias=True)  # bilinear


def _brightness(image: Image, shares: Shares) -> Image:
    from torchvision.transforms.v2 import functional as transform

    return transform.adjust_brightness(image, _between(COLOUR_FACTORS, shares[0]))


def _contrast(image: Image, shares: Shares) -> Image:
    from torchvision.transforms.v2 import functional as transform

    return transform.adjust_contrast(image, _between(COLOUR_FACTORS, shares[0]))


def _saturation(image: Image, shares: Shares) -> Image:
    from torchvision.transforms.v2 import functional as transform

    return transform.adjust_saturation(image, _between(COLOUR_FACTORS, shares[0]))  # gray stays as it is


def _hue(image: Image, shares: Shares) -> Image:
    from torchvision.transforms.v2 import functional as transform

    return transform.adjust_hue(image, _between(HUE_SHIFT, shares[0]))  # gray stays as it is


def _randaugment(image: Image, shares: Shares) -> Image:
    for which, sign in (shares[:2], shares[2:]):
        image = operate(image, RANDAUGMENT_OPERATIONS[int(which * len(RANDAUGMENT_OPERATIONS))], 1 if sign < 0.5 else -1)
    return image


def operate(image: Image, operation: str, sign: int) -> Image:
    """One of ``RANDAUGMENT_OPERATIONS`` at its strength; ``sign``: 1 or -1, which way, where there are two. As in torchvision."""
    from torchvision.transforms.v2 import functional as transform

    def sheared(x: float, y: float) -> Image:
        shear = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
        return transform.affine(image, angle=0.0, translate=[0, 0], scale=1.0, shear=shear, center=[0, 0])

    def moved(x: float, y: float) -> Image:
        return transform.affine(image, angle=0.0, translate=[int(x), int(y)], scale=1.0, shear=[0.0, 0.0])

    strength = sign * RANDAUGMENT_STRENGTH
    far = strength * 150 / 331 * image.shape[-1]  # AutoAugment's 150 px of an image of 331 px
    match operation:
        case "identity":
            return image
        case "shear_x":
            return sheared(0.3 * strength, 0.0)
        case "shear_y":
            return sheared(0.0, 0.3 * strength)
        case "translate_x":
            return moved(far, 0.0)
        case "translate_y":
            return moved(0.0, far)
        case "rotate":
            return transform.rotate(image, 30 * strength)
        case "brightness":
            return transform.adjust_brightness(image, 1 + 0.9 * strength)
        case "color":
            return transform.adjust_saturation(image, 1 + 0.9 * strength)
        case "contrast":
            return transform.adjust_contrast(image, 1 + 0.9 * strength)
        case "sharpness":
            return transform.adjust_sharpness(image, 1 + 0.9 * strength)
        case "posterize":
            return transform.posterize(image, round(8 - 4 * RANDAUGMENT_STRENGTH))
        case "solarize":
            return transform.solarize(image, 255 * (1 - RANDAUGMENT_STRENGTH))
        case "autocontrast":
            return transform.autocontrast(image)
        case "equalize":
            return transform.equalize(image)
    raise ValueError(f"unknown operation {operation!r}")


_IMAGE_TRANSFORMS: dict[str, Callable[[Image, Shares], Image]] = {
    "random_resized_crop": _random_resized_crop,
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "hue": _hue,
    "randaugment": _randaugment,
}
TRANSFORMS: tuple[str, ...] = (*SYMMETRIES, *_IMAGE_TRANSFORMS)  # in the order in which they apply
