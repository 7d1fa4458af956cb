"""finetune_part@B-S-P-F: a cell on P % of the labelled images of its fold, for the learning curve."""

import sys

from thaw.errors import InputError
from thaw.startup import run_stage, uncollected


def main(backbone: str, strategy: str, percent: str, fold: str) -> None:
    with uncollected():
        from thaw.cells import identity_of, train_cell
        from thaw.fractions import Fraction
        from thaw.params import read_params
    params = read_params()
    if not (percent.isdecimal() and 0 < int(percent) < 100):
        raise InputError(f"finetune_part: {percent!r} is not a percentage between 1 and 99, such as 25")
    train_cell(params, identity_of(params, backbone, strategy, fold), Fraction("images", int(percent)))


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
