"""Schedules against closed forms and torch's own."""

import math
from itertools import pairwise

import pytest
import torch

from thaw.schedules import factor


def test_cosine_equals_torchs() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=50)
    for step in range(50):
        assert factor("cosine", step, 50, 0.0) == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-12)
        optimiser.step()
        theirs.step()


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warmup_rises_linearly_to_the_peak(schedule: str) -> None:
    rates = [factor(schedule, step, 100, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1.0
    assert max(rates) == 1.0
    if schedule == "constant":
        assert set(rates[10:]) == {1.0}
    else:
        assert rates[55] == pytest.approx((1 + math.cos(math.pi * 45 / 90)) / 2)
        assert all(a > b for a, b in pairwise(rates[10:]))


def test_one_cycle_rises_and_falls_by_half_cosines() -> None:
    rates = [factor("one_cycle", step, 200, 0.25) for step in range(200)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[25] == pytest.approx((1 / 25 + 1) / 2)  # half-way up in position is half-way up in rate
    assert rates[50] == 1.0
    assert rates[125] == pytest.approx((1 + 1e-5) / 2)


@pytest.mark.parametrize("step", [-1, 10])
def test_steps_outside_are_refused(step: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        factor("constant", step, 10, 0.0)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown schedule"):
        factor("linear", 5, 10, 0.0)
