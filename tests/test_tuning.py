"""Every strategy has the same trials; choice is validation's; edges are told."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import phase

from thaw.params import Phase, Tune, read_params
from thaw.tuning import DIALS, Trial, edges, scaled, trials


def tune(**changed: object) -> Tune:
    settings = {"trials": 8, "rate": [0.1, 10.0], "weight_decay": [0.1, 10.0], "epochs": [0.5, 2.0], "seed": 0}
    return Tune.model_validate(settings | changed)


def test_off_means_no_trials() -> None:
    assert trials(tune(trials=0)) == []
    assert read_params().tune.trials == 0


def test_trials_start_with_params_and_fill_their_space_evenly() -> None:
    found = trials(tune(trials=65))
    assert len(found) == 65 and found[0] == Trial(1.0, 1.0, 1.0)
    spans = {"rate": (0.1, 10), "weight_decay": (0.1, 10), "epochs": (0.5, 2)}
    for dial, (low, high) in spans.items():
        values = sorted(getattr(trial, dial) for trial in found[1:])
        assert low <= values[0] and values[-1] <= high
        for part in range(4):  # each quarter of the logarithm gets a quarter of the trials, within two
            ends = [low * (high / low) ** (edge / 4) for edge in (part, part + 1)]
            assert sum(ends[0] <= value < ends[1] for value in values) == pytest.approx(16, abs=2), (dial, part)


def test_trials_are_a_function_of_the_seed_and_extend_without_changing() -> None:
    assert trials(tune()) == trials(tune()) != trials(tune(seed=1))
    assert trials(tune(trials=12))[:8] == trials(tune())  # a larger budget keeps what was tried


def test_a_trial_scales_rates_decay_and_length_of_every_phase() -> None:
    found = scaled(phase(epochs=3, rates={"head": 0.1, "*": 0.01}, decay=0.2), Trial(2.0, 0.5, 1.5))
    assert found.rates == {"head": 0.2, "*": 0.02} and found.weight_decay == 0.1 and found.epochs == 4
    assert scaled(phase(epochs=1), Trial(1.0, 1.0, 0.1)).epochs == 1


def test_bits_rule_keeps_its_length() -> None:
    rule = Phase.model_validate(
        {"name": "a", "train": "all", "steps": "bit", "rates": {"*": 0.003}, "weight_decay": 0.0, "schedule": "bit", "warmup": 0.0}
    )
    assert scaled(rule, Trial(1.0, 1.0, 2.0)).steps == "bit"


@given(st.sampled_from(sorted(read_params().strategies)), st.integers(2, 9))
def test_every_strategy_can_be_scaled_to_valid_phases(name: str, number: int) -> None:
    for trial, original in product(trials(tune(trials=number)), read_params().strategies[name].phases):
        Phase.model_validate(scaled(original, trial).model_dump())


def test_edges_name_the_dials_whose_optimum_may_lie_outside() -> None:
    tried = [Trial(1.0, 1.0, 1.0), Trial(0.2, 3.0, 0.7), Trial(5.0, 0.3, 1.4), Trial(2.0, 2.0, 1.0)]
    assert edges(tried, tried[0]) == []
    assert edges(tried, tried[1]) == list(DIALS)
    assert edges(tried, tried[3]) == []
    assert edges(tried[:2], tried[0]) == []
