"""Stage track: MLflow made equal to the records of the runs that the params ask for."""

import sys

from thaw.errors import exit_with_one_line
from thaw.params import read_params
from thaw.tracking import StoreAway, find_store, track


def main() -> None:
    """A store that is away is no failure: the records are the truth, and the next ``dvc repro track`` catches up."""
    params = read_params()
    experiment = params.track.experiment
    try:
        changes = track(params.runs(), experiment, find_store())
    except StoreAway as away:
        print(f"MLflow is away ({away}): nothing is lost, `dvc repro track` catches up", file=sys.stderr)
    else:
        print(changes.sentence(experiment))


if __name__ == "__main__":
    exit_with_one_line(main)
