"""Names beside points, placed so that they cover nothing."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from thaw.reporting.drawing.canvas import DPI, GRAY


def name_points(figure: Figure, axes: Axes, names: list[str], points: Float[np.ndarray, "P 2"]) -> None:
    """Write each name where it covers no point and no other name; a thin line leads to one that had to move away."""
    texts = [axes.annotate(name, point, fontsize=8, annotation_clip=False) for name, point in zip(names, points, strict=True)]
    for text in texts:
        text.set_in_layout(False)
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])  # readable across the lines of intervals
    figure.draw_without_rendering()  # settles the scale, so that places can be compared in pixels
    sizes = np.array([text.get_window_extent().size for text in texts])
    pixels = axes.transData.transform(points)
    corners = place_labels(pixels, sizes, np.array(axes.bbox.extents))
    for text, pixel, corner, extent in zip(texts, pixels, corners, sizes, strict=True):
        text.set_position(tuple((corner - pixel) * 72 / DPI))
        text.set_anncoords("offset points")
        _lead(axes, pixel, np.clip(pixel, corner, corner + extent))


def _lead(axes: Axes, start: Float[np.ndarray, " 2"], end: Float[np.ndarray, " 2"]) -> None:
    if np.hypot(*(end - start)) > 30:
        x, y = axes.transData.inverted().transform([start, end]).T
        axes.plot(x, y, color=GRAY, linewidth=0.5, zorder=1)


def place_labels(
    points: Float[np.ndarray, "P 2"], sizes: Float[np.ndarray, "P 2"], frame: Float[np.ndarray, " 4"]
) -> Float[np.ndarray, "P 2"]:
    """Lower left corners of labels of ``sizes``, near their points, greedily from the top: all in pixels.

    A label avoids the points, earlier labels and what lies outside ``frame`` (x0, y0, x1, y1), in this order of distance.
    """
    taken = [np.concatenate([point - 9, point + 9]) for point in points]
    corners = np.zeros_like(points)
    for i in np.argsort(-points[:, 1], kind="stable"):
        boxes = _boxes_around(points[i], sizes[i])
        outside = np.prod(sizes[i]) - overlaps(boxes, frame[None])[:, 0]
        penalties = np.round(overlaps(boxes, np.array(taken)).sum(axis=1) + outside, 6)
        best = boxes[int(np.argmin(penalties))]  # the first of equals is the nearest
        corners[i] = best[:2]
        taken.append(best)
    return corners


def _boxes_around(point: Float[np.ndarray, " 2"], size: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "B 4"]:
    """Candidate boxes, the nearest first: right, left, above, below and the corners, at growing distance."""
    sides = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
    centres = [point + np.array(side) * (size / 2 + gap) for gap in range(11, 200, 8) for side in sides]
    return np.array([np.concatenate([centre - size / 2, centre + size / 2]) for centre in centres])


def overlaps(boxes: Float[np.ndarray, "B 4"], others: Float[np.ndarray, "T 4"]) -> Float[np.ndarray, "B T"]:
    """Area that each of ``boxes`` (x0, y0, x1, y1) shares with each of ``others``."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.prod(np.maximum(0, high - low), axis=2)
