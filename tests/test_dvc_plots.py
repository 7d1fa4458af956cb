"""`dvc plots` shows the tables of reports/: every declared plot draws rows that are there, with names and intervals, for real DVC."""

import csv
import json
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from thaw.breakdown import CURVES, RELIABILITY
from thaw.leaderboard import LEADERBOARD
from thaw.learning import COLUMNS as LEARNING
from thaw.tour import environment

ROOT = Path(__file__).parents[1]
TREE: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
PLOTS: dict[str, dict[str, Any]] = {name: plot for entry in TREE["plots"] if isinstance(entry, dict) for name, plot in entry.items()}
COLUMNS = {"leaderboard": LEADERBOARD, "curves": CURVES, "learning": LEARNING, "reliability": RELIABILITY}
TEMPLATES = sorted((ROOT / ".dvc/plots").glob("*.json"))
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000000000500010d0a2db40000000049454e44ae426082"
)


def table_of(plot: dict[str, Any]) -> tuple[str, str]:
    """(name of the table in reports/, its column on the y axis)."""
    ((path, column),) = plot["y"].items()
    return Path(path).stem, column


def named(tree: Any, key: str) -> list[str]:
    """Every text that stands under ``key`` somewhere in ``tree``."""
    if isinstance(tree, list):
        return [text for value in tree for text in named(value, key)]
    if not isinstance(tree, dict):
        return []
    here = [tree[key]] if isinstance(tree.get(key), str) else []
    return here + [text for value in tree.values() for text in named(value, key)]


def fields_of(spec: dict[str, Any]) -> set[str]:
    """Columns that a picture reads, without what it computes itself."""
    read = {*named(spec, "field"), *re.findall(r"datum\.(\w+)", " ".join(named(spec, "filter") + named(spec, "calculate")))}
    return read - {*named(spec, "as"), "rev"}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_reads_columns_that_its_table_has(name: str) -> None:
    plot = PLOTS[name]
    table, column = table_of(plot)
    spec = json.loads((ROOT / f".dvc/plots/{plot['template']}.json").read_text(encoding="utf-8"))
    assert {plot["x"], column} <= set(COLUMNS[table])
    assert fields_of(spec) <= set(COLUMNS[table])
    assert {plot["x"], column} <= fields_of(spec) | {"strategy"}


def test_every_template_is_used_and_every_number_is_read_as_one() -> None:
    """Cells of a CSV reach the page as text, which sorts 10 before 5."""
    assert {path.stem for path in TEMPLATES} == {plot["template"] for plot in PLOTS.values()}
    for path in TEMPLATES:
        spec = json.loads(path.read_text(encoding="utf-8"))
        encodings = re.findall(r'"field": "(\w+)", "type": "quantitative"', json.dumps(spec)) + named_ends(spec)
        assert encodings and set(encodings) <= spec["data"]["format"]["parse"].keys(), path.name


def named_ends(spec: dict[str, Any]) -> list[str]:
    return re.findall(r'"[xy]2": {"field": "(\w+)"', json.dumps(spec))


