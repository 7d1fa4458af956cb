"""A copy with other dials; nothing of the user's is overwritten."""

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from thaw.cli import app
from thaw.errors import InputError
from thaw.params import read_params
from thaw.tour import DIALS, copy_project, dials_of, own_images, set_dials

ROOT = Path(__file__).parents[1]


def test_the_tours_dials_are_valid_whatever_the_users_are(tmp_path: Path) -> None:
    copy = tmp_path / "params.yaml"
    copy.write_text((ROOT / "params.yaml").read_text())
    set_dials(copy, {"evaluate.reference": "full", "finetune.backbones": ["lite0", "lite0_native"], "split.method": "stratified"})
    set_dials(copy, DIALS)
    params = read_params(copy)
    assert (params.data.source, params.split.folds, params.finetune.strategies) == ("digits", [0, 1], ["full", "lp_ft"])


def test_comments_survive(tmp_path: Path) -> None:
    copy = tmp_path / "params.yaml"
    copy.write_text((ROOT / "params.yaml").read_text())
    set_dials(copy, {"finetune.batch_size": 16})
    before, after = (path.read_text().splitlines() for path in (ROOT / "params.yaml", copy))
    assert [line.count("#") for line in before] == [line.count("#") for line in after]
    assert "batch_size: 16" in copy.read_text()


@pytest.mark.parametrize("path", ["split.fold", "strategies.full.phases.7.epochs", "nothing.at.all"])
def test_a_dial_that_does_not_exist_is_an_error(tmp_path: Path, path: str) -> None:
    copy = tmp_path / "params.yaml"
    copy.write_text((ROOT / "params.yaml").read_text())
    with pytest.raises(InputError):
        set_dials(copy, {path: 1})


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InputError, match="is not empty and not an earlier tour"):
        copy_project(ROOT, tmp_path, DIALS)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"] and (tmp_path / "README.md").read_text() == "mine"


def test_outside_a_project(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run inside it"):
        copy_project(tmp_path, tmp_path / "tour", DIALS)
    assert not (tmp_path / "tour").exists()


def test_a_copy_reads_images_of_ones_own_where_they_lie(tmp_path: Path) -> None:
    params = tmp_path / "mine.yaml"
    params.write_text((ROOT / "params.yaml").read_text())
    set_dials(params, {"data.source": "folder", "data.path": "photos"})
    assert own_images(ROOT, params) == {"data.path": str(ROOT / "photos")}
    set_dials(params, {"data.source": "digits"})
    assert own_images(ROOT, params) == {"data.path": "data/own"}
    copy_project(ROOT, tmp_path / "copy", {})
    assert (tmp_path / "copy/data/own/README.md").exists()  # DVC watches the folder whatever the source is


def test_dials_of_a_command_line_are_yaml() -> None:
    found = dials_of(["split.method=leave_domain_out", "split.folds=[0, 1]", "finetune.seed=7", "report.title=a = b"])
    assert found == {"split.method": "leave_domain_out", "split.folds": [0, 1], "finetune.seed": 7, "report.title": "a = b"}
    for wrong in ("split.method", "=1", "split.folds=[0, 1"):
        with pytest.raises(InputError, match="--set"):
            dials_of([wrong])


@pytest.mark.parametrize(("target", "method"), [("tour", "grouped"), ("all-strategies", "grouped"), ("domain-shift", "leave_domain_out")])
def test_the_makefile_calls_it_as_it_wants_to_be_called(target: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (command,) = [line for line in said.replace("\\\n", " ").splitlines() if line.startswith("thaw tour")]
    asked: list[tuple[Path, Path | None, dict[str, Any]]] = []
    monkeypatch.setattr("thaw.tour.run_tour", lambda project, *rest: asked.append(rest))
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    ((folder, params, dials),) = asked
    assert folder == Path(target)
    copy = tmp_path / "params.yaml"
    copy.write_bytes((ROOT / (params or "params.yaml")).read_bytes())
    set_dials(copy, dials if params else DIALS | dials)
    assert read_params(copy).split.method == method
