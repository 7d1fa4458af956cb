"""prepare: index and raw images -> data/images.npy (N, H, W, C) uint8, decoded once and memory-mapped by everything after."""

from pathlib import Path

import numpy as np

from thaw.errors import exit_with_one_line
from thaw.files import whole
from thaw.images import decode_square
from thaw.index import read_index
from thaw.params import read_params
from thaw.progress import progress


def main() -> None:
    params = read_params()
    index = read_index(Path("data/index.csv"))
    largest = int(np.minimum(index["width"].to_numpy(), index["height"].to_numpy()).max())
    side = min(params.prepare.max_side, largest)
    channels = int(index["channels"].to_numpy().max())
    with progress("prepare", len(index)) as shown, whole(Path("data/images.npy")) as temporary:
        shape = (len(index), side, side, channels)
        images = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        for row, path in enumerate(index["path"]):
            images[row] = decode_square(Path("data/raw") / path, side, channels)
            shown.advance(1)
        images.flush()
        shown.line(f"{shape} uint8, {shown.rate:,.0f} images/s")


if __name__ == "__main__":
    exit_with_one_line(main)
