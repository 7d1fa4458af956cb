"""ELPV: 2,624 electroluminescence images of solar cells (Buerhop 2018, Deitsch 2019, 2021), from the package ``elpv-dataset``."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from thaw.errors import InputError
from thaw.index import Dataset
from thaw.sources import Fetched

MODULE_ENDS = (  # number of the last cell of each module, inferred: changes of cell type, 60 or 72 cells to a module, seams in brightness
    *(60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 660, 720, 780, 840, 900, 960, 1020, 1080, 1140, 1195, 1255, 1314),
    *(1374, 1434, 1494, 1554, 1614, 1674, 1734, 1794, 1854, 1904, 1964, 2024, 2084, 2144, 2216, 2276, 2336, 2396, 2444, 2504, 2564, 2624),
)
CLASSES = {
    "p_over_half": ["functional", "defective"],
    "p_over_zero": ["functional", "defective"],
    "drop_unsure": ["functional", "defective"],
    "four_classes": ["p0", "p33", "p67", "p100"],
}
NOTES = [
    "ELPV images are licensed CC BY-NC-SA 4.0: they may not be used commercially, and are fetched, never redistributed here.",
    "Cite: Deitsch et al., Automatic classification of defective photovoltaic module cells in electroluminescence images, "
    "Solar Energy 185 (2019).",
    "Defect probabilities of 1/3 and 2/3 are one expert's confidence; `weighted_accuracy` weights those images by 1/3 and 2/3.",
    "Modules are inferred from the row order (cell type, cells per module, seams in brightness); the data set does not publish them.",
]


def fetch(raw: Path, label_rule: str) -> Fetched:
    """Copy the PNG files and build the table; rows keep the package's order, which is module by module."""
    package = _package_folder()
    labels = pd.read_csv(package / "labels.csv", sep=r"\s+", names=["path", "probability", "type"])
    shutil.copytree(package / "images", raw / "images")
    quarter = np.rint(labels["probability"].to_numpy() * 3).astype(np.int64)  # 0, 1, 2, 3 thirds
    table = pd.DataFrame(
        {
            "id": [Path(path).stem for path in labels["path"]],
            "path": labels["path"],
            "label": label_of(quarter, label_rule),
            "group": [f"module{number:02d}" for number in infer_modules(len(labels))],
            "domain": labels["type"],
            "split": "",
            "weight": np.array([1, 1 / 3, 2 / 3, 1])[quarter],
        }
    )
    table = table.loc[table["label"] != ""].reset_index(drop=True)
    return Fetched(table, Dataset("elpv", CLASSES[label_rule], True, True, "inferred module", NOTES))


def infer_modules(n_cells: int) -> Int[np.ndarray, " N"]:
    """Module number (from 1) of every cell in row order. 44 modules, 18 mono and 26 poly, as published.

    Ends inside cells 901-1614 and 1615-2144 may be off by 6 and 10 cells.
    """
    return np.searchsorted(MODULE_ENDS, np.arange(1, n_cells + 1)) + 1


def label_of(thirds: Int[np.ndarray, " N"], rule: str) -> list[str]:
    """Class name of each defect probability (in thirds); "" drops the row."""
    names = {
        "p_over_half": ["functional", "functional", "defective", "defective"],
        "p_over_zero": ["functional", "defective", "defective", "defective"],
        "drop_unsure": ["functional", "", "", "defective"],
        "four_classes": CLASSES["four_classes"],
    }[rule]
    return [names[third] for third in thirds]


def _package_folder() -> Path:
    spec = find_spec("elpv_dataset")  # not imported: only its files are wanted
    if spec is None or spec.origin is None:
        raise InputError("data.source elpv: the package elpv-dataset is not installed; run `make setup`, or choose data.source: digits")
    return Path(spec.origin).parent / "data"
