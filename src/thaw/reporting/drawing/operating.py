"""Recall, precision and specificity of the winner by threshold."""

from matplotlib.figure import Figure

from thaw.reporting.drawing.canvas import BLACK, BLUE, ORANGE, PALE, blank
from thaw.reporting.findings import of
from thaw.reporting.results import Results

LINES = (("recall", BLUE, "-"), ("precision", ORANGE, "--"), ("specificity", BLACK, ":"))


def operating(results: Results) -> Figure | None:
    """Ticks inside the lower edge are the thresholds that validation chose."""
    points = sorted(of(results.winner.name, results.findings.operating), key=lambda point: point.threshold)
    if not points:
        return None
    figure = blank(3.4)
    axes = figure.subplots()
    for name, colour, style in LINES:
        shown = [p for p in points if p.recall > 0 or name != "precision"]  # of no alarm, no share is right
        axes.plot([p.threshold for p in shown], [getattr(p, name) for p in shown], style, color=colour, linewidth=1.8, label=name)
    chosen = results.winner.pooled.get("thresholds") or []
    axes.plot(
        chosen, [0.0] * len(chosen), "|", color=BLACK, markersize=16, markeredgewidth=1.4, clip_on=False, label="chosen on validation"
    )
    axes.set(xlabel="threshold on the probability", ylabel="share", xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=4)
    return figure
