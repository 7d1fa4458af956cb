"""features@B: images and backbone B -> data/features/B/features.npy (N, D) and blocks.npy (N, E), float32, and their manifest."""

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from thaw.allocator import keep_freed_memory
from thaw.backbones import backbone_of
from thaw.errors import InputError, exit_with_one_line, nearest
from thaw.features import extract
from thaw.files import write_json, write_with
from thaw.params import read_params
from thaw.progress import progress
from thaw.provenance import cost_of
from thaw.runs import COSTS
from thaw.views import evaluation_view


def main(name: str) -> None:
    params = read_params()
    if name not in params.backbones:
        raise InputError(f"params.yaml: backbones: unknown name {name!r}; {nearest(name, params.backbones)}")
    settings = params.backbones[name]
    keep_freed_memory()
    backbone = backbone_of(settings)
    view = evaluation_view(np.load("data/images.npy", mmap_mode="r"), backbone.recipe)
    with progress(f"features@{name}", len(view)) as shown:
        found = extract(backbone.encoder, backbone.blocks, view, backbone.recipe, params.features.batch_size, shown.advance)
        X = found.features
        seconds = shown.seconds
        shown.line(f"{X.shape[0]} images of {settings.image_size} px -> {X.shape[1]} features, {shown.rate:,.0f} images/s")
    folder = Path("data/features") / name
    write_with(folder / "features.npy", lambda path: _save(path, X))
    write_with(folder / "blocks.npy", lambda path: _save(path, found.blocks))
    manifest = {
        "backbone": name,
        "weights": settings.weights,
        "weights_sha256": backbone.weights_sha256,
        "preprocessing": asdict(backbone.recipe),
        "shape": list(X.shape),
        "blocks": [list(width) for width in found.widths],
        "precision": "float32",
    }
    write_json(folder / "manifest.json", manifest)
    write_json(COSTS / name / "features.json", cost_of(seconds, len(X), 0, resumed=False))


def _save(path: Path, X: np.ndarray) -> None:
    with path.open("wb") as file:  # np.save would append .npy to a temporary name
        np.save(file, X)


if __name__ == "__main__":
    exit_with_one_line(main, *sys.argv[1:])
