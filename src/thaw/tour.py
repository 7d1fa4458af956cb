"""A copy of the project in a folder of its own, with other dials: for the tour on digits, and for tests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from thaw.copies import commit_all, copy_file, set_dials
from thaw.errors import InputError
from thaw.params import OWN, read_params

DIALS: dict[str, Any] = {
    "data.source": "digits",
    "data.path": "data/own",
    "prepare.max_side": 32,
    "split.folds": [0, 1],
    "split.method": "grouped",
    "features.backbones": ["lite0"],
    "finetune.backbones": ["lite0"],
    "backbones.lite0.image_size": 32,
    "heads.C": [1.0e-3, 1.0e-2],
    "heads.raw_pixels_side": 8,
    "finetune.strategies": ["full", "lp_ft"],
    "finetune.augment": [],  # a digit does have an opinion about quarter turns
    "strategies.full.phases.0.epochs": 1,
    "strategies.lp_ft.phases.0.epochs": 1,
    "strategies.lp_ft.phases.0.rates": {"*": 1.0e-4},  # so small images forgive less
    "learning.percents": [25],
    "learning.finetune": ["lp_ft"],
    "report.gallery": 6,
    "final.strategy": "best",
    "final.backbone": "best",
    "evaluate.reference": "linear_probe",
    "evaluate.reference_backbone": "lite0",
    "evaluate.primary": "roc_auc",
    "evaluate.bootstrap": 500,
}
"""Ten classes, no groups, two folds, one epoch: every stage in about a minute. Far too little training to conclude anything from."""

PROJECT = (
    *("dvc.yaml", "params.yaml", "README.md", "pyproject.toml"),
    *(".dvcignore", ".gitignore", ".dvc/config", ".dvc/plots", ".dvc/.gitignore", "src", "data/own/README.md"),
)


def run_tour(project: Path, folder: Path, params: Path | None = None, dials: Mapping[str, Any] | None = None) -> None:
    """``dvc repro`` and the answer, in ``folder``; a second call runs only what has changed.

    ``params``: a whole params file to run with, instead of this project's with the dials of the tour. ``dials``: path -> value, on top.
    """
    given = {} if params is None else own_images(project, params)
    copy_project(project, folder, (DIALS if params is None else {}) | given | dict(dials or {}), params)
    read_params(folder / "params.yaml")
    for command in (["dvc", "repro"], ["thaw", "answer"]):
        status = subprocess.run([sys.executable, "-m", *_module(command)], cwd=folder, env=environment(folder)).returncode
        if status:
            raise InputError(f"tour: `{' '.join(command)}` in {folder} ended with status {status}; its message stands above")
    print(f"Everything is in {folder}; `cd {folder} && thaw ui` shows its runs")


def own_images(project: Path, params: Path) -> dict[str, Any]:
    """The dial with which the copy reads the project's own images where they lie, or none where its source reads none."""
    data = read_params(params).data
    return {"data.path": str((project / data.path).resolve()) if data.source in OWN else DIALS["data.path"]}


def copy_project(project: Path, folder: Path, dials: Mapping[str, Any], params: Path | None = None) -> None:
    """Code and params without data and results, as a git repository with one commit; ``dials``: path in params.yaml -> value."""
    if not (project / "params.yaml").exists():
        raise InputError(f"tour: {project} is not the project's folder; run inside it")
    if folder.exists() and any(folder.iterdir()) and not (folder / ".tour").exists():
        raise InputError(f"tour: {folder} is not empty and not an earlier tour; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".tour").touch()
    for name in PROJECT:
        copy_file(project / name, folder / name)
    if params is not None:
        shutil.copyfile(params, folder / "params.yaml")
    set_dials(folder / "params.yaml", dials)
    commit_all(folder, "thaw tour")


def dials_of(settings: Sequence[str]) -> dict[str, Any]:
    """``split.method=leave_domain_out`` -> path and value, which is read as YAML: ``split.folds=[0, 1]`` is a list."""
    found = {}
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not (path and equals):
            raise InputError(f"--set {setting}: is not of the form path=value, such as split.method=leave_domain_out")
        try:
            found[path] = YAML(typ="safe", pure=True).load(value)
        except YAMLError as error:
            raise InputError(f"--set {setting}: the value is no YAML ({' '.join(str(error).split())})") from None
    return found


def environment(folder: Path) -> dict[str, str]:
    """For commands in the copy: its own code, its own store, this interpreter first on the path."""
    own = {key: value for key, value in os.environ.items() if key not in ("DVC_ROOT", "DVC_STAGE", "MLFLOW_TRACKING_URI")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return own | {"PATH": path, "PYTHONPATH": str((folder / "src").resolve())}


def _module(command: list[str]) -> list[str]:
    return ["thaw.cli" if command[0] == "thaw" else command[0], *command[1:]]
