"""The run folder ``runs/<backbone>/<strategy>/<fold>/``: what a training leaves behind, and the identity of a result.

``record.json``, ``predictions.npz`` and the tensors depend on nothing but the inputs, so that equal inputs give equal bytes.
What differs from time to time (seconds, memory, commit) lies apart, in ``costs/<backbone>/<strategy>/<fold>.json``: DVC would
otherwise rerun everything downstream of a run that was merely repeated.
"""

import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from thaw.files import read_json, sha256_of_file, sha256_of_value, whole, write_json

RUNS = Path("runs")
COSTS = Path("costs")
LIBRARIES = ("torch", "torchvision", "timm", "onnxruntime", "numpy", "scikit-learn", "pillow")
CONTROLS = ("majority", "metadata", "raw_pixels", "shuffled_labels")
"""Head strategies that no one would use: what a result must beat before it means anything."""
HEADS = ("linear_probe", "ridge", "nearest_centroid", "knn", "head2toe")
"""Head strategies that are candidates."""


@dataclass(frozen=True)
class Identity:
    """Which result this is, for people. `Record.record_id` says it for machines."""

    backbone: str
    strategy: str
    fold: int

    def folder(self, root: Path = RUNS) -> Path:
        return root / self.backbone / self.strategy / str(self.fold)

    def cost_file(self, root: Path = COSTS) -> Path:
        return root / self.backbone / self.strategy / f"{self.fold}.json"

    def __str__(self) -> str:
        return f"{self.backbone}/{self.strategy}/{self.fold}"


@dataclass(frozen=True)
class Record:
    """record.json. Validation figures only: test labels are seen by `evaluate` alone."""

    record_id: str
    backbone: str
    strategy: str
    fold: int
    dataset: str
    kind: str  # "head" | "finetune"
    control: bool  # a control that no one would use
    classes: list[str]
    inputs: dict[str, Any]  # everything that determines the result; record_id is its hash
    groups: list[dict[str, Any]]  # resolved: phase, group, rate, weight_decay, tensors, scalars; [] for heads
    history: list[dict[str, Any]]  # per epoch: epoch (from 1), phase (name), train/loss, val/auc, val/log_loss, lr/<group>
    metrics: dict[str, float | int]  # best_val_auc, best_val_log_loss, best_val_accuracy, best_epoch or what else was chosen
    trainable_parameters: int  # scalars that any phase trained
    preprocessing: dict[str, Any] = field(default_factory=dict)  # image_size, mean, std, interpolation, crop
    choices: dict[str, Any] = field(default_factory=dict)  # what validation chose among: tuning trials, interpolation

    @property
    def identity(self) -> Identity:
        return Identity(self.backbone, self.strategy, self.fold)


@dataclass(frozen=True)
class Predictions:
    """Logits of one model on images that it was not trained on."""

    id: np.ndarray  # (N,) str
    split: np.ndarray  # (N,) "val" | "test"
    logits: Float32[np.ndarray, "N K"]  # log-odds up to a constant per row: softmax gives probabilities


def identify(inputs: dict[str, Any]) -> str:
    """record_id: 16 hex digits of the hash of what determines a result (data, split, weights, settings, seeds, code, libraries)."""
    return sha256_of_value(inputs)[:16]


def library_versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()}


def code_sha256(files: list[Path]) -> str:
    """Hash of source files by name and content."""
    return sha256_of_value(sorted((path.name, sha256_of_file(path)) for path in files))


def write_record(record: Record, folder: Path) -> None:
    write_json(folder / "record.json", asdict(record))


def read_record(folder: Path) -> Record:
    return Record(**read_json(folder / "record.json"))


def write_predictions(predictions: Predictions, folder: Path) -> None:
    with whole(folder / "predictions.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, id=predictions.id.astype(str), split=predictions.split.astype(str), logits=predictions.logits)


def read_predictions(folder: Path) -> Predictions:
    path = folder / "predictions.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:  # np.load leaks a file that it opens and cannot read
        return Predictions(arrays["id"], arrays["split"], arrays["logits"])


def write_cost(identity: Identity, cost: dict[str, Any], root: Path = COSTS) -> None:
    """``cost``: seconds, images_seen, peak_memory_mb, trainable_parameters, git_commit, git_dirty, resumed."""
    write_json(identity.cost_file(root), cost)


def read_cost(identity: Identity, root: Path = COSTS) -> dict[str, Any]:
    return read_json(identity.cost_file(root))
