"""dvc.yaml says what the stages really are made of, read and write."""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from thaw.closure import OBSERVERS, PARSER, file_of, import_closure
from thaw.runs import CONTROLS, HEADS
from thaw.stages import code

ROOT = Path(__file__).parents[1]
STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
LISTED = [name for name in STAGES if name not in ("code", "track")]  # those with a list of their source files
TAKE_PARAMS = {"cells.py", "head_runs.py", "final_model.py"}  # what two stages share takes the whole tree
NAMES_ONLY = {"features.backbones", "finetune.backbones", "finetune.strategies"}  # fetch: declared so that a wrong name is told first


def test_the_stages_are_the_modules_of_stages() -> None:
    modules = {path.stem for path in (ROOT / "src/thaw/stages").glob("*.py")} - {"__init__"}
    assert set(STAGES) == modules
    for name, stage in STAGES.items():
        assert stage["cmd"].split()[:3] == ["python", "-m", f"thaw.stages.{name}"]


@pytest.mark.parametrize("name", LISTED)
def test_deps_are_complete(name: str) -> None:
    """DVC does not follow imports (treeverse/dvc issue 9195): a stage depends on the list of what it is made of."""
    assert [dep for dep in STAGES[name]["deps"] if dep.startswith(("src", "data/code"))] == [f"data/code/{name}.txt"]


def test_code_makes_exactly_the_lists_that_stages_depend_on() -> None:
    assert STAGES["code"]["deps"] == ["src/thaw"]
    assert STAGES["code"]["outs"] == [f"data/code/{name}.txt" for name in LISTED]
    assert next(iter(STAGES)) == "code"


def test_a_list_is_the_import_closure_with_its_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code.main()
    assert {path.name for path in (tmp_path / "data/code").iterdir()} == {f"{name}.txt" for name in LISTED}
    for name in LISTED:
        lines = (tmp_path / f"data/code/{name}.txt").read_text().splitlines()
        expected = {str(path.relative_to(ROOT)): path.read_bytes() for path in import_closure(f"thaw.stages.{name}")}
        assert lines == [f"{hashlib.sha256(expected[path]).hexdigest()}  {path}" for path in sorted(expected)]
        assert f"src/thaw/stages/{name}.py" in expected


def test_an_edit_changes_the_lists_of_the_stages_that_have_the_file(tmp_path: Path) -> None:
    """In a copy, by the command of dvc.yaml. The parser and the observers are in no list."""
    shutil.copytree(ROOT / "src/thaw", tmp_path / "src/thaw", ignore=shutil.ignore_patterns("__pycache__"))
    before = written_by_code(tmp_path)
    assert written_by_code(tmp_path) == before
    for module in ("thaw.reporting.wording", "thaw.learning", "thaw.files", "thaw.params", "thaw.progress"):
        with (tmp_path / "src" / file_of(module).relative_to(ROOT / "src")).open("a") as file:
            file.write("\n# a change\n")
        after = written_by_code(tmp_path)
        made_of_it = {f"{name}.txt" for name in LISTED if file_of(module) in import_closure(f"thaw.stages.{name}")}
        assert {name for name, content in after.items() if content != before[name]} == made_of_it, module
        before = after


def written_by_code(project: Path) -> dict[str, bytes]:
    subprocess.run([sys.executable, "-m", "thaw.stages.code"], cwd=project, env={**os.environ, "PYTHONPATH": "src"}, check=True)
    return {path.name: path.read_bytes() for path in (project / "data/code").iterdir()}


def test_code_loads_nothing_that_is_slow_to_load() -> None:
    work = "import sys; import thaw.stages.code; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "pandas", "torch", "pydantic", "ruamel.yaml", "thaw.params"}
    assert "thaw.closure" in loaded and not heavy & set(loaded)


def test_the_closure_follows_imports_inside_functions_and_packages() -> None:
    fetch = {path.name for path in import_closure("thaw.stages.fetch")}
    assert {"elpv.py", "digits.py", "errors.py", "__init__.py"} <= fetch
    assert not fetch & {"params.py", "live.py", "heads.py"}
    assert {file_of(name) for name in (*OBSERVERS, PARSER)} <= set(import_closure("thaw.stages.finetune", leave_out=frozenset()))


@pytest.mark.parametrize("name", [name for name in STAGES if name != "track"])
def test_params_are_those_that_the_stage_reads(name: str) -> None:
    declared = set(STAGES[name].get("params", []))
    read = set()
    closure = import_closure(f"thaw.stages.{name}")
    files = [file_of(f"thaw.stages.{name}"), *(file for file in closure if file.name in TAKE_PARAMS)]
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text()))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and _is_params(node.value.value):
            read.add(f"{node.value.attr}.{node.attr}")
        elif isinstance(node, ast.Attribute) and _is_params(node.value):
            read.add(node.attr)
    if "runs" in read:
        read |= {*NAMES_ONLY, "split.folds"}
    if "candidates" in read:
        read |= {*NAMES_ONLY, "split.folds", "backbones"}
    if "learning_runs" in read:
        read |= {"learning", "features.backbones", "finetune.backbones", "split.folds"}
    listed = {"runs", "candidates", "learning_runs", "track", "track.experiment"}
    found = {path for path in read if not any(path.startswith(f"{other}.") for other in declared)} - listed
    covered = {path for path in found if _covered(path, declared)}
    blocks = {path for path in found if "." not in path and any(other.startswith(f"{path}.") for other in found | declared)}
    assert found - covered - blocks == set(), "read but not declared"
    unread = {path for path in declared if not any(_overlap(path, other) for other in read)}
    assert unread == (NAMES_ONLY if name == "fetch" else set()), "declared but not read"


def _is_params(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "params") or (isinstance(node, ast.Attribute) and node.attr == "params")


def _covered(path: str, declared: set[str]) -> bool:
    return any(path == other or path.startswith(f"{other}.") or other.startswith(f"{path}.${{") for other in declared)


def _overlap(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}.") or other.startswith(f"{path}.")


def test_heads_declares_a_folder_for_every_head_and_control() -> None:
    outs = STAGES["heads"]["outs"]
    expected = [f"{root}/${{item.backbone}}/{name}" for root in ("runs", "costs") for name in (*HEADS, *CONTROLS)]
    assert outs == expected


def test_reports_are_kept_by_git_and_everything_else_by_dvc() -> None:
    """But for the page, which holds images of the data set: they may not be redistributed."""
    for stage in STAGES.values():
        for out in [*stage.get("outs", []), *stage.get("metrics", [])]:
            path, cached = (out, True) if isinstance(out, str) else (next(iter(out)), next(iter(out.values())).get("cache", True))
            assert cached != (path.startswith("reports/") and path != "reports/report.html"), path


def test_what_differs_from_run_to_run_makes_nothing_but_the_report_and_track_rerun() -> None:
    assert {name for name, stage in STAGES.items() if "costs" in stage["deps"]} == {"report", "track"}
    assert STAGES["track"]["always_changed"] and "outs" not in STAGES["track"]
