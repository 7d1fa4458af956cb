"""The README's explanations are true: tree, commands, strategies, table."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from thaw.cli import app
from thaw.params import read_params
from thaw.reporting.readme import readme_is_current, readme_table
from thaw.reporting.results import read_results
from thaw.runs import CONTROLS, HEADS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MADE = {"runs/", "costs/", "learning/", "models/final/"}  # by the pipeline


def tree_paths() -> list[str]:
    block = README.split("## The tree")[1].split("```")[1]
    return [path for line in block.strip().splitlines() for path in re.split(r",\s*", re.split(r"\s{2,}", line)[0])]


def test_the_tree_exists_and_is_complete() -> None:
    paths = tree_paths()
    assert len(paths) > 10
    assert [path for path in paths if path not in MADE and not (ROOT / path).exists()] == []
    shown = {path.split("/")[0] for path in paths} | {"README.md"}
    here = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    ignored = {"tour", "all-strategies", "domain-shift", "learning", "models", "mlflow.db", "mlartifacts", "runs", "costs", "dvc.lock"}
    assert {name for name in here - shown - ignored if not name.startswith(("mlflow.db", "lr-find-"))} == set()


def test_every_make_target_named_exists_and_the_other_way_round() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.M))
    assert set(re.findall(r"(?:`|^    )make ([a-z-]+)", README, re.M)) <= targets
    assert set(re.search(r"^Makefile\s+(.*)$", README, re.M).group(1).split(", ")) == targets  # type: ignore[union-attr]


def test_every_command_of_thaw_named_exists() -> None:
    out = CliRunner().invoke(app, ["--help"]).output
    for command in re.findall(r"`thaw ([a-z][a-z-]*)", README):
        assert re.search(rf"\b{command}\b", out), command


def test_every_stage_and_strategy_is_explained() -> None:
    stages = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
    assert re.search(r"the pipeline: (.*)", README).group(1).split(", ") == list(stages)  # type: ignore[union-attr]
    table = README.split("## What is compared")[1].split("## The tree")[0]
    explained = set(re.findall(r"`([a-z0-9_]+)`", table.split("Everything is chosen")[0]))
    assert explained == {*HEADS, *CONTROLS, *read_params(ROOT / "params.yaml").strategies}


def test_dials_named_exist() -> None:
    params = read_params(ROOT / "params.yaml")
    for path in ("data.elpv_label", "finetune.strategies", "finetune.seed"):
        block, dial = path.split(".")
        assert path in README and hasattr(getattr(params, block), dial)
    assert "backbones.lite0.image_size" in README and params.backbones["lite0"].image_size


def test_the_result_table_is_that_of_the_results_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures come from reports/, which git keeps, seconds from costs/, which DVC keeps: without those, figures alone are compared."""
    monkeypatch.chdir(ROOT)
    params = read_params()
    if all(Path("costs", b, s, f"{fold}.json").exists() for b, s, fold in params.runs()):
        scratch = [name for name, strategy in params.strategies.items() if strategy.start == "random"]
        assert readme_is_current(Path("README.md"), readme_table(read_results(params.runs(), scratch))), "run `make readme`"
    shown = re.search(r"Best: `([a-z_0-9]+)/([a-z_0-9]+)`, .*? ([\d.]+) \[", README)
    assert shown is not None, "run `make readme`"
    rows = [line.split(",") for line in Path("reports/leaderboard.csv").read_text().splitlines()]
    header = {name: position for position, name in enumerate(rows[0])}
    best = next(r for r in rows[1:] if r[header["metric"]] == params.evaluate.primary and r[header["control"]].lower() == "false")
    assert (best[header["backbone"]], best[header["strategy"]]) == shown.groups()[:2]
    assert abs(float(best[header["value"]]) - float(shown.group(3))) < 0.006
