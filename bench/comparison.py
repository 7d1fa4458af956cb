"""The default `dvc repro` of a fresh project, stage by stage, beside the same strategies as plain PyTorch scripts.

    python -m bench.comparison                         # half an hour and more on two cores
    python -m bench.comparison --tour                  # all of it on digits, in a few minutes
    python -m bench.comparison --skip-repro            # the scripts alone, in this project, which must have its features

Writes the section `comparison` of reports/bench.json.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.plain_scripts import Cost, costs
from bench.processes import Repro, python_module, repro
from bench.results import Row, Section, Target, at_least, at_most, ratio, write_section
from thaw.devices import find_device, precision_of
from thaw.files import read_json
from thaw.params import read_params
from thaw.runs import CONTROLS, COSTS, HEADS
from thaw.tour import DIALS, copy_project, own_images

WHOLE, SAME, SCRIPTS, START = (
    "dvc repro, everything",
    "dvc repro, the strategies alone",
    "plain scripts, the same strategies",
    "start of a cell",
)
FINAL = re.compile(r"final: [\d,]+ images seen in ([\d.]+) s$")
"""What stage final says of its training."""
SHARED = ("code", "fetch", "prepare", "split")
"""Stages that the strategies alone need as well."""
ABOUT = (
    "Measured: one `dvc repro` of a fresh project with {dials}, in a temporary folder with DVC's cache and MLflow's store of its own; "
    "training steps are in {precision}; a stage lasts from DVC's announcement of it to the next, so that keeping what it made is in it. "
    "Seconds inside training or extraction are those that the cells, the heads and the features write into costs, and those that the "
    "final model says it took to train; the learning curve, the audit, the evaluation and all predictions on test images count as "
    "outside. "
    "The start of a cell is the time from starting its process to its first batch, in a process that ends there and imports by itself; "
    "the cells of the comparison are forked from one that has imported. The plain "
    "scripts are measured in part and multiplied: of each fine-tuned strategy one cell is run, of each of its phases one epoch at most "
    "({steps}), and one pass over validation, which are multiplied by the phases' steps, by the epochs and by the folds; features of the "
    "first images are multiplied up to all of them, and the linear probe of one fold (scikit-learn, every C) to all folds. They open "
    "every image with Pillow in a DataLoader with two workers, keep PyTorch's own memory format in float32, and run the frozen backbone "
    "in every epoch of a head-only phase. Predictions on test images, the other heads and the start of their processes are not counted "
    "for the scripts. They run after `dvc repro`, not in turns with it, so the machine should be otherwise idle. The strategies alone, of"
    " dvc repro, are its stages code, fetch, prepare, split, features and finetune, and the fits of the linear probe."
)


@dataclass(frozen=True)
class Ran:
    """A `dvc repro`, and what it wrote into costs."""

    whole: Repro
    costs: dict[str, float]  # file below costs/, without its ending -> s

    def stages(self, *names: str) -> float:
        """Seconds of the stages of these names, of a matrix all together."""
        return sum(seconds for stage, seconds in self.whole.stages.items() if stage.partition("@")[0] in names)

    def inside(self) -> dict[str, float]:
        """Seconds of training and extraction: of the cells, of the heads and controls, of the features of all backbones, and of the
        model at the end, unless that is a head."""
        found = {"cells": 0.0, "heads": 0.0, "features": 0.0}
        found["final"] = sum(float(trained.group(1)) for line in self.whole.said if (trained := FINAL.match(line)))
        for name, seconds in self.costs.items():
            what = name.split("/")[1]
            found["features" if what == "features" else "heads" if what in (*HEADS, *CONTROLS) else "cells"] += seconds
        return found

    def outside(self) -> dict[str, float]:
        """Stage of a cell -> seconds of its stage that are not training: start, predictions, writing, and DVC's keeping."""
        cells = {stage: stage.partition("@")[2].replace("-", "/") for stage in self.whole.stages if stage.startswith("finetune@")}
        return {stage: self.whole.stages[stage] - self.costs[cell] for stage, cell in cells.items()}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--tour", action="store_true", help="with the dials of `thaw tour`, on digits")
    asked.add_argument("--folds", type=int, help="only so many, two at least")
    asked.add_argument("--steps", type=int, help="of a phase that the scripts run at most")
    asked.add_argument("--starts", type=int, default=3, help="rounds of the start of a cell")
    asked.add_argument("--keep", type=Path, help="a new folder to make the project in, kept afterwards")
    asked.add_argument("--skip-repro", action="store_true")
    dials = asked.parse_args()
    if dials.skip_repro:
        found = section(None, [], scripts(Path.cwd(), dials.steps), ABOUT)
    else:
        with tempfile.TemporaryDirectory() as name:
            folder = dials.keep or Path(name)
            fresh_project(Path.cwd(), folder, dials.tour, dials.folds)
            ran = run(folder)
            found = section(ran, starts(folder, dials.starts), scripts(folder, dials.steps), ABOUT)
    words = {
        "dials": "the dials of `thaw tour`" if dials.tour else "the default dials",
        "precision": precision_of(find_device(), read_params().finetune.precision),
        "steps": "whole" if dials.steps is None else f"{dials.steps} steps",
    }
    write_section("comparison", described(found, words))


