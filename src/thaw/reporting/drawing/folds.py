"""A dot for every fold."""

from matplotlib.figure import Figure

from thaw.measures import measure_of
from thaw.reporting.drawing.canvas import EDGE, FOLD_COLOURS, FOLD_MARKERS, PALE, blank, colour_of, name_rows, quality_label
from thaw.reporting.results import Results


def folds(results: Results) -> Figure | None:
    """A dot per fold, a bar at the pooled figure."""
    rows = [r for r in results.candidates if r.fold_values(results.primary)]
    if not rows:
        return None
    figure = blank(1.2 + 0.27 * len(rows))
    axes = figure.subplots()
    for y, result in enumerate(rows):
        axes.plot(
            [result.estimate(results.primary).value] * 2, [y - 0.36, y + 0.36], color=colour_of(results, result), linewidth=2.2, zorder=2
        )
    for place, fold in enumerate(sorted({fold for r in rows for fold in r.folds})):
        dots = [(r.fold_values(results.primary)[fold], y) for y, r in enumerate(rows) if fold in r.fold_values(results.primary)]
        marker, colour = FOLD_MARKERS[place % 8], FOLD_COLOURS[(place + place // 8) % 8]
        axes.plot(*zip(*dots, strict=True), marker, color=colour, markersize=6, **EDGE, label=f"fold {fold}", zorder=3)
    name_rows(axes, [result.name for result in rows])
    if not measure_of(results.primary).higher_is_better:
        axes.invert_xaxis()
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"{quality_label(results.primary, 'to the right')}; bar: all folds pooled")
    figure.legend(loc="outside upper center", ncols=7, handletextpad=0.1, columnspacing=1.2)
    return figure
