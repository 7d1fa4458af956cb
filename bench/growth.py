"""How time and memory of the stages grow with the number of images, on made-up ones.

    python -m bench.growth                       # about half an hour on two cores
    python -m bench.growth --sizes 250 1000      # a first look

Writes the section `growth` of reports/bench.json.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from bench.processes import python_module
from bench.results import Row, Section, at_most, write_section
from thaw.tour import copy_project

SIDE = 64  # px
GROUP = 16  # images
CLASSES = ("sound", "spotted")
STAGES: dict[str, tuple[str, ...]] = {
    "fetch": ("thaw.stages.fetch",),
    "prepare": ("thaw.stages.prepare",),
    "split": ("thaw.stages.split",),
    "features": ("thaw.stages.features", "lite0"),
    "heads": ("thaw.stages.heads", "lite0"),
    "finetune": ("thaw.stages.finetune", "lite0", "full", "0"),
}
"""Name -> module and its arguments, in the order in which they read each other's results."""
STEADY = ("prepare", "features")
"""Stages that work image by image, so that their memory should not grow."""
STEPS = 50
FULL = {"name": "all", "train": "all", "steps": STEPS, "rates": {"*": 2.0e-3}, "weight_decay": 0.01, "schedule": "cosine", "warmup": 0.1}
DIALS: dict[str, Any] = {
    "data.source": "folder",
    "data.path": "data/own",
    "data.group": "(?P<group>g[0-9]+)",
    "prepare.max_side": SIDE,
    "split.folds": [0, 1],
    "split.method": "grouped",
    "features.backbones": ["lite0"],
    "finetune.backbones": ["lite0"],
    "finetune.strategies": ["full"],
    "backbones.lite0.image_size": SIDE,
    "strategies.full.phases.0": FULL,
    "learning.finetune": [],
    "evaluate.reference_backbone": "lite0",
}
ABOUT = (
    f"Gray images of {SIDE} px, noise with or without a bright spot, in groups of {GROUP}, through the stages, each as a process of "
    f"its own, start-up included: two folds, EfficientNet-Lite0 at {SIDE} px, every head and control over the default strengths, and "
    f"one cell of full cut down to {STEPS} steps, with one validation pass and the predictions on the images held out. Memory is the "
    "largest resident size of the process; pages of a memory-mapped file count as long as the system lets them stay. An exponent is "
    "the slope of a line through logarithms over all sizes, start-up and all; `seconds_last` is that between the two largest sizes, "
    "which start-up hides less."
)


@dataclass(frozen=True)
class Measured:
    """One stage on one number of images."""

    stage: str
    images: int
    seconds: list[float]  # one per round
    memory: list[float]  # MiB, one per round


Left = dict[str, str]
"""``stage, images`` -> why it was not measured."""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--sizes", type=int, nargs="+", default=[1000, 4000, 16_000, 64_000])
    asked.add_argument("--rounds", type=int, default=1)
    asked.add_argument(
        "--limit", type=float, default=900.0, help="seconds after which heads or finetune are stopped, and not tried on more images"
    )
    dials = asked.parse_args()
    measured, left = measure(Path.cwd(), sorted(dials.sizes), dials.rounds, dials.limit)
    write_section("growth", section(measured, left, dials.rounds))


def measure(project: Path, sizes: Sequence[int], rounds: int, limit: float) -> tuple[list[Measured], Left]:
    found: list[Measured] = []
    left: Left = {}
    stopped: dict[str, int] = {}
    for images in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_project(project, folder, images)
            for stage in STAGES:
                if stage in stopped:
                    left[f"{stage}, {images:,} images"] = f"not tried: it was stopped on {stopped[stage]:,}"
                elif (done := measured_stage(folder, stage, images, rounds, limit)) is None:
                    stopped[stage] = images
                    left[f"{stage}, {images:,} images"] = f"stopped after {limit:.0f} s"
                else:
                    found.append(done)
                    print(f"{stage}, {images:,} images: {median(done.seconds):.1f} s, {median(done.memory):,.0f} MiB", flush=True)
    return found, left


