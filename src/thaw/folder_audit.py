"""The leak audit of a folder of images, without a project."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from thaw.appearance import Appearance, appearance_of, joined
from thaw.contact_sheet import Pair, write_sheet
from thaw.files import write_json
from thaw.folder import Folder, cut_folder, read_folder
from thaw.hashing import BITS
from thaw.images import decode_square
from thaw.leakage import Seen, audit
from thaw.progress import progress

AT_ONCE = 64
"""Images that are decoded together."""
SMALLEST = 128
"""px at which images are looked at, or what the backbone needs if that is more."""
PROBE_C = 3e-3
"""Inverse L2 strength of the probe that measures what torn groups are worth."""


def audit_folder(root: Path, group: str | None, size: int, out: Path | None, sheet: Path | None) -> None:
    """Print the verdict; write the findings to ``out`` (JSON) and the worst pairs to ``sheet`` (PNG) where asked.

    ``size``: px of what the backbone sees. Exit status 1 where files could not be read.
    """
    folder = read_folder(root, group)
    cut = cut_folder(folder)
    with progress("audit", len(folder.index)) as shown:
        appearance, features = look(folder, size, shown.advance)
    found = audit(folder.index, folder.dataset, cut, Seen(appearance, folder.file_size, features), PROBE_C, "auc")
    print("\n".join(in_lines(found, folder, cut.n_folds)))
    if out is not None:
        write_json(out, found | {"unreadable": [list(each) for each in folder.unreadable]})
    if sheet is not None:
        print(write_pairs(found, root, sheet))
    if folder.unreadable:
        print("\n".join(f"thaw: cannot read {path}: {reason}" for path, reason in folder.unreadable), file=sys.stderr)
        raise SystemExit(1)


def look(folder: Folder, size: int, advance: Callable[[int], None]) -> tuple[Appearance, Float32[np.ndarray, "N D"]]:
    """Decode every image once more, a few at a time; what they look like, and features of the frozen backbone."""
    import torch

    from thaw.backbones import build_backbone
    from thaw.views import evaluation_view, normalise

    backbone = build_backbone("lite0", size)
    side, looks, features = max(backbone.recipe.resize, SMALLEST), [], []
    paths = [folder.root / path for path in folder.index["path"]]
    for start in range(0, len(paths), AT_ONCE):
        images = np.stack([decode_square(path, side, 3) for path in paths[start : start + AT_ONCE]])
        looks.append(appearance_of(images))
        with torch.inference_mode():
            view = evaluation_view(images, backbone.recipe)
            features.append(backbone.encoder(normalise(view, backbone.recipe)).numpy())
        advance(len(images))
    return joined(looks), np.concatenate(features)


def in_lines(found: dict[str, Any], folder: Folder, n_folds: int) -> list[str]:
    """What a person reads on the terminal."""
    grouped = f" in {found['groups']} groups" if folder.dataset.grouped else ""
    classes = len(folder.dataset.classes)
    listed = found["near_duplicates"]["listed"]
    return [
        f"{folder.root}: {found['images']:,} images of {classes} classes{grouped}; {n_folds} folds, {found['method']}",
        f"verdict: {found['verdict']['level']}",
        *(f"  - {sentence}" for sentence in found["verdict"]["sentences"]),
        "what was found:",
        *(f"  - {sentence}" for sentence in found["words"]),
        *(["worst pairs:"] if listed else []),
        *(f"  {pair['a']}  {pair['b']}  ({described(pair)})" for pair in listed),
    ]


def described(pair: dict[str, Any]) -> str:
    """``3 of 255 bits, cosine 0.98, across folds, different labels``"""
    facts = [f"{pair['hash_distance']} of {BITS} bits", f"cosine {pair['cosine']:.2f}"]
    facts += ["across folds"] if pair["across_folds"] else []
    return ", ".join(facts + ([] if pair["same_label"] else ["different labels"]))


def write_pairs(found: dict[str, Any], root: Path, sheet: Path) -> str:
    """Write the worst pairs; say what was written."""
    listed = found["near_duplicates"]["listed"]
    if not listed:
        return f"no near-identical pairs, so {sheet} is not written"
    write_sheet([Pair(root / pair["a"], root / pair["b"], [pair["a"], pair["b"], described(pair)]) for pair in listed], sheet)
    return f"the worst {len(listed)} pairs: {sheet}"