def fresh_project(project: Path, folder: Path, tour: bool, folds: int | None) -> None:
    params = project / "params.yaml"
    given = DIALS if tour else own_images(project, params)
    copy_project(project, folder, dict(given) | ({"split.folds": list(range(folds))} if folds else {}), None if tour else params)


def run(folder: Path) -> Ran:
    whole = repro(folder, echo=True)
    root = folder / COSTS
    return Ran(whole, {str(path.relative_to(root).with_suffix("")): read_json(path)["seconds"] for path in sorted(root.rglob("*.json"))})


def starts(folder: Path, rounds: int) -> list[float]:
    """Seconds from the start of a cell's process to its first batch; a strategy that trains everything from its first step."""
    params = read_params(folder / "params.yaml")
    strategy = next(name for name in params.finetune.strategies if params.strategies[name].phases[0].train == "all")
    found = []
    for _ in range(rounds):
        started = time.time()  # the other process reads the same clock
        done = python_module(folder, "bench.first_batch", params.finetune.backbones[0], strategy, "0")
        (at,) = (line.text for line in done.lines if line.text.startswith('{"at"'))
        found.append(float(at.partition(":")[2].strip(" }")) - started)
    return found


def scripts(folder: Path, steps: int | None) -> dict[str, Cost]:
    given = () if steps is None else ("--steps", str(steps))
    return dict(costs(python_module(folder, "bench.plain_scripts", *given).last_json()))


# ---- the section


def section(ran: Ran | None, begun: list[float], peer: Mapping[str, Cost], about: str) -> Section:
    rows = [Row(SCRIPTS, [sum(cost.whole for cost in peer.values())], note="multiplied from what was measured of it")]
    rows += [Row(f"scripts: {name}", [cost.whole], note=f"{cost.measured:.1f} s measured: {cost.what}") for name, cost in peer.items()]
    extra: dict[str, Any] = {}
    targets: list[Target] = []
    if ran is not None:
        rows = [Row(WHOLE, [ran.whole.seconds]), Row(SAME, [same(ran)]), Row(START, begun, note="to the first batch"), *rows]
        rows += [Row(f"of dvc repro: {name}", [seconds]) for name, seconds in by_stage(ran).items()]
        inside, outside = ran.inside(), list(ran.outside().values())
        extra = {
            "inside_seconds": {name: round(seconds, 1) for name, seconds in inside.items()},
            "seconds_of_a_cell_outside_its_training": spread(outside),
        }
        targets = [
            at_most("<= 20 minutes", ran.whole.seconds / 60, 20.0),
            at_least(">= 80 % inside training or extraction", 100 * sum(inside.values()) / ran.whole.seconds, 80.0),
            at_most("start-up of a training cell <= 4 s", median(begun), 4.0),
        ]
    ratios = [ratio(rows, name, SCRIPTS, f"{name}, against the scripts") for name in (WHOLE, SAME)] if ran else []
    return Section("The default comparison", about, 1, rows, ratios, targets, extra)


def described(found: Section, words: Mapping[str, str]) -> Section:
    """With the words that depend on the dials."""
    return Section(**{**vars(found), "about": found.about.format(**words)})


def same(ran: Ran) -> float:
    """Seconds of what the scripts do as well."""
    probes = sum(seconds for cell, seconds in ran.costs.items() if cell.split("/")[1] == HEADS[0])
    return ran.stages(*SHARED, "features", "finetune") + probes


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": round(median(values), 2), "least": round(min(values), 2), "largest": round(max(values), 2)} if values else {}


def by_stage(ran: Ran) -> dict[str, float]:
    """Seconds of the stages of each name, a matrix together; ``DVC itself``: what lies before the first and between."""
    names = dict.fromkeys(stage.partition("@")[0] for stage in ran.whole.stages)
    found = {name: ran.stages(name) for name in names}
    return found | {"DVC itself": ran.whole.seconds - sum(found.values())}


if __name__ == "__main__":
    main()
