"""Accuracy in every group, of the winner and the reference."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thaw.reporting.drawing.canvas import BLACK, BLUE, GRAY, PALE, blank, drawable
from thaw.reporting.findings import GroupFigures, of
from thaw.reporting.results import Results
from thaw.reporting.sections.by_group import hardest_first

NAMED = 60  # groups whose names can still be read along the axis


def groups(results: Results) -> Figure | None:
    """Hardest for the winner on the left; a thin line joins the two figures of one group."""
    rows = hardest_first(of(results.winner.name, results.findings.groups))
    if not rows:
        return None
    figure = blank(3.6)
    axes = figure.subplots()
    rival = {row.group: row.accuracy for row in of(results.reference.name, results.findings.groups)}
    heights = [row.accuracy for row in rows]
    others = [rival.get(row.group, row.accuracy) for row in rows]
    size = 5.0 if len(rows) <= NAMED else 2.5
    axes.vlines(range(len(rows)), heights, others, color=GRAY, linewidth=0.8, zorder=1)
    if results.winner is not results.reference:
        axes.plot(others, "_", color=BLACK, markersize=1.4 * size, markeredgewidth=1.6, zorder=2, label=results.reference.name)
    axes.plot(heights, "o", color=BLUE, markersize=size, zorder=3, label=results.winner.name)
    _name(axes, rows, results.units)
    axes.set_ylabel("accuracy")
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _name(axes: Axes, rows: list[GroupFigures], units: str) -> None:
    if len(rows) <= NAMED:
        names = [drawable(row.group, f"group {i}", longest=12) for i, row in enumerate(rows)]
        axes.set_xticks(range(len(rows)), names, rotation=90, fontsize=7)
    else:
        axes.set_xticks([])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.8, len(rows) - 0.2)
    axes.set_xlabel(f"{units}, hardest first")
