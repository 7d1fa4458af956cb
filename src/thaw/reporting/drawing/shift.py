"""Inside and outside the domain that was trained on: a dumbbell for each strategy."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thaw.measures import measure_of
from thaw.reporting.drawing.canvas import PALE, blank, colour_of, drawable, name_rows, quality_label
from thaw.reporting.findings import Shift
from thaw.reporting.results import Results
from thaw.reporting.sections.shift import ALL, shift_of, trainings

MOST = 4  # panels beside each other


def shift(results: Results) -> Figure | None:
    """Hollow inside, full outside; a panel for each domain that was trained on, best outside on top in the first of them."""
    rows = shift_of(results)
    if not rows:
        return None
    panels = trainings(rows)[:MOST]
    names = list(dict.fromkeys(row.name for row in [r for r in rows if r.trained_on == panels[0]] + rows))
    figure = blank(1.2 + 0.27 * len(names))
    drawn = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for number, (axes, name) in enumerate(zip(drawn, panels, strict=True)):
        _panel(axes, results, {row.name: row for row in rows if row.trained_on == name}, names)
        if len(panels) > 1:
            axes.set_title("each domain in turn" if name == ALL else f"trained on {drawable(name, f'domain {number}')}")
    figure.supxlabel(quality_label(results.primary, "to the right"), fontsize=9)
    return figure


def _panel(axes: Axes, results: Results, rows: dict[str, Shift], names: list[str]) -> None:
    for y, name in enumerate(names):
        if name in rows:
            row = rows[name]
            colour = colour_of(results, next(r for r in results.candidates if r.name == name))
            axes.plot([row.outside_lo, row.outside_hi], [y, y], color=colour, linewidth=5, alpha=0.22, solid_capstyle="butt", zorder=1)
            axes.plot([row.inside, row.outside], [y, y], color=colour, linewidth=1.4, zorder=2)
            axes.plot(row.inside, y, "o", color=colour, markerfacecolor="white", markersize=6, zorder=3)
            axes.plot(row.outside, y, "o", color=colour, markersize=6, zorder=4)
    name_rows(axes, names)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    if not measure_of(results.primary).higher_is_better:
        axes.invert_xaxis()
