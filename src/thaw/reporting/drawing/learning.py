"""Quality by share of the labelled images."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from thaw.measures import measure_of
from thaw.reporting.drawing.canvas import BLACK, BLUE, ORANGE, PALE, blank, quality_label
from thaw.reporting.findings import Share
from thaw.reporting.results import Result, Results
from thaw.reporting.sections.learning import WHOLE, kinds, shares_of

OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6F747D")  # of Okabe and Ito, what winner, reference and scratch leave
MARKERS = "D^vP<>Xp"


def learning(results: Results) -> Figure | None:
    """A panel for images left out one by one, one for whole groups; a line for each strategy that was trained on shares."""
    shares = shares_of(results)
    panels = kinds(shares)
    if not panels:
        return None
    partly = {share.name for share in shares if share.percent < WHOLE}
    shown = [result for result in results.candidates if result.name in partly]
    figure = blank(4.2)
    drawn = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, by in zip(drawn, panels, strict=True):
        _panel(axes, results, shown, [share for share in shares if share.by == by])
        axes.set_xlabel(f"share of the {results.units if by == 'groups' else 'images'}, % (logarithmic)")
    drawn[0].set_ylabel(quality_label(results.primary, "at the top"))
    if not measure_of(results.primary).higher_is_better:
        drawn[0].invert_yaxis()
    handles, labels = drawn[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _panel(axes: Axes, results: Results, shown: list[Result], shares: list[Share]) -> None:
    percents = sorted({share.percent for share in shares})
    axes.set_xscale("log")
    for place, result in enumerate(shown):
        points = sorted((share for share in shares if share.name == result.name), key=lambda share: share.percent)
        if points:
            x = np.array([p.percent for p in points]) * 1.025 ** (place - len(shown) / 2)
            bars = np.array([[p.value - p.lo for p in points], [p.hi - p.value for p in points]])
            colour, marker, style = _look(results, result, place)
            axes.errorbar(x, [p.value for p in points], np.nan_to_num(bars), fmt=style + marker, color=colour, markersize=5, elinewidth=0.8,
                          linewidth=1.5, label=result.name)  # fmt: skip
    axes.xaxis.set_major_locator(FixedLocator(percents))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)


def _look(results: Results, result: Result, place: int) -> tuple[str, str, str]:
    """Colour, marker and line style: the roles' own, and for the others one after the other."""
    if result is results.winner:
        return BLUE, "o", "-"
    if result is results.reference:
        return BLACK, "s", "--"
    if result.scratch:
        return ORANGE, "*", "-."
    return OTHERS[place % len(OTHERS)], MARKERS[place % len(MARKERS)], "-"
