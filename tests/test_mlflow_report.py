"""The report out of an MLflow store alone: the bytes that stage `report` writes, or one line that says what the store lacks."""

import csv
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from thaw.cli import app
from thaw.files import read_json, write_json
from thaw.index import Dataset, write_dataset
from thaw.params import read_params
from thaw.runs import CONTROLS, COSTS, HEADS, RUNS, Identity, Record, identify, read_record, write_cost, write_record
from thaw.stages import report as report_stage
from thaw.stages import track as track_stage
from thaw.tour import set_dials
from thaw.tracking import QUIET, ReportInputs, download_report
from thaw.tracking.bundle import report_store

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # mlflow's own mapping of its tables

PROJECT = Path(__file__).parents[1]
STRATEGIES = (*HEADS, *CONTROLS, "full", "scratch")
NAMES = [f"lite0/{strategy}" for strategy in STRATEGIES]
RUNS_ASKED = [("lite0", strategy, fold) for strategy in STRATEGIES for fold in (0, 1)]
CLASSES = ["sound", "broken"]
METRICS = ("roc_auc", "pr_auc", "balanced_accuracy", "accuracy", "f1_macro", "log_loss", "brier")
TITLE = "Freeze | thaw?"
DIALS: dict[str, Any] = {
    "split.folds": [0, 1],
    "features.backbones": ["lite0"],
    "finetune.backbones": ["lite0"],
    "finetune.strategies": ["full", "scratch"],
    "learning.heads": ["linear_probe"],
    "learning.by": ["images", "groups"],
    "learning.percents": [25],
    "learning.finetune": ["full"],
    "learning.finetune_percents": [25],
    "report.title": TITLE,
}
SHARES = [
    ("learning/heads", "linear_probe", "images", 0),
    ("learning/heads", "linear_probe", "groups", 0),
    ("learning/finetune", "full", "images", 1),
]
PIXEL = bytes.fromhex(  # the smallest PNG: 1 x 1
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000000000500010d0a2db40000000049454e44ae426082"
)


# ---------------------------------------------------------------- a project, tracked, of which the store alone is left


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file that the report may read, the report, and the store. Copy it before you change it."""
    root = tmp_path_factory.mktemp("original") / "a repo #1"
    root.mkdir()
    write_project(root)
    with inside(root):
        report_stage.main()
        track_stage.main()
    return root


@pytest.fixture
def alone(original: Path, tmp_path: Path) -> Iterator[Path]:
    """The store where it was made, with nothing beside it but what MLflow wrote; the rest lies in ``was`` meanwhile."""
    was = original.with_name("was")
    shutil.copytree(original, was)
    for path in original.iterdir():
        if path.name not in ("mlflow.db", "mlartifacts"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    yield original
    shutil.rmtree(original)
    was.rename(original)


@pytest.fixture
def repo(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to change, store included, as the working directory."""
    root = tmp_path / "copy"
    shutil.copytree(original, root)
    monkeypatch.chdir(root)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return root


