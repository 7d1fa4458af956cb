"""Validation AUC by epoch, a panel for each strategy."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thaw.reporting.drawing.canvas import GRAY, blank, colour_of
from thaw.reporting.results import Result, Results
from thaw.reporting.sketches import phase_ends


def training(results: Results) -> Figure | None:
    """Small multiples: validation AUC by epoch, a thin line per fold."""
    shown = [r for r in results.candidates if any(record.history for record in r.records)]
    if not shown:
        return None
    columns = 3
    lines = math.ceil(len(shown) / columns)
    figure = blank(0.5 + 1.75 * lines)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for axes, result in zip(panels, shown, strict=False):
        _panel(axes, result, colour_of(results, result))
    for axes in panels[len(shown) :]:
        axes.remove()
    figure.supxlabel("epoch", fontsize=9)
    figure.supylabel("validation AUC", fontsize=9)
    return figure


def _panel(axes: Axes, result: Result, colour: str) -> None:
    records = [record for record in result.records if record.history]
    for record in records:
        heights = [math.nan if row.get("val/auc") is None else row["val/auc"] for row in record.history]
        axes.plot(range(1, len(heights) + 1), heights, color=colour, linewidth=0.9)
        kept = int(record.metrics.get("best_epoch", 0))
        if 1 <= kept <= len(heights):
            axes.plot(kept, heights[kept - 1], "o", color=colour, markersize=4)
    for boundary in phase_ends([row.get("phase") for row in records[0].history]):
        axes.axvline(boundary + 0.5, color=GRAY, linewidth=0.8, linestyle=":")
    longest = max(len(record.history) for record in records)
    axes.set(title=result.name, xlim=(0.5, longest + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
