"""Features of every image: thaw's stage beside the script that people write, and beside the bare forward pass of several engines.

    python -m bench.extraction               # in a project where `dvc repro prepare split` has run; about a quarter of an hour
    python -m bench.extraction --images 256 --rounds 1 --dial features.batch_size=64

Every way runs in a process of its own, after its imports, so that none profits from another's allocator, threads or warm caches.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import isnan
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from bench.plain import WORKERS, in_nchw, labelled, loader, probe_auc, spread, transforms_of
from bench.results import Row, Section, Target, at_least, at_most, in_a_process, interleaved, ratio, write_section
from thaw.backbones import Backbone, backbone_of
from thaw.devices import find_device
from thaw.engines import AT_ONCE
from thaw.params import Params, read_params
from thaw.tour import dials_of, set_dials
from thaw.views import evaluation_view, normalise

THAW, PROCESS, PLAIN = "thaw", "thaw, whole process", "plain script"
EAGER, ORT, ORT_CORES = "torch, bare", "ONNX Runtime, bare", "ONNX Runtime, bare, a core each"
OV_F32, OV_BF16 = "OpenVINO f32, bare", "OpenVINO bf16, bare"
BARE = (EAGER, ORT, ORT_CORES, OV_F32, OV_BF16)
AGREES, POINTS = 0.9995, 0.003
"""An engine agrees where the cosine to PyTorch's float32 features is no smaller for any image, and the probe's AUC is no further away."""
NOTES = {
    THAW: "from data/images.npy to features.npy, blocks.npy and manifest.json, building the network included; features of every block too",
    PROCESS: "the same as `python -m thaw.stages.features`, start and imports included",
    PLAIN: f"DataLoader of {WORKERS} workers, Pillow decodes the files, torchvision's transforms, PyTorch eager, float32, NCHW, no_grad",
    EAGER: "forward alone, images in memory, float32, channels last, inference mode",
    ORT: "forward alone, images in memory, float32, all cores in each layer",
    ORT_CORES: f"the same on {AT_ONCE} images at a time, each core with images of its own, which is how thaw runs it",
    OV_F32: "forward alone, images in memory, hints throughput and f32, asynchronous requests",
    OV_BF16: "the same with hint bf16",
}


# ---- the parent: rounds, quality, section


def main() -> None:
    dials = asked()
    if dials.way:
        print(json.dumps({"seconds": run_way(dials)}))
        return
    params = read_params()
    rows = spread(np.arange(len(np.load("data/images.npy", mmap_mode="r"))), dials.images)
    with tempfile.TemporaryDirectory() as folder:
        make_project(Path(folder), rows, dials)
        for size in (params.features.batch_size, AT_ONCE) if find_device().type == "cpu" else ():
            export(backbone_of(params.backbones[dials.backbone]), size, model_file(Path(folder), size))
        took = interleaved({name: partial(one_round, name, dials, Path(folder)) for name in ways()}, dials.rounds)
        found = {name: np.load(file) for name in took if (file := features_file(Path(folder), name)).exists()}
    quality = {name: quality_of(X, found[EAGER], rows, params) for name, X in found.items()}
    table = [Row(name, seconds, len(rows), NOTES[name], quality.get(name, {})) for name, seconds in took.items()]
    section = section_of(table, dials.rounds, dials.backbone, params.backbones[dials.backbone].image_size)
    write_section("extraction", section)
    for row in table:
        print(f"{row.name:22} {len(rows) / float(np.median(row.seconds)):7.1f} images/s  {row.quality}")


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, help="how many, spread evenly; all without it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbone", default="lite0_native", help="of `backbones` in params.yaml")
    parser.add_argument("--dial", action="append", default=[], metavar="PATH=VALUE", help="of params.yaml, for thaw's stage")
    parser.add_argument("--way", help=argparse.SUPPRESS)  # measure this one and print its seconds
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def ways() -> list[str]:
    """Those that can run here; on a GPU PyTorch alone."""
    if find_device().type != "cpu":
        return [THAW, PROCESS, PLAIN, EAGER]
    return [name for name in (THAW, PROCESS, PLAIN, *BARE) if importlib.util.find_spec("openvino") or name not in (OV_F32, OV_BF16)]


def one_round(way: str, dials: argparse.Namespace, folder: Path) -> float:
    if way == PROCESS:
        return seconds_of_process(folder / "project", dials.backbone)
    images = [] if dials.images is None else ["--images", str(dials.images)]
    shared = ["--backbone", dials.backbone, "--way", way, "--folder", str(folder), *images]
    return in_a_process("bench.extraction", *shared)["seconds"]


def make_project(folder: Path, rows: np.ndarray, dials: argparse.Namespace) -> None:
    """What thaw's stage reads, in a folder of its own: the images (asked for) and params.yaml with the dials (asked for)."""
    project = folder / "project"
    (project / "data").mkdir(parents=True)
    copyfile("params.yaml", project / "params.yaml")
    set_dials(project / "params.yaml", dials_of(dials.dial))
    if dials.images is None:
        (project / "data/images.npy").symlink_to(Path("data/images.npy").resolve())
    else:
        np.save(project / "data/images.npy", np.load("data/images.npy", mmap_mode="r")[rows])


