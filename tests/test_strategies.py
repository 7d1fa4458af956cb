"""What a strategy means for a network: exact groups, and layers that stay frozen."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import BLOCKS, phase, tiny_network

from thaw.backbones import Network as RealNetwork
from thaw.backbones import build_backbone
from thaw.errors import InputError
from thaw.finetune import planned_images
from thaw.inputs import steps_per_epoch
from thaw.optimisers import build_optimiser
from thaw.params import Phase, read_params
from thaw.schedules import factor
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
        layers = {tensor.rpartition(".")[0] for tensor in norm_tensors(network)}
        training = {tensor.rpartition(".")[0] for tensor in phases[-1].trainable} & layers
        assert phases[-1].fixed == {"train": set(), "eval": layers, "frozen_eval": layers - training}[strategy.norm], name
    everything = len(list(network.parameters()))
    assert trained["full"] == [everything]
    assert trained["gradual"][0] == 2 and trained["gradual"][-1] == everything
    assert trained["gradual"] == sorted(set(trained["gradual"]))


def test_a_mistake_names_the_place_in_params() -> None:
    with pytest.raises(InputError, match=r"^strategies\.x\.phases\[1\]\.rates: 'stme' matches nothing"):
        resolve(tiny_network(), BLOCKS, [phase(), phase(rates={"stme": 1.0, "*": 1.0})], "frozen_eval", "strategies.x")


phases = st.builds(
    lambda train, length, schedule, warmup, decay: {"train": train, **length, "schedule": schedule, "warmup": warmup, **decay},
    st.sampled_from(["head", "top", "all", "norm", "bias", "each_block", "last_1", "first_1"]),
    st.one_of(st.builds(lambda n: {"epochs": n}, st.integers(1, 4)), st.builds(lambda n: {"steps": n}, st.integers(1, 60))),
    st.sampled_from(["constant", "cosine", "one_cycle", "fit_one_cycle", "slanted"]),
    st.floats(0, 0.99),
    st.sampled_from([{}, {"layer_decay": 0.5}]),
)


@given(st.lists(phases, min_size=1, max_size=4), st.integers(4, 300), st.integers(2, 64))
def test_any_phases_give_a_consistent_schedule(described: list[dict[str, Any]], images: int, batch_size: int) -> None:
    """Epochs add up to the phase's steps; every step has a rate between 0 and the peak for every group; the table has a row for each."""
    network, listed = tiny_network(), []
    for number, settings in enumerate(described):
        listed.append(Phase.model_validate({"name": f"p{number}", "rates": {"*": 0.1}, "weight_decay": 0.1} | settings))
    resolved = resolve(network, BLOCKS, listed, "frozen_eval", "s")
    assert len(resolved) == sum(2 if one.train == "each_block" else 1 for one in listed)
    assert len({part.name for part in resolved}) == len(resolved)
    per_epoch = steps_per_epoch(images, batch_size)
    planned = 0
    for part in resolved:
        total = part.total_steps(per_epoch, images)
        lengths = [min(per_epoch, total - start) for start in range(0, total, per_epoch)]
        assert sum(lengths) == total and min(lengths) >= 1
        assert part.settings.epochs is None or len(lengths) == part.settings.epochs
        for step in range(total):
            assert 0 <= factor(part.settings.schedule, step, total, part.settings.warmup, part.settings.div) <= 1
        planned += total
    assert planned_images(resolved, images, batch_size) == round(planned * images / per_epoch)
    assert len(group_table(network, resolved)) == sum(len(part.groups) for part in resolved)
    assert trainable_scalars(network, resolved) <= sum(tensor.numel() for tensor in network.parameters())


def test_bits_rule_decides_length_and_mixup_by_the_number_of_images() -> None:
    rule = {"name": "a", "train": "all", "steps": "bit", "rates": {"*": 0.003}, "weight_decay": 0.0, "schedule": "bit", "warmup": 0.0}
    (resolved,) = resolve(tiny_network(), BLOCKS, [Phase.model_validate(rule)], "frozen_eval", "s")
    assert [resolved.total_steps(7, n) for n in (100, 20_000, 500_000)] == [500, 10_000, 20_000]
    assert [resolved.mixup(n) for n in (100, 20_000)] == [0.0, 0.1]


def test_what_is_frozen_below_ends_at_the_first_block_that_trains() -> None:
    network = tiny_network()
    found = {train: resolve(network, BLOCKS, [phase(train)], "frozen_eval", "s")[0] for train in ("head", "top", "all", "norm", "first_1")}
    assert {train: (one.frozen, one.first) for train, one in found.items()} == {
        "head": (("stem", "top"), "head"),
        "top": (("stem",), "top"),
        "all": ((), "stem"),
        "norm": ((), "stem"),
        "first_1": ((), "stem"),
    }
    assert resolve(network, BLOCKS, [phase("head")], "train", "s")[0].frozen == ()  # its statistics change
