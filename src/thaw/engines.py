"""What runs a frozen network over many images: PyTorch, or ONNX Runtime or OpenVINO on its traced graph. All in single precision.

Half precision would be faster still, but not the same network: on the default one bfloat16's features have cosines of .99 to float32's.

A graph is traced for few images, whose activations stay in a core's cache, and with its sizes as constants, without which padding that
hangs on them keeps ONNX Runtime from its own memory layout. Each core runs it by itself: nothing waits for the slowest thread in a layer.
"""

import math
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import local
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import nn

from thaw.devices import find_device, make_deterministic, sent
from thaw.errors import InputError

OfGraphs = Literal["onnxruntime", "openvino"]
Name = Literal["auto", "torch"] | OfGraphs


@dataclass(frozen=True)
class Begun:
    """A batch on its way. An engine with threads of its own goes on with it until somebody waits for it, or has no use for it."""

    wait: Callable[[], list[np.ndarray]]  # the network's outputs, float32, a row for each image
    cancel: Callable[[], object] = lambda: None


Begin = Callable[[UInt8[torch.Tensor, "B C S S"]], Begun]
"""Pixels, which nobody may change until they are waited for -> their batch, begun."""
Part = Callable[[UInt8[np.ndarray, "b C S S"]], list[np.ndarray]]
"""The graph, on as many images as it was traced for; several threads may call it."""
AGREE = 0.9995
"""Smallest cosine of an engine's outputs to PyTorch's, on the first images."""
CHECKED = 8
AT_ONCE = 4
"""Images that a graph is traced for, at most."""
CPU = torch.device("cpu")


class Unfit(Exception):
    """Why an engine cannot run this network."""


@dataclass(frozen=True)
class Engine:
    name: str  # and version
    begin: Begin
    ahead: int = 0  # images that should be begun beyond those that are waited for, so that no core is idle

    def __call__(self, pixels: UInt8[torch.Tensor, "B C S S"]) -> list[np.ndarray]:
        return self.begin(pixels).wait()


def engine_for(asked: Name, network: nn.Module, pixels: UInt8[torch.Tensor, "B C S S"]) -> Engine:
    """What runs ``network``, found to agree with PyTorch on the first of ``pixels``.

    ``auto`` is PyTorch on a GPU where there is one, else ONNX Runtime where it can, else PyTorch.
    Raises `InputError` where another was asked for and cannot.
    """
    network.eval()
    device, plain = find_device(), Engine(f"torch {torch.__version__}", in_torch(network))
    if asked == "torch" and device.type == "cpu":
        return plain
    name = asked if asked != "auto" else "onnxruntime" if device.type == "cpu" else "torch"
    expected = plain(pixels[:CHECKED])
    try:
        engine = on_gpu(network, device, pixels) if name == "torch" else on_cores(name, network, pixels)
        with unfit("it stops"):
            found = engine(pixels[:CHECKED])
        _check(found, expected)
    except Unfit as why:
        if asked != "auto":
            other = "auto" if asked == "torch" else "auto or torch"
            raise InputError(f"params.yaml: features.engine: {asked} cannot run this backbone ({why}); use {other}") from None
        print(f"thaw: PyTorch runs this backbone on the CPU, since {name} cannot ({why})", file=sys.stderr)
        network.cpu()
        return plain
    return engine


def in_torch(network: nn.Module, device: torch.device = CPU) -> Begin:
    """``network`` lies on ``device``."""

    def wait(pixels: torch.Tensor) -> list[np.ndarray]:
        with torch.inference_mode():
            return [output.cpu().numpy() for output in network(sent(pixels, device))]

    return lambda pixels: Begun(partial(wait, pixels))


def on_gpu(network: nn.Module, device: torch.device, pixels: UInt8[torch.Tensor, "B C S S"]) -> Engine:
    """After a first batch, which it must have room for."""
    make_deterministic(device)
    engine = Engine(f"torch {torch.__version__} on a GPU", in_torch(network.to(device), device))
    try:
        engine(pixels)
    except torch.OutOfMemoryError as error:
        raise Unfit("a batch does not fit into its memory") from error
    return engine


