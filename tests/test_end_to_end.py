"""The pipeline as users run it: real DVC, real MLflow, real backbone, on digits, in a copy of the project. The tests go in order."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from thaw.params import read_params
from thaw.runs import Identity, read_predictions, read_record
from thaw.tour import DIALS, copy_project, environment, set_dials

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
CELLS = {f"finetune@lite0-{strategy}-{fold}" for strategy in ("full", "lp_ft") for fold in (0, 1)}
PARTS = {f"finetune_part@lite0-lp_ft-25-{fold}" for fold in (0, 1)}
ONCE = {
    "code",
    "fetch",
    "prepare",
    "split",
    "audit",
    "features@lite0",
    "heads@lite0",
    "learn@lite0",
    "evaluate",
    "gallery",
    "report",
    "final",
    "track",
}
STAGES = ONCE | CELLS | PARTS
TABLES = {"leaderboard", "contrasts", "curves", "reliability", "operating", "groups", "learning", "shift", "mismatch"}
RUN_FILES = {"record.json", "predictions.npz"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    copy_project(ROOT, folder, DIALS | {"strategies.full.phases.0.epochs": 3})
    return folder


def dvc(project: Path, *arguments: str, status: int = 0) -> str:
    """Output of a dvc command, which must end with ``status``."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, timeout=2400)
    output = done.stdout + done.stderr
    assert done.returncode == status, output
    return output


def stages_run(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def bytes_of(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def mlflow_runs(project: Path) -> list[Any]:
    """Every active run of the main experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("thaw")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


def _settings(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """Top-level scalars of a record's settings and each phase's epochs, as MLflow shows them."""
    plain = [
        (name, str(value).lower() if isinstance(value, bool) else str(value))  # true and false, as params.yaml has them
        for name, value in settings.items()
        if isinstance(value, str | int | float)
    ]
    return plain + [(f"phases.{number}.epochs", str(phase["epochs"])) for number, phase in enumerate(settings.get("phases", []))]


def check_mlflow_equals_the_records(project: Path) -> None:
    """One run per run folder; params, tags, metrics and curves are the record's and the evaluation's."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    records = [read_record(Identity(*run).folder(project / "runs")) for run in read_params(project / "params.yaml").runs()]
    runs = {run.data.tags["record_id"]: run for run in mlflow_runs(project)}
    assert len(runs) == len(mlflow_runs(project)) == len(records)
    tested = json.loads((project / "reports/metrics.json").read_text())["folds"]
    for record in records:
        run = runs[record.record_id]
        assert run.info.status == "FINISHED"
        assert (run.data.params["strategy"], run.data.params["backbone"], run.data.params["fold"]) == (
            record.strategy,
            record.backbone,
            str(record.fold),
        )
        for name, value in _settings(record.inputs["settings"]):
            assert run.data.params[name] == value, name
        assert run.data.tags["data_sha256"] == record.inputs["data_sha256"] and len(run.data.tags["git_commit"]) == 40
        for name, value in record.metrics.items():
            if name.startswith("best_"):
                assert run.data.metrics[name] == pytest.approx(value, rel=1e-12)
        test_auc = tested[f"{record.backbone}/{record.strategy}"][str(record.fold)]["roc_auc"]
        assert run.data.metrics["test_roc_auc"] == pytest.approx(test_auc, rel=1e-12)
        for curve in ("train/loss", "val/auc"):
            if record.history:
                logged = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, curve)]
                assert logged == [(row["epoch"], pytest.approx(row[curve], rel=1e-12)) for row in record.history]


def test_from_nothing_every_stage_runs_and_leaves_exactly_its_artefacts(project: Path) -> None:
    output = dvc(project, "repro")
    assert stages_run(output) == STAGES
    assert "images/s" in output and "epoch 3 (all)" in output  # one line an epoch where there is no terminal
    runs = {str(Identity(*run)) for run in read_params(project / "params.yaml").runs()}
    assert {str(path.parent.relative_to(project / "runs")) for path in project.glob("runs/*/*/*/record.json")} == runs
    assert {str(path.relative_to(project / "costs").with_suffix("")) for path in project.glob("costs/*/*/*.json")} == runs
    for run in runs:
        files = {path.name for path in (project / "runs" / run).iterdir()}
        trained, linear = run.split("/")[1] in ("full", "lp_ft"), run.split("/")[1] not in ("knn", "metadata", "full", "lp_ft")
        assert files == RUN_FILES | ({"model.safetensors"} if trained else {"head.safetensors"} if linear else set()), run
    assert {path.name for path in (project / "reports").iterdir()} - {".gitignore"} == {
        *("metrics.json", "summary.json", "claims.json", "leakage.json", "report.md", "report.html", "figures"),
        *(f"{name}.csv" for name in TABLES),
    }
    assert {path.name for path in (project / "data").iterdir()} - {".gitignore"} == {
        *("own", "code", "raw", "index.csv", "dataset.json", "images.npy", "splits.csv", "features", "gallery"),
    }
    assert list((project / ".thaw/resume").glob("*/*")) == []
    assert not (project / "mlruns").exists()


