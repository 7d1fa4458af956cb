"""The report's figures as PNG bytes: equal results give equal bytes."""

from collections.abc import Callable

import matplotlib.style
from matplotlib.figure import Figure

from thaw.reporting.drawing.calibration import calibration
from thaw.reporting.drawing.canvas import BLACK, BLUE, DPI, GRAY, ORANGE, STYLE, WIDTH, png
from thaw.reporting.drawing.confusion import confusion
from thaw.reporting.drawing.cost import cost
from thaw.reporting.drawing.curves import curves
from thaw.reporting.drawing.differences import differences
from thaw.reporting.drawing.folds import folds
from thaw.reporting.drawing.groups import groups
from thaw.reporting.drawing.learning import learning
from thaw.reporting.drawing.operating import operating
from thaw.reporting.drawing.shift import shift
from thaw.reporting.drawing.training import training
from thaw.reporting.results import Results

__all__ = ["BLACK", "BLUE", "DPI", "DRAWERS", "GRAY", "ORANGE", "STYLE", "WIDTH", "draw"]

DRAWERS: dict[str, Callable[[Results], Figure | None]] = {
    "differences": differences,
    "cost": cost,
    "folds": folds,
    "groups": groups,
    "confusion": confusion,
    "curves": curves,
    "operating": operating,
    "calibration": calibration,
    "learning": learning,
    "shift": shift,
    "training": training,
}
"""In the order in which the report shows them."""


def draw(results: Results) -> dict[str, bytes]:
    """Name to PNG of every figure that the results can fill."""
    with matplotlib.style.context(["default", STYLE]):
        figures = {name: drawer(results) for name, drawer in DRAWERS.items()}
        return {name: png(figure) for name, figure in figures.items() if figure is not None}
