"""Confusion matrix of the winner."""

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from thaw.reporting.drawing.canvas import BLACK, BLUE, WIDTH, blank, drawable
from thaw.reporting.results import Results


def confusion(results: Results) -> Figure | None:
    counts = np.array(results.winner.pooled["confusion"], dtype=np.int64)
    k = len(counts)
    side = min(2.6 + 0.42 * k, WIDTH)
    figure = blank(side - 0.3, side)
    axes = figure.subplots()
    shares = row_shares(counts)
    axes.imshow(shares, cmap=LinearSegmentedColormap.from_list("", ["#FFFFFF", BLUE]), vmin=0, vmax=1)
    names = [drawable(name, f"class {i}") for i, name in enumerate(results.classes)]
    slanted = k * max(map(len, names)) > 30
    axes.set_xticks(range(k), names, rotation=45 if slanted else 0, ha="right" if slanted else "center", rotation_mode="anchor")
    axes.set_yticks(range(k), names)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if k <= 12:
        _write_cells(axes, counts, shares)
    return figure


def _write_cells(axes: Axes, counts: Int[np.ndarray, "K K"], shares: Float[np.ndarray, "K K"]) -> None:
    for row, column in np.ndindex(counts.shape):
        share = shares[row, column]
        text = f"{counts[row, column]:,}\n{100 * share:.0f} %" if counts[row, column] else "0"
        axes.text(
            column, row, text, ha="center", va="center", color="white" if share > 0.65 else BLACK, fontsize=10 if len(counts) < 5 else 6.5
        )


def row_shares(counts: Int[np.ndarray, "K K"]) -> Float[np.ndarray, "K K"]:
    """Each row divided by its sum; a class without images gives zeros."""
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
