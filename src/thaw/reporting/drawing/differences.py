"""Forest plot of the differences to the reference."""

import math

from matplotlib.figure import Figure

from thaw.measures import measure_of
from thaw.reporting.drawing.canvas import BLACK, GRAY, PALE, blank, colour_of, name_rows
from thaw.reporting.results import Results
from thaw.reporting.wording import verdict


def differences(results: Results) -> Figure | None:
    """Forest plot: right is always better, so the axis is turned where lower is better."""
    measure = measure_of(results.primary)
    rows = [(r, r.contrasts[results.primary]) for r in results.candidates if results.primary in r.contrasts]
    rows = [(r, c) for r, c in rows if not math.isnan(c.diff)]
    if not rows:
        return None
    figure = blank(0.9 + 0.27 * len(rows))
    axes = figure.subplots()
    for y, (result, contrast) in enumerate(rows):
        low, diff, high, floor = (measure.scale * v for v in (contrast.lo, contrast.diff, contrast.hi, contrast.mde))
        clear = verdict(measure, contrast.diff, contrast.p_holm, results.confidence) in ("better", "worse")
        axes.barh(y, 2 * floor, left=-floor, height=0.62, color=PALE, edgecolor=GRAY, linewidth=0.7, zorder=1)
        axes.plot([low, high], [y, y], color=colour_of(results, result), linewidth=1.8, solid_capstyle="butt", zorder=3)
        axes.plot(diff, y, "o", color=colour_of(results, result), markerfacecolor=None if clear else "white", markersize=6, zorder=4)
    axes.axvline(0, color=BLACK, linewidth=0.9, zorder=2)
    name_rows(axes, [result.name for result, _ in rows])
    if not measure.higher_is_better:
        axes.invert_xaxis()
    unit = "points of " + measure.name if measure.in_points else measure.name
    axes.set_xlabel(f"worse ←   difference to {results.reference.name}, {unit}   → better")
    return figure
