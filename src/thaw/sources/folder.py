"""Your folder: a sub-folder for each class, with train and val or test above them where the data come with a split."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from thaw.errors import InputError
from thaw.index import Dataset
from thaw.listing import Listing, list_folder
from thaw.sources import Fetched


def fetch(root: Path) -> Fetched:
    """Every file in a class folder is taken for an image until it is opened. Raises `InputError`."""
    listing = list_folder(root, "data.path")
    paths = sorted((path for path in listing.files if listing.in_a_class(path)), key=listing.by_number)
    if not paths:
        raise InputError(f"data.path: {root} has no files in class sub-folders; it should hold files such as {root}/cat/1.jpg")
    table = pd.DataFrame(
        {
            "id": paths,
            "path": paths,
            "label": [listing.label(path) for path in paths],
            "group": paths,
            "domain": "all",
            "split": [listing.split(path) for path in paths],
            "weight": 1.0,
        }
    )
    classes = sorted(set(table["label"]))
    if len(classes) < 2:
        raise InputError(f"data.path: {root} has one class only, {classes[0]!r}; {_deeper(listing, paths)}")
    dataset = Dataset(root.resolve().name, classes, False, False, "image", [])
    remarks = [f"{root / name}: is empty, so there is no class {Path(name).name!r} in it" for name in listing.empty_classes()]
    links = [root / path for path in listing.folders if (root / path).is_symlink()]
    remarks += [f"{path}: is a link; dvc repro does not notice what changes behind it" for path in links]
    bad = [(path, "lies in no class folder") for path in _without_class(listing)]
    return Fetched(table, dataset, [root / path for path in paths], bad, remarks)


def _without_class(listing: Listing) -> list[str]:
    """Files that lie beside class folders, but for a README.md at the top."""
    return [path for path in listing.files if not listing.in_a_class(path) and path.lower() != "readme.md"]


def _deeper(listing: Listing, paths: Sequence[str]) -> str:
    """Where the classes may be instead."""
    below = {parts[1] for path in paths if len(parts := path.split("/")) > 2}
    if listing.splits or len(below) < 2:
        return "it needs a sub-folder for each class"
    return f"if the {len(below)} folders in it are the classes, say data.path: {listing.root / listing.label(paths[0])}"
