"""What a small edit costs in a finished project: `dvc repro` with nothing changed, with a rate edited, with the report's code edited.

    python -m bench.overhead                       # makes a project of digits in a temporary folder; a few minutes
    python -m bench.overhead --project FOLDER      # in a finished project, whose edited files are put back at the end

Writes the section `overhead` of reports/bench.json.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from bench.processes import Repro, repro
from bench.results import Row, Section, at_most, interleaved, ratio, write_section
from thaw.copies import set_dials
from thaw.params import read_params
from thaw.runs import COSTS, Identity, read_cost
from thaw.tour import DIALS, copy_project

NOTHING, REPORT, RATE, CELLS, TRAINING = (
    *("nothing changed", "the report's code edited", "one strategy's rate edited"),
    *("of which the strategy's cells", "of which their training"),
)
REPORT_CODE = Path("src/thaw/reporting/wording.py")
"""A module that the report alone is made of."""
ABOUT = (
    "Wall clock of `dvc repro` in a finished project ({project}), after nothing was changed, after a comment was added to a module of "
    "the report, and after the rate of the strategy {strategy} was changed, which also evaluates, reports, refits the model at the "
    "end and tells MLflow. Cells are DVC's stages of that strategy from announcement to announcement; their training is what they "
    "write into costs. No edit repeats an earlier one, so nothing comes from DVC's cache of runs."
)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--project", type=Path, help="a finished project; without it one of digits is made")
    asked.add_argument("--strategy", default="full", help="whose rate is edited")
    asked.add_argument("--rounds", type=int, default=3)
    dials = asked.parse_args()
    with finished_project(Path.cwd(), dials.project) as folder:
        found = measure(folder, dials.strategy, dials.rounds)
    about = ABOUT.format(project="digits, two folds, one epoch" if dials.project is None else dials.project.name, strategy=dials.strategy)
    write_section("overhead", section(found, dials.rounds, about))


@contextmanager
def finished_project(project: Path, given: Path | None) -> Iterator[Path]:
    """The one that is given, or one of digits, which goes afterwards. Nothing is left to do in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) if given is None else given
        if given is None:
            copy_project(project, folder, DIALS)
        repro(folder)
        with put_back(folder, [Path("params.yaml"), REPORT_CODE]):
            yield folder
        if given is not None:
            repro(folder)  # from the cache


@contextmanager
def put_back(folder: Path, files: list[Path]) -> Iterator[None]:
    """The files have their content again when the block ends, however it ends."""
    before = {file: (folder / file).read_bytes() for file in files}
    try:
        yield
    finally:
        for file, content in before.items():
            (folder / file).write_bytes(content)


@dataclass(frozen=True)
class Edited:
    """A `dvc repro` after an edit."""

    whole: Repro
    cells: float = 0.0  # s, of the stages of the edited strategy
    training: float = 0.0  # s, of its costs


def measure(folder: Path, strategy: str, rounds: int) -> dict[str, list[Edited]]:
    """Every way leaves the project finished, so that they may come in any order."""
    ways: dict[str, Callable[[], Edited]] = {
        NOTHING: lambda: Edited(repro(folder)),
        REPORT: partial(edit_report, folder),
        RATE: partial(edit_rate, folder, strategy),
    }
    return interleaved(ways, rounds)


def edit_report(folder: Path) -> Edited:
    with (folder / REPORT_CODE).open("a", encoding="utf-8") as file:
        file.write(f"\n# edited at {time.time_ns()}\n")
    return Edited(repro(folder))


def edit_rate(folder: Path, strategy: str) -> Edited:
    """The rates of the first phase, larger by less than a millionth that no earlier edit had."""
    params = read_params(folder / "params.yaml")
    factor = 1 + time.time_ns() % 10**9 * 1e-15
    rates = {pattern: rate * factor for pattern, rate in params.strategies[strategy].phases[0].rates.items()}
    set_dials(folder / "params.yaml", {f"strategies.{strategy}.phases.0.rates": rates})
    whole = repro(folder)
    cells = sum(seconds for stage, seconds in whole.stages.items() if is_cell(stage, strategy))
    costs = [read_cost(Identity(*run), folder / COSTS)["seconds"] for run in params.runs() if run[1] == strategy]
    return Edited(whole, cells, sum(costs))


def is_cell(stage: str, strategy: str) -> bool:
    """Whether a stage of DVC's trains the strategy on all labels: ``finetune@lite0-full-0``. Names may hold no hyphen."""
    name, _, cell = stage.partition("@")
    return name == "finetune" and cell.split("-")[1] == strategy


def ran(stages: Iterable[str]) -> str:
    """The stages in words, a matrix by its name alone."""
    return "ran " + (", ".join(dict.fromkeys(stage.partition("@")[0] for stage in stages)) or "nothing")


def section(found: dict[str, list[Edited]], rounds: int, about: str) -> Section:
    rows = [Row(name, [one.whole.seconds for one in edits], note=ran(edits[0].whole.stages)) for name, edits in found.items()]
    rows += [Row(CELLS, [one.cells for one in found[RATE]]), Row(TRAINING, [one.training for one in found[RATE]])]
    seconds = {row.name: median(row.seconds) for row in rows}
    return Section(
        title="What an edit costs",
        about=about,
        rounds=rounds,
        rows=rows,
        ratios=[
            ratio(rows, CELLS, RATE, "the whole of `dvc repro` over the strategy's own cells"),
            ratio(rows, TRAINING, RATE, "the whole of `dvc repro` over their training alone"),
        ],
        targets=[at_most("nothing changed <= 3 s", seconds[NOTHING], 3.0), at_most("report only <= 10 s", seconds[REPORT], 10.0)],
    )


if __name__ == "__main__":
    main()
