"""Small drawings that live in the page itself: an interval for a row of the leaderboard, the curves of a training.

Colours are the style sheet's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from thaw.measures import measure_of, number
from thaw.reporting.results import Result, Results
from thaw.runs import Record

WIDE, HIGH = 110, 18  # px, of an interval
LEFT, RIGHT, PANEL, GAP = 40, 214, 58, 16  # px, of a training's two panels: where they begin and end, how high they are, what parts them
MOST = 150  # points of a curve: more cannot be seen


@dataclass(frozen=True)
class Scale:
    """Numbers ``low`` to ``high`` onto pixels ``start`` to ``end``, which may run backwards."""

    low: float
    high: float
    start: int  # px
    end: int

    def __call__(self, value: float) -> str:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return f"{self.start + share * (self.end - self.start):.1f}".removesuffix(".0")


def role_of(results: Results, result: Result) -> str:
    """Class of the style sheet: one colour for each role, the same as in the figures."""
    if result is results.winner:
        return "winner"
    if result is results.reference:
        return "reference"
    return "scratch" if result.scratch else "control" if result.control else "other"


def interval_sketches(results: Results, rows: Sequence[Result]) -> list[Markup]:
    """Dot and interval of every row on one scale, right is better; the dashed line is the reference. Empty where undefined.

    The scale is that of the candidates: a control that lies far off it becomes an arrow.
    """
    estimates = [result.estimate(results.primary) for result in rows]
    bounds = [v for r, e in zip(rows, estimates, strict=True) for v in (e.lo, e.value, e.hi) if not (r.control or math.isnan(v))]
    if not bounds:
        return [Markup("")] * len(rows)
    ends = (4, WIDE - 4) if measure_of(results.primary).higher_is_better else (WIDE - 4, 4)
    place = Scale(min(bounds), max(bounds), *ends)
    line = results.reference.estimate(results.primary).value
    return [_interval(place, e.lo, e.value, e.hi, line, role_of(results, r)) for r, e in zip(rows, estimates, strict=True)]


def _interval(place: Scale, lo: float, value: float, hi: float, line: float, role: str) -> Markup:
    if math.isnan(value):
        return Markup("")
    middle = HIGH // 2
    rule = "" if math.isnan(line) else f'<path class="rule" d="M{place(line)} 0V{HIGH}"/>'
    whisker = "" if math.isnan(lo + hi) else f'<path d="M{place(lo)} {middle}H{place(hi)}"/>'
    dot = f'<circle cx="{place(value)}" cy="{middle}" r="3.6"/>' if 0 <= float(place(value)) <= WIDE else _arrow(float(place(value)) < 0)
    return Markup(f'<svg class="interval {role}" viewBox="0 0 {WIDE} {HIGH}" aria-hidden="true">{rule}{whisker}{dot}</svg>')


def _arrow(left: bool) -> str:
    """Points to where the dot would be."""
    tip, back = (1, 7) if left else (WIDE - 1, WIDE - 7)
    return f'<path class="arrow" d="M{tip} {HIGH // 2}L{back} {HIGH // 2 - 4}V{HIGH // 2 + 4}Z"/>'


def training_traces(result: Result) -> Markup:
    """A drawing for each fold: training loss above, validation AUC below, by epoch, on scales that the folds share."""
    records = [record for record in result.records if record.history]
    losses, areas = (_span(records, key) for key in ("train/loss", "val/auc"))
    return Markup('<div class="traces">{}</div>').format(Markup("").join(_trace(record, losses, areas) for record in records))


def _span(records: Sequence[Record], key: str) -> tuple[float, float]:
    values = [value for record in records for value in _values(record, key) if not math.isnan(value)]
    return (min(values), max(values)) if values else (0.0, 1.0)


def _values(record: Record, key: str) -> list[float]:
    return [math.nan if row.get(key) is None else float(row[key]) for row in record.history]


def _trace(record: Record, losses: tuple[float, float], areas: tuple[float, float]) -> Markup:
    """An image with words for those who cannot see it."""
    loss, auc = _values(record, "train/loss"), _values(record, "val/auc")
    kept = int(record.metrics.get("best_epoch", 0))
    lower = PANEL + GAP
    body = _panel(loss, losses, 4, "loss") + _panel(auc, areas, lower + 4, "AUC") + _phases(record, lower)
    words = (
        f"Fold {record.fold}: training loss from {number(loss[0])} to {number(loss[-1])}, "
        f"validation AUC from {number(auc[0])} to {number(auc[-1])} in {len(auc)} epochs"
    ) + (f"; epoch {kept} was kept" if kept else "")
    height = lower + PANEL + 26
    dot = _kept(auc, areas, lower + 4, kept)
    ends = f'<text x="{LEFT}" y="{height - 6}">1</text><text class="end" x="{RIGHT}" y="{height - 6}">epoch {len(auc)}</text>'
    drawing = Markup(f'<svg viewBox="0 0 220 {height}" role="img" aria-label="{{}}">{body}{dot}{ends}</svg>').format(words)
    return Markup("<figure>{}<figcaption>fold {}</figcaption></figure>").format(drawing, record.fold)


def _panel(values: Sequence[float], span: tuple[float, float], top: int, name: str) -> str:
    low, high = span
    x, y = epochs(len(values)), Scale(low, high, top + PANEL, top)
    points = [(place, value) for place, value in thinned(values) if not math.isnan(value)]
    line = " ".join(f"{x(float(place))},{y(value)}" for place, value in points)
    frame = f'<path class="frame" d="M{LEFT} {top}V{top + PANEL}H{RIGHT}"/>'
    marks = f'<text class="end" x="{LEFT - 4}" y="{top + 8}">{number(high, 2)}</text><text class="end" x="{LEFT - 4}" y="{top + PANEL}">'
    return (
        f'{frame}{marks}{number(low, 2)}</text><text x="{LEFT + 4}" y="{top + 8}">{name}</text><polyline class="{name}" points="{line}"/>'
    )


def epochs(count: int) -> Scale:
    """The horizontal scale, from epoch 1 to the last."""
    return Scale(1.0, float(count), LEFT, RIGHT)


def thinned(values: Sequence[float]) -> list[tuple[int, float]]:
    """(number from 1, value), at most `MOST` of them, evenly spread, both ends among them."""
    count = min(len(values), MOST)
    places = sorted({round(i * (len(values) - 1) / max(count - 1, 1)) for i in range(count)})
    return [(place + 1, values[place]) for place in places]


def _kept(auc: Sequence[float], span: tuple[float, float], top: int, kept: int) -> str:
    if not 1 <= kept <= len(auc) or math.isnan(auc[kept - 1]):
        return ""
    x, y = epochs(len(auc)), Scale(*span, top + PANEL, top)
    return f'<circle class="kept" cx="{x(float(kept))}" cy="{y(auc[kept - 1])}" r="3.2"/>'


def _phases(record: Record, lower: int) -> str:
    """A dotted line wherever one phase ends and the next begins."""
    x = epochs(len(record.history))
    ends = phase_ends([row.get("phase") for row in record.history])
    return "".join(f'<path class="phase" d="M{x(end + 0.5)} 4V{lower + PANEL + 4}"/>' for end in ends)


def phase_ends(phases: Sequence[object]) -> list[int]:
    """Number of the last epoch of each phase but the last, from the phase of each epoch."""
    return [i for i in range(1, len(phases)) if phases[i] != phases[i - 1]]
