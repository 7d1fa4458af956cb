"""A network small enough for closed forms and a material to train it on."""

import numpy as np
import torch
from torch import nn

from thaw.backbones import Network
from thaw.finetune import Material, Observer
from thaw.params import Phase
from thaw.randomness import id_numbers
from thaw.views import Recipe

RECIPE = Recipe(image_size=8, native_size=8, crop=1.0, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
BLOCKS = {"stem": ["stem.weight", "bn.weight", "bn.bias"], "top": ["top.weight", "top.bias"]}
QUIET = Observer(lambda images: None, lambda row: None, lambda text: None)


class TinyEncoder(nn.Module):
    """conv -> batch norm -> ReLU -> dropout -> conv -> mean: (B, 3, 8, 8) -> (B, 6)."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(dropout)
        self.top = nn.Conv2d(4, 6, 3)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.top(self.drop(torch.relu(self.bn(self.stem(pixels))))).mean(dim=(2, 3))


def tiny_network(seed: int = 0, dropout: float = 0.2) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(TinyEncoder(dropout), 6, 2)


def tiny_material(n: int = 64) -> Material:
    """Gray images whose brightness gives the class, with noise; 48 to train on, the rest to validate."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    pixels = np.clip(110 + 40 * labels[:, None, None, None] + rng.normal(0, 40, (n, 1, 8, 8)), 0, 255).astype(np.uint8)
    train = np.arange(n * 3 // 4)
    ids = id_numbers([f"image{row}" for row in range(n)])
    return Material(torch.from_numpy(pixels), torch.from_numpy(labels), ids, train, np.arange(len(train), n), RECIPE)


def phase(
    train: str = "all",
    epochs: int = 2,
    rates: dict[str, float] | None = None,
    schedule: str = "cosine",
    decay: float = 0.01,
    name: str = "all",
    warmup: float = 0.1,
) -> Phase:
    settings = {"epochs": epochs, "rates": rates or {"*": 0.01}, "weight_decay": decay, "schedule": schedule, "warmup": warmup}
    return Phase.model_validate({"name": name, "train": train, **settings})