def on_cores(name: OfGraphs, network: nn.Module, pixels: UInt8[torch.Tensor, "B C S S"]) -> Engine:
    """The network's graph, on as many threads as PyTorch would use, each with images of its own. Raises `Unfit`.

    ``pixels``: as many as there usually will be, so that they are cut into equal parts.
    """
    threads, size = torch.get_num_threads(), math.ceil(len(pixels) / math.ceil(len(pixels) / AT_ONCE))
    part, pool = STARTS[name](graph_of(network, pixels[:size])), workers(threads)

    def begin(pixels: torch.Tensor) -> Begun:
        parts = [pool.submit(part, _filled(some.numpy(), size)) for some in pixels.split(size)]

        def cancel() -> None:
            for one in parts:
                one.cancel()

        def wait() -> list[np.ndarray]:
            try:
                return [np.concatenate(outputs)[: len(pixels)] for outputs in zip(*(one.result() for one in parts), strict=True)]
            finally:  # an end asked for meanwhile waits for what runs, not for what has not begun
                cancel()

        return Begun(wait, cancel)

    return Engine(f"{name} {version(name)}", begin, 2 * threads * size)


@cache
def workers(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="engine")


def graph_of(network: nn.Module, pixels: UInt8[torch.Tensor, "b C S S"]) -> bytes:
    """ONNX, for so many images. Traced: the newer exporter takes twelve times as long, which few images would not repay."""
    with torch.inference_mode():
        outputs = [f"output{number}" for number in range(len(network(pixels)))]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is the newer one, and that sizes become constants, which they are
        file = Path(folder) / "graph.onnx"
        with unfit("its graph cannot be written"):
            torch.onnx.export(network, (pixels,), file, input_names=["pixels"], output_names=outputs, dynamo=False)
        return file.read_bytes()


def in_onnxruntime(graph: bytes) -> Part:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    with unfit("it does not take its graph"):
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda pixels: [np.asarray(output) for output in session.run(None, {"pixels": pixels})]


def in_openvino(graph: bytes) -> Part:
    if find_spec("openvino") is None:
        raise Unfit("it is not installed: `pip install openvino`")
    import openvino  # type: ignore[import-not-found]

    dials: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
    dials["INFERENCE_NUM_THREADS"] = dials["NUM_STREAMS"] = torch.get_num_threads()
    core = openvino.Core()
    with unfit("it does not take its graph"):
        compiled = core.compile_model(core.read_model(model=graph), "CPU", dials)
    own = local()  # a request runs one thing at a time

    def part(pixels: np.ndarray) -> list[np.ndarray]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        found = own.request.infer({"pixels": pixels})
        return [np.array(found[output]) for output in compiled.outputs]  # copies: the next call overwrites

    return part


STARTS = {"onnxruntime": in_onnxruntime, "openvino": in_openvino}


def cosines(found: Float[np.ndarray, "B D"], expected: Float[np.ndarray, "B D"]) -> Float32[np.ndarray, " B"]:
    """Of each row; 1 where both are zero."""
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    products = (found * expected).sum(axis=1)
    return np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1), (found == expected).all(axis=1)).astype(np.float32)


def _filled(pixels: UInt8[np.ndarray, "b C S S"], size: int) -> UInt8[np.ndarray, "size C S S"]:
    """With black images at the end, where there are too few."""
    if len(pixels) == size:
        return pixels
    return np.concatenate([pixels, np.zeros((size - len(pixels), *pixels.shape[1:]), pixels.dtype)])


@contextmanager
def unfit(what: str) -> Iterator[None]:
    """Whatever a tracer or an engine raises inside is `Unfit`: their exceptions have no base of their own."""
    try:
        yield
    except Exception as error:
        raise Unfit(f"{what}: {(str(error).strip().splitlines() or [type(error).__name__])[0]}") from error


def _check(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    if [ours.shape for ours in found] != [theirs.shape for theirs in expected]:
        raise Unfit("its features and PyTorch's have other shapes")
    least = min(float(cosines(ours, theirs).min()) for ours, theirs in zip(found, expected, strict=True))
    if not least >= AGREE:
        raise Unfit(f"its features and PyTorch's have a cosine of {least:.4f} on {len(expected[0])} images")
