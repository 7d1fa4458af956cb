"""The report's figures as PNG bytes: equal results give equal bytes."""

import io
import math
from typing import Any

import matplotlib.style
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from PIL import Image

from thaw.reporting.results import Curve, Result, Results
from thaw.reporting.wording import measure_of, verdict

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


def draw(results: Results) -> dict[str, bytes]:
    """Name to PNG of every figure that the results can fill."""
    drawers = {
        "differences": _differences,
        "cost": _cost,
        "folds": _folds,
        "confusion": _confusion,
        "curves": _curves,
        "training": _training,
    }
    with matplotlib.style.context(["default", STYLE]):
        figures = {name: drawer(results) for name, drawer in drawers.items()}
        return {name: _png(figure) for name, figure in figures.items() if figure is not None}


def _png(figure: Figure) -> bytes:
    """Few colours, so that the page stays small. Neither date nor program goes into the file."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(128, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _figure(height: float, width: float = WIDTH) -> Figure:
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


def _differences(results: Results) -> Figure | None:
    """Forest plot: right is always better, so the axis is turned where lower is better."""
    measure = measure_of(results.primary)
    rows = [(r, r.contrasts[results.primary]) for r in results.candidates if results.primary in r.contrasts]
    rows = [(r, c) for r, c in rows if not math.isnan(c.diff)]
    if not rows:
        return None
    figure = _figure(0.9 + 0.27 * len(rows))
    axes = figure.subplots()
    for y, (result, contrast) in enumerate(rows):
        low, diff, high, floor = (measure.scale * v for v in (contrast.lo, contrast.diff, contrast.hi, contrast.mde))
        clear = verdict(measure, contrast.diff, contrast.p_holm, results.confidence) in ("better", "worse")
        axes.barh(y, 2 * floor, left=-floor, height=0.62, color=PALE, edgecolor=GRAY, linewidth=0.7, zorder=1)
        axes.plot([low, high], [y, y], color=colour_of(results, result), linewidth=1.8, solid_capstyle="butt", zorder=3)
        axes.plot(diff, y, "o", color=colour_of(results, result), markerfacecolor=None if clear else "white", markersize=6, zorder=4)
    axes.axvline(0, color=BLACK, linewidth=0.9, zorder=2)
    _rows(axes, [result.name for result, _ in rows])
    if not measure.higher_is_better:
        axes.invert_xaxis()
    unit = "points of " + measure.name if measure.in_points else measure.name
    axes.set_xlabel(f"worse ←   difference to {results.reference.name}, {unit}   → better")
    return figure


def _rows(axes: Axes, names: list[str]) -> None:
    """One row per name, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 5, 10]))


def _cost(results: Results) -> Figure | None:
    """Quality against seconds; a name beside every point."""
    rows = [r for r in results.candidates if not math.isnan(r.estimate(results.primary).value)]
    if not rows:
        return None
    measure = measure_of(results.primary)
    figure = _figure(4.8)
    axes = figure.subplots()
    spots = [(_drawable_seconds(r), r.estimate(results.primary)) for r in rows]
    for result, (seconds, estimate) in zip(rows, spots, strict=True):
        marker, colour = "s" if result.finetuned else "o", colour_of(results, result)
        axes.plot([seconds, seconds], [estimate.lo, estimate.hi], color=colour, linewidth=0.8, zorder=2)
        axes.plot(seconds, estimate.value, marker, color=colour, markersize=6.5, **EDGE, zorder=3 if colour == GRAY else 4)
    control = next((r for r in results.controls if not math.isnan(r.estimate(results.primary).value)), None)
    if control is not None:
        _level(axes, control.estimate(results.primary).value, f"best control: {control.strategy}")
    _seconds_axis(axes, [seconds for seconds, _ in spots])
    axes.set_ylabel(f"{measure.name}{'' if measure.higher_is_better else ' (lower, at the top, is better)'}")
    if not measure.higher_is_better:
        axes.invert_yaxis()
    _name_points(figure, axes, [r.name for r in rows], np.array([[s, e.value] for s, e in spots]))
    return figure


def _drawable_seconds(result: Result) -> float:
    return max(result.typical_seconds, 1e-3)  # a logarithmic axis has no zero


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


