"""finetune_part@B-S-P-F: a cell on P % of the labelled images of its fold, for the learning curve."""

import sys

from thaw.errors import InputError, exit_with_one_line
from thaw.startup import uncollected


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
    exit_with_one_line(main, *sys.argv[1:])