@contextmanager
def inside(root: Path, uri: str | None = None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("DVC_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        if uri:
            patch.setenv("MLFLOW_TRACKING_URI", uri)
        yield


def write_project(root: Path) -> None:
    shutil.copy(PROJECT / "params.yaml", root)
    set_dials(root / "params.yaml", DIALS)
    for run in RUNS_ASKED:
        write_run(root, Identity(*run))
    write_json(root / "costs/lite0/features.json", {"seconds": 20.0, "images_seen": 2624, "images_per_second": 131.2})
    write_dataset(Dataset("toy", CLASSES, True, False, "module", ["Made up."]), root / "data/dataset.json")
    write_evaluation(root)
    write_audit(root)
    for share in SHARES:
        write_share(root, *share)
    write_gallery(root / "data/gallery")
    (root / "reports/extra.csv").write_bytes("strategy;größer\r\n".encode())
    write_json(root / "reports/claims.json", [])
    (root / "data/index.csv").write_text("id,path\n", encoding="utf-8")  # what no report reads


def write_run(root: Path, run: Identity) -> None:
    trained, start = run.strategy in ("full", "scratch"), "random" if run.strategy == "scratch" else "pretrained"
    history = [
        {"epoch": e, "phase": "all", "train/loss": 1 / e, "val/auc": 0.6 + e / 20, "val/log_loss": 0.5, "lr/head": 1e-3} for e in (1, 2)
    ]
    group = {"phase": "all", "group": "head", "length": "2 epochs", "schedule": "cosine", "rate": 1e-3, "weight_decay": 0.01}
    inputs = {"identity": str(run), "libraries": {"torch": "2.15.0"}, "settings": {"start": start} if trained else {"C": [0.1, 1.0]}}
    record = Record(
        identify(inputs), run.backbone, run.strategy, run.fold, "toy", "finetune" if trained else "head", run.strategy in CONTROLS, CLASSES,
        inputs, [group | {"tensors": 2, "scalars": 2562}] if trained else [], history if trained else [],
        {"best_val_auc": 0.7, **({"best_epoch": 2} if trained else {"C": 0.1})}, 2562, {"image_size": 96, "crop": 0.875},
    )  # fmt: skip
    write_record(record, run.folder(root / RUNS))
    write_cost(run, {"seconds": 10.0 + len(str(run)), "images_seen": 1312}, root / COSTS)


def write_evaluation(root: Path) -> None:
    """Figures that rank the strategies by the length of their names: what they are does not matter here."""
    quality = {name: 0.5 + len(name) / 100 for name in NAMES}
    per_class = {name: {"precision": 0.8, "recall": 0.7, "f1": 0.75, "support": 6} for name in CLASSES}
    best, second = sorted((n for n in NAMES if n.split("/")[1] not in CONTROLS), key=lambda n: -quality[n])[:2]
    pooled = {
        n: dict.fromkeys(METRICS, q) | {"per_class": per_class, "confusion": [[5, 1], [2, 4]], "thresholds": [0.4, 0.5]}
        for n, q in quality.items()
    }
    folds = {n: {str(f): dict.fromkeys(METRICS, q + f / 50) for f in (0, 1)} for n, q in quality.items()}
    about = {"dataset": "toy", "classes": CLASSES, "n": 12, "groups": 6, "grouped": True, "group_name": "module", "primary": "roc_auc"}
    about |= {"confidence": 0.95, "winner": _pair(best), "runner_up": _pair(second), "reference": _pair("lite0/linear_probe")}
    write_json(root / "reports/metrics.json", about | {"pooled": pooled, "folds": folds})
    board = [{**_pair(n), "metric": m, "value": q, "lo": q - 0.05, "hi": q + 0.05, "n": 12} for n, q in quality.items() for m in METRICS]
    reference, fixed = quality["lite0/linear_probe"], {"reference_backbone": "lite0", "reference": "linear_probe"}
    contrasts = [
        {
            **_pair(n),
            **fixed,
            "metric": m,
            "diff": (d := q - reference),
            "lo": d - 0.01,
            "hi": d + 0.01,
            "p": 0.1,
            "p_holm": 0.2,
            "mde": 0.03,
        }
        for n, q in quality.items()
        for m in METRICS
        if n != "lite0/linear_probe" and n.split("/")[1] not in CONTROLS
    ]
    ends = ((0.0, 0.0), (0.3, 0.8), (1.0, 1.0))
    curves = [{**_pair(n), "curve": c, "class": "broken", "x": x, "y": y} for n in NAMES for c in ("roc", "pr") for x, y in ends]
    for name, rows in (("leaderboard", board), ("contrasts", contrasts), ("curves", curves)):
        write_csv(root / f"reports/{name}.csv", rows)


def _pair(name: str) -> dict[str, str]:
    return dict(zip(("backbone", "strategy"), name.split("/"), strict=True))


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_audit(root: Path) -> None:
    counts, none = dict.fromkeys(CLASSES, 3), {"pairs": 0, "across_folds": 0, "conflicting_labels": 0}
    folds = [{"fold": f, "images": 6, "groups": 3, "classes": counts, "validation_images": 2} for f in (0, 1)]
    about = {
        "method": "grouped",
        "images": 12,
        "groups": 6,
        "group_name": "module",
        "groups_torn": 0,
        "exact_duplicates": none,
        "folds": folds,
    }
    write_json(
        root / "reports/leakage.json", about | {"metadata_auc": dict.fromkeys(("this_split", "stratified", "grouped")), "words": ["None."]}
    )


def write_share(root: Path, place: str, strategy: str, by: str, fold: int, seed: int = 0) -> None:
    whole = read_record(Identity("lite0", strategy, fold).folder(root / RUNS))
    settings = whole.inputs["settings"] | {"fraction": {"by": by, "percent": 25}, "fraction_seed": seed}
    inputs = whole.inputs | {"settings": settings}
    write_record(replace(whole, inputs=inputs, record_id=identify(inputs)), root / place / "lite0" / strategy / f"{by}-25" / str(fold))


def write_gallery(folder: Path) -> None:
    (folder / "errors").mkdir(parents=True)
    (folder / "errors/000.png").write_bytes(PIXEL)
    error = {"id": "a", "true": "sound", "predicted": "broken", "probability": 0.9, "fold": 0, "group": "m1"}
    error |= {"image": "errors/000.png", "cam": None}
    about = {"winner": "lite0/full", "explained": None, "method": None, "note": "Errors.", "errors": [error], "duplicates": []}
    write_json(folder / "gallery.json", about)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def made_of(root: Path) -> dict[str, bytes]:
    """What the report is made of."""
    files = files_of(root)
    wanted = {f"runs/{Identity(*run)}/record.json" for run in RUNS_ASKED} | {f"costs/{Identity(*run)}.json" for run in RUNS_ASKED}
    wanted |= {"costs/lite0/features.json", "data/dataset.json", *(path for path in files if path.startswith("data/gallery/"))}
    wanted |= {path for path in files if re.fullmatch(r"reports/\w+\.(json|csv)", path)}
    return {path: data for path, data in files.items() if path in wanted}


def report_of(root: Path) -> dict[str, bytes]:
    """What stage `report` wrote."""
    made = files_of(root / "reports")
    return {path: data for path, data in made.items() if path.startswith(("report.", "figures/"))}


def uri_of(root: Path) -> str:
    return f"sqlite:///{root / 'mlflow.db'}"


def thaw_report(uri: str, out: Path, *options: str) -> Any:
    return CliRunner().invoke(app, ["report", "--from-mlflow", uri, "--out", str(out), *options])


def runs_of(root: Path, experiment: str, uri: str = "") -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(uri or uri_of(root))
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id], max_results=500)) if found else []


