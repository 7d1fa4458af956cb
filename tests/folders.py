"""Folders of images as people have them, made up: what they hold is decided by their names."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def put_images(root: Path, names: Iterable[str], size: tuple[int, int] = (40, 30), colour: bool = True) -> Path:
    """An image of noise, (width, height) px, at each path below ``root``."""
    rng = np.random.default_rng(0)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (size[1], size[0], 3) if colour else (size[1], size[0])
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(path)
    return root


def put_classes(root: Path, counts: Mapping[str, int], pattern: str = "photo {k}.png", **how: object) -> Path:
    """``counts``: class -> images; ``pattern`` of their names, with ``{k}``."""
    names = [f"{label}/{pattern.format(k=k)}" for label, count in counts.items() for k in range(count)]
    return put_images(root, names, **how)  # type: ignore[arg-type]
