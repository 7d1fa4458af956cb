"""A folder of images with a sub-folder for each class -> index, groups and folds, in memory."""

import hashlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from thaw.errors import InputError
from thaw.files import sha256_of_file
from thaw.folding import make_splits
from thaw.images import BadImage, measure
from thaw.index import Dataset, labels_of
from thaw.leakage import Cut

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
    paths = image_paths(root)
    rows, unreadable = [], []
    for path in paths:
        try:
            rows.append((path, *measure(root / path), sha256_of_file(root / path), (root / path).stat().st_size))
        except (BadImage, OSError) as error:
            unreadable.append((path, str(error)))
    index = pd.DataFrame(rows, columns=["path", "width", "height", "channels", "sha256", "bytes"])
    index = index.assign(id=index["path"], label=[Path(path).parts[0] for path in index["path"]], domain="all", weight=1.0)
    index["group"] = index["path"] if group is None else group_names(index["path"].tolist(), group)
    classes = _classes(root, index, unreadable)
    dataset = Dataset(root.resolve().name, classes, group is not None, False, "group" if group else "image", [])
    return Folder(root, index.drop(columns="bytes"), dataset, index["bytes"].to_numpy(), unreadable)


def image_paths(root: Path) -> list[str]:
    """Paths below ``root`` of what looks like an image by its ending and lies in a sub-folder; hidden files and folders are left out."""
    from PIL import Image

    if not root.is_dir():
        raise InputError(f"audit: {root} is not a folder")
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    below = (path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in endings and path.is_file())
    found = [path.as_posix() for path in below if len(path.parts) > 1 and not any(part.startswith(".") for part in path.parts)]
    if not found:
        raise InputError(f"audit: {root} has no images in class sub-folders; it should hold files such as {root}/cat/1.jpg")
    return sorted(found, key=by_number)


def by_number(path: str) -> tuple[tuple[int, ...], str]:
    """The numbers in a path below its class, then chance: the order in which images were likely taken, whatever class they are of."""
    below = path.partition("/")[2]
    return tuple(int(digits) for digits in re.findall(r"\d+", below)), hashlib.sha256(path.encode()).hexdigest()


def group_names(paths: list[str], pattern: str) -> list[str]:
    """What ``(?P<group>...)`` matches in each path. Raises `InputError` where it matches nothing."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"audit: --group {pattern!r} is not a regular expression: {error}") from None
    if "group" not in compiled.groupindex:
        raise InputError(f"audit: --group {pattern!r} names no group; mark it so: '(?P<group>patient[0-9]+)'")
    found = [compiled.search(path) for path in paths]
    missed = [path for path, match in zip(paths, found, strict=True) if match is None or match["group"] is None]
    if missed:
        raise InputError(f"audit: --group {pattern!r} matches {len(paths) - len(missed)} of {len(paths)} paths, not {missed[0]!r}")
    return [match["group"] for match in found if match is not None]


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
