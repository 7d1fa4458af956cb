"""features@B: images and backbone B -> data/features/B/features.npy (N, D) and blocks.npy (N, E), float32, and their manifest."""

import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from thaw.startup import run_stage, uncollected


def main(name: str) -> None:
    with uncollected():
        import numpy as np

        from thaw.allocator import keep_freed_memory
        from thaw.backbones import backbone_of
        from thaw.errors import InputError, nearest
        from thaw.features import extract, write_features
        from thaw.files import write_json
        from thaw.params import read_params
        from thaw.progress import progress
        from thaw.provenance import cost_of
        from thaw.runs import COSTS
        from thaw.views import evaluation_view
    params = read_params()
    if name not in params.backbones:
        raise InputError(f"params.yaml: backbones: unknown name {name!r}; {nearest(name, params.backbones)}")
    settings = params.backbones[name]
    keep_freed_memory()
    backbone = backbone_of(settings)
    images, batch, folder = np.load("data/images.npy", mmap_mode="r"), params.features.batch_size, Path("data/features") / name
    views = (evaluation_view(images[start : start + batch], backbone.recipe) for start in range(0, len(images), batch))
    found = extract(backbone.encoder, backbone.blocks, views, backbone.recipe, params.features.engine)
    with progress(f"features@{name}", len(images)) as shown, closing(found):
        dim, widths, engine = write_features(found, len(images), folder, shown.advance)
        seconds = shown.seconds
        shown.line(f"{len(images)} images of {settings.image_size} px -> {dim} features, {shown.rate:,.0f} images/s ({engine})")
    manifest = {
        "backbone": name,
        "weights": settings.weights,
        "weights_sha256": backbone.weights_sha256,
        "preprocessing": asdict(backbone.recipe),
        "shape": [len(images), dim],
        "blocks": [list(width) for width in widths],
        "engine": engine,
        "precision": "float32",
    }
    write_json(folder / "manifest.json", manifest)
    write_json(COSTS / name / "features.json", cost_of(seconds, len(images), 0, resumed=False))


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