def test_git_sees_only_what_it_should_keep(project: Path) -> None:
    changed = subprocess.run(["git", "status", "--porcelain", "-uall"], cwd=project, capture_output=True, text=True, check=True).stdout
    paths = {line[3:] for line in changed.splitlines()}
    assert {path for path in paths if not path.startswith("reports/")} == {"dvc.lock"}


def test_mlflow_equals_the_records(project: Path) -> None:
    check_mlflow_equals_the_records(project)


def test_the_report_comes_back_from_mlflow_alone(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "mlartifacts", tmp_path / "mlartifacts")
    shutil.copy(project / "mlflow.db", tmp_path)
    command = [sys.executable, "-m", "thaw.cli", "report", "--from-mlflow", "sqlite:///mlflow.db", "--out", "out"]
    subprocess.run(command, cwd=tmp_path, env=environment(project), check=True, timeout=1200)
    made, found = bytes_of(project / "reports"), bytes_of(tmp_path / "out")
    assert {"report.md", "report.html"} < found.keys()
    assert found == {path: made[path] for path in made if path.startswith(("report.", "figures/"))}


def test_results_make_sense(project: Path) -> None:
    """Digits are easy for a probe and impossible for labels in random order."""
    pooled = json.loads((project / "reports/metrics.json").read_text())["pooled"]
    assert pooled["lite0/linear_probe"]["roc_auc"] > 0.9 > 0.6 > pooled["lite0/shuffled_labels"]["roc_auc"] > 0.4
    assert pooled["lite0/majority"]["accuracy"] < 0.15
    assert pooled["lite0/lp_ft"]["roc_auc"] > 0.9


