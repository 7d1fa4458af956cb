"""What a step minimises: cross-entropy with the phase's class weights, smoothing and mixup, and the pull towards the start (L2-SP)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import nn
from torch.nn.functional import cross_entropy

from thaw.devices import sent
from thaw.params import L2SP


@dataclass(frozen=True)
class Mix:
    """Mixup (Zhang 2018): each input becomes ``share`` of itself and 1 - ``share`` of its partner, and so does its loss."""

    share: float
    partner: Int[torch.Tensor, " B"]  # positions within the batch

    def of(self, inputs: Float[torch.Tensor, "B *S"]) -> Float[torch.Tensor, "B *S"]:
        return self.share * inputs + (1 - self.share) * inputs[sent(self.partner, inputs.device)]


def draw_mix(alpha: float, size: int, seed: int) -> Mix:
    """Share ~ Beta(alpha, alpha), one for the batch, and a random partner for each image: functions of ``seed``."""
    rng = np.random.default_rng(seed)
    return Mix(float(rng.beta(alpha, alpha)), torch.from_numpy(rng.permutation(size)))


def balanced_weights(labels: Int[np.ndarray, " n"], n_classes: int) -> Float32[torch.Tensor, " K"]:
    """n / (K n_k): every class weighs the same in sum (scikit-learn's "balanced"); a class without images gets 0."""
    counts = np.bincount(labels, minlength=n_classes)
    weights = np.divide(len(labels), n_classes * counts, out=np.zeros(n_classes), where=counts > 0)
    return torch.from_numpy(weights.astype(np.float32))


@dataclass(frozen=True)
class Objective:
    class_weights: Float32[torch.Tensor, " K"] | None = None
    label_smoothing: float = 0.0

    def loss(self, logits: Float[torch.Tensor, "B K"], labels: Int[torch.Tensor, " B"], mix: Mix | None = None) -> Float[torch.Tensor, ""]:
        """Mean over the batch, a weighted one where classes are weighted."""
        weights = None if self.class_weights is None else sent(self.class_weights, logits.device)
        own = cross_entropy(logits, labels, weights, label_smoothing=self.label_smoothing)
        if mix is None:
            return own
        other = cross_entropy(logits, labels[sent(mix.partner, labels.device)], weights, label_smoothing=self.label_smoothing)
        return mix.share * own + (1 - mix.share) * other


def l2sp_penalty(network: nn.Module, start: Mapping[str, torch.Tensor], strengths: L2SP) -> Float[torch.Tensor, ""]:
    """alpha / 2 |w - w_start|^2 over what trains of the backbone, plus beta / 2 |w|^2 over the head (Li 2018, arXiv 1802.01483, eq. 3)."""
    total = torch.zeros((), device=next(network.parameters()).device)
    for name, tensor in network.named_parameters():
        if tensor.requires_grad and name.startswith("head."):
            total = total + strengths.beta / 2 * tensor.square().sum()
        elif tensor.requires_grad:
            total = total + strengths.alpha / 2 * (tensor - start[name]).square().sum()
    return total
