"""Encoder + images -> X (N, D): frozen backbone, evaluation mode, row order of the index, nothing random."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import nn

from thaw.views import Recipe, normalise


def extract(
    encoder: nn.Module, view: UInt8[torch.Tensor, "N C S S"], recipe: Recipe, batch_size: int, advance: Callable[[int], None]
) -> Float32[np.ndarray, "N D"]:
    """Pooled features of every image. ``advance(n)`` is told of each finished batch."""
    encoder.eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(view), batch_size):
            rows.append(encoder(normalise(view[start : start + batch_size], recipe)).numpy())
            advance(len(rows[-1]))
    return np.concatenate(rows)
