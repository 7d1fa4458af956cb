"""The model that is handed on: a folder with a network's tensors and everything that its predictions need; no code, no pickles.

model.safetensors  backbone and head, under the names of `thaw.backbones.Network` (and `columns`, where blocks are read)
model.json         `About`: which network, preprocessing, classes, threshold, temperature, where it comes from
model.onnx         the same network for other programs; see `thaw.export`
record.json        how it was trained; MODEL_CARD.md says it for people
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int, UInt8
from safetensors.torch import load_file
from torch import nn

from thaw.backbones import Backbone, Network, build_backbone
from thaw.calibration import tempered
from thaw.errors import InputError
from thaw.features import ENCODER, pooled_outputs
from thaw.files import read_json, sha256_of_file, write_json
from thaw.images import decode_square
from thaw.metrics import decide
from thaw.views import Recipe, evaluation_view, normalise

FORMAT = 1
"""Raised when a reader of today would misread a folder of tomorrow."""
MODEL, WEIGHTS, ONNX, RECORD, CARD = "model.json", "model.safetensors", "model.onnx", "record.json", "MODEL_CARD.md"
BATCH = 32  # images through the network at once


@dataclass(frozen=True)
class About:
    """model.json."""

    format: int
    record_id: str
    backbone: str  # as params.yaml calls it
    strategy: str
    dataset: str
    data_sha256: str
    weights: str  # what the network was built from, as in params.yaml
    architecture: str | None  # of a file of weights, whose name does not tell
    weights_sha256: str
    image_size: int  # px
    blocks: list[list[Any]]  # [name, width] of the pooled outputs that the head reads, stem first; []: it reads the encoder's output
    columns: int  # how many of those are read; 0 where the head reads the encoder's output
    stored_side: int  # px: images are first decoded to this square (`thaw.images.decode_square`)
    channels: int  # 1: gray, 3: colour; of the stored square
    preprocessing: dict[str, Any]  # then to what the network sees (`thaw.views.evaluation_view`), then mean and std
    classes: list[str]  # in the order of the logits
    temperature: float  # logits are divided by it before softmax
    threshold: float | None  # of two classes the second is predicted where its probability is at least this; None: the likeliest class
    runs: dict[str, str]  # the runs that are the evidence, <backbone>/<strategy>/<fold> -> record_id
    libraries: dict[str, str]
    files: dict[str, str]  # name -> sha256
    onnx: dict[str, Any]  # input, outputs, opset, parity

    @property
    def recipe(self) -> Recipe:
        """JSON has no tuples."""
        said: dict[str, Any] = self.preprocessing | {name: tuple(self.preprocessing[name]) for name in ("mean", "std")}
        return Recipe(**said)


class BlocksNetwork(nn.Module):
    """A linear head on chosen columns of every block's pooled output, side by side from the stem up (head2toe)."""

    columns: torch.Tensor

    def __init__(
        self, encoder: nn.Module, blocks: dict[str, list[str]], names: Sequence[str], columns: Int[np.ndarray, " d"], n_classes: int
    ) -> None:
        super().__init__()
        self.backbone, self.blocks, self.names = encoder, blocks, tuple(names)
        self.register_buffer("columns", torch.from_numpy(columns.astype(np.int64)))
        self.head = nn.Linear(len(columns), n_classes)

    def forward(self, pixels: Float[torch.Tensor, "B 3 S S"]) -> Float[torch.Tensor, "B K"]:
        with pooled_outputs(self.backbone, self.blocks) as seen:
            encoded = self.backbone(pixels)
        pooled = [encoded if name == ENCODER else seen[name] for name in self.names]
        return self.head(torch.cat(pooled, dim=1)[:, self.columns])


