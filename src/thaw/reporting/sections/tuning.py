"""How much each strategy was tuned, and whether its optimum lies on the edge of what was tried: who had more trials had more luck."""

from collections.abc import Sequence
from math import prod

from thaw.measures import NOTHING
from thaw.reporting.blocks import Block, Table
from thaw.reporting.results import Result, Results
from thaw.reporting.tables import code, literal
from thaw.reporting.wording import counted
from thaw.runs import Record


def tuning_budget(results: Results, drawn: Sequence[str]) -> list[Block]:
    """A sentence or two, and a row for each candidate that was tuned."""
    rows = [[code(r.name), str(trials_of(r.records[0])), _chosen(r), _edges(r)] for r in results.candidates if trials_of(r.records[0]) > 1]
    untuned = [code(r.name) for r in results.candidates if trials_of(r.records[0]) == 1]
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(["strategy", "trials in each fold", "chosen, fold by fold", "on the edge of what was tried"], rows, notes=2))
    if untuned:
        blocks.append(
            f"One trial, as params.yaml has it: {', '.join(untuned)}. With `tune.trials` every fine-tuned strategy gets the same number."
        )
    return [
        "Every choice is validation's, within the fold; test images are never asked. An optimum on the edge may lie beyond it. "
        "More trials are more chances: strategies compare fairly where these numbers are alike.",
        *blocks,
    ]


def trials_of(record: Record) -> int:
    """Settings that validation chose among; 1 where there was no choice."""
    if record.kind == "finetune":
        return max(1, len(record.choices.get("trials", [])))
    return prod(len(grid) for grid in _grids(record).values())


def _grids(record: Record) -> dict[str, list[float]]:
    """A head's dials with more than one value to choose among."""
    settings = record.inputs.get("settings", {})
    return {name: grid for name, grid in settings.items() if name in record.metrics and isinstance(grid, list) and len(grid) > 1}


def _factors(record: Record) -> dict[str, float]:
    """What was chosen: a head's dials, or a training's factors on its dials."""
    if record.kind == "head":
        return {name: record.metrics[name] for name in _grids(record)}
    trial = record.choices["trials"][record.choices["chosen_trial"]]
    return {f"{name.replace('_', ' ')} ×": value for name, value in trial.items() if name != "score"}


def _chosen(result: Result) -> str:
    folds = [_factors(record) for record in result.records]
    return "; ".join(f"{literal(name)} {', '.join(f'{fold[name]:g}' for fold in folds)}" for name in folds[0])


def _on_edge(record: Record) -> list[str]:
    if record.kind == "finetune":
        return [name.replace("_", " ") for name in record.choices.get("edges", [])]
    return [name for name, grid in _grids(record).items() if len(grid) > 2 and record.metrics[name] in (min(grid), max(grid))]


def _edges(result: Result) -> str:
    found = [name for record in result.records for name in _on_edge(record)]
    return ", ".join(f"{literal(name)} in {counted(found.count(name), 'fold')}" for name in dict.fromkeys(found)) or NOTHING
