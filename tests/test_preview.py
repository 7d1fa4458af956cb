"""What would train, and what it would cost, without data."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from thaw.cli import app
from thaw.errors import InputError
from thaw.params import Params, read_params
from thaw.preview import cost, preview

WORK = {"stem": 30, "top": 60, "head": 10}


@pytest.fixture(scope="module")
def params() -> Params:
    return read_params()


def total(params: Params, strategy: str) -> float:
    return sum({row["phase"]: row["cost"] for row in preview(params, strategy)}.values())


def test_cost_counts_backward_twice_and_what_is_frozen_once_a_view() -> None:
    assert cost(WORK, (), 3.0, None) == pytest.approx(3)
    assert cost(WORK, ("stem",), 3.0, None) == pytest.approx((30 * 3 + 3 * 70 * 3) / 300)
    assert cost(WORK, ("stem",), 3.0, 1) == pytest.approx((30 + 3 * 70 * 3) / 300)
    assert cost(WORK, ("stem", "top"), 0.5, 8) == pytest.approx((90 * 0.5 + 3 * 10 * 0.5) / 300)


def test_every_strategy_of_params_has_a_table_without_data(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # there is no data here
    costs = {name: total(params, name) for name in params.strategies}
    assert all(value > 0 for value in costs.values())
    assert costs["full"] == costs["grouped"] == pytest.approx(3, abs=0.01)
    assert costs["last_block"] < 0.6 * costs["full"]
    for row in preview(params, "layerwise"):
        assert row["scalars"] > 0 and row["rate"] > 0
    assert len({row["phase"] for row in preview(params, "gradual")}) == 1 + 8


def test_an_unknown_strategy_is_named(params: Params) -> None:
    with pytest.raises(InputError, match="unknown name 'graduall'; did you mean 'gradual'"):
        preview(params, "graduall")


def test_the_command_prints_it() -> None:
    done = CliRunner().invoke(app, ["phases", "gradual"])
    assert done.exit_code == 0
    assert "down_8" in done.output and "25 steps" in done.output and "epochs of training everything" in done.output
