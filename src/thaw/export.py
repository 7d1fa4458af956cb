"""model.onnx: uint8 pixels in, logits and probabilities out. Normalisation and temperature are part of the graph.

What is left to do outside is what needs a decoder: decode to the stored square, resize, crop the centre (model.json says to what). A wrong
mean costs points without a word, so it is not left to whoever runs the model.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import nn

from thaw.deployed import Model
from thaw.errors import InputError
from thaw.files import write_with

INPUT, OUTPUTS = "pixels", ("logits", "probabilities")
TOLERANCE = 1e-3
"""How far logits of PyTorch and ONNX Runtime may be apart, as a share of the largest where that is above 1: the order of sums differs."""
IMAGES = 64  # real ones, for the parity check


class Whole(nn.Module):
    """uint8 (N, C, S, S) -> logits and probabilities (N, K)."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        recipe = model.about.recipe
        self.network, self.temperature = model.network, model.about.temperature
        self.register_buffer("mean", torch.tensor(recipe.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(recipe.std).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.network((pixels.float() / 255 - self.mean) / self.std)  # as `thaw.views.normalise`
        return logits, torch.softmax(logits / self.temperature, dim=1)


def export(model: Model, path: Path) -> dict[str, Any]:
    """Write the graph; what model.json says of it. Equal models give equal bytes: nothing of this machine is in the file."""
    import onnx

    side, channels = model.about.recipe.image_size, model.about.channels
    example = torch.zeros(2, channels, side, side, dtype=torch.uint8)
    program = torch.onnx.export(
        Whole(model).eval(),
        (example,),
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes={INPUT: {0: torch.export.Dim("N")}},
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # dynamo gives a program
    proto = program.model_proto
    forget_sources(proto)
    onnx.checker.check_model(proto)
    write_with(path, lambda temporary: temporary.write_bytes(proto.SerializeToString(deterministic=True)))
    return {
        "input": {"name": INPUT, "type": "uint8", "shape": ["N", channels, side, side]},
        "outputs": list(OUTPUTS),
        "opset": next(entry.version for entry in proto.opset_import if entry.domain == ""),
    }


def forget_sources(proto: Any) -> None:
    """Take out what the exporter notes on every node: source lines with absolute paths."""
    for part in (proto, proto.graph, *proto.functions):
        _forget(part)
    graphs = [proto.graph, *proto.functions]
    while graphs:
        graph = graphs.pop()
        for node in graph.node:
            _forget(node)
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        for name in ("input", "output", "value_info", "initializer"):
            for value in getattr(graph, name):
                if not isinstance(value, str):  # a function's inputs are names
                    _forget(value)


def _forget(part: Any) -> None:
    part.ClearField("doc_string")
    part.ClearField("metadata_props")


def run_onnx(path: Path, pixels: UInt8[np.ndarray, "N C S S"]) -> tuple[Float32[np.ndarray, "N K"], Float32[np.ndarray, "N K"]]:
    """(Logits, probabilities) by ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path.as_posix(), providers=["CPUExecutionProvider"])
    logits, probabilities = session.run(list(OUTPUTS), {INPUT: pixels})
    return np.asarray(logits), np.asarray(probabilities)


def check_parity(model: Model, path: Path, images: UInt8[np.ndarray, "n side side C"]) -> float:
    """Largest difference of logits on real images, as a share of the largest logit where that is above 1.

    Raises `InputError` where it is above the tolerance.
    """
    expected = model.logits(images)
    found, _ = run_onnx(path, model.view(images).numpy())
    apart = float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))
    if not apart <= TOLERANCE:
        raise InputError(
            f"final: {path.name} and the network are {apart:.2g} apart on {len(images)} images, more than {TOLERANCE:g}: ONNX Runtime runs "
            f"{model.about.backbone} differently; choose another final.backbone or final.strategy"
        )
    return apart
