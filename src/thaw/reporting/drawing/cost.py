"""Quality against seconds, with the front of what is worth its price."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from thaw.measures import measure_of
from thaw.reporting.drawing.canvas import EDGE, GRAY, blank, colour_of, quality_label
from thaw.reporting.drawing.labels import name_points
from thaw.reporting.front import pareto_front, seconds_of
from thaw.reporting.results import Result, Results

FRONT = "#8FBBD9"


def cost(results: Results) -> Figure | None:
    """Quality against seconds, the front as a stepped line; a name beside every point."""
    rows = [r for r in results.candidates if not math.isnan(r.estimate(results.primary).value)]
    if not rows:
        return None
    figure = blank(4.9)
    axes = figure.subplots()
    for result in rows:
        _point(axes, result, results.primary, colour_of(results, result))
    control = next((r for r in results.controls if not math.isnan(r.estimate(results.primary).value)), None)
    if control is not None:
        _level(axes, control.estimate(results.primary).value, f"best control: {control.strategy}")
    spots = np.array([_spot(result, results.primary) for result in rows])
    _seconds_axis(axes, spots[:, 0].tolist())
    _front(axes, results)
    axes.set_ylabel(quality_label(results.primary, "at the top"))
    if not measure_of(results.primary).higher_is_better:
        axes.invert_yaxis()
    name_points(figure, axes, [r.name for r in rows], spots)
    return figure


def _spot(result: Result, metric: str) -> tuple[float, float]:
    return max(result.typical_seconds, 1e-3), result.estimate(metric).value  # a logarithmic axis has no zero


def _point(axes: Axes, result: Result, metric: str, colour: str) -> None:
    """Square where the network is trained; the size grows with the logarithm of what is trained."""
    (seconds, value), estimate = _spot(result, metric), result.estimate(metric)
    axes.plot([seconds, seconds], [estimate.lo, estimate.hi], color=colour, linewidth=0.8, alpha=0.7, zorder=2)
    size = 4.5 + 0.9 * math.log10(1 + result.trainable)
    axes.plot(seconds, value, "s" if result.finetuned else "o", color=colour, markersize=size, **EDGE, zorder=3 if colour == GRAY else 4)


def _front(axes: Axes, results: Results) -> None:
    """From the cheapest on, level until something better comes, to the right edge."""
    x, y = zip(*(_spot(result, results.primary) for result in pareto_front(results.candidates, results.primary, seconds_of)), strict=True)
    axes.step([*x, axes.get_xlim()[1]], [*y, y[-1]], where="post", color=FRONT, linewidth=1.6, zorder=1.5)


def _level(axes: Axes, value: float, text: str) -> None:
    axes.axhline(value, color=GRAY, linewidth=0.9, linestyle="--", zorder=1)
    axes.annotate(
        text, (1, value), (0, 3), xycoords=("axes fraction", "data"), textcoords="offset points", ha="right", color="#5A5F68", fontsize=8
    )


def _seconds_axis(axes: Axes, seconds: list[float]) -> None:
    """Decades, with room beside the outermost points for their names."""
    axes.set_xscale("log")
    axes.set_xlim(min(seconds) / 6, max(seconds) * 6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("seconds per model, features included, median of the folds (logarithmic)")