def model_file(folder: Path, images: int) -> Path:
    """The encoder's graph for so many images at a time."""
    return folder / f"model-{images}.onnx"


def features_file(folder: Path, way: str) -> Path:
    """Where a way leaves its features, float32 (n, D)."""
    return folder / f"{way}.npy"


def quality_of(X: Float32[np.ndarray, "n D"], reference: Float32[np.ndarray, "n D"], rows: np.ndarray, params: Params) -> dict[str, float]:
    auc = probe_auc(X, rows, params)
    return {"smallest_cosine": smallest_cosine(X, reference)} | ({} if isnan(auc) else {"probe_auc": auc})


def smallest_cosine(X: Float32[np.ndarray, "n D"], reference: Float32[np.ndarray, "n D"]) -> float:
    """Of any image's features to the reference's, in float64."""
    a, b = X.astype(np.float64), reference.astype(np.float64)
    return float(((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def section_of(rows: list[Row], rounds: int, backbone: str, side: int) -> Section:
    limit = fastest_agreeing([row for row in rows if row.name in BARE], EAGER)
    ratios = [
        ratio(rows, THAW, PLAIN, "thaw to the plain script"),
        ratio(rows, PROCESS, PLAIN, "thaw, start included, to the plain script"),
    ]
    ratios += [ratio(rows, THAW, limit, "thaw to the limit")]
    ratios += [ratio(rows, row.name, EAGER, f"{row.name}, to PyTorch's") for row in rows if row.name in BARE and row.name != EAGER]
    return Section(
        title=f"Features of {rows[0].images:,} images, {backbone}, {side} px",
        about=about(limit, {row.name for row in rows}),
        rounds=rounds,
        rows=rows,
        ratios=ratios,
        targets=targets_of(ratios[0].median, ratios[2].median, next(row for row in rows if row.name == THAW)),
        extra={"limit": limit},
    )


def about(limit: str, measured: Iterable[str]) -> str:
    absent = "" if OV_F32 in measured or find_device().type != "cpu" else " OpenVINO is not installed, so its rows are missing."
    return (
        "Every way runs in a process of its own, in turns, and is timed after its imports, from building the network to features on the "
        "disk; the bare ones are timed on the forward pass alone, after a first batch, of images that lie preprocessed in memory. Quality "
        "is the smallest cosine of any image's features to those of PyTorch in float32, and the AUC of a logistic probe on the test images "
        f"of all folds. The limit is the fastest bare pass that agrees with PyTorch's (cosine at least {AGREES}, AUC within {POINTS}): "
        f"{limit}."
        f"{absent}"
    )


def targets_of(to_plain: float, to_limit: float, ours: Row) -> list[Target]:
    """The last one says whether the speed is that of features that agree, since an engine may round."""
    return [
        at_least("at least 6 times as fast as the plain script", to_plain, 6.0),
        at_least("at least 0.85 of the fastest agreeing engine's bare forward pass", to_limit, 0.85),
        at_most("1 − cosine of thaw's features to PyTorch's, of the worst image", 1 - ours.quality["smallest_cosine"], 1 - AGREES),
    ]


def fastest_agreeing(rows: Sequence[Row], reference: str) -> str:
    """Name of the row with the fewest seconds in its median round among those whose features are as good as the reference's."""
    level = next(row for row in rows if row.name == reference).quality
    return min((row for row in rows if agrees(row, level)), key=lambda row: float(np.median(row.seconds))).name


def agrees(row: Row, level: dict[str, float]) -> bool:
    near = abs(row.quality["probe_auc"] - level["probe_auc"]) <= POINTS if "probe_auc" in level else True
    return row.quality["smallest_cosine"] >= AGREES and near


# ---- a way, in a process of its own


def run_way(dials: argparse.Namespace) -> float:
    """Seconds; leaves the features in the folder."""
    out, way = features_file(dials.folder.resolve(), dials.way), dials.way
    if way == THAW:
        return seconds_of_stage(dials.folder / "project", dials.backbone, out)
    params = read_params()
    if way == PLAIN:
        return seconds_of_plain(params, dials.backbone, dials.images, out)
    pixels = preprocessed(params, dials.backbone, dials.images)
    batch = AT_ONCE if way == ORT_CORES else params.features.batch_size
    model = model_file(dials.folder, batch)
    bare = {
        EAGER: lambda: torch_bare(backbone_of(params.backbones[dials.backbone])),
        ORT: lambda: onnxruntime_bare(model),
        ORT_CORES: lambda: onnxruntime_on_cores(model),
        OV_F32: lambda: openvino_bare(model, "f32"),
        OV_BF16: lambda: openvino_bare(model, "bf16"),
    }
    forward = bare[way]()
    layout = torch.channels_last if way == EAGER else torch.contiguous_format  # each engine gets what it takes without a copy
    batches = [padded(pixels[start : start + batch], batch).contiguous(memory_format=layout) for start in range(0, len(pixels), batch)]
    batches = [batch.to(find_device()) for batch in batches]
    forward(batches[:2])
    started = time.perf_counter()
    features = forward(batches)
    seconds = time.perf_counter() - started
    np.save(out, np.concatenate(features)[: len(pixels)])
    return seconds


def preprocessed(params: Params, name: str, images: int | None) -> Float32[torch.Tensor, "n 3 S S"]:
    """All of them, as the network takes them, channels last."""
    stored, recipe = np.load("data/images.npy", mmap_mode="r"), backbone_of(params.backbones[name]).recipe
    rows = spread(np.arange(len(stored)), images)
    view: UInt8[torch.Tensor, "n C S S"] = evaluation_view(stored[rows], recipe)
    out = torch.empty((len(rows), 3, *view.shape[2:]), memory_format=torch.channels_last)
    for start in range(0, len(rows), 256):
        out[start : start + 256] = normalise(view[start : start + 256], recipe)
    return out


def padded(pixels: torch.Tensor, batch: int) -> torch.Tensor:
    """The last batch is as large as the others: graphs have a fixed size."""
    if len(pixels) == batch:
        return pixels
    return torch.cat([pixels, torch.zeros((batch - len(pixels), *pixels.shape[1:]))])


Forward = Callable[[list[torch.Tensor]], list[np.ndarray]]
"""Batches of pixels -> their features, in order."""


def torch_bare(backbone: Backbone) -> Forward:
    encoder = backbone.encoder.to(find_device())

    def forward(batches: list[torch.Tensor]) -> list[np.ndarray]:
        with torch.inference_mode():
            found = [encoder(batch) for batch in batches]  # a GPU is not waited for between them
            return [features.cpu().numpy() for features in found]

    return forward


def onnxruntime_bare(path: Path) -> Forward:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.as_posix(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def forward(batches: list[torch.Tensor]) -> list[np.ndarray]:
        return [np.asarray(session.run(None, {name: batch.numpy()})[0]) for batch in batches]

    return forward


def onnxruntime_on_cores(path: Path) -> Forward:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path.as_posix(), options, providers=["CPUExecutionProvider"])
    name, pool = session.get_inputs()[0].name, ThreadPoolExecutor(torch.get_num_threads())

    def forward(batches: list[torch.Tensor]) -> list[np.ndarray]:
        return list(pool.map(lambda batch: np.asarray(session.run(None, {name: batch.numpy()})[0]), batches))

    return forward


def openvino_bare(path: Path, precision: str) -> Forward:
    import openvino  # type: ignore[import-not-found]  # optional

    core = openvino.Core()
    hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
    compiled = core.compile_model(core.read_model(path), "CPU", hints)

    def forward(batches: list[torch.Tensor]) -> list[np.ndarray]:
        found: list[Any] = [None] * len(batches)
        queue = openvino.AsyncInferQueue(compiled)
        queue.set_callback(lambda request, number: found.__setitem__(number, request.get_output_tensor(0).data.copy()))
        for number, batch in enumerate(batches):
            queue.start_async({0: batch.numpy()}, number)
        queue.wait_all()
        return found

    return forward


def export(backbone: Backbone, batch: int, path: Path) -> None:
    """The encoder as ONNX for batches of one size, which lets engines plan their memory."""
    side = backbone.recipe.image_size
    program = torch.onnx.export(backbone.encoder, (torch.zeros(batch, 3, side, side),), dynamo=True, verbose=False)
    assert program is not None  # dynamo gives a program
    program.save(path)


def seconds_of_stage(project: Path, name: str, out: Path) -> float:
    """thaw's stage in this process, its imports done: what a pipeline that keeps running would pay."""
    import timm  # noqa: F401  # imported late by what builds networks
    from torchvision.transforms import v2  # noqa: F401

    from thaw.stages.features import main as stage

    os.chdir(project)
    started = time.perf_counter()
    stage(name)
    seconds = time.perf_counter() - started
    copyfile(Path("data/features") / name / "features.npy", out)
    return seconds


def seconds_of_process(project: Path, name: str) -> float:
    paths = os.pathsep.join(str(Path(path).resolve()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path)
    started = time.perf_counter()
    command = [sys.executable, "-m", "thaw.stages.features", name]
    subprocess.run(command, cwd=project, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": paths})
    return time.perf_counter() - started


def seconds_of_plain(params: Params, name: str, images: int | None, out: Path) -> float:
    import timm  # noqa: F401  # as for thaw
    from torchvision import transforms  # noqa: F401

    settings, data = params.backbones[name], labelled()
    pairs = data.pairs(spread(np.arange(len(data.labels)), images))
    started = time.perf_counter()
    backbone = backbone_of(settings)
    device, transform, features = find_device(), transforms_of(backbone.recipe, flips=False), []
    encoder = in_nchw(backbone.encoder).to(device).eval()
    with torch.no_grad():
        for pixels, _ in loader(pairs, transform, params.features.batch_size, shuffle=False):
            features.append(encoder(pixels.to(device)).cpu().numpy())
    np.save(out, np.concatenate(features))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
