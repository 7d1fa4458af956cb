"""finetune@B-S-F: one cell = backbone x strategy x fold: independent, restartable, and cached by DVC."""

import sys

from thaw.startup import run_stage, uncollected


def main(backbone: str, strategy: str, fold: str) -> None:
    with uncollected():
        from thaw.cells import identity_of, train_cell
        from thaw.params import read_params
    params = read_params()
    train_cell(params, identity_of(params, backbone, strategy, fold))


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
