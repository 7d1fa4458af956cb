"""The model at the end in MLflow's registry: once, whole, and served."""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from thaw.deployed import read_model
from thaw.export import run_onnx
from thaw.predict import predictions
from thaw.tour import environment
from thaw.tracking import find_store, registry, track


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Just what `track` reads, to change."""
    folder = tmp_path / "project"
    shutil.copytree(finished / "models", folder / "models")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(folder))
    return folder


def client(project: Path) -> Any:
    from mlflow import MlflowClient

    uri = f"sqlite:///{project / 'mlflow.db'}"
    return MlflowClient(uri, uri)


def versions(project: Path) -> list[tuple[str, str]]:
    """(version, record_id), oldest first."""
    found = client(project).search_model_versions("name = 'thaw'")
    return sorted((str(version.version), version.tags["record_id"]) for version in found)


def another(project: Path, record_id: str) -> None:
    """The model folder as that of another record."""
    for name in ("model.json", "record.json"):
        file = project / "models/final" / name
        file.write_text(json.dumps(json.loads(file.read_text()) | {"record_id": record_id}))


def test_a_project_without_a_model_registers_nothing(project: Path) -> None:
    shutil.rmtree(project / "models/final")
    assert track([], "thaw", find_store()).registered == 0
    assert client(project).search_registered_models() == []


def test_one_version_for_each_record_whatever_happens(project: Path) -> None:
    first = read_model(project / "models/final").about.record_id
    changes = track([], "thaw", find_store())
    assert changes.registered == 1 and "(the model registered)" in changes.sentence()
    assert track([], "thaw", find_store()).registered == 0
    (project / ".thaw/track.json").unlink()  # even where nothing says that nothing changed
    assert track([], "thaw", find_store()).registered == 0
    assert versions(project) == [("1", first)]

    (project / "models/final/MODEL_CARD.md").write_text("a new card")
    assert track([], "thaw", find_store()).registered == 0
    assert client(project).get_model_version("thaw", "1").description == "a new card"

    another(project, "ffff000011112222")
    assert track([], "thaw", find_store()).registered == 1
    assert versions(project) == [("1", first), ("2", "ffff000011112222")]
    another(project, first)  # back to the first: it is still there
    assert track([], "thaw", find_store()).registered == 0
    assert versions(project) == [("1", first), ("2", "ffff000011112222")]

    file = project / "models/final/model.json"
    about = json.loads(file.read_text())
    file.write_text(json.dumps(about | {"onnx": about["onnx"] | {"opset": 99}}))  # the same record, another graph
    assert [track([], "thaw", find_store()).registered for _ in range(2)] == [1, 0]
    assert sorted(record for _, record in versions(project)) == sorted(["ffff000011112222", first])
    file.write_text(json.dumps(about))
    assert track([], "thaw", find_store()).registered == 1
    assert versions(project) == [("2", "ffff000011112222"), ("4", first)]

    model = next(project.glob(f"mlartifacts/thaw-models/{client(project).get_model_version('thaw', '4').run_id}/artifacts/model/MLmodel"))
    assert "model_code_path: served_model.py" in model.read_text() and not re.search(r"[ :]/\w", model.read_text())
    model.unlink()  # lost: made again, once
    assert track([], "thaw", find_store()).registered == 1
    assert [record for _, record in versions(project)] == ["ffff000011112222", first]
    runs = client(project).search_runs([client(project).get_experiment_by_name("thaw-models").experiment_id])
    assert len(runs) == 2 and {run.info.status for run in runs} == {"FINISHED"}


def test_a_moved_project_still_finds_its_files(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    from mlflow.artifacts import download_artifacts

    track([], "thaw", find_store())
    moved = tmp_path / "moved"
    project.rename(moved)
    monkeypatch.chdir(moved)
    monkeypatch.setenv("DVC_ROOT", str(moved))
    (moved / ".thaw/track.json").unlink()
    assert track([], "thaw", find_store()).registered == 0
    uri = client(moved).get_model_version_download_uri("thaw", "1")
    assert uri.startswith("runs:/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", find_store().uri)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(find_store().uri)
    try:
        found = Path(download_artifacts("models:/thaw/1"))
    finally:
        mlflow.set_tracking_uri(before)
    assert (found / "MLmodel").is_file()
    assert not list(found.rglob("*.pkl"))  # nothing that would be unpickled


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, str]:
    """Status and text; 0 while nobody answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.mark.slow
def test_a_served_model_agrees_with_predict_and_with_onnx_runtime(project: Path, finished: Path, tmp_path: Path) -> None:
    track([], "thaw", find_store())
    port, files = free_port(), sorted((finished / "data/raw").iterdir())[:5]
    own = {
        **environment(Path(__file__).parents[1]),
        "MLFLOW_TRACKING_URI": find_store().uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TMPDIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", "models:/thaw/1", "--env-manager", "local"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], cwd=tmp_path, env=own, stdout=log, stderr=log, start_new_session=True
        )
    try:
        limit = time.monotonic() + 300
        while ask(port, "/ping")[0] != 200:
            assert server.poll() is None and time.monotonic() < limit, (tmp_path / "log").read_text()
            time.sleep(0.5)
        rows = [[base64.b64encode(file.read_bytes()).decode()] for file in files]
        status, text = ask(port, "/invocations", json.dumps({"dataframe_split": {"columns": ["image"], "data": rows}}).encode())
        assert status == 200, text
        wrong, said = ask(port, "/invocations", json.dumps({"dataframe_split": {"columns": ["image"], "data": [["no image"]]}}).encode())
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
    assert wrong == 400 and "row 0: 'image' is not the base64 of an image file" in said
    answers, model = json.loads(text)["predictions"], read_model(project / "models/final")
    table = list(predictions(model, files, []))
    assert [answer["predicted"] for answer in answers] == [row[1] for row in table]
    served = np.array([[answer["p_class0"], answer["p_class1"]] for answer in answers])
    np.testing.assert_allclose(served, np.array([row[2:] for row in table], dtype=float), atol=1e-5)
    images = np.stack([model.read(file) for file in files])
    np.testing.assert_allclose(run_onnx(project / "models/final/model.onnx", model.view(images).numpy())[1], served, atol=1e-3)
    assert not re.search(r"Traceback", (tmp_path / "log").read_text().split("invocations")[0])


def test_what_reading_a_model_needs_is_named() -> None:
    """An environment of the model's requirements alone can import the code: each package is named, or some named one requires it."""
    code = (
        "import sys, json, thaw.deployed; from importlib.metadata import packages_distributions;"
        "of = packages_distributions(); tops = {key.partition('.')[0] for key in sys.modules};"
        "print(json.dumps(sorted({name for top in tops for name in of.get(top, [])})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {canonicalize_name(name) for name in json.loads(done.stdout)}
    loaded -= {"thaw", "pydot", "ruamel-yaml-clib"}  # torch draws, and ruamel.yaml reads, with the last two where they are there
    reached, left = set[str](), [canonicalize_name(name) for name in registry.NEEDED]
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            asked = (Requirement(text) for text in requires(name) or [])
            left += [canonicalize_name(each.name) for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert {"torch", "pydantic"} <= loaded <= reached