# ---------------------------------------------------------------- real DVC


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of two candidates and a control, committed, and then a little better: as a repository without code."""
    root = tmp_path_factory.mktemp("project")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / ".dvc/plots", root / ".dvc/plots")
    shutil.copy(ROOT / ".dvc/config", root / ".dvc")
    write_tables(root / "reports", 0.0)
    (root / "reports/figures").mkdir()
    (root / "reports/figures/cost.png").write_bytes(PIXEL)
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "--quiet", "-m", "before")
    write_tables(root / "reports", 0.01)
    return root


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True)


def write_tables(reports: Path, better: float) -> None:
    """Values that say whose they are: of roc_auc below 1, of log_loss above."""
    who = [{"backbone": "lite0", "strategy": s, "control": s == "majority"} for s in ("full", "linear_probe", "majority")]
    levels = {"roc_auc": 0.8, "log_loss": 1.8}
    board = [w | _spread(m, v + better - k / 10) for (k, w), (m, v) in product(enumerate(who), levels.items())]
    curves = [w | {"curve": c, "class": "x", "x": x, "y": x + better} for w, c, x in product(who[:2], ("roc", "pr"), (0, 1e-05, 1))]
    shares = product(who[:2], ("images", "groups"), (5, 10, 100), levels.items())
    learning = [w | {"by": by, "percent": p} | _spread(m, v + p / 1000 + better) for w, by, p, (m, v) in shares]
    bins = product(who[:2], ("raw", "scaled"), (0.05, 0.95))
    reliability = [w | {"stage": stage, "confidence": c, "share": c - better, "n": 7} for w, stage, c in bins]
    for name, rows in (("leaderboard", board), ("curves", curves), ("learning", learning), ("reliability", reliability)):
        write_csv(reports / f"{name}.csv", COLUMNS[name], rows)


def _spread(metric: str, value: float) -> dict[str, Any]:
    return {"metric": metric, "value": value, "lo": value - 0.05, "hi": value + 0.05}


def write_csv(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def page_of(project: Path, out: Path, *arguments: str) -> str:
    """The HTML that ``dvc plots`` writes; it must have nothing to complain about."""
    command = [sys.executable, "-m", "dvc", "plots", *arguments, "--out", str(out)]
    done = subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0 and "failed to load" not in done.stderr, done.stderr
    return (out / "index.html").read_text(encoding="utf-8")


def specs_in(page: str) -> dict[str, dict[str, Any]]:
    """Vega-Lite specifications by the plot's name."""
    found = re.findall(r'<div id = "([^"]+)">\s*<script type = "text/javascript">\s*var spec = (.+?);\s*vegaEmbed', page, re.DOTALL)
    return {name: json.loads(spec) for name, spec in found}


def drawn(spec: dict[str, Any]) -> list[dict[str, str]]:
    """Rows that pass the specification's filter, which compares one column with one text."""
    rows = spec["data"]["values"]
    for condition in named(spec, "filter"):
        match = re.fullmatch(r"datum\.(\w+) == (lower\()?'([^']*)'\)?", condition)
        assert match, condition
        wanted = match[3].lower() if match[2] else match[3]
        rows = [row for row in rows if row[match[1]] == wanted]
    return rows


@pytest.mark.slow
def test_dvc_draws_every_plot_of_both_revisions(project: Path, tmp_path: Path) -> None:
    page = page_of(project, tmp_path / "out", "diff", "HEAD")
    specs = specs_in(page)
    assert specs.keys() == PLOTS.keys() and "DVC_METRIC" not in page
    assert any(path.name.endswith("cost.png") for path in (tmp_path / "out").rglob("*.png"))
    for name, spec in specs.items():
        rows = drawn(spec)
        _, column = table_of(PLOTS[name])
        assert {row["rev"] for row in rows} == {"HEAD", "workspace"}, name
        assert {row["strategy"] for row in rows} >= {"full", "linear_probe"}, name
        assert fields_of(spec) <= rows[0].keys() and rows[0][column] != "", name
        assert all(float(row[column]) < 1.1 for row in rows if column in ("value", "share", "y")), "another metric's rows"
    assert {row["curve"] for row in drawn(specs["roc"])} == {"roc"} and {row["curve"] for row in drawn(specs["precision_recall"])} == {"pr"}
    assert specs["learning_curve"]["spec"]["encoding"]["x"]["title"] == "% of the labelled images"
    by_rev = {row["rev"]: float(row["value"]) for row in drawn(specs["leaderboard"]) if row["strategy"] == "full"}
    assert by_rev["workspace"] - by_rev["HEAD"] == pytest.approx(0.01)


@pytest.mark.slow
def test_tables_without_rows_leave_the_other_plots_alone(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "copy")
    write_csv(tmp_path / "copy/reports/learning.csv", LEARNING, [])
    specs = specs_in(page_of(tmp_path / "copy", tmp_path / "out", "show"))
    assert [name for name, spec in specs.items() if not spec] == ["learning_curve"]
    assert all(drawn(spec) for spec in specs.values() if spec)
