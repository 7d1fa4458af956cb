"""scikit-learn's digits: 1,797 gray 8x8 images of handwritten digits, 10 classes, shipped with the library. For tests and tours."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from thaw.index import Dataset
from thaw.sources import Fetched

NOTES = [
    "Digits are scikit-learn's copy of the UCI optical recognition test set (CC BY 4.0); writers are not published, so there are no groups."
]


def fetch(raw: Path) -> Fetched:
    """Write the arrays as 8-bit PNG files: grey level 0..16 becomes 0..255."""
    from sklearn.datasets import load_digits

    digits: Any = load_digits()  # a Bunch, whose stubs say tuple
    folder = raw / "images"
    folder.mkdir(parents=True)
    ids = [f"digit{row:04d}" for row in range(len(digits.target))]
    for name, image in zip(ids, digits.images, strict=True):
        Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8)).save(folder / f"{name}.png")
    table = pd.DataFrame(
        {
            "id": ids,
            "path": [f"images/{name}.png" for name in ids],
            "label": [str(target) for target in digits.target],
            "group": ids,
            "domain": "all",
            "split": "",
            "weight": 1.0,
        }
    )
    return Fetched(table, Dataset("digits", [str(k) for k in range(10)], False, False, "image", NOTES))
