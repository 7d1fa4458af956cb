"""What lies in a folder of images: files, their classes, and the split that they come with.

folder/cat/1.jpg            class cat; folders below a class are part of it
folder/train/cat/1.jpg      with train and val or test above the classes: the split that the data come with
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from thaw.errors import InputError
from thaw.splits import TEST, TRAIN, VAL

SPLIT_NAMES = {"train": TRAIN, "training": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "test": TEST, "testing": TEST}
CLUTTER = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r")
"""What operating systems leave in folders, in lower case; like hidden files and folders it is passed over."""


@dataclass(frozen=True)
class Listing:
    """Files and folders below ``root``, by their paths, in order of names; ``splits``: folders of a given split -> train, val or test."""

    root: Path
    files: list[str]
    folders: list[str]
    splits: dict[str, str]

    def inside(self, path: str) -> list[str]:
        """Parts of the path below the split's folder, where there is one: the class first."""
        return path.split("/")[1 if self.splits else 0 :]

    def label(self, path: str) -> str:
        return self.inside(path)[0]

    def split(self, path: str) -> str:
        """train, val or test; "" where the data come with no split."""
        return self.splits[path.split("/")[0]] if self.splits else ""

    def in_a_class(self, path: str) -> bool:
        return len(self.inside(path)) > 1

    def by_number(self, path: str) -> tuple[tuple[int, ...], str]:
        """The numbers in a path below its class, then chance: the order in which images were likely taken, whatever class they are of."""
        below = "/".join(self.inside(path)[1:])
        return tuple(int(digits) for digits in re.findall(r"\d+", below)), hashlib.sha256(path.encode()).hexdigest()

    def empty_classes(self) -> list[str]:
        """Folders where a class should be, without any file."""
        depth = 2 if self.splits else 1
        full = {"/".join(path.split("/")[:depth]) for path in self.files}
        return [path for path in self.folders if path.count("/") == depth - 1 and path not in full and path not in self.splits]


def list_folder(root: Path, where: str) -> Listing:
    """Raises `InputError`: no folder, one that may not be read, names that are not UTF-8, a split's folders beside others."""
    files, folders = walk(root, where)
    return Listing(root, files, folders, split_folders(root, files, where))


def walk(root: Path, where: str) -> tuple[list[str], list[str]]:
    """Files and folders below ``root`` in order of names, but for hidden ones and clutter.

    Links to folders are followed but where they name what is listed in its own place. Raises `InputError`.
    """
    if not root.is_dir():
        raise InputError(f"{where}: {root} is {'not a folder' if root.exists() else 'not there; it should be a folder'}")

    def refuse(error: OSError) -> None:
        raise InputError(f"{where}: {error.filename}: cannot be read ({(error.strerror or 'unknown').lower()})")

    files, folders = [], []
    for place, below, names in os.walk(root, onerror=refuse, followlinks=True):
        below[:] = sorted(name for name in below if _wanted(name) and not _leads_back(Path(place, name), root))
        here = Path(place).relative_to(root)
        files += [(here / name).as_posix() for name in names if _wanted(name)]
        folders += [(here / name).as_posix() for name in below]
    for path in files + folders:
        if not _is_utf8(path):
            raise InputError(f"{where}: {os.fsencode(path)!r}: the name is not UTF-8; rename it")
    return sorted(files), sorted(folders)


def _wanted(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in CLUTTER


def _leads_back(folder: Path, root: Path) -> bool:
    """Whether a folder is a link to what is listed already, or to what holds it: followed, it would multiply files."""
    if not folder.is_symlink():
        return False
    target, top = folder.resolve(), root.resolve()
    if target.is_relative_to(top) and all(map(_wanted, target.relative_to(top).parts)):
        return True
    above = [folder.parents[up].resolve() for up in range(len(folder.relative_to(root).parts))]  # by the way here, which may be over links
    return any(place.is_relative_to(target) for place in above)


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def split_folders(root: Path, files: list[str], where: str) -> dict[str, str]:
    """Uppermost folders that are parts of a split -> train, val or test; empty where the uppermost folders are classes.

    They are parts where all are called so and one is for training. Raises `InputError` where they can be neither.
    """
    parts = [path.split("/") for path in files]
    top, deep = ({part[0] for part in parts if len(part) > least} for least in (1, 2))
    named = {name: SPLIT_NAMES[name.lower()] for name in sorted(top) if name.lower() in SPLIT_NAMES}
    others = sorted(top - set(named))
    if TRAIN not in named.values() or not named.keys() & deep:
        if len(set(named.values())) > 1 and TRAIN in named.values() and not others:
            raise InputError(f"{where}: {root} has {_listed(named)} without class folders in them; it should hold {root}/train/cat/1.jpg")
        return {}
    if others and len(set(named.values())) > 1 and named.keys() <= deep:
        raise InputError(f"{where}: {root} has {_listed(named)} as a split would, and {_listed(others)} beside them; move one or the other")
    return {} if others else named


def _listed(names: dict[str, str] | list[str]) -> str:
    return ", ".join(list(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