def test_probe_is_the_start_of_lp_ft(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network that the cell assembles gives the probe's own predictions (float32: to 1e-4 of their scale) before it trains,
    and the head's hash is part of the record's identity."""
    from thaw.cells import assemble
    from thaw.inputs import predict

    monkeypatch.chdir(project)
    params = read_params()
    cell = assemble(params, Identity("lite0", "lp_ft", 0))
    rows = np.concatenate([cell.material.val, cell.held["test"]])
    logits = predict(cell.network, cell.material.view, rows, cell.material.recipe)
    probe = read_predictions(Identity("lite0", "linear_probe", 0).folder())
    assert (probe.id == cell.ids[rows]).all()
    assert np.abs(logits - probe.logits).max() < 1e-4 * np.abs(probe.logits).max()
    assert (cell.material.labels[cell.held["test"]] == -1).all() and (cell.material.labels[cell.material.train] >= 0).all()
    # what the network sees is part of the identity: other stored pixels are another result
    stored, before = Path("data/images.npy").read_bytes(), cell.record.record_id
    np.save("data/images.npy", 255 - np.load("data/images.npy"))
    assert assemble(params, Identity("lite0", "lp_ft", 0)).record.record_id != before
    Path("data/images.npy").write_bytes(stored)
    assert assemble(params, Identity("lite0", "lp_ft", 0)).record.record_id == before
    for fold in (0, 1):
        head = project / f"runs/lite0/linear_probe/{fold}/head.safetensors"
        started = read_record(project / f"runs/lite0/lp_ft/{fold}").inputs["head_sha256"]
        assert started == hashlib.sha256(head.read_bytes()).hexdigest()
        assert read_record(project / f"runs/lite0/full/{fold}").inputs["head_sha256"] is None


def test_with_nothing_changed_only_track_runs(project: Path) -> None:
    assert stages_run(dvc(project, "repro")) == {"track"}


def test_editing_report_code_retrains_nothing(project: Path) -> None:
    file = project / "src/thaw/reporting/wording.py"
    original = file.read_text()
    file.write_text(original + "\n# a change\n")
    assert stages_run(dvc(project, "repro")) == {"code", "report", "track"}
    file.write_text(original)
    dvc(project, "repro")


def test_a_forced_cell_gives_the_same_bytes_and_no_second_run(project: Path) -> None:
    cell = project / "runs/lite0/lp_ft/0"
    before = bytes_of(cell)
    output = dvc(project, "repro", "--force", "--single-item", "finetune@lite0-lp_ft-0")
    assert stages_run(output) == {"finetune@lite0-lp_ft-0"}
    assert bytes_of(cell) == before
    record_id = read_record(cell).record_id
    assert Counter(run.data.tags["record_id"] for run in mlflow_runs(project))[record_id] == 1
    dvc(project, "repro")
    check_mlflow_equals_the_records(project)


def training_process(dvc_process: psutil.Process) -> psutil.Process | None:
    """The python process of the cell that dvc is running."""
    for child in dvc_process.children(recursive=True):
        if "thaw.stages.finetune" in child.cmdline() and "python" in Path(child.cmdline()[0]).name:
            return child
    return None


def wait_for_checkpoint(project: Path, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + 600
    while not list((project / ".thaw/resume").glob("*/state-0.safetensors")):
        assert process.poll() is None and time.monotonic() < limit, "no checkpoint came"
        time.sleep(0.02)


def test_a_killed_cell_goes_on_to_the_same_bytes(project: Path) -> None:
    cell = project / "runs/lite0/full/0"
    before = bytes_of(cell)
    command = [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", "finetune@lite0-full-0"]
    process = subprocess.Popen(command, cwd=project, env=environment(project), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_checkpoint(project, process)
    trainer = training_process(psutil.Process(process.pid))
    assert trainer is not None
    os.kill(trainer.pid, signal.SIGKILL)
    assert process.wait(60) != 0
    assert not (cell / "record.json").exists()
    dvc(project, "repro", "--force", "--single-item", "finetune@lite0-full-0")  # forced: DVC still has the result from before the kill
    assert bytes_of(cell) == before
    assert json.loads((project / "costs/lite0/full/0.json").read_text())["resumed"] is True
    assert list((project / ".thaw/resume").glob("*/*")) == []
    dvc(project, "repro")
    check_mlflow_equals_the_records(project)


def test_editing_one_strategy_reruns_that_strategy(project: Path) -> None:
    untouched = {run: bytes_of(project / "runs/lite0" / run) for run in ("lp_ft", "linear_probe")}
    earlier = {read_record(project / f"runs/lite0/full/{fold}").record_id for fold in (0, 1)}
    set_dials(project / "params.yaml", {"strategies.full.phases.0.rates": {"*": 1.0e-4}})
    output = dvc(project, "repro")
    assert stages_run(output) == {"finetune@lite0-full-0", "finetune@lite0-full-1", "evaluate", "gallery", "report", "final", "track"}
    assert {run: bytes_of(project / "runs/lite0" / run) for run in untouched} == untouched
    assert not earlier & {run.data.tags["record_id"] for run in mlflow_runs(project)}
    check_mlflow_equals_the_records(project)


@pytest.mark.parametrize(
    ("dial", "value", "said"),
    [
        ("finetune.strategies", ["full", "lpft"], "params.yaml: finetune.strategies: unknown name 'lpft'; did you mean 'lp_ft'?"),
        ("features.backbones", ["lit0"], "params.yaml: features.backbones: unknown name 'lit0'; did you mean 'lite0'?"),
        ("strategies.full.phases.0.rates", {"haed": 1.0}, "strategies.full.phases[0].rates: 'haed' matches nothing that trains here"),
        ("strategies.full.start", "pretraned", "strategies.full.start: unknown value 'pretraned'; did you mean 'pretrained'?"),
    ],
)
def test_a_mistake_in_params_is_one_line_and_loses_nothing(project: Path, dial: str, value: Any, said: str) -> None:
    original = (project / "params.yaml").read_text()
    set_dials(project / "params.yaml", {dial: value})
    output = dvc(project, "repro", status=255)
    assert said in output and "Traceback" not in output
    (project / "params.yaml").write_text(original)
    assert stages_run(dvc(project, "repro")) <= {"track"}  # from the cache: nothing is computed again


def test_a_clone_pulls_everything_trains_nothing_and_shows_every_run(project: Path, tmp_path: Path) -> None:
    dvc(project, "remote", "add", "--default", "store", str(tmp_path / "remote"))
    dvc(project, "push", "--run-cache")
    subprocess.run(["git", "add", "--all"], cwd=project, check=True)
    author = ["-c", "user.name=thaw", "-c", "user.email=thaw@localhost"]
    subprocess.run(["git", *author, "commit", "--quiet", "-m", "results"], cwd=project, check=True)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(project), str(clone)], check=True)
    assert not (clone / "runs").exists()
    assert stages_run(dvc(clone, "repro", "--pull")) == {"track"}
    check_mlflow_equals_the_records(clone)
    report = bytes_of(project / "reports")
    assert bytes_of(clone / "reports") == report


def test_tuning_gives_trials_chosen_on_validation_and_one_run(project: Path) -> None:
    """Two trials in one cell: the record names both and the better one, its curve is the chosen one's, and MLflow has it once."""
    set_dials(project / "params.yaml", {"tune.trials": 2, "tune.epochs": [1.0, 1.0]})
    output = dvc(project, "repro", "--single-item", "finetune@lite0-lp_ft-0")
    assert "trial 1/2, epoch 1" in output and "trial 2/2, epoch 1" in output
    record = read_record(project / "runs/lite0/lp_ft/0")
    trials, chosen = record.choices["trials"], record.choices["chosen_trial"]
    assert trials[0]["rate"] == 1.0 != trials[1]["rate"] and trials[1]["epochs"] == 1.0
    assert trials[chosen]["score"] == max(trial["score"] for trial in trials) == record.metrics["best_val_auc"]
    written = read_params(project / "params.yaml").strategies["lp_ft"].phases[0].rates["*"]
    assert {group["rate"] for group in record.groups} == {written * trials[chosen]["rate"]}
    assert record.inputs["settings"]["tune"]["trials"] == 2
    found = [run for run in mlflow_runs(project) if run.data.tags["record_id"] == record.record_id]
    assert len(found) == 1
    from mlflow import MlflowClient

    logged = MlflowClient(f"sqlite:///{project / 'mlflow.db'}").get_metric_history(found[0].info.run_id, "val/auc")
    assert [point.value for point in logged] == [pytest.approx(row["val/auc"]) for row in record.history]
