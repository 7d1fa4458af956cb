"""docs/your-data.md is true: its commands are run, in order, on a small folder of images."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from thaw.copies import set_dials

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
QUICK = {
    "split.folds": [0, 1],
    "heads.C": [1.0e-2],
    "finetune.strategies": ["full"],
    "strategies.full.phases.0.epochs": 1,
    "learning.heads": [],
    "report.gallery": 2,
    "evaluate.bootstrap": 200,
}
"""So that it ends in a minute; everything else is as `thaw init` chose it."""


def digits(folder: Path, per_class: int = 24) -> None:
    """Three digits, a patient for each three images, as PNG files."""
    data: Any = load_digits()  # a Bunch, whose stubs say tuple
    for label in range(3):
        for k, row in enumerate(np.flatnonzero(data.target == label)[:per_class]):
            path = folder / "abc"[label] / f"patient_{k // 3}_{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((data.images[row] * 15).astype(np.uint8)).save(path)


def run(block: str, folder: Path) -> str:
    own = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE")}
    own |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src"), "MPLBACKEND": "Agg"}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=own, capture_output=True, text=True)
    assert done.returncode == 0, f"{block}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_walk_through_goes_from_a_folder_to_predictions() -> None:
    commands = [line for block in BLOCKS for line in block.splitlines()]
    firsts = [" ".join(line.split()[:2]) for line in commands]
    assert firsts == ["mkdir my-project", "thaw init", "thaw check", "thaw doctor", "dvc repro", "thaw answer", "thaw predict"]


def test_the_project_it_begins_with(tmp_path: Path) -> None:
    digits(tmp_path / "photos")
    said = run(BLOCKS[0], tmp_path)
    assert "72 images (folder) of 3 classes" in said and "patient and a number" in said and "time on this machine" in said
    assert len(said.splitlines()) <= 20
    assert run("thaw check", tmp_path / "my-project") == ""


@pytest.mark.slow
def test_its_commands_do_what_it_says(tmp_path: Path) -> None:
    digits(tmp_path / "photos")
    run(BLOCKS[0], tmp_path)
    project = tmp_path / "my-project"
    set_dials(project / "params.yaml", QUICK)
    for block in BLOCKS[1:]:
        run(block, project)
    assert (project / "reports" / "report.html").exists() and (project / "models" / "final").is_dir()
    with (project / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 72
    assert "dvc repro" not in run("thaw doctor", project)
