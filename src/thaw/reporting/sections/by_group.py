"""From group to group: whether the lead is everywhere or in a few, and which groups are hard for everybody."""

import math
from collections.abc import Sequence
from statistics import median

from thaw.measures import number
from thaw.reporting.blocks import Block, Folded, Table, figure
from thaw.reporting.findings import GroupFigures, of
from thaw.reporting.results import Results
from thaw.reporting.tables import code, literal
from thaw.reporting.wording import counted, percent

HARDEST = 8  # rows


def from_group_to_group(results: Results, drawn: Sequence[str]) -> list[Block]:
    winner = hardest_first(of(results.winner.name, results.findings.groups))
    if not winner:
        return []
    caption = (
        f"Accuracy in each {literal(results.group_name)}, hardest on the left. Blue circles are the winner, {code(results.winner.name)}, "
        f"black bars {code(results.reference.name)}, the reference. A group with few images jumps about by chance."
    )
    return [
        " ".join(part for part in (_range(results, winner), _lead(results, winner), _domains(winner)) if part),
        *figure(drawn, "groups", _alt(results, winner), caption),
        Folded(f"The hardest {results.units}", [_hardest(results, winner)]),
    ]


def hardest_first(rows: list[GroupFigures]) -> list[GroupFigures]:
    """By accuracy, then by name, so that equals keep their order."""
    return sorted((row for row in rows if not math.isnan(row.accuracy)), key=lambda row: (row.accuracy, row.group))


def _range(results: Results, rows: list[GroupFigures]) -> str:
    low, high, middle = rows[0], rows[-1], median(row.accuracy for row in rows)
    return (
        f"In single {literal(results.units)} the accuracy of {code(results.winner.name)} runs from {number(low.accuracy, 2)} "
        f"({literal(low.group)}) to {number(high.accuracy, 2)} ({literal(high.group)}); the median is {number(middle, 2)}."
    )


def _lead(results: Results, rows: list[GroupFigures]) -> str:
    """In how many groups the winner is ahead of the reference, level with it, behind it."""
    rival = {row.group: row.accuracy for row in of(results.reference.name, results.findings.groups)}
    gaps = [row.accuracy - rival[row.group] for row in rows if not math.isnan(rival.get(row.group, math.nan))]
    if results.winner is results.reference or not gaps:
        return ""
    ahead, behind = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
    return (
        f"Against {code(results.reference.name)} it is ahead in {ahead} of {counted(len(gaps), literal(results.group_name))}, "
        f"behind in {behind}, level in {len(gaps) - ahead - behind}."
    )


def _domains(rows: list[GroupFigures]) -> str:
    """Accuracy by domain, where there is more than one."""
    names = sorted({row.domain for row in rows if row.domain})
    if len(names) < 2:
        return ""
    told = [f"{literal(name)} {percent(round(100 * _accuracy([r for r in rows if r.domain == name])) / 100)}" for name in names]
    return f"By domain its accuracy is: {', '.join(told)}."


def _accuracy(rows: list[GroupFigures]) -> float:
    """Over images, not over groups."""
    return sum(row.accuracy * row.n for row in rows) / max(sum(row.n for row in rows), 1)


def _alt(results: Results, rows: list[GroupFigures]) -> str:
    return (
        f"Accuracy of {results.winner.name} and {results.reference.name} in each of {counted(len(rows), results.group_name)}: "
        f"from {number(rows[0].accuracy, 2)} in {rows[0].group} to {number(rows[-1].accuracy, 2)} in {rows[-1].group}"
    )


def _hardest(results: Results, rows: list[GroupFigures]) -> Table:
    rival = {row.group: row.accuracy for row in of(results.reference.name, results.findings.groups)}
    binary = len(results.classes) == 2
    header = [
        literal(results.group_name),
        "domain",
        "images",
        *([literal(results.classes[1])] if binary else []),
        "accuracy",
        f"accuracy of {code(results.reference.name)}",
        "log loss",
    ]
    cells = [
        [
            literal(row.group),
            literal(row.domain),
            f"{row.n:,}",
            *([number(row.positives, 0)] if binary else []),
            number(row.accuracy, 2),
            number(rival.get(row.group), 2),
            number(row.log_loss),
        ]
        for row in rows[:HARDEST]
    ]
    return Table(header, cells, texts=2)