@dataclass(frozen=True)
class Model:
    """The network in evaluation mode, and what its images and logits mean."""

    network: nn.Module
    about: About

    def read(self, path: Path) -> UInt8[np.ndarray, "side side C"]:
        """Decode an image file as stage `prepare` does. Raises `BadImage`."""
        return decode_square(path, self.about.stored_side, self.about.channels)

    def view(self, images: UInt8[np.ndarray, "n side side C"]) -> UInt8[torch.Tensor, "n C S S"]:
        """What the network sees, before normalisation: the input of model.onnx."""
        return evaluation_view(images, self.about.recipe)

    def logits(self, images: UInt8[np.ndarray, "n side side C"]) -> Float32[np.ndarray, "n K"]:
        """Of decoded images, in their order."""
        recipe = self.about.recipe
        with torch.inference_mode():
            parts = (self.view(images[start : start + BATCH]) for start in range(0, len(images), BATCH))
            return np.concatenate([self.network(normalise(part, recipe)).numpy() for part in parts])

    def probabilities(self, logits: Float32[np.ndarray, "n K"]) -> Float64[np.ndarray, "n K"]:
        """At the model's temperature."""
        return tempered(logits, self.about.temperature)

    def predicted(self, probabilities: Float64[np.ndarray, "n K"]) -> list[str]:
        """Class names."""
        return [self.about.classes[number] for number in decide(probabilities, self.about.threshold)]

    @property
    def columns(self) -> list[str]:
        """Of a table of predictions: the predicted class and a probability for each class."""
        return columns_of(self.about.classes)


def columns_of(classes: Sequence[str]) -> list[str]:
    return ["predicted", *(f"p_{name}" for name in classes)]


def build_network(about: About) -> nn.Module:
    """The network without its tensors, in evaluation mode: random weights stand where `read_model` puts the file's."""
    backbone = build_backbone(about.weights, about.image_size, random_seed=0, architecture=about.architecture)
    return network_on(backbone, about.blocks, np.zeros(about.columns, np.int64), len(about.classes)).eval()


def network_on(
    backbone: Backbone, blocks: Sequence[Sequence[Any]], columns: Int[np.ndarray, " d"], n_classes: int
) -> Network | BlocksNetwork:
    """A head on the encoder's output, or on ``columns`` of the pooled outputs of ``blocks`` where there are any."""
    if not blocks:
        return Network(backbone.encoder, backbone.dim, n_classes)
    return BlocksNetwork(backbone.encoder, backbone.blocks, [name for name, _ in blocks], columns, n_classes)


def read_model(folder: Path) -> Model:
    """Raises `InputError` where there is no model, one that this version cannot read, or one whose tensors are not its own."""
    about = read_about(folder)
    weights = folder / WEIGHTS
    if not weights.is_file() or sha256_of_file(weights) != about.files.get(WEIGHTS):
        raise InputError(f"{weights}: is not the file that {MODEL} beside it names; copy the whole folder again, or run `dvc repro final`")
    network = build_network(about)
    network.load_state_dict(load_file(weights))
    return Model(network, about)


def read_about(folder: Path) -> About:
    """Raises `InputError` where there is no model.json or one that this version cannot read."""
    path = folder / MODEL
    if not path.is_file():
        why = "is empty: params.yaml says final.strategy: none" if folder.is_dir() and not any(folder.iterdir()) else f"has no {MODEL}"
        raise InputError(f"{folder}: {why}, so there is no model; run `dvc repro final`, or name its folder with --model")
    try:
        found = read_json(path)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: is no JSON ({error}); copy the whole folder again, or run `dvc repro final`") from None
    version = found.get("format") if isinstance(found, dict) else None
    if version != FORMAT:
        raise InputError(f"{path}: is of format {version}, and this thaw reads format {FORMAT}; use the thaw that made it, or make it anew")
    lacking = {field.name for field in fields(About)} ^ found.keys()
    if lacking:
        raise InputError(f"{path}: {sorted(lacking)[0]!r} is missing or unknown; copy the whole folder again, or run `dvc repro final`")
    return About(**found)


def write_about(about: About, folder: Path) -> None:
    write_json(folder / MODEL, asdict(about))
