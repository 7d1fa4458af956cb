"""Reliability before and after temperature scaling."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thaw.reporting.drawing.canvas import BLACK, BLUE, GRAY, blank
from thaw.reporting.findings import Bin, of
from thaw.reporting.results import Results


def calibration(results: Results) -> Figure | None:
    """Two panels on the same scale; a dot for each bin, its area grows with the images in it."""
    named = {result.name: colour for result, colour in ((results.reference, BLACK), (results.winner, BLUE))}
    found = {name: of(name, results.findings.reliability) for name in named}
    if not found[results.winner.name]:
        return None
    figure = blank(4.1)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, stage, title in zip(panels, ("raw", "scaled"), ("before scaling", "after scaling"), strict=True):
        axes.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8, linestyle=":")
        for name, colour in named.items():
            _line(axes, [b for b in found[name] if b.stage == stage], name, colour, "o-" if name == results.winner.name else "s--")
        axes.set(title=title, xlabel="predicted probability", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axes.set_box_aspect(1)
    panels[0].set_ylabel("share that came true")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=2)
    return figure


def _line(axes: Axes, bins: list[Bin], name: str, colour: str, style: str) -> None:
    shown = sorted((b for b in bins if b.n and not math.isnan(b.confidence + b.share)), key=lambda b: b.confidence)
    total = max(sum(b.n for b in shown), 1)
    axes.plot([b.confidence for b in shown], [b.share for b in shown], style, color=colour, markersize=3.5, linewidth=1.2, label=name)
    for b in shown:
        size = 3.5 + 12 * math.sqrt(b.n / total)
        filled = colour if style[0] == "o" else "white"
        axes.plot(b.confidence, b.share, style[0], color=colour, markersize=size, markerfacecolor=filled, markeredgewidth=0.8)
