"""Fashion-MNIST (Xiao 2017): 70,000 gray 28 x 28 images of clothing, 10 classes; from Debian's files, else by torchvision."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from thaw.errors import InputError
from thaw.index import Dataset
from thaw.sources import Fetched
from thaw.splits import TEST, TRAIN

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where ``apt-get install dataset-fashion-mnist`` puts them."""
FILES = {TRAIN: "train", TEST: "t10k"}
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
NOTES = ["Fashion-MNIST is licensed MIT. Cite: Xiao et al., Fashion-MNIST: a novel image dataset for benchmarking machine learning (2017)."]
IMAGES, LABELS = 2051, 2049
"""What the files begin with: a number that says their kind."""


def fetch(raw: Path) -> Fetched:
    """Write the images as PNG below ``raw``, training images first."""
    if not DEBIAN.is_dir():
        from thaw.sources import torchvision

        return torchvision.fetch(raw, "FashionMNIST")
    rows = []
    for split, name in FILES.items():
        labels = _read_labels(DEBIAN / f"{name}-labels-idx1-ubyte.gz")
        _write_images(DEBIAN / f"{name}-images-idx3-ubyte.gz", raw / split, len(labels))
        rows += [(f"{split}/{row:06d}", CLASSES[label], split) for row, label in enumerate(labels)]
    table = pd.DataFrame(rows, columns=["id", "label", "split"])
    table = table.assign(path=table["id"] + ".png", group=table["id"], domain="all", weight=1.0)
    return Fetched(table, Dataset("fashion_mnist", CLASSES, False, False, "image", NOTES))


def _read_labels(path: Path) -> list[int]:
    with gzip.open(path) as file:
        kind, _ = np.frombuffer(file.read(8), dtype=">u4").tolist()
        _check(path, kind, LABELS)
        return list(file.read())


def _write_images(path: Path, folder: Path, count: int) -> None:
    """One after the other: the whole is never in memory."""
    folder.mkdir(parents=True)
    with gzip.open(path) as file:
        kind, n, height, width = np.frombuffer(file.read(16), dtype=">u4").tolist()
        _check(path, kind, IMAGES)
        if n != count:
            raise InputError(f"data.source fashion_mnist: {path} has {n} images, and there are {count} labels; install the package again")
        for row in range(n):
            pixels = np.frombuffer(file.read(height * width), dtype=np.uint8)
            Image.fromarray(pixels.reshape(height, width)).save(folder / f"{row:06d}.png")


def _check(path: Path, kind: int, expected: int) -> None:
    if kind != expected:
        raise InputError(f"data.source fashion_mnist: {path} is not what it should be (begins with {kind}); install the package again")
