"""Stage track: MLflow made equal to the records of the runs that the params ask for, and to what the report is made of."""

import sys
from pathlib import Path

from thaw.files import read_json
from thaw.params import read_params
from thaw.startup import run_stage
from thaw.tracking import StoreAway, find_store, track

DATASET = Path("data/dataset.json")


def main() -> None:
    """A store that is away is no failure: the records are the truth, and the next ``dvc repro track`` catches up."""
    params = read_params()
    experiment = params.track.experiment
    grouped = DATASET.exists() and read_json(DATASET)["grouped"]
    scratch = [name for name, strategy in params.strategies.items() if strategy.start == "random"]
    try:
        changes = track(
            params.runs(), experiment, find_store(), learning=params.learning_runs(grouped), scratch=scratch, title=params.report.title
        )
    except StoreAway as away:
        print(f"MLflow is away ({away}): nothing is lost, `dvc repro track` catches up", file=sys.stderr)
    else:
        print(changes.sentence())


if __name__ == "__main__":
    run_stage(main)
