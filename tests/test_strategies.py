"""What a strategy means for a network: exact groups, and layers that stay frozen."""

import math

import pytest
import torch
from tiny import BLOCKS, phase, tiny_network

from thaw.backbones import Network as RealNetwork
from thaw.backbones import build_backbone
from thaw.errors import InputError
from thaw.optimisers import build_optimiser
from thaw.params import read_params
from thaw.strategies import apply_freeze, fixed_layers, group_table, norm_tensors, resolve, trainable_scalars


def test_norm_tensors_are_those_of_norm_layers() -> None:
    assert norm_tensors(tiny_network()) == {"backbone.bn.weight", "backbone.bn.bias"}


def test_table_counts_what_trains() -> None:
    network = tiny_network()
    phases = resolve(
        network, BLOCKS, [phase("head", rates={"head": 0.1}), phase("all", rates={"head": 0.1, "backbone": 0.01})], "train", "s"
    )
    rows = group_table(network, phases)
    assert [(row["group"], row["rate"], row["weight_decay"], row["tensors"], row["scalars"]) for row in rows] == [
        ("head", 0.1, 0.01, 1, 12),
        ("head.no_decay", 0.1, 0.0, 1, 2),
        ("head", 0.1, 0.01, 1, 12),
        ("head.no_decay", 0.1, 0.0, 1, 2),
        ("backbone", 0.01, 0.01, 2, 3 * 4 * 9 + 4 * 6 * 9),
        ("backbone.no_decay", 0.01, 0.0, 3, 4 + 4 + 6),
    ]
    assert trainable_scalars(network, phases) == sum(tensor.numel() for tensor in network.parameters())
    assert trainable_scalars(network, phases[:1]) == 14


@pytest.mark.parametrize(
    ("trainable", "norm", "fixed"),
    [
        ({"head.weight"}, "frozen_eval", {"backbone.bn", "backbone.drop"}),
        ({"head.weight", "backbone.top.weight"}, "frozen_eval", {"backbone.bn"}),
        ({"head.weight", "backbone.bn.weight"}, "frozen_eval", set()),
        ({"head.weight", "backbone.bn.weight"}, "eval", {"backbone.bn"}),
    ],
)
def test_fixed_layers(trainable: set[str], norm: str, fixed: set[str]) -> None:
    assert fixed_layers(tiny_network(), frozenset(trainable), norm) == fixed


def test_frozen_layers_stay_in_evaluation_mode_through_train() -> None:
    network = tiny_network()
    (only_head,) = resolve(network, BLOCKS, [phase("head", rates={"head": 0.1})], "frozen_eval", "s")
    apply_freeze(network, only_head)
    network.eval()
    network.train()
    assert network.training and network.backbone.training
    assert not network.backbone.bn.training and not network.backbone.drop.training  # type: ignore[union-attr]
    assert {name for name, tensor in network.named_parameters() if tensor.requires_grad} == {"head.weight", "head.bias"}


def test_one_step_equals_adamw_written_out() -> None:
    """Two rates, decay on weights alone, a frozen stem: after one step p' = p (1 - rate decay) - rate g / (|g| + eps)."""
    network = tiny_network(dropout=0.0)
    rates = {"head": 0.1, "top": 0.02}
    (resolved,) = resolve(network, BLOCKS, [phase("top", rates=rates, decay=0.3)], "frozen_eval", "s")
    apply_freeze(network, resolved)
    torch.nn.init.normal_(network.head.weight, std=0.5)
    optimiser = build_optimiser(network, resolved.groups)
    before = {name: tensor.detach().clone() for name, tensor in network.named_parameters()}
    network.train()
    loss = torch.nn.functional.cross_entropy(network(torch.randn(5, 3, 8, 8)), torch.tensor([0, 1, 0, 1, 1]))
    loss.backward()
    optimiser.step()
    for name, tensor in network.named_parameters():
        if name.startswith(("backbone.stem", "backbone.bn")):
            assert tensor.grad is None and torch.equal(tensor, before[name])
            continue
        rate = rates["head" if name.startswith("head") else "top"]
        decay = 0.3 if name.endswith("weight") else 0.0
        assert tensor.grad is not None
        expected = before[name] * (1 - rate * decay) - rate * tensor.grad / (tensor.grad.abs() + 1e-8)
        torch.testing.assert_close(tensor.detach(), expected, rtol=1e-5, atol=1e-6)


def test_a_zero_head_starts_at_log_k() -> None:
    network = tiny_network()
    loss = torch.nn.functional.cross_entropy(network(torch.randn(4, 3, 8, 8)), torch.tensor([0, 1, 1, 0]))
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)


def test_every_strategy_of_the_project_resolves_on_its_backbone() -> None:
    params = read_params()
    backbone = build_backbone("lite0", 32, random_seed=0)
    network = RealNetwork(backbone.encoder, backbone.dim, 2)
    trained = {}
    for name, strategy in params.strategies.items():
        phases = resolve(network, backbone.blocks, strategy.phases, strategy.norm, f"strategies.{name}")
        trained[name] = [len(phase.trainable) for phase in phases]
        norms = len(norm_tensors(network)) // 2
        assert len(phases[-1].fixed) == (0 if strategy.norm == "train" else norms)
    everything = len(list(network.parameters()))
    assert trained["full"] == [everything]
    assert trained["gradual"][0] == 2 and trained["gradual"][-1] == everything
    assert trained["gradual"] == sorted(set(trained["gradual"]))


def test_a_mistake_names_the_place_in_params() -> None:
    with pytest.raises(InputError, match=r"^strategies\.x\.phases\[1\]\.rates: 'stme' matches nothing"):
        resolve(tiny_network(), BLOCKS, [phase(), phase(rates={"stme": 1.0, "*": 1.0})], "frozen_eval", "strategies.x")
