"""One step equals the algebra written out: rates, decay, clipping, a frozen part, momentum that cycles."""

import math

import pytest
import torch
from tiny import BLOCKS, phase, tiny_network

from thaw.backbones import Network
from thaw.optimisers import build_optimiser, set_step
from thaw.params import Optimiser
from thaw.schedules import factor, momentum
from thaw.strategies import ResolvedPhase, apply_freeze, resolve

RATES = {"head": 0.1, "top": 0.02}


def prepared(kind: Optimiser | None) -> tuple[Network, ResolvedPhase, torch.optim.Optimizer]:
    """A network with a frozen stem, two rates, decay, and gradients of one batch."""
    network = tiny_network(dropout=0.0)
    (resolved,) = resolve(network, BLOCKS, [phase("top", rates=RATES, decay=0.3)], "frozen_eval", "s")
    apply_freeze(network, resolved)
    torch.manual_seed(0)
    torch.nn.init.normal_(network.head.weight, std=0.5)
    optimiser = build_optimiser(network, resolved.groups, kind)
    network.train()
    torch.nn.functional.cross_entropy(network(torch.randn(5, 3, 8, 8)), torch.tensor([0, 1, 0, 1, 1])).backward()
    return network, resolved, optimiser


def rate_and_decay(name: str) -> tuple[float, float]:
    return RATES["head" if name.startswith("head") else "top"], 0.3 if name.endswith("weight") else 0.0


@pytest.mark.parametrize("limit", [1e-3, 1e6])
def test_one_step_of_adamw_with_clipping_equals_the_algebra(limit: float) -> None:
    """p' = p (1 - rate decay) - rate c g / (c |g| + eps), c = min(1, limit / (|all gradients| + 1e-6))."""
    network, _, optimiser = prepared(None)
    before = {name: tensor.detach().clone() for name, tensor in network.named_parameters()}
    raw = {name: tensor.grad.clone() for name, tensor in network.named_parameters() if tensor.grad is not None}
    norm = math.sqrt(sum(float(grad.double().square().sum()) for grad in raw.values()))
    scale = min(1.0, limit / (norm + 1e-6))
    assert (scale < 1) == (limit < 1)
    torch.nn.utils.clip_grad_norm_(network.parameters(), limit)
    optimiser.step()
    for name, tensor in network.named_parameters():
        if name not in raw:
            assert name.startswith(("backbone.stem", "backbone.bn")) and torch.equal(tensor, before[name])
            continue
        rate, decay = rate_and_decay(name)
        grad = raw[name] * scale
        expected = before[name] * (1 - rate * decay) - rate * grad / (grad.abs() + 1e-8)
        torch.testing.assert_close(tensor.detach(), expected, rtol=1e-4, atol=1e-6)


def test_two_steps_of_sgd_with_momentum_equal_the_algebra() -> None:
    """v1 = d, v2 = m v1 + d, p2 = p - rate (v1 + v2), d = g + decay p; the same gradient twice."""
    network, _, optimiser = prepared(Optimiser(name="sgd", momentum=0.9))
    expected = {}
    for name, tensor in network.named_parameters():
        if tensor.grad is not None:
            rate, decay = rate_and_decay(name)
            start = tensor.detach().double()
            first = tensor.grad.double() + decay * start
            middle = start - rate * first
            expected[name] = middle - rate * (0.9 * first + tensor.grad.double() + decay * middle)
    optimiser.step()
    optimiser.step()
    assert len(expected) == 4
    for name, value in expected.items():
        torch.testing.assert_close(network.get_parameter(name).detach().double(), value, rtol=1e-4, atol=1e-6)


def test_a_step_sets_rates_and_momentum_of_every_group() -> None:
    kind = Optimiser(name="adamw", momentum=0.95, momentum_at_peak=0.85, beta2=0.99, eps=1e-5)
    _, resolved, optimiser = prepared(kind)
    set_step(optimiser, kind, "fit_one_cycle", 7, 20, 0.3, 5.0)
    scale = factor("fit_one_cycle", 7, 20, 0.3, 5.0)
    assert [group["lr"] for group in optimiser.param_groups] == [group.rate * scale for group in resolved.groups]
    expected = momentum("fit_one_cycle", 7, 20, 0.3, 0.95, 0.85)
    assert all(group["betas"] == (expected, 0.99) and group["eps"] == 1e-5 for group in optimiser.param_groups)
    assert 0.85 < expected < 0.95


def test_without_a_cycle_momentum_stays() -> None:
    kind = Optimiser(name="sgd", momentum=0.9)
    _, _, optimiser = prepared(kind)
    set_step(optimiser, kind, "cosine", 7, 20, 0.1, None)
    assert {group["momentum"] for group in optimiser.param_groups} == {0.9}