def measured_stage(folder: Path, stage: str, images: int, rounds: int, limit: float) -> Measured | None:
    """None where it took longer than ``limit``; the stages that others read are not stopped."""
    seconds, memory = list[float](), list[float]()
    for _ in range(rounds):
        try:
            done = python_module(folder, "bench.peak", *STAGES[stage], limit=limit if stage in ("heads", "finetune") else None)
        except subprocess.TimeoutExpired:
            return None
        seconds.append(done.seconds)
        memory.append(done.last_json()["peak_memory_mb"])
    return Measured(stage, images, seconds, memory)


# ---- images


def make_project(project: Path, folder: Path, images: int) -> None:
    copy_project(project, folder, DIALS)
    rng = np.random.default_rng(0)
    for group in range(-(-images // GROUP)):
        write_group(folder / "data/own", group, min(GROUP, images - group * GROUP), rng)


def write_group(root: Path, group: int, images: int, rng: np.random.Generator) -> None:
    """Images of one group are alike in their brightness."""
    brightness = float(rng.uniform(90, 130))
    for number in range(images):
        spotted = int(rng.random() < 0.4)
        path = root / CLASSES[spotted] / f"g{group:05d}-{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(brightness, bool(spotted), rng)).save(path, compress_level=1)


def picture(brightness: float, spotted: bool, rng: np.random.Generator) -> UInt8[np.ndarray, "S S"]:
    pixels = brightness + rng.normal(0, 25, (SIDE, SIDE))
    if spotted:
        pixels += spot(*rng.uniform(12, SIDE - 12, 2), size=float(rng.uniform(3, 6)))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def spot(x: float, y: float, size: float) -> Float[np.ndarray, "S S"]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return 45 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * size**2))


# ---- exponents


def exponent(sizes: Iterable[float], values: Iterable[float]) -> float:
    """Slope of the line through (log size, log value), by least squares: 0 stays, 1 grows as the images do. NaN from one size alone."""
    x, y = (np.log(np.array(list(each), dtype=np.float64)) for each in (sizes, values))
    x = x - x.mean()
    return float((x * y).sum() / (x**2).sum()) if len(x) > 1 and x.any() else float("nan")


def exponents(measured: Sequence[Measured]) -> dict[str, dict[str, float]]:
    """Stage -> exponents of seconds and memory, of those that were measured on two sizes at least."""
    found = {}
    for stage in STAGES:
        own = [one for one in measured if one.stage == stage]
        if len(own) > 1:
            sizes, seconds = [one.images for one in own], [median(one.seconds) for one in own]
            memory = [median(one.memory) for one in own]
            slopes = {"seconds": (sizes, seconds), "seconds_last": (sizes[-2:], seconds[-2:]), "memory": (sizes, memory)}
            found[stage] = {name: round(exponent(*points), 4) for name, points in slopes.items()}
    return found


def section(measured: Sequence[Measured], left: Left, rounds: int) -> Section:
    slopes = exponents(measured)
    return Section(
        title="Growth with the number of images",
        about=ABOUT,
        rounds=rounds,
        rows=[
            Row(f"{one.stage}, {one.images:,} images", one.seconds, one.images, quality={"peak_memory_mb": median(one.memory)})
            for one in measured
        ],
        ratios=[],
        targets=[at_most("peak memory of prepare and features does not grow with the number of images", steady(slopes), 0.1)]
        if slopes
        else [],
        extra={"exponents": slopes} | ({"not_measured": left} if left else {}),
    )


def steady(slopes: Mapping[str, Mapping[str, float]]) -> float:
    """The larger exponent of memory of the stages that work image by image."""
    return max(slopes[stage]["memory"] for stage in STEADY)


if __name__ == "__main__":
    main()
