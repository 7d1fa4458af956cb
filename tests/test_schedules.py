"""Schedules against closed forms, torch's own, numbers recorded from fastai, and published tables."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thaw.schedules import SCHEDULES, bit_mixup, bit_steps, factor, momentum

FASTAI = pd.read_csv(Path(__file__).parent / "reference/fastai_fine_tune.csv")
PHASES = {"frozen": (0.99, 25.0), "unfrozen": (0.3, 5.0)}  # pct_start and div, of fastai's fine_tune
PEAKS = {("frozen", "body"): 2e-4, ("frozen", "head"): 2e-3, ("unfrozen", "body"): 1e-5, ("unfrozen", "head"): 1e-3}


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


@pytest.mark.parametrize("div", [None, 5.0, 1.0, 100.0])
@pytest.mark.parametrize(
    ("total", "pct_start"),
    # warm-ups with no step, with a fraction of one, that end on a step and between two, and that are everything
    [(100, 0.3), (100, 0.25), (37, 0.3), (37, 0.0), (20, 0.01), (20, 1.0), (3, 0.3), (2, 0.3), (2, 0.9), (1, 0.0), (1, 0.3)],
)
def test_one_cycle_equals_torchs(total: int, pct_start: float, div: float | None) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=2e-3, total_steps=total, pct_start=pct_start, div_factor=25.0 if div is None else div
    )
    for step in range(total):
        group = optimiser.param_groups[0]
        assert 2e-3 * factor("one_cycle", step, total, pct_start, div) == pytest.approx(group["lr"], rel=1e-9)
        assert momentum("one_cycle", step, total, pct_start, 0.95, 0.85) == pytest.approx(group["momentum"], rel=1e-12)
        if step < total - 1:  # past the last step torch divides by zero where warm-up is everything
            optimiser.step()
            theirs.step()


@pytest.mark.parametrize(("total", "warmup"), [(1, 1.0), (2, 0.5), (4, 0.25)])
def test_one_cycle_begins_at_the_peak_where_torch_divides_by_zero(total: int, warmup: float) -> None:
    with pytest.raises(ZeroDivisionError):
        torch.optim.lr_scheduler.OneCycleLR(
            torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9), max_lr=1.0, total_steps=total, pct_start=warmup
        )
    assert factor("one_cycle", 0, total, warmup) == 1.0
    assert momentum("one_cycle", 0, total, warmup, 0.95, 0.85) == 0.85


def test_fit_one_cycle_rises_and_falls_by_half_cosines() -> None:
    rates = [factor("fit_one_cycle", step, 200, 0.25) for step in range(200)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[25] == pytest.approx((1 / 25 + 1) / 2)  # half-way up in position is half-way up in rate
    assert rates[50] == 1.0
    assert rates[125] == pytest.approx((1 + 1e-5) / 2)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("group", ["body", "head"])
def test_fit_one_cycle_equals_fastais_fine_tune(phase: str, group: str) -> None:
    warmup, div = PHASES[phase]
    peak = PEAKS[phase, group]
    rows = FASTAI[(FASTAI["phase"] == phase) & (FASTAI["group"] == group)]
    exact, stock = rows[rows["positions"] == "float64"], rows[rows["positions"] == "float32"]
    total = len(exact)
    assert exact["step"].tolist() == list(range(total)) and set(exact["total"]) == {total}
    rates = np.array([peak * factor("fit_one_cycle", step, total, warmup, div) for step in range(total)])
    momenta = np.array([momentum("fit_one_cycle", step, total, warmup, 0.95, 0.85) for step in range(total)])
    np.testing.assert_allclose(rates, exact["lr"], rtol=1e-9)
    np.testing.assert_allclose(momenta, exact["mom"], rtol=1e-9)
    # As it comes, fastai rounds a position to 24 bits.
    np.testing.assert_allclose(rates, stock["lr"], atol=1e-7 * peak, rtol=0)
    np.testing.assert_allclose(momenta, stock["mom"], atol=1e-8, rtol=0)


def test_slanted_equals_equation_3_by_hand() -> None:
    # T = 100, cut_frac = 0.1, ratio = 32: p is t / 10 before the cut, then (100 - t) / 90; the factor is (1 + 31 p) / 32.
    by_hand = {0: 1 / 32, 1: 4.1 / 32, 5: 16.5 / 32, 9: 28.9 / 32, 10: 1.0, 19: 28.9 / 32, 55: 16.5 / 32, 91: 4.1 / 32}
    assert {step: factor("slanted", step, 100, 0.1) for step in by_hand} == pytest.approx(by_hand, rel=1e-12)
    lines = np.interp(range(100), [0, 10, 100], [1 / 32, 1, 1 / 32])
    assert [factor("slanted", step, 100, 0.1) for step in range(100)] == pytest.approx(lines.tolist(), rel=1e-12)


def test_slanted_stays_at_its_start_where_equation_3_would_go_below() -> None:
    # T = 109: the cut is floored from 10.9 to 10, but the fall still takes 10 x (1 / 0.1 - 1) = 90 steps, and ends at step 100 of 109.
    rates = [factor("slanted", step, 109, 0.1) for step in range(109)]
    assert rates[10:] == pytest.approx(np.interp(range(10, 109), [10, 100], [1, 1 / 32]).tolist(), rel=1e-12)


@pytest.mark.parametrize(
    ("total", "warmup", "cut"), [(100, 0.1, 10), (100, 0.29, 29), (109, 0.1, 10), (50, 0.5, 25), (5, 0.1, 0), (7, 0.0, 0)]
)
@pytest.mark.parametrize("div", [None, 4.0])
def test_slanted_peaks_at_the_cut_and_never_leaves_its_start_downwards(total: int, warmup: float, cut: int, div: float | None) -> None:
    rates = [factor("slanted", step, total, warmup, div) for step in range(total)]
    low = 1 / (32 if div is None else div)
    assert rates[0] == pytest.approx(low if cut else 1.0)
    assert rates.index(max(rates)) == cut and rates[cut] == 1.0
    assert min(rates) >= low
    assert all(a < b for a, b in pairwise(rates[: cut + 1])) and all(a >= b for a, b in pairwise(rates[cut:]))


@pytest.mark.parametrize(
    ("total", "rates"),
    [
        (500, {0: 0, 1: 0.01, 50: 0.5, 99: 0.99, 100: 1, 200: 1, 201: 0.1, 300: 0.1, 301: 0.01, 400: 0.01, 401: 0.001, 499: 0.001}),
        (10_000, {0: 0, 250: 0.5, 499: 0.998, 500: 1, 3000: 1, 3001: 0.1, 6000: 0.1, 6001: 0.01, 9000: 0.01, 9001: 0.001, 9999: 0.001}),
        (20_000, {0: 0, 250: 0.5, 500: 1, 6000: 1, 6001: 0.1, 12_000: 0.1, 12_001: 0.01, 18_000: 0.01, 18_001: 0.001, 19_999: 0.001}),
    ],
)
def test_bit_equals_the_published_table(total: int, rates: dict[int, float]) -> None:
    assert {step: factor("bit", step, total, 0.0) for step in rates} == pytest.approx(rates, rel=1e-12)
    assert all(factor("bit", step, total, 0.3) == factor("bit", step, total, 0.0) for step in rates)


def test_bits_length_and_mixup_change_at_20_000_and_500_000_images() -> None:
    sizes = [1, 19_999, 20_000, 499_999, 500_000, 1_281_167]
    assert [bit_steps(size) for size in sizes] == [500, 500, 10_000, 10_000, 20_000, 20_000]
    assert [bit_mixup(size) for size in sizes] == [0.0, 0.0, 0.1, 0.1, 0.1, 0.1]
    assert all(factor("bit", 0, bit_steps(size), 0.0) == 0.0 for size in sizes)


@given(
    schedule=st.sampled_from([name for name in SCHEDULES if name != "bit"]),
    total=st.integers(1, 2000),
    warmup=st.floats(0, 0.9),
    div=st.none() | st.floats(1, 1e6),
    data=st.data(),
)
def test_a_factor_is_a_share(schedule: str, total: int, warmup: float, div: float | None, data: st.DataObject) -> None:
    ends = {0, total - 1, round(warmup * total), math.floor(warmup * total)}
    steps = data.draw(st.lists(st.integers(0, total - 1), max_size=30))
    for step in {*steps, *(end for end in ends if end < total)}:
        assert 0 <= factor(schedule, step, total, warmup, div) <= 1
        if "one_cycle" in schedule:
            assert 0.85 - 1e-12 <= momentum(schedule, step, total, warmup, 0.95, 0.85) <= 0.95 + 1e-12


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "bit"])
@pytest.mark.parametrize("warmup", [0.0, 0.001, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("total", [1, 2, 3, 4])
def test_the_shortest_runs_have_factors(schedule: str, warmup: float, total: int) -> None:
    assert all(0 <= factor(schedule, step, total, warmup) <= 1 for step in range(total))


@pytest.mark.parametrize("total", [500, 10_000, 20_000])
def test_every_factor_of_bit_is_a_share(total: int) -> None:
    assert all(0 <= factor("bit", step, total, 0.0) <= 1 for step in range(total))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("step", [-1, 500])
def test_steps_outside_are_refused(schedule: str, step: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        factor(schedule, step, 500, 0.0)
    with pytest.raises(ValueError, match="outside"):
        momentum(schedule, step, 500, 0.0, 0.95, 0.85)


@pytest.mark.parametrize("step", [0, 5])
def test_an_unknown_schedule_is_refused(step: int) -> None:
    with pytest.raises(ValueError, match="unknown schedule"):
        factor("linear", step, 10, 0.5)
    with pytest.raises(ValueError, match="unknown schedule"):
        momentum("linear", step, 10, 0.5, 0.95, 0.85)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "slanted", "bit"])
def test_momentum_is_only_of_the_cycles(schedule: str) -> None:
    with pytest.raises(ValueError, match="momentum"):
        momentum(schedule, 0, 500, 0.1, 0.95, 0.85)


def test_bit_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="500 or 10000 or 20000 steps, not 501"):
        factor("bit", 0, 501, 0.0)


@pytest.mark.parametrize("div", [0.0, 0.5, math.inf, math.nan])
@pytest.mark.parametrize("schedule", ["one_cycle", "fit_one_cycle", "slanted"])
def test_a_start_above_the_peak_is_refused(schedule: str, div: float) -> None:
    with pytest.raises(ValueError, match="div"):
        factor(schedule, 0, 10, 0.1, div)
