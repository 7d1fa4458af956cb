"""Averages of weights: closed forms and ends."""

import pytest
import torch
from tiny import tiny_network

from thaw.averaging import Average, interpolated
from thaw.finetune import state_of


def test_a_moving_average_equals_its_closed_form() -> None:
    """s_n = d^n s_0 + (1 - d) sum_i d^(n - i) w_i."""
    network, decay = tiny_network(), 0.9
    average = Average(network, decay)
    seen = [network.head.weight.detach().clone()]
    torch.manual_seed(0)
    for _ in range(6):
        with torch.no_grad():
            network.head.weight.add_(torch.randn(2, 6))
        average.update(network)
        seen.append(network.head.weight.detach().clone())
    expected = decay**6 * seen[0] + (1 - decay) * torch.stack([decay ** (6 - i) * seen[i] for i in range(1, 7)]).sum(0)
    torch.testing.assert_close(average.shadow["head.weight"], expected)


def test_what_does_not_change_stays_bit_equal_in_an_average_and_counters_are_copied() -> None:
    network = tiny_network()
    before, average = state_of(network), Average(network, 0.99)
    for count in range(5):
        network.backbone.bn.num_batches_tracked.fill_(count)  # type: ignore[union-attr,operator]
        average.update(network)
    for name, tensor in average.shadow.items():
        assert torch.equal(tensor, before[name]) or name == "backbone.bn.num_batches_tracked"
    assert average.shadow["backbone.bn.num_batches_tracked"] == 4


def test_an_average_goes_on_where_it_stood() -> None:
    network = tiny_network()
    first = Average(network, 0.9)
    torch.nn.init.ones_(network.head.weight)
    first.update(network)
    resumed = Average(network, 0.9, first.shadow)
    for average in (first, resumed):
        average.update(network)
    assert all(torch.equal(tensor, resumed.shadow[name]) for name, tensor in first.shadow.items())
    assert resumed.shadow["head.weight"] is not first.shadow["head.weight"]


def test_interpolation_at_its_ends_is_its_ends_to_the_bit() -> None:
    start, end = (state_of(tiny_network(seed)) for seed in (0, 1))
    end["backbone.bn.num_batches_tracked"].fill_(7)
    for alpha, expected in ((0.0, start), (1.0, end)):
        for name, tensor in interpolated(start, end, alpha).items():
            assert torch.equal(tensor, expected[name]) or not tensor.is_floating_point()
    middle = interpolated(start, end, 0.25)
    torch.testing.assert_close(middle["backbone.stem.weight"], 0.75 * start["backbone.stem.weight"] + 0.25 * end["backbone.stem.weight"])
    assert middle["backbone.bn.num_batches_tracked"] == 7


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_interpolation_leaves_its_ends_alone(alpha: float) -> None:
    start, end = (state_of(tiny_network(seed)) for seed in (0, 1))
    found = interpolated(start, end, alpha)
    for tensor in found.values():
        tensor.zero_()
    assert end["backbone.stem.weight"].abs().sum() > 0 and start["backbone.stem.weight"].abs().sum() > 0