def _name_points(figure: Figure, axes: Axes, names: list[str], points: Float[np.ndarray, "P 2"]) -> None:
    """Write each name where it covers no point and no other name; a thin line leads to one that had to move away."""
    texts = [axes.annotate(name, point, fontsize=8, annotation_clip=False) for name, point in zip(names, points, strict=True)]
    for text in texts:
        text.set_in_layout(False)
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])  # readable across the lines of intervals
    figure.draw_without_rendering()  # settles the scale, so that places can be compared in pixels
    sizes = np.array([text.get_window_extent().size for text in texts])
    pixels = axes.transData.transform(points)
    corners = place_labels(pixels, sizes, np.array(axes.bbox.extents))
    for text, pixel, corner, extent in zip(texts, pixels, corners, sizes, strict=True):
        text.set_position(tuple((corner - pixel) * 72 / DPI))
        text.set_anncoords("offset points")
        _lead(axes, pixel, np.clip(pixel, corner, corner + extent))


def _lead(axes: Axes, start: Float[np.ndarray, " 2"], end: Float[np.ndarray, " 2"]) -> None:
    if np.hypot(*(end - start)) > 30:
        x, y = axes.transData.inverted().transform([start, end]).T
        axes.plot(x, y, color=GRAY, linewidth=0.5, zorder=1)


def place_labels(
    points: Float[np.ndarray, "P 2"], sizes: Float[np.ndarray, "P 2"], frame: Float[np.ndarray, " 4"]
) -> Float[np.ndarray, "P 2"]:
    """Lower left corners of labels of ``sizes``, near their points, greedily from the top: all in pixels.

    A label avoids the points, earlier labels and what lies outside ``frame`` (x0, y0, x1, y1), in this order of distance.
    """
    taken = [np.concatenate([point - 9, point + 9]) for point in points]
    corners = np.zeros_like(points)
    for i in np.argsort(-points[:, 1], kind="stable"):
        boxes = _boxes_around(points[i], sizes[i])
        outside = np.prod(sizes[i]) - overlaps(boxes, frame[None])[:, 0]
        penalties = np.round(overlaps(boxes, np.array(taken)).sum(axis=1) + outside, 6)
        best = boxes[int(np.argmin(penalties))]  # the first of equals is the nearest
        corners[i] = best[:2]
        taken.append(best)
    return corners


def _boxes_around(point: Float[np.ndarray, " 2"], size: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "B 4"]:
    """Candidate boxes, the nearest first: right, left, above, below and the corners, at growing distance."""
    sides = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
    centres = [point + np.array(side) * (size / 2 + gap) for gap in range(11, 200, 8) for side in sides]
    return np.array([np.concatenate([centre - size / 2, centre + size / 2]) for centre in centres])


