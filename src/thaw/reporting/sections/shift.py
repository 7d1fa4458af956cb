"""Domain shift: trained on one kind, tested on another."""

import math
from collections.abc import Sequence

from thaw.measures import difference, measure_of, with_interval
from thaw.reporting.blocks import Block, Folded, Table, figure
from thaw.reporting.findings import Shift
from thaw.reporting.results import Results
from thaw.reporting.tables import code, literal

ALL = "all"
HOW_TO_READ = (
    "Inside and outside are different images, so the change holds both the shift and how hard the other domain is by itself; "
    "strategies are compared fairly all the same, since each is tested on the same images."
)


def domain_shift(results: Results, drawn: Sequence[str]) -> list[Block]:
    rows = shift_of(results)
    if not rows:
        return ["Not tested here: set `split.method: leave_domain_out` to train on one domain and test on the others."]
    caption = (
        f"{measure_of(results.primary).name} on held-out images of the domain that was trained on (hollow) and on other domains (full), "
        "with the interval of the latter. The longer the line, the more is lost on the way; further right is better."
    )
    first, *others = trainings(rows)
    return [
        _best_outside(results, rows),
        *figure(drawn, "shift", _alt(results, rows), caption),
        _table(results, rows, [first]),
        HOW_TO_READ,
        *([Folded("Domain by domain", [_table(results, rows, others)])] if others else []),
    ]


def shift_of(results: Results) -> list[Shift]:
    """Rows about the primary metric, of candidates, best outside first."""
    candidates = {result.name for result in results.candidates}
    rows = [r for r in results.findings.shift if r.metric == results.primary and r.name in candidates and not math.isnan(r.outside)]
    sign = -1 if measure_of(results.primary).higher_is_better else 1
    return sorted(rows, key=lambda row: sign * row.outside)


def trainings(rows: Sequence[Shift]) -> list[str]:
    """The domains that were trained on, by name, and all of them together first."""
    names = sorted({row.trained_on for row in rows} - {ALL})
    return ([ALL] if any(row.trained_on == ALL for row in rows) else []) + names


def _best_outside(results: Results, rows: Sequence[Shift]) -> str:
    rows = [row for row in rows if row.trained_on == trainings(rows)[0]]
    measure = measure_of(results.primary)
    best = rows[0]
    least = max(rows, key=lambda row: row.drop if measure.higher_is_better else -row.drop)
    text = (
        f"Outside the domain that it was trained on, {code(best.name)} stands best, at {_outside(best)}, against {_inside(best)} inside: "
        f"a change of {_drop(results, best)}."
    )
    return text if least is best else f"{text} {code(least.name)} loses least: {_drop(results, least)}."


def _inside(row: Shift) -> str:
    return with_interval(row.inside, row.inside_lo, row.inside_hi, 3)


def _outside(row: Shift) -> str:
    return with_interval(row.outside, row.outside_lo, row.outside_hi, 3)


def _drop(results: Results, row: Shift) -> str:
    measure = measure_of(results.primary)
    return f"{difference(measure, row.drop, row.drop_lo, row.drop_hi)}{' points' if measure.in_points else ''}"


def _alt(results: Results, rows: Sequence[Shift]) -> str:
    best = next(row for row in rows if row.trained_on == trainings(rows)[0])
    return (
        f"{measure_of(results.primary).name} inside and outside the domain that was trained on: best outside is {best.name}, "
        f"{best.outside:.3f} against {best.inside:.3f} inside"
    )


def _table(results: Results, rows: Sequence[Shift], trained_on: Sequence[str]) -> Table:
    header = [
        "strategy",
        "trained on",
        "inside",
        "outside",
        f"outside − inside{', points' if measure_of(results.primary).in_points else ''}",
    ]
    cells = [
        [code(row.name), _training(row), _inside(row), _outside(row), _drop(results, row).removesuffix(" points")]
        for name in trained_on
        for row in rows
        if row.trained_on == name
    ]
    return Table(header, cells, texts=2)


def _training(row: Shift) -> str:
    return "each in turn" if row.trained_on == ALL else literal(row.trained_on)
