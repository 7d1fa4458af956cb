"""heads@B: frozen features -> a run for every head strategy and control, in every fold. The backbone never runs."""

import sys

from thaw.head_runs import fit_and_write, prepare, strategies
from thaw.params import read_params
from thaw.progress import progress
from thaw.runs import CONTROLS, HEADS
from thaw.startup import run_stage


def main(backbone: str) -> None:
    params = read_params()
    prepared = prepare(params, backbone, (*HEADS, *CONTROLS))
    fits = strategies(params.heads, params.selection.metric, len(prepared.dataset.classes))
    with progress(f"heads@{backbone}", len(fits) * len(params.split.folds)) as shown:
        for number in params.split.folds:
            fold, reached = prepared.fold(number), []
            for name, fit in fits.items():
                shown.note(f"fold {number}, {name}")
                reached.append(f"{name} {fit_and_write(prepared, name, fold, *fit):.3f}")
                shown.advance(1)
            shown.line(f"fold {number}: validation AUC {', '.join(reached)}")


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
