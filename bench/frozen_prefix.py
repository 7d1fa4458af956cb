"""What keeping the activations of frozen blocks saves: epochs of `gradual`'s first phase beside an epoch of `full`, in one process.

    python -m bench.frozen_prefix            # in a project where `dvc repro prepare split` has run; a few minutes

Prints a Markdown table of ratios, each to the epoch of `full` of the same round, since seconds on a shared machine mean little, and writes
a section of reports/bench.json.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from bench.results import Row, Section, at_most, ratio, write_section
from thaw.allocator import keep_freed_memory
from thaw.backbones import ordered_blocks
from thaw.cells import Cell, assemble
from thaw.devices import find_device, make_deterministic, precision_of
from thaw.finetune import Observer, train
from thaw.inputs import Material
from thaw.params import Phase, read_params
from thaw.runs import Identity
from thaw.strategies import resolve

WAYS = ("kept", "kept, views: 1", "recomputed")
FULL = "full"
NOTES = {
    FULL: "an epoch in which everything trains",
    "kept": "the frozen blocks' activations are computed once for each image and each of its eight flips and turns, as they come up",
    "kept, views: 1": "the same with one view of each image",
    "recomputed": "finetune.activations_mb: 0",
}
Round = dict[str, list[float]]
"""Way -> seconds of each epoch; of full one epoch."""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--epochs", type=int, default=5)
    asked.add_argument("--images", type=int, default=512)
    dials = asked.parse_args()
    make_deterministic(find_device())  # as the stage does
    keep_freed_memory()
    rounds = [one_round(dials.epochs, dials.images) for _ in range(dials.rounds)]
    write_section("frozen_prefix", section_of(rounds, dials.epochs, dials.images))
    print(table(rounds, dials.epochs))


def one_round(epochs: int, images: int) -> Round:
    whole = seconds_of_epochs("full", images, lambda phase: phase.model_copy(update={"epochs": 1}), keep=True)
    return {FULL: whole} | {
        way: seconds_of_epochs(
            "gradual",
            images,
            lambda phase, way=way: phase.model_copy(update={"epochs": epochs, "views": 1 if "views" in way else None}),
            keep=way != "recomputed",
        )
        for way in WAYS
    }


def seconds_of_epochs(strategy: str, images: int, change: Callable[[Phase], Phase], keep: bool) -> list[float]:
    """Wall clock of every epoch of the strategy's first phase, as ``change`` leaves it, validation included."""
    params = read_params()
    cell = assemble(params, Identity(params.finetune.backbones[0], strategy, 0))
    phase = change(params.strategies[strategy].phases[0])
    phases = resolve(cell.network, ordered_blocks(cell.network.backbone), [phase], params.strategies[strategy].norm, "bench")
    regime = cell.regime if keep else replace(cell.regime, activations_mb=0)
    ends: list[float] = []
    observer = Observer(lambda _: None, lambda row: ends.append(time.perf_counter()), lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        train(cell.network, phases, fewer(cell, images), regime, cell.record.inputs["seed"], Path(folder) / "state.safetensors", observer)
    return [end - begin for begin, end in zip([start, *ends], ends, strict=False)]


def fewer(cell: Cell, images: int) -> Material:
    """The first images of the fold, and an eighth as many to validate."""
    return replace(cell.material, train=cell.material.train[:images], val=cell.material.val[: images // 8])


def section_of(rounds: list[Round], epochs: int, images: int) -> Section:
    """Rows of seconds of an epoch: the median of those after the first, in which activations are computed; and the first alone."""
    rows = [Row(FULL, [one[FULL][0] for one in rounds], images, NOTES[FULL])]
    for way in WAYS:
        rows.append(Row(f"{way}, first epoch", [one[way][0] for one in rounds], images, NOTES[way]))
        if epochs > 1:
            rows.append(Row(way, [median(one[way][1:]) for one in rounds], images, f"median of the {epochs - 1} epochs after the first"))
    ratios = [ratio(rows, row.name, FULL, f"{row.name}, to an epoch of full") for row in rows[1:]]
    precision = precision_of(find_device(), read_params().finetune.precision)
    later = next((one for one in ratios if one.of == "kept"), None)
    return Section(
        title="Epochs with frozen blocks, whose activations are kept",
        about=(
            f"The first phase of strategy gradual, in which the head alone trains, beside an epoch of full in the same round and process; "
            f"{images} training images, an eighth as many to validate, validation included. Steps are in {precision}, and frozen blocks in "
            "float32 where their output is kept."
        ),
        rounds=len(rounds),
        rows=rows,
        ratios=ratios,
        targets=[at_most("epochs after the first take at most 1/5 of an epoch of full", 1 / later.median, 0.2)] if later else [],
    )


def table(rounds: list[Round], epochs: int) -> str:
    header = ["epoch", *(str(epoch + 1) for epoch in range(epochs)), "median after the first"]
    lines = [header, ["---"] * len(header)]
    for way in WAYS:
        shares = [[seconds / one[FULL][0] for seconds in one[way]] for one in rounds]
        cells = [" ".join(f"{one[epoch]:.3f}" for one in shares) for epoch in range(epochs)]
        later = [share for one in shares for share in one[1:]]
        lines.append([way, *cells, f"{median(later):.3f}" if later else "-"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
