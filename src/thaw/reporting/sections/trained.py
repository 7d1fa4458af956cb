"""What was trained: rates, groups of parameters, what validation chose, what the networks see."""

import json
from collections.abc import Sequence
from typing import Any

from thaw.measures import NOTHING
from thaw.reporting.answer import spread_of_seconds
from thaw.reporting.blocks import Block, Folded, Table
from thaw.reporting.results import Result, Results
from thaw.reporting.sections.board import without_twins
from thaw.reporting.tables import code, literal
from thaw.reporting.wording import counted, duration

MOST_ROWS = 6  # of a table of parameter groups that is shown without a click


def what_was_trained(results: Results, drawn: Sequence[str]) -> list[Block]:
    blocks: list[Block] = []
    for result in results.candidates:
        if result.finetuned:
            blocks += [f"### {code(result.name)}", _facts(result), *_groups(result)]
    return [*blocks, "### Heads and controls", _choices(results), "### What the networks see", *_preprocessing(results)]


def _facts(result: Result) -> str:
    start = {"random": "random weights", "linear_probe": "the linear probe of the same fold"}.get(result.start or "", "pretrained weights")
    epochs = counted(max(len(record.history) for record in result.records), "epoch")
    text = f"From {start}; {epochs}; {duration(result.typical_seconds)} ({spread_of_seconds(result)})."
    chosen = _chosen(result)
    return f"{text} Chosen on validation, fold by fold: {chosen}." if chosen else text


def _groups(result: Result) -> list[Block]:
    header = ["phase", "group", "peak rate", "weight decay", "tensors", "scalars"]
    rows = [
        [
            _phase(g),
            literal(str(g["group"])),
            f"{g['rate']:g}",
            f"{g['weight_decay']:g}",
            f"{g['tensors']:,}",
            f"{g['scalars']:,}",
        ]
        for g in result.records[0].groups
    ]
    table = Table(header, rows, texts=2)
    if len(rows) > MOST_ROWS:
        return [Folded(f"{len(rows)} groups of parameters, phase by phase", [table])]
    return [table] if rows else []


def _phase(group: dict[str, Any]) -> str:
    """``top, 1 epoch, cosine``, as far as the record says."""
    return ", ".join(literal(str(group[key])) for key in ("phase", "length", "schedule") if key in group)


def _choices(results: Results) -> Table:
    rows = [[code(name), _chosen(r) or NOTHING] for name, r in without_twins(results.shown) if not r.finetuned]
    return Table(["strategy", "chosen on validation, fold by fold"], rows, texts=2)


def _chosen(result: Result) -> str:
    """What validation decided: every number of the records that is not itself a validation score."""
    keys = sorted({key for record in result.records for key in record.metrics if not key.startswith("best_val_")})
    return "; ".join(
        f"{literal(key.replace('_', ' '))} {', '.join(_short(record.metrics.get(key)) for record in result.records)}" for key in keys
    )


def _short(value: float | int | None) -> str:
    return NOTHING if value is None else f"{value:g}"


def _preprocessing(results: Results) -> list[Block]:
    """Of every backbone, the deliberately wrong ones too."""
    heads = [r for r in reversed(results.ranked) if r.records[0].preprocessing]
    seen = {r.backbone: r.records[0].preprocessing for r in heads if not r.control or r.backbone in results.mismatched}
    keys = list(dict.fromkeys(key for settings in seen.values() for key in settings))
    rows = [[code(name), *(_setting(seen[name].get(key)) for key in keys)] for name in sorted(seen)]
    return (
        [Table(["backbone", *(literal(key.replace("_", " ")) for key in keys)], rows)] if rows else ["The records name no preprocessing."]
    )


def _setting(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_setting(item) for item in value)
    return literal(value if isinstance(value, str) else json.dumps(value))
