"""What runs a frozen network over many images: PyTorch, or ONNX Runtime or OpenVINO on its traced graph. All in single precision.

Half precision would be faster still, but not the same network: on the default one bfloat16's features have cosines of .99 to float32's.
"""

import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import nn

from thaw.devices import find_device, make_deterministic, sent
from thaw.errors import InputError

Name = Literal["auto", "onnxruntime", "openvino", "torch"]
Run = Callable[[UInt8[torch.Tensor, "B C S S"]], list[np.ndarray]]
"""Pixels -> the network's outputs, float32, a row for each image."""
AGREE = 0.9995
"""Smallest cosine of an engine's outputs to PyTorch's, on the first images."""
CHECKED = 8
CPU = torch.device("cpu")


class Unfit(Exception):
    """Why an engine cannot run this network."""


def engine_for(asked: Name, network: nn.Module, pixels: UInt8[torch.Tensor, "B C S S"]) -> tuple[str, Run]:
    """(Name and version, the network run by it), found to agree with PyTorch on the first of ``pixels``.

    ``auto`` is PyTorch on a GPU where there is one, else ONNX Runtime where it can, else PyTorch.
    Raises `InputError` where another was asked for and cannot.
    """
    network.eval()
    device, plain = find_device(), (f"torch {torch.__version__}", in_torch(network))
    if asked == "torch" and device.type == "cpu":
        return plain
    name = asked if asked != "auto" else "onnxruntime" if device.type == "cpu" else "torch"
    expected = plain[1](pixels[:CHECKED])
    try:
        run = on_gpu(network, device, pixels) if name == "torch" else STARTS[name](graph_of(network, pixels[:2]), pixels)
        _check(run(pixels[:CHECKED]), expected)
    except Unfit as why:
        if asked != "auto":
            other = "auto" if asked == "torch" else "auto or torch"
            raise InputError(f"params.yaml: features.engine: {asked} cannot run this backbone ({why}); use {other}") from None
        print(f"thaw: PyTorch runs this backbone on the CPU, since {name} cannot ({why})", file=sys.stderr)
        network.cpu()
        return plain
    return (f"{plain[0]} on a GPU" if name == "torch" else f"{name} {version(name)}"), run


def in_torch(network: nn.Module, device: torch.device = CPU) -> Run:
    """``network`` lies on ``device``."""

    def run(pixels: torch.Tensor) -> list[np.ndarray]:
        with torch.inference_mode():
            return [output.cpu().numpy() for output in network(sent(pixels, device))]

    return run


def on_gpu(network: nn.Module, device: torch.device, pixels: UInt8[torch.Tensor, "B C S S"]) -> Run:
    """After a first batch, which it must have room for."""
    make_deterministic(device)
    run = in_torch(network.to(device), device)
    try:
        run(pixels)
    except torch.OutOfMemoryError as error:
        raise Unfit("a batch does not fit into its memory") from error
    return run


def graph_of(network: nn.Module, pixels: UInt8[torch.Tensor, "b C S S"]) -> bytes:
    """ONNX, for any number of images. Traced: the newer exporter takes twelve times as long, which few images would not repay."""
    with torch.inference_mode():
        outputs = [f"output{number}" for number in range(len(network(pixels)))]
    batch = {name: {0: "N"} for name in ("pixels", *outputs)}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is the newer one, and that sizes become constants, which they are
        file = Path(folder) / "graph.onnx"
        try:
            torch.onnx.export(network, (pixels,), file, input_names=["pixels"], output_names=outputs, dynamic_axes=batch, dynamo=False)
        except (torch.onnx.OnnxExporterError, RuntimeError) as error:  # the tracer's own mistakes are RuntimeErrors
            raise Unfit(f"its graph cannot be written: {str(error).strip().splitlines()[0]}") from error
        return file.read_bytes()


def in_onnxruntime(graph: bytes, _pixels: UInt8[torch.Tensor, "B C S S"]) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no base of their own
        raise Unfit(str(error).strip().splitlines()[0]) from error
    return lambda pixels: [np.asarray(output) for output in session.run(None, {"pixels": pixels.numpy()})]


def in_openvino(graph: bytes, _pixels: UInt8[torch.Tensor, "B C S S"]) -> Run:
    if find_spec("openvino") is None:
        raise Unfit("it is not installed: `pip install openvino`")
    import openvino  # type: ignore[import-not-found]

    dials: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    dials["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model=graph), "CPU", dials)

    def run(pixels: torch.Tensor) -> list[np.ndarray]:
        found = compiled({"pixels": pixels.numpy()})
        return [np.array(found[output]) for output in compiled.outputs]  # copies: the next call overwrites

    return run


STARTS = {"onnxruntime": in_onnxruntime, "openvino": in_openvino}


def cosines(found: Float[np.ndarray, "B D"], expected: Float[np.ndarray, "B D"]) -> Float32[np.ndarray, " B"]:
    """Of each row; 1 where both are zero."""
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    products = (found * expected).sum(axis=1)
    return np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1), (found == expected).all(axis=1)).astype(np.float32)


def _check(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    least = min(float(cosines(ours, theirs).min()) for ours, theirs in zip(found, expected, strict=True))
    if not least >= AGREE:
        raise Unfit(f"its features and PyTorch's have a cosine of {least:.4f} on {len(expected[0])} images")
