"""What all figures share: size, letters, colours, and how a figure becomes a PNG that is the same bytes every time."""

import io
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import MaxNLocator
from PIL import Image

from thaw.measures import measure_of
from thaw.reporting.results import Result, Results

WIDTH = 7.0  # inches; 1,050 px, so that letters stay readable on a page of 700 px
DPI = 150
BLUE, BLACK, ORANGE, GRAY, PALE = "#0072B2", "#222222", "#D55E00", "#6F747D", "#E6E8EC"  # all but PALE: 3:1 and more on white and on PALE
FOLD_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#222222")  # Okabe and Ito
EDGE: dict[str, Any] = {"markeredgecolor": BLACK, "markeredgewidth": 0.8}  # pale fills need it
FOLD_MARKERS = "osD^vP<>"
STYLE = {
    "font.size": 9,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same letters
    "text.parse_math": False,  # a class called "$5" is no formula
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GRAY,
    "axes.titlesize": 9,
    "legend.frameon": False,
    "figure.dpi": DPI,
    "figure.constrained_layout.h_pad": 0.07,  # inches
    "figure.constrained_layout.w_pad": 0.07,
}


def png(figure: Figure) -> bytes:
    """Few colours, so that the page stays small. Neither date nor program goes into the file."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(128, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def blank(height: float, width: float = WIDTH) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def colour_of(results: Results, result: Result) -> str:
    """The same in every figure: winner blue, reference black, random weights orange, the rest gray."""
    if result is results.winner:
        return BLUE
    if result is results.reference:
        return BLACK
    return ORANGE if result.scratch else GRAY


def style_of(results: Results, result: Result) -> str:
    """Line style beside the colour: winner solid, reference dashed, random weights dash-dotted."""
    if result is results.winner:
        return "-"
    return "--" if result is results.reference else "-."


def name_rows(axes: Axes, names: list[str]) -> None:
    """One row per name, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 5, 10]))


def drawable(name: str, otherwise: str, longest: int = 18) -> str:
    """A name that is data, for a figure: short, and ``otherwise`` where the font lacks a letter of it."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans")))
    text = " ".join(name.split())
    if not text or any(font.get_char_index(ord(letter)) == 0 for letter in text):
        return otherwise
    return text if len(text) <= longest else text[: longest - 1] + "…"


def quality_label(metric: str, better: str) -> str:
    """Name of an axis that shows ``metric``; ``better`` says where better is, on an axis that is turned."""
    measure = measure_of(metric)
    return measure.name if measure.higher_is_better else f"{measure.name} (lower, {better}, is better)"