def overlaps(boxes: Float[np.ndarray, "B 4"], others: Float[np.ndarray, "T 4"]) -> Float[np.ndarray, "B T"]:
    """Area that each of ``boxes`` (x0, y0, x1, y1) shares with each of ``others``."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.prod(np.maximum(0, high - low), axis=2)


def _folds(results: Results) -> Figure | None:
    """A dot per fold, a bar at the pooled figure."""
    rows = [r for r in results.candidates if r.fold_values(results.primary)]
    if not rows:
        return None
    measure = measure_of(results.primary)
    figure = _figure(1.2 + 0.27 * len(rows))
    axes = figure.subplots()
    for y, result in enumerate(rows):
        axes.plot(
            [result.estimate(results.primary).value] * 2, [y - 0.36, y + 0.36], color=colour_of(results, result), linewidth=2.2, zorder=2
        )
    for place, fold in enumerate(sorted({fold for r in rows for fold in r.folds})):
        dots = [(r.fold_values(results.primary)[fold], y) for y, r in enumerate(rows) if fold in r.fold_values(results.primary)]
        marker, colour = FOLD_MARKERS[place % 8], FOLD_COLOURS[(place + place // 8) % 8]
        axes.plot(*zip(*dots, strict=True), marker, color=colour, markersize=6, **EDGE, label=f"fold {fold}", zorder=3)
    _rows(axes, [result.name for result in rows])
    if not measure.higher_is_better:
        axes.invert_xaxis()
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"{measure.name}{'' if measure.higher_is_better else ' (lower, to the right, is better)'}; bar: all folds pooled")
    figure.legend(loc="outside upper center", ncols=7, handletextpad=0.1, columnspacing=1.2)
    return figure


def _confusion(results: Results) -> Figure | None:
    counts = np.array(results.winner.pooled["confusion"], dtype=np.int64)
    k = len(counts)
    side = min(2.6 + 0.42 * k, WIDTH)
    figure = _figure(side - 0.3, side)
    axes = figure.subplots()
    shares = row_shares(counts)
    axes.imshow(shares, cmap=LinearSegmentedColormap.from_list("", ["#FFFFFF", BLUE]), vmin=0, vmax=1)
    names = [drawable(name, i) for i, name in enumerate(results.classes)]
    slanted = k * max(map(len, names)) > 30
    axes.set_xticks(range(k), names, rotation=45 if slanted else 0, ha="right" if slanted else "center", rotation_mode="anchor")
    axes.set_yticks(range(k), names)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if k <= 12:
        _write_cells(axes, counts, shares)
    return figure


def _write_cells(axes: Axes, counts: Int[np.ndarray, "K K"], shares: Float[np.ndarray, "K K"]) -> None:
    for row, column in np.ndindex(counts.shape):
        share = shares[row, column]
        text = f"{counts[row, column]:,}\n{100 * share:.0f} %" if counts[row, column] else "0"
        axes.text(
            column, row, text, ha="center", va="center", color="white" if share > 0.65 else BLACK, fontsize=10 if len(counts) < 5 else 6.5
        )


def row_shares(counts: Int[np.ndarray, "K K"]) -> Float[np.ndarray, "K K"]:
    """Each row divided by its sum; a class without images gives zeros."""
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def drawable(name: str, number_of_class: int, longest: int = 18) -> str:
    """A class name for a figure: short, and ``class 3`` where the font lacks a letter of it."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans")))
    text = " ".join(name.split())
    if not text or any(font.get_char_index(ord(letter)) == 0 for letter in text):
        return f"class {number_of_class}"
    return text if len(text) <= longest else text[: longest - 1] + "…"


def shown_in_curves(results: Results) -> list[Result]:
    """The winner, the reference and the best from random weights, each once, best first."""
    names = {r.name for r in (results.winner, results.reference, results.from_scratch) if r is not None}
    return [r for r in results.ranked if r.name in names and r.curves]


def _curves(results: Results) -> Figure | None:
    shown = shown_in_curves(results)
    if not shown:
        return None
    figure = _figure(3.6)
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
    curves: list[tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]],
) -> tuple[Float[np.ndarray, " 201"], Float[np.ndarray, " 201"]]:
    """Mean height of curves (x, y) at 201 places in [0, 1]; points may come in either order of x."""
    grid = np.linspace(0, 1, 201)
    heights = []
    for x, y in curves:
        forward = x[0] <= x[-1]
        heights.append(np.interp(grid, x if forward else x[::-1], y if forward else y[::-1]))
    return grid, np.mean(heights, axis=0)


def _chance_precision(results: Results) -> float:
    """Share of the positive class; over several classes, the mean share."""
    support = [results.winner.pooled["per_class"][name]["support"] for name in results.classes]
    return support[1] / max(sum(support), 1) if len(support) == 2 else 1 / len(support)


def _training(results: Results) -> Figure | None:
    """Small multiples: validation AUC by epoch, a thin line per fold."""
    shown = [r for r in results.candidates if any(record.history for record in r.records)]
    if not shown:
        return None
    columns = 3
    lines = math.ceil(len(shown) / columns)
    figure = _figure(0.5 + 1.75 * lines)
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
    for boundary in _phase_ends(records[0].history):
        axes.axvline(boundary + 0.5, color=GRAY, linewidth=0.8, linestyle=":")
    longest = max(len(record.history) for record in records)
    axes.set(title=result.name, xlim=(0.5, longest + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _phase_ends(history: list[dict[str, Any]]) -> list[int]:
    """Number of the last epoch of each phase but the last."""
    return [i for i in range(1, len(history)) if history[i].get("phase") != history[i - 1].get("phase")]
