"""learn@B: heads on nested shares of the labelled images, by images and by groups, for the learning curve."""

import sys
from pathlib import Path

from thaw.fractions import HEADS, By, Fraction
from thaw.head_runs import fit_and_write, prepare, strategies
from thaw.params import read_params
from thaw.progress import progress
from thaw.startup import run_stage


def main(backbone: str) -> None:
    params = read_params()
    Path(HEADS, backbone).mkdir(parents=True, exist_ok=True)  # DVC wants the folder, empty or not
    prepared = prepare(params, backbone, params.learning.heads)
    fits = strategies(params.heads, params.selection.metric, len(prepared.dataset.classes))
    kinds: list[By] = [kind for kind in params.learning.by if kind == "images" or prepared.dataset.grouped]
    fractions = [Fraction(kind, percent) for kind in kinds for percent in params.learning.percents]
    with progress(f"learn@{backbone}", len(params.learning.heads) * len(fractions) * len(params.split.folds)) as shown:
        for fraction in fractions:
            for name in params.learning.heads:
                reached = []
                for number in params.split.folds:
                    fold = prepared.part(prepared.fold(number), fraction)
                    reached.append(fit_and_write(prepared, name, fold, *fits[name], fraction))
                    shown.advance(1)
                shown.line(f"{name}, {fraction.percent} % by {fraction.by}: validation AUC {', '.join(f'{auc:.3f}' for auc in reached)}")


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
