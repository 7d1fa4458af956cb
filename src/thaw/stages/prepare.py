"""prepare: index and raw images -> data/images.npy (N, H, W, C) uint8, decoded once and memory-mapped by everything after."""

from pathlib import Path

import numpy as np

from thaw.errors import InputError
from thaw.files import whole
from thaw.images import BadImage, decode_square
from thaw.index import read_index
from thaw.params import read_params
from thaw.progress import progress
from thaw.startup import run_stage

RAW = Path("data/raw")


def main() -> None:
    params = read_params()
    index = read_index(Path("data/index.csv"))
    largest = int(np.minimum(index["width"].to_numpy(), index["height"].to_numpy()).max())
    side = min(params.prepare.max_side, largest)
    channels = int(index["channels"].to_numpy().max())
    shape = (len(index), side, side, channels)
    with progress("prepare", len(index)) as shown, whole(Path("data/images.npy")) as temporary, temporary.open("wb") as file:
        # Image by image: what is written through a map would stay in memory.
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for path in index["path"]:
            try:
                file.write(decode_square(RAW / path, side, channels).tobytes())
            except BadImage as error:
                raise InputError(f"prepare: {RAW / path}: {error}; run `dvc repro -f fetch`") from None
            shown.advance(1)
        shown.line(f"{shape} uint8, {shown.rate:,.0f} images/s")


if __name__ == "__main__":
    run_stage(main)
