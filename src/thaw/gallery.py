"""The worst errors, and small pictures of them: which images a person should look at first, and how they are drawn."""

import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from thaw.measures import measure_of
from thaw.metrics import decide, probabilities_of
from thaw.views import Recipe, evaluation_view

PER_GROUP = 3
"""Errors of one group (module, patient, tile) that are shown at most: what is odd about a group shows in a few of its images."""
SIDE = 160  # px of a picture
COLOURS = 64  # of a picture: a few kilobytes each
OPACITY = 0.45  # of the colours over the image


# ---- which


@dataclass(frozen=True)
class Mistake:
    """A tested image that a model puts into a wrong class."""

    row: int  # of the index
    fold: int  # of the model
    true: int  # class numbers
    predicted: int
    probability: float  # of the predicted class
    group: str


def mistakes(
    fold: int,
    rows: Int[np.ndarray, " n"],
    logits: Float[np.ndarray, "n K"],
    labels: Int[np.ndarray, " N"],
    groups: list[str],
    threshold: float | None,
) -> list[Mistake]:
    """Those of one fold's model on the images in ``rows``; ``labels`` and ``groups`` are those of all N images."""
    probabilities = probabilities_of(logits)
    predicted = decide(probabilities, threshold)
    wrong = np.flatnonzero(predicted != labels[rows])
    return [
        Mistake(int(rows[i]), fold, int(labels[rows[i]]), int(predicted[i]), float(probabilities[i, predicted[i]]), groups[rows[i]])
        for i in wrong
    ]


def worst(found: Sequence[Mistake], limit: int, n_classes: int) -> list[Mistake]:
    """At most ``limit`` mistakes, the most confident first, each image once, `PER_GROUP` of a group.

    No true class has more than an even share of the places while others could fill them, and never more than half of them.
    """
    chosen: list[Mistake] = []
    for per_class in range(math.ceil(limit / n_classes), math.ceil(limit / 2) + 1):
        chosen = _most_confident(found, limit, per_class)
        if len(chosen) == limit:
            break
    return chosen


def _most_confident(found: Sequence[Mistake], limit: int, per_class: int) -> list[Mistake]:
    chosen: list[Mistake] = []
    rows, groups, classes = set[int](), Counter[str](), Counter[int]()
    for mistake in sorted(found, key=lambda m: (-m.probability, m.row, m.fold)):
        room = groups[mistake.group] < PER_GROUP and classes[mistake.true] < per_class
        if room and mistake.row not in rows and len(chosen) < limit:
            chosen.append(mistake)
            rows.add(mistake.row)
            groups[mistake.group] += 1
            classes[mistake.true] += 1
    return chosen


def ranked(pooled: Mapping[str, Mapping[str, Any]], primary: str) -> list[str]:
    """Names of metrics.json's ``pooled``, best first by the primary figure; undefined ones last, equals by name."""
    sign = -1 if measure_of(primary).higher_is_better else 1
    return sorted(pooled, key=lambda name: (math.inf if pooled[name][primary] is None else sign * pooled[name][primary], name))


# ---- how they are drawn


def as_seen(images: UInt8[np.ndarray, "n H W C"], recipe: Recipe) -> UInt8[np.ndarray, "n side side 3"]:
    """What an evaluation view keeps of each image, `SIDE` px wide instead of the network's own input size: the same places, sharper."""
    views = evaluation_view(images, replace(recipe, image_size=SIDE)).permute(0, 2, 3, 1).numpy()
    return np.repeat(views, 3, axis=3) if views.shape[3] == 1 else views


def whole(image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "side side 3"]:
    """The whole image, `SIDE` px wide."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    return np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def overlaid(picture: UInt8[np.ndarray, "S S 3"], heat: Float[np.ndarray, "S S"]) -> UInt8[np.ndarray, "S S 3"]:
    """Heat from 0 to 1 over the picture, in colours of perceptually even steps that the colour-blind can tell apart (viridis)."""
    import matplotlib

    colours = matplotlib.colormaps["viridis"](heat)[..., :3] * 255
    return np.rint((1 - OPACITY) * picture + OPACITY * colours).astype(np.uint8)


def png(picture: UInt8[np.ndarray, "S S 3"]) -> bytes:
    """Few colours, no date: equal pictures give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    return buffer.getvalue()