# ---------------------------------------------------------------- the same bytes


def test_the_store_alone_gives_the_bytes_of_the_stage(alone: Path, tmp_path: Path) -> None:
    expected = report_of(alone.with_name("was"))
    assert {"report.md", "report.html"} < expected.keys() and len(expected) > 5
    done = thaw_report(uri_of(alone), tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert files_of(tmp_path / "out") == expected
    assert done.output.splitlines()[0].startswith(f"{tmp_path / 'out' / 'report.md'}, ")


def test_everything_that_the_report_reads_comes_back_and_nothing_else(alone: Path, tmp_path: Path) -> None:
    was, before = alone.with_name("was"), files_of(alone)
    inputs = download_report(report_store(uri_of(alone)), "thaw", tmp_path / "root")
    assert inputs == ReportInputs(RUNS_ASKED, ["scratch"], TITLE)
    wanted = made_of(was)
    assert {"reports/metrics.json", "reports/leaderboard.csv", "reports/leakage.json", "reports/extra.csv"} <= wanted.keys()
    assert {"data/dataset.json", "data/gallery/errors/000.png", "costs/lite0/features.json", "costs/lite0/full/1.json"} <= wanted.keys()
    assert len(wanted) < len(files_of(was))
    found = files_of(tmp_path / "root")
    assert found.pop("inputs.json")
    assert found == wanted
    assert files_of(alone) == before, "reading changed the store"


def test_a_repository_that_was_moved_or_copied_is_read_where_it_lies(original: Path, tmp_path: Path) -> None:
    moved, out = original.with_name("moved"), tmp_path / "out"
    original.rename(moved)
    try:
        assert thaw_report(uri_of(moved), out).exit_code == 0
        assert files_of(out) == report_of(moved)
    finally:
        moved.rename(original)
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    for text in (copy / "mlartifacts").rglob("reports/extra.csv"):
        text.write_text("of the copy\n", encoding="utf-8")
    download_report(report_store(uri_of(copy)), "thaw", tmp_path / "root")
    assert (tmp_path / "root/reports/extra.csv").read_text() == "of the copy\n"


def test_a_relative_address_and_another_experiment(repo: Path, tmp_path: Path) -> None:
    set_dials(repo / "params.yaml", {"track.experiment": "other"})
    track_stage.main()
    done = thaw_report("sqlite:///mlflow.db", tmp_path / "out", "--experiment", "other")
    assert done.exit_code == 0, done.output
    assert files_of(tmp_path / "out") == report_of(repo)


@pytest.mark.slow
def test_a_server_gives_the_same_bytes(original: Path, tmp_path: Path) -> None:
    with server(tmp_path / "server") as uri:
        with inside(original, uri):
            track_stage.main()
            track_stage.main()
        assert Counter(len(runs_of(original, name, uri)) for name in ("thaw", "thaw-learning", "thaw-report")) == {
            len(RUNS_ASKED): 1,
            3: 1,
            1: 1,
        }
        done = thaw_report(uri, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert files_of(tmp_path / "out") == report_of(original)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """An MLflow server of its own, with its own database and artifacts."""
    folder.mkdir()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/server.db", "--workers", "1"]
    command += ["--artifacts-destination", (folder / "artifacts").as_uri(), "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env={**QUIET, **os.environ}, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", lambda: process.poll() is None)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def wait_for(address: str, alive: Callable[[], bool]) -> None:
    limit = time.monotonic() + 300
    while True:
        assert alive() and time.monotonic() < limit, "the server did not come up"
        try:
            with urlopen(address, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)


# ---------------------------------------------------------------- one run with what the report is made of


def test_there_is_one_report_run_and_one_run_a_record(original: Path) -> None:
    (run,) = runs_of(original, "thaw-report")
    assert run.info.run_name == run.data.tags["record_id"] == "report" and run.info.status == "FINISHED"
    shown = {"title": TITLE, "dataset": "toy", "primary": "roc_auc", "winner": "lite0/nearest_centroid", "reference": "lite0/linear_probe"}
    assert run.data.params == shown and len(run.data.tags["content_sha256"]) == 64
    assert len(runs_of(original, "thaw")) == len(RUNS_ASKED)


def write_cost_again(repo: Path) -> None:
    path = repo / "costs/lite0/full/1.json"
    write_json(path, read_json(path) | {"seconds": 4711.5})


@pytest.mark.parametrize(
    ("change", "also_replaced"),
    [
        (lambda repo: (repo / "reports/extra.csv").write_text("new\n", encoding="utf-8"), 0),
        (lambda repo: (repo / "data/gallery/errors/000.png").write_bytes(PIXEL + b"!"), 0),
        (lambda repo: (repo / "data/gallery/errors/000.png").unlink(), 0),
        (lambda repo: set_dials(repo / "params.yaml", {"report.title": "Another"}), 0),
        (lambda repo: set_dials(repo / "params.yaml", {"strategies.full.start": "random"}), 0),
        (write_cost_again, 1),
    ],
    ids=["table", "picture", "picture gone", "title", "starts random", "cost"],
)
def test_a_changed_input_replaces_the_one_run(
    change: Callable[[Path], object], also_replaced: int, repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    track_stage.main()  # the copy has another place: from here on, nothing is asked of the store unless something changes
    capsys.readouterr()
    (before,) = runs_of(repo, "thaw-report")
    change(repo)
    track_stage.main()
    said = f"{also_replaced} replaced, " if also_replaced else ""
    assert capsys.readouterr().out == f"MLflow: {len(RUNS_ASKED) + 3} runs equal their records ({said}the report's files renewed)\n"
    (after,) = runs_of(repo, "thaw-report")
    assert after.info.run_id != before.info.run_id and after.data.tags["content_sha256"] != before.data.tags["content_sha256"]
    with closing(sqlite3.connect(repo / "mlflow.db")) as database:  # none is left as deleted, and none went to a history
        assert database.execute("SELECT count(*) FROM runs").fetchone()[0] == len(RUNS_ASKED) + 3 + 1
    params = read_params()
    scratch = [name for name, strategy in params.strategies.items() if strategy.start == "random"]
    assert download_report(report_store(uri_of(repo)), "thaw", tmp_path / "root") == ReportInputs(RUNS_ASKED, scratch, params.report.title)
    found = files_of(tmp_path / "root")
    assert found.pop("inputs.json") and found == made_of(repo)
    track_stage.main()
    assert capsys.readouterr().out.splitlines()[-1].endswith("(nothing to do)")


def test_nothing_is_asked_of_the_store_when_nothing_changed(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track_stage.main()  # the copy has another place
    monkeypatch.setattr("thaw.tracking.experiments.connect", lambda store: pytest.fail("asked the store"))
    track_stage.main()
    (repo / "learning/finetune/lite0/full/images-25/1/record.json").unlink()
    with pytest.raises(pytest.fail.Exception):
        track_stage.main()


@pytest.mark.parametrize("name", ["thaw", "thaw-learning", "thaw-report"])
def test_what_a_run_lost_or_should_not_be_there_is_mended(name: str, repo: Path) -> None:
    from mlflow import MlflowClient

    track_stage.main()
    run, client = runs_of(repo, name)[0], MlflowClient(uri_of(repo))
    whole = Counter(files_of(repo / "mlartifacts" / name).values())
    next(path for path in (repo / "mlartifacts" / name / run.info.run_id).rglob("*") if path.is_file()).unlink()
    client.create_run(run.info.experiment_id, tags={"record_id": run.data.tags["record_id"]})  # left by a kill
    counts = {n: len(runs_of(repo, n)) for n in ("thaw", "thaw-learning", "thaw-report")}
    track_stage.main()
    assert {n: len(runs_of(repo, n)) for n in counts} == counts | {name: counts[name] - 1}
    assert Counter(files_of(repo / "mlartifacts" / name).values()) == whole
    assert {run.info.status for run in runs_of(repo, name)} == {"FINISHED"}


def test_nothing_is_bundled_where_nothing_was_evaluated(repo: Path) -> None:
    shutil.rmtree(repo / "mlartifacts")
    (repo / "mlflow.db").unlink()
    (repo / "reports/metrics.json").unlink()
    shutil.rmtree(repo / "learning")
    track_stage.main()
    from mlflow import MlflowClient

    assert {experiment.name for experiment in MlflowClient(uri_of(repo)).search_experiments()} == {"Default", "thaw"}


# ---------------------------------------------------------------- runs on shares of the labels


def test_runs_on_shares_of_the_labels_have_an_experiment_of_their_own(original: Path) -> None:
    from mlflow import MlflowClient

    runs = {run.info.run_name: run for run in runs_of(original, "thaw-learning")}
    assert runs.keys() == {"lite0/linear_probe/images-25/0", "lite0/linear_probe/groups-25/0", "lite0/full/images-25/1"}
    record = read_record(original / "learning/finetune/lite0/full/images-25/1")
    run = runs["lite0/full/images-25/1"]
    params = {"strategy": "full", "backbone": "lite0", "fold": "1", "dataset": "toy", "label_percent": "25", "label_by": "images"}
    assert run.data.params.items() >= params.items() and not any(name.startswith("fraction.") for name in run.data.params)
    assert run.data.tags["record_id"] == record.record_id and run.data.tags["dvc_stage"] == "finetune_part@lite0-full-25-1"
    assert runs["lite0/linear_probe/groups-25/0"].data.tags["dvc_stage"] == "learn@lite0"
    assert runs["lite0/linear_probe/groups-25/0"].data.params["label_by"] == "groups"
    finals = {name: value for name, value in run.data.metrics.items() if name not in record.history[0]}
    assert finals == record.metrics, "validation figures, and no test figures of the whole result"
    points = MlflowClient(uri_of(original)).get_metric_history(run.info.run_id, "val/auc")
    assert sorted((m.step, m.value) for m in points) == [(row["epoch"], row["val/auc"]) for row in record.history]
    folder = original / "mlartifacts/thaw-learning" / run.info.run_id / "artifacts"
    assert files_of(folder) == {"record.json": (original / "learning/finetune/lite0/full/images-25/1/record.json").read_bytes()}
    assert not any("label_percent" in run.data.params for run in runs_of(original, "thaw"))


def test_an_earlier_run_on_a_share_moves_to_its_own_history(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_share(repo, *SHARES[0], seed=1)
    track_stage.main()
    assert capsys.readouterr().out == f"MLflow: {len(RUNS_ASKED) + 3} runs equal their records (1 added, 1 moved to the history)\n"
    assert len(runs_of(repo, "thaw-learning")) == 3 and len(runs_of(repo, "thaw-learning-history")) == 1
    assert runs_of(repo, "thaw-history") == [] and len(runs_of(repo, "thaw")) == len(RUNS_ASKED)
    set_dials(repo / "params.yaml", {"learning.finetune": [], "learning.by": ["images"]})
    track_stage.main()
    assert [run.info.run_name for run in runs_of(repo, "thaw-learning")] == ["lite0/linear_probe/images-25/0"]


# ---------------------------------------------------------------- what the store lacks


def _without_a_run(repo: Path) -> None:
    from mlflow import MlflowClient

    (run,) = [run for run in runs_of(repo, "thaw") if run.info.run_name == "lite0/full/1"]
    MlflowClient(uri_of(repo)).delete_run(run.info.run_id)


def _without_an_artifact(repo: Path) -> None:
    (run,) = [run for run in runs_of(repo, "thaw") if run.info.run_name == "lite0/full/1"]
    shutil.rmtree(repo / "mlartifacts/thaw" / run.info.run_id)
    shutil.rmtree(repo.parents[1] / "nowhere", ignore_errors=True)
    with closing(sqlite3.connect(repo / "mlflow.db")) as database, database:
        database.execute("UPDATE runs SET artifact_uri = replace(artifact_uri, '/mlartifacts/', '/nowhere/')")


def _tracked_without(path: str) -> Callable[[Path], None]:
    def change(repo: Path) -> None:
        shutil.rmtree(repo / path) if (repo / path).is_dir() else (repo / path).unlink()
        track_stage.main()

    return change


def _of_another_mlflow(repo: Path) -> None:
    with closing(sqlite3.connect(repo / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'x'")


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (
            lambda repo: None,
            ["--experiment", "thwa"],
            "no report in the experiment 'thwa-report' (there are reports of thaw); run `dvc repro track`",
        ),
        (lambda repo: (repo / "mlflow.db").unlink(), [], "there is no file "),
        (lambda repo: (repo / "mlflow.db").write_bytes(b""), [], "is no database of MLflow's"),
        (lambda repo: (repo / "mlflow.db").write_bytes(b"a text" * 99), [], "is no database of MLflow's"),
        (_without_a_run, [], "lacks the record of lite0/full/1 that the report is made of; run `dvc repro track`"),
        (_without_an_artifact, [], "runs/lite0/full/1/record.json is missing; run `dvc repro evaluate`, then `dvc repro track`"),
        (_tracked_without("runs/lite0/full/1"), [], "lacks the record of lite0/full/1"),
        (
            _tracked_without("costs/lite0/full/1.json"),
            [],
            "costs/lite0/full/1.json is missing; run `dvc repro evaluate`, then `dvc repro track`",
        ),
        (_tracked_without("reports/curves.csv"), [], "reports/curves.csv is missing; run `dvc repro evaluate`, then `dvc repro track`"),
        (_of_another_mlflow, [], "the store cannot be read ("),
    ],
    ids=["experiment", "no file", "empty", "no database", "a run", "an artifact", "a record", "a cost", "a table", "schema"],
)
def test_what_is_missing_is_said_in_one_line(
    change: Callable[[Path], object], options: list[str], said: str, repo: Path, tmp_path: Path
) -> None:
    change(repo)
    before = files_of(repo)
    done = thaw_report(uri_of(repo), tmp_path / "out", *options)
    assert done.exit_code == 1 and done.stderr.count("\n") == 1, done.output
    assert done.stderr.startswith("thaw: --from-mlflow: ") and said in done.stderr
    assert not (tmp_path / "out").exists() and files_of(repo) == before
    assert str(tmp_path) not in done.stderr.replace(uri_of(repo).removeprefix("sqlite:///"), "")


def test_a_store_without_a_report_names_none(repo: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    (run,) = runs_of(repo, "thaw-report")
    MlflowClient(uri_of(repo)).delete_experiment(run.info.experiment_id)
    done = thaw_report(uri_of(repo), tmp_path / "out")
    assert done.exit_code == 1 and "no report in the experiment 'thaw-report'; run `dvc repro track` where it was made" in done.stderr


@pytest.mark.parametrize(
    ("uri", "said"), [("mlruns", "is a folder"), ("htp://x", "is no address"), (f"http://127.0.0.1:{1}", "the store cannot be read (")]
)
def test_an_address_that_leads_nowhere_is_said_in_one_line(uri: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = thaw_report(uri, tmp_path / "out")
    assert done.exit_code == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("thaw: --from-mlflow: ") and said in done.stderr
    assert list(tmp_path.iterdir()) == []
