"""Preprocessing mismatch: what it costs to show a network other pixels than it was pretrained on."""

from collections.abc import Sequence

from thaw.measures import difference, measure_of
from thaw.reporting.blocks import Block, Table
from thaw.reporting.findings import Mismatch
from thaw.reporting.results import Results
from thaw.reporting.tables import code, literal
from thaw.reporting.wording import short_p

WORDS = {
    "normalisation": "another checkpoint's mean and deviation",
    "no_normalisation": "no normalisation",
    "interpolation": "nearest-neighbour resizing",
    "size": "half the side",
}


def preprocessing_mismatch(results: Results, drawn: Sequence[str]) -> list[Block]:
    rows = [row for row in results.findings.mismatch if row.metric == results.primary]
    if not rows:
        return [
            "Not tested here: list a backbone that has `mismatch` (normalisation, no_normalisation, interpolation or size) under "
            "`features.backbones` to see what a mistake in preprocessing costs."
        ]
    return [_worst(results, rows), _table(results, rows)]


def _worst(results: Results, rows: Sequence[Mismatch]) -> str:
    measure = measure_of(results.primary)
    worst = min(rows, key=lambda row: row.diff if measure.higher_is_better else -row.diff)
    clear = "" if worst.hi < 0 or worst.lo > 0 else "; even that interval reaches zero"
    return (
        "The same weights and images, with one thing about the pixels wrong on purpose. "
        f"What costs most is {WORDS.get(worst.mismatch, literal(worst.mismatch))}: {_diff(results, worst)} "
        f"{measure.unit} for {code(worst.strategy)} on {code(worst.twin)}{clear}."
    )


def _diff(results: Results, row: Mismatch) -> str:
    return difference(measure_of(results.primary), row.diff, row.lo, row.hi)


def _table(results: Results, rows: Sequence[Mismatch]) -> Table:
    measure = measure_of(results.primary)
    header = ["what is wrong", "backbone", "right twin", "strategy", f"difference, {'points' if measure.in_points else measure.name}", "p"]
    cells = [
        [
            WORDS.get(row.mismatch, literal(row.mismatch)),
            code(row.backbone),
            code(row.twin),
            code(row.strategy),
            _diff(results, row),
            short_p(row.p),
        ]
        for row in rows
    ]
    return Table(header, cells, texts=4)
