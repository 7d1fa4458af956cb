"""A folder of images with a sub-folder for each class -> index, groups and folds, in memory."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from thaw.errors import InputError
from thaw.files import sha256_of_file
from thaw.folding import make_splits
from thaw.grouping import group_names
from thaw.images import BadImage, measure
from thaw.index import Dataset, labels_of
from thaw.leakage import Cut
from thaw.listing import Listing, list_folder

CUTS = ((4, 0.2), (3, 0.2), (2, 0.2), (2, 0.5))
"""Folds and share for validation, the first that the data can fill."""
SEED = 0


@dataclass(frozen=True)
class Folder:
    """``index``: as `thaw.index`, ``path`` below ``root``, in the order of the numbers in the files' names."""

    root: Path
    index: pd.DataFrame
    dataset: Dataset
    file_size: Int[np.ndarray, " N"]  # bytes
    unreadable: list[tuple[str, str]]  # path, reason


def read_folder(root: Path, group: str | None) -> Folder:
    """Open, decode and hash every image; those that cannot be decoded are named and left out.

    ``group``: regular expression with a part ``(?P<group>...)``, searched in each path below ``root``. Raises `InputError`.
    """
    listing = list_folder(root, "audit")
    rows, unreadable = [], []
    for path in image_paths(listing):
        try:
            rows.append((path, *measure(root / path), sha256_of_file(root / path), (root / path).stat().st_size))
        except (BadImage, OSError) as error:
            unreadable.append((path, str(error)))
    index = pd.DataFrame(rows, columns=["path", "width", "height", "channels", "sha256", "bytes"])
    paths = index["path"].tolist()
    index = index.assign(id=paths, label=[listing.label(path) for path in paths], domain="all", weight=1.0)
    index = index.assign(split=[listing.split(path) for path in paths])
    index["group"] = paths if group is None else group_names(paths, group, "audit: --group")
    classes = _classes(root, index, unreadable)
    dataset = Dataset(root.resolve().name, classes, group is not None, False, "group" if group else "image", [])
    return Folder(root, index.drop(columns="bytes"), dataset, index["bytes"].to_numpy(), unreadable)


def image_paths(listing: Listing) -> list[str]:
    """Paths of what looks like an image by its ending and lies in a sub-folder."""
    from PIL import Image

    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found = [path for path in listing.files if Path(path).suffix.lower() in endings and listing.in_a_class(path)]
    if not found:
        raise InputError(f"audit: {listing.root} has no images in class sub-folders; it should hold files such as {listing.root}/cat/1.jpg")
    return sorted(found, key=listing.by_number)


def _classes(root: Path, index: pd.DataFrame, unreadable: list[tuple[str, str]]) -> list[str]:
    if index.empty:
        path, reason = unreadable[0]
        raise InputError(f"audit: none of the {len(unreadable)} files of {root} is an image that can be read: {path} ({reason})")
    classes = sorted(index["label"].unique().tolist())
    if len(classes) < 2:
        raise InputError(f"audit: {root} has one class only, {classes[0]!r}; it needs a sub-folder for each class")
    return classes


def cut_folder(folder: Folder) -> Cut:
    """The first of `CUTS` that the data can fill, by groups where it names them. Raises `InputError` where there is none."""
    labels, groups = labels_of(folder.index, folder.dataset.classes), folder.index["group"].to_numpy()
    method = "grouped" if folder.dataset.grouped else "stratified"
    reason = ""
    for n_folds, validation in CUTS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # scikit-learn's of small classes; `make_splits` looks at what comes of it
                splits = make_splits(labels, groups, folder.index["id"].tolist(), method, n_folds, validation, SEED)
            return Cut(splits, method, validation, SEED)
        except InputError as error:
            reason = str(error).removeprefix("split: ").partition(";")[0]
    raise InputError(f"audit: {folder.root} cannot be split even in two folds: {reason}; add images, or leave out --group")
