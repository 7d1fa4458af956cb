"""The loss and its parts against numbers computed another way."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from tiny import BLOCKS, phase, tiny_network

from thaw.objective import Mix, Objective, balanced_weights, draw_mix, l2sp_penalty
from thaw.params import L2SP
from thaw.strategies import apply_freeze, resolve

LABELS = np.array([0, 0, 0, 0, 0, 2, 2, 1])


def test_balanced_weights_are_scikit_learns() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(balanced_weights(LABELS, 3).numpy(), expected, rtol=1e-6)


def test_a_class_without_images_weighs_nothing() -> None:
    assert balanced_weights(LABELS, 4)[3] == 0


def test_smoothing_and_weights_written_out() -> None:
    """Target (1 - s) one-hot + s / K, each class's term times its weight, over the sum of the labels' weights."""
    rng = np.random.default_rng(0)
    logits, labels, s = rng.normal(size=(8, 3)), LABELS, 0.1
    weights = balanced_weights(labels, 3).numpy().astype(float)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    target = (1 - s) * np.eye(3)[labels] + s / 3
    expected = -(target * weights * log_p).sum() / weights[labels].sum()
    objective = Objective(torch.from_numpy(weights.astype(np.float32)), s)
    found = objective.loss(torch.from_numpy(logits.astype(np.float32)), torch.from_numpy(labels))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_mixup_is_the_mean_of_two_losses_and_of_two_inputs() -> None:
    mix = Mix(0.7, torch.tensor([2, 0, 1]))
    inputs, labels = torch.randn(3, 4), torch.tensor([0, 1, 1])
    torch.testing.assert_close(mix.of(inputs)[0], 0.7 * inputs[0] + 0.3 * inputs[2])
    logits = torch.randn(3, 2)
    soft = 0.7 * torch.eye(2)[labels] + 0.3 * torch.eye(2)[labels[mix.partner]]
    expected = -(soft * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(Objective().loss(logits, labels, mix), expected)


def test_mixup_is_drawn_from_its_law_and_its_seed_alone() -> None:
    shares = [draw_mix(0.4, 8, seed).share for seed in range(3000)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.06)  # of Beta(a, a)
    again = draw_mix(0.4, 8, 5)
    assert again.share == shares[5] and torch.equal(again.partner, draw_mix(0.4, 8, 5).partner)
    assert sorted(again.partner.tolist()) == list(range(8))


def test_the_gradient_of_l2sp_equals_finite_differences() -> None:
    network = tiny_network().double()
    (resolved,) = resolve(network, BLOCKS, [phase("top", rates={"*": 0.1})], "frozen_eval", "s")
    apply_freeze(network, resolved)
    start = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(torch.randn_like(tensor))
    strengths = L2SP(alpha=0.3, beta=0.07)
    l2sp_penalty(network, start, strengths).backward()
    compared = 0
    for name, tensor in network.named_parameters():
        if not tensor.requires_grad:
            assert tensor.grad is None, name
            continue
        assert tensor.grad is not None
        for position in (0, tensor.numel() - 1):
            with torch.no_grad():
                entry, h = tensor.view(-1)[position], 1e-4
                value = entry.item()
                ends = []
                for sign in (1, -1):
                    tensor.view(-1)[position] = value + sign * h
                    ends.append(l2sp_penalty(network, start, strengths).item())
                tensor.view(-1)[position] = value
            assert tensor.grad.view(-1)[position].item() == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-6)
            compared += 1
    assert compared == 8


def test_at_its_start_l2sp_pulls_the_head_alone() -> None:
    network = tiny_network()
    torch.nn.init.ones_(network.head.weight)
    start = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    assert l2sp_penalty(network, start, L2SP(alpha=5.0, beta=0.5)).item() == pytest.approx(0.25 * 12)
