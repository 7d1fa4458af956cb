"""What people write: a dataset that decodes files, a DataLoader with a worker per core, torchvision's transforms, a network from a library.

Peers read the same files, the same rows and the same weights as thaw; what differs is how the work is done.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import nn

from thaw.heads import Part, fit_logistic
from thaw.index import labels_of, read_dataset, read_index
from thaw.metrics import validation_figures
from thaw.params import Params
from thaw.splits import TEST, TRAIN, VAL, read_splits, rows_of
from thaw.views import Recipe

WORKERS = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
"""Of a DataLoader: one for each core."""
RAW = Path("data/raw")

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Labelled:
    """The data set as it lies on the disk, in row order."""

    files: list[Path]
    labels: Int[np.ndarray, " N"]
    classes: list[str]

    def pairs(self, rows: Int[np.ndarray, " n"]) -> list[tuple[Path, int]]:
        return [(self.files[row], int(self.labels[row])) for row in rows]


def labelled() -> Labelled:
    index, dataset = read_index(Path("data/index.csv")), read_dataset(Path("data/dataset.json"))
    return Labelled([RAW / path for path in index["path"]], labels_of(index, dataset.classes), dataset.classes)


def spread(rows: Int[np.ndarray, " N"], count: int | None) -> Int[np.ndarray, " n"]:
    """``count`` of the rows, evenly far apart, so that every group and class is among them; None: all."""
    if count is None or count >= len(rows):
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]


class Files(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """(transformed image, label); every image is opened and decoded each time it is asked for."""

    def __init__(self, pairs: Sequence[tuple[Path, int]], transform: Any) -> None:
        self.pairs, self.transform = pairs, transform

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        path, label = self.pairs[row]
        with Image.open(path) as image:
            return self.transform(image.convert("RGB")), label


def transforms_of(recipe: Recipe, flips: bool) -> Any:
    """torchvision's usual chain: resize, centre crop, to a tensor, normalise; flips between where asked for."""
    from torchvision import transforms

    mode = transforms.InterpolationMode(recipe.interpolation)
    chance = [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()] if flips else []
    geometry = [transforms.Resize(recipe.resize, interpolation=mode), transforms.CenterCrop(recipe.image_size), *chance]
    return transforms.Compose([*geometry, transforms.ToTensor(), transforms.Normalize(recipe.mean, recipe.std)])


def loader(pairs: Sequence[tuple[Path, int]], transform: Any, batch_size: int, shuffle: bool) -> torch.utils.data.DataLoader[Any]:
    return torch.utils.data.DataLoader(Files(pairs, transform), batch_size, shuffle=shuffle, num_workers=WORKERS)


def in_nchw(network: M) -> M:
    """As libraries give it, where thaw orders weights channels last."""
    return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch stubs know only dtype and device


def settle(device: torch.device) -> None:
    """A GPU goes on with its work while the host reads the clock: wait for it."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def probe_auc(X: Float32[np.ndarray, "n D"], rows: Int[np.ndarray, " n"], params: Params) -> float:
    """AUC of a logistic probe on the test images of all folds together; each fold's validation chooses its C.

    ``X`` has a row for each of ``rows``. Folds without both classes in a part (few images) are left out; nan where none is left.
    """
    data, splits = labelled(), read_splits(Path("data/splits.csv"))
    labels, logits, truth = data.labels[rows], [], []
    for fold in params.split.folds:
        train, val, test = (np.flatnonzero(np.isin(rows, rows_of(splits, fold, role))) for role in (TRAIN, VAL, TEST))
        if min(len(np.unique(labels[part])) for part in (train, val, test)) < len(data.classes):
            continue
        parts = Part(X[train], labels[train]), Part(X[val], labels[val])
        fitted = fit_logistic(*parts, params.heads.C, params.selection.metric, len(data.classes))
        logits.append(fitted.predict(X[test]))
        truth.append(labels[test])
    return validation_figures(np.concatenate(logits), np.concatenate(truth))["auc"] if logits else float("nan")
