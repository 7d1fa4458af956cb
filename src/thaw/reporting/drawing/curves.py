"""ROC and PR curves of the winner, the reference and the best from random weights."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thaw.reporting.drawing.canvas import GRAY, blank, colour_of, style_of
from thaw.reporting.results import Curve, Result, Results


def shown_in_curves(results: Results) -> list[Result]:
    """The winner, the reference and the best from random weights, each once, best first."""
    names = {r.name for r in (results.winner, results.reference, results.from_scratch) if r is not None}
    return [r for r in results.ranked if r.name in names and r.curves]


def curves(results: Results) -> Figure | None:
    shown = shown_in_curves(results)
    if not shown:
        return None
    figure = blank(3.6)
    left, right = figure.subplots(1, 2)
    for result in shown:
        for axes, kind in ((left, "roc"), (right, "pr")):
            _curve(axes, [c for c in result.curves if c.kind == kind], result.name, colour_of(results, result), style_of(results, result))
    left.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8, linestyle=":")
    right.axhline(_chance_precision(results), color=GRAY, linewidth=0.8, linestyle=":")
    for axes, title, x, y in ((left, "ROC", "false positive rate", "true positive rate"), (right, "PR", "recall", "precision")):
        axes.set(title=title, xlabel=x, ylabel=y, xlim=(0, 1.01), ylim=(0, 1.02), aspect="equal")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _curve(axes: Axes, curves: list[Curve], name: str, colour: str, style: str) -> None:
    """One class as it is; several as their mean."""
    if len(curves) == 1:
        axes.plot(curves[0].x, curves[0].y, style, color=colour, linewidth=1.6, label=name)
    elif curves:
        x, y = mean_curve([(np.array(c.x), np.array(c.y)) for c in curves])
        axes.plot(x, y, style, color=colour, linewidth=1.6, label=name)


def mean_curve(
    lines: list[tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]],
) -> tuple[Float[np.ndarray, " 201"], Float[np.ndarray, " 201"]]:
    """Mean height of curves (x, y) at 201 places in [0, 1]; points may come in either order of x."""
    grid = np.linspace(0, 1, 201)
    heights = []
    for x, y in lines:
        forward = x[0] <= x[-1]
        heights.append(np.interp(grid, x if forward else x[::-1], y if forward else y[::-1]))
    return grid, np.mean(heights, axis=0)


def _chance_precision(results: Results) -> float:
    """Share of the positive class; over several classes, the mean share."""
    support = [results.winner.pooled["per_class"][name]["support"] for name in results.classes]
    return support[1] / max(sum(support), 1) if len(support) == 2 else 1 / len(support)
