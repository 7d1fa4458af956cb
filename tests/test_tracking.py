"""MLflow equals the records, whatever happened to it; and a training never notices that MLflow exists."""

import errno
import json
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from thaw.errors import InputError
from thaw.files import sha256_of_value, write_json
from thaw.runs import COSTS, RUNS, Identity, Record, identify, read_record, write_cost, write_record
from thaw.stages import track as stage
from thaw.tracking import Changes, LiveRun, Store, StoreAway, content_of, find_store, params_of, tags_of, track, ui_command
from thaw.tracking.bundle import METRICS
from thaw.tracking.entries import spread
from thaw.tracking.live import AWAY, PATIENCE
from thaw.tracking.store import be_quiet, connect, lock

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # mlflow's own mapping of its tables

CELLS = [("lite0", "linear_probe", 0), ("lite0", "linear_probe", 1), ("lite0", "full", 0), ("lite0", "full", 1)]
FULL = Identity("lite0", "full", 0)
COST = {"seconds": 12.5, "images_seen": 99, "images_per_second": 8.0, "peak_memory_mb": 512.0, "git_commit": "a" * 40, "git_dirty": True}
PROJECT = Path(__file__).parents[1]
REFUSED = f"[Errno {errno.ECONNREFUSED}] Connection refused"


def make_record(cell: tuple[str, str, int], seed: int = 0) -> Record:
    backbone, strategy, fold = cell
    settings: dict[str, Any] = {"C": [0.1, 1.0]}
    if strategy == "full":
        phases = [{"name": "all", "epochs": 2, "rates": {"*": 0.5}}, {"name": "top", "epochs": 1, "rates": {"head": 0.5}}]
        settings = {"strategy": {"start": "pretrained", "norm": "train", "phases": phases}, "batch_size": 32}
    inputs = {"settings": settings, "data_sha256": "d" * 64, "seed": seed, "cell": list(cell)}
    rows = [{"epoch": e, "phase": "all", "train/loss": 1 / e, "val/auc": 0.7 + e / 100, "lr/head": 0.1 * e} for e in (1, 2, 3)]
    kind = "finetune" if strategy == "full" else "head"
    history = rows if strategy == "full" else []
    metrics = {"best_val_auc": 0.75 + fold / 10, "best_epoch": 2.0}
    classes, size = ["sound", "broken"], {"image_size": 96}
    return Record(identify(inputs), backbone, strategy, fold, "toy", kind, False, classes, inputs, [], history, metrics, 1234, size)


def write_run(folder: Path, record: Record) -> None:
    write_record(record, record.identity.folder(folder / RUNS))
    write_cost(record.identity, COST, folder / COSTS)


def write_metrics(folder: Path, auc: float) -> None:
    folds = {f"{b}/{s}": {str(f): {"roc_auc": auc, "f1_macro": 0.5, "weighted_accuracy": None} for f in (0, 1)} for b, s, _ in CELLS}
    per_class = {"sound": {"f1": 0.9, "support": 7}, "broken": {"f1": 0.8, "support": 5}}
    pooled = {name: {"roc_auc": auc, "per_class": per_class, "confusion": [[6, 1], [2, 3]]} for name in folds}
    write_json(folder / METRICS, {"classes": ["sound", "broken"], "folds": folds, "pooled": pooled})


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database: making the schema takes seconds, copying it does not."""
    store = find_store({"DVC_ROOT": str(tmp_path_factory.mktemp("template"))})
    with lock(store):
        connect(store)
    return store.database


@pytest.fixture
def repo(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four runs on disk, an empty store, and a working directory elsewhere that must stay empty."""
    root, elsewhere = tmp_path / "a repo #1", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    shutil.copy(template, root / "mlflow.db")
    for cell in CELLS:
        write_run(root, make_record(cell))
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT / "src"))  # for the processes that tests start
    return root


@pytest.fixture(autouse=True)
def nothing_in_the_working_directory(tmp_path: Path) -> Iterator[None]:
    yield
    elsewhere = tmp_path / "elsewhere"
    assert not elsewhere.exists() or list(elsewhere.iterdir()) == []


def sync(repo: Path) -> Changes:
    return track(CELLS, "thaw", find_store(), repo)


def client_of(store: Store) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(store.uri)


def runs_of(name: str = "thaw") -> list[Any]:
    client = client_of(find_store())
    found = client.get_experiment_by_name(name)
    return [] if found is None else list(client.search_runs([found.experiment_id], max_results=500))


def record_ids(name: str = "thaw") -> Counter[str]:
    return Counter(run.data.tags.get("record_id", "") for run in runs_of(name))


def assert_equal_to_records(cells: list[tuple[str, str, int]] = CELLS, folder: Path | None = None) -> None:
    folder = folder or find_store().root
    wanted = [read_record(Identity(*cell).folder(folder / RUNS)).record_id for cell in cells]
    assert record_ids() == Counter(wanted)
    assert {run.info.status for run in runs_of()} == {"FINISHED"}


def plant(tags: dict[str, str], status: str | None = None, experiment: str = "thaw") -> str:
    """A run that someone else made; RUNNING unless ``status`` says otherwise."""
    client = client_of(find_store())
    run_id = client.create_run(client.get_experiment_by_name(experiment).experiment_id, tags=tags).info.run_id
    if status:
        client.set_terminated(run_id, status)
    return run_id


def count_runs_ever(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT count(*) FROM runs").fetchone()[0]


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def live_run(record: Record, experiment: str = "thaw", **options: Any) -> LiveRun:
    return LiveRun(record.record_id, record.identity, params_of(record), tags_of(record, {}), experiment, **options)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---------------------------------------------------------------- what a run holds


def test_a_run_equals_its_record(repo: Path) -> None:
    write_metrics(repo, 0.875)
    sync(repo)
    record = read_record(FULL.folder(repo / RUNS))
    (run,) = [run for run in runs_of() if run.data.tags["record_id"] == record.record_id]
    client = client_of(find_store())
    assert run.info.run_name == "lite0/full/0"
    assert run.data.params == {
        "strategy": "full", "backbone": "lite0", "fold": "0", "dataset": "toy", "kind": "finetune", "control": "false", "image_size": "96",
        "start": "pretrained", "norm": "train", "epochs": "3", "trainable_parameters": "1234", "batch_size": "32",
        "strategy.phases.0.name": "all", "strategy.phases.0.epochs": "2", "strategy.phases.0.rates.all": "0.5",
        "strategy.phases.1.name": "top", "strategy.phases.1.epochs": "1", "strategy.phases.1.rates.head": "0.5",
    }  # fmt: skip
    for name in ("train/loss", "val/auc", "lr/head"):
        points = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        assert sorted(points) == [(row["epoch"], row[name]) for row in record.history]
    finals = {"best_val_auc": 0.75, "best_epoch": 2.0, "test_roc_auc": 0.875, "test_f1_macro": 0.5}
    finals |= {"cost/seconds": 12.5, "cost/images_per_second": 8.0, "cost/peak_memory_mb": 512.0}
    assert {n: v for n, v in run.data.metrics.items() if n not in record.history[0]} == finals
    assert all(len(client.get_metric_history(run.info.run_id, name)) == 1 for name in finals)
    assert run.info.end_time - run.info.start_time == 12500


def test_tags_say_where_a_run_comes_from(repo: Path) -> None:
    sync(repo)
    record = read_record(FULL.folder(repo / RUNS))
    tags = {run.info.run_name: run.data.tags for run in runs_of()}
    expected = {
        "record_id": record.record_id, "git_commit": "a" * 40, "git_dirty": "true", "data_sha256": "d" * 64, "kind": "finetune",
        "params_sha256": sha256_of_value(record.inputs["settings"]), "dvc_stage": "finetune@lite0-full-0", "control": "false",
    }  # fmt: skip
    assert tags["lite0/full/0"].items() >= expected.items()
    assert tags["lite0/linear_probe/1"]["dvc_stage"] == "heads@lite0"


def test_artifacts_are_the_record_and_tables(repo: Path) -> None:
    write_metrics(repo, 0.875)
    sync(repo)
    (run,) = [run for run in runs_of() if run.info.run_name == "lite0/full/0"]
    folder = repo / "mlartifacts" / "thaw" / run.info.run_id / "artifacts"
    assert (folder / "record.json").read_bytes() == (FULL.folder(repo / RUNS) / "record.json").read_bytes()
    per_class = json.loads((folder / "test_pooled" / "per_class.json").read_text())
    assert per_class == {"columns": ["class", "f1", "support"], "data": [["broken", 0.8, 5], ["sound", 0.9, 7]]}
    confusion = json.loads((folder / "test_pooled" / "confusion.json").read_text())
    assert confusion["data"] == [["sound", 6, 1], ["broken", 2, 3]]


def test_names_are_few_and_odd_values_are_left_out() -> None:
    groups = {f"lr/block_{k}": 0.1 for k in range(40)}
    record = make_record(CELLS[2])
    rows = [{"epoch": 1, "phase": "all", "train/loss": 0.5, "val/auc": None, **groups}]
    record = replace(
        record, history=rows, metrics={"best_val_auc": float("nan")}, inputs={"settings": {f"s{k}": "x" * 9000 for k in range(150)}}
    )
    test = {f"t{k}": 0.1 for k in range(10)}
    content = content_of(record, b"{}", json.dumps(COST).encode(), {"folds": {"lite0/full": {"0": test}}})
    names = {name for name, _, _ in content.metrics}
    assert len(names) < 30 and "lr/block_0" in names
    assert names >= {"train/loss", "cost/seconds", *(f"test_{name}" for name in test)} and not names & {"val/auc", "best_val_auc"}
    assert (
        len(content.params) == 100
        and {"strategy", "fold", "epochs"} <= content.params.keys()
        and max(map(len, content.params.values())) == 500
    )


def test_every_dial_is_a_param_in_the_same_order_live_and_from_disk() -> None:
    names = {"train": "last_3", "epochs": 1, "weight_decay": 0.01, "schedule": "cosine", "warmup": 0.1}
    phases = [{"name": f"p{k}", **names, "rates": {"*": k + 0.5, "head": k + 0.25, "backbone": k + 0.125}} for k in range(3)]
    settings = {"start": "pretrained", "norm": "train", "phases": phases, "batch_size": 32, "augment": "dihedral", "metric": "auc"}
    settings |= {"backbone_weights": "lite0", "preprocessing": {"image_size": 96, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}
    live = replace(make_record(CELLS[2]), inputs={"settings": settings})
    params = params_of(live)
    expected = {"start": "pretrained", "norm": "train", "batch_size": "32", "preprocessing.mean": "0.5, 0.5, 0.5"}
    for k, phase in enumerate(phases):
        expected |= {f"phases.{k}.{name}": str(phase[name]) for name in ("name", *names)}
        expected |= {f"phases.{k}.rates.{name.replace('*', 'all')}": str(rate) for name, rate in phase["rates"].items()}
    assert params.items() >= expected.items() and len(params) > 30
    many = settings | {f"s{k}": k for k in range(99, -1, -1)}  # beyond the limit, the same ones are dropped
    read = json.loads(json.dumps(many, sort_keys=True))
    assert [*params_of(replace(live, inputs={"settings": many})).items()] == [*params_of(replace(live, inputs={"settings": read})).items()]


def test_long_curves_arrive_whole(repo: Path) -> None:
    rows = [{"epoch": e, "phase": "all", **{f"lr/{k}": e / 7 for k in "abcd"}} for e in range(1, 601)]
    write_run(repo, replace(make_record(CELLS[2]), history=rows))
    sync(repo)
    (run,) = [run for run in runs_of() if run.info.run_name == "lite0/full/0"]
    points = client_of(find_store()).get_metric_history(run.info.run_id, "lr/d")
    assert sorted((m.step, m.value) for m in points) == [(e, e / 7) for e in range(1, 601)]


# ---------------------------------------------------------------- the experiment equals the records


def test_nothing_changes_when_nothing_changed(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sync(repo) == Changes(4, added=4)
    assert_equal_to_records()
    before = {run.info.run_id for run in runs_of()}
    with monkeypatch.context() as patch:
        patch.setattr("thaw.tracking.experiments.connect", lambda store: pytest.fail("asked the store"))
        assert sync(repo) == Changes(4)
    os.utime(repo / "mlflow.db")  # somebody wrote to it: look, and find nothing to do
    assert sync(repo) == Changes(4)
    assert {run.info.run_id for run in runs_of()} == before
    assert sync(repo).sentence() == "MLflow: 4 runs equal their records (nothing to do)"


def test_new_test_figures_replace_runs(repo: Path) -> None:
    sync(repo)
    write_metrics(repo, 0.875)
    assert sync(repo) == Changes(4, replaced=4, renewed=1)
    assert_equal_to_records()
    assert {run.data.metrics["test_roc_auc"] for run in runs_of()} == {0.875}
    assert runs_of("thaw-history") == [] and count_runs_ever(repo / "mlflow.db") == 5  # and the report's


def test_an_earlier_result_moves_to_the_history_and_back(repo: Path) -> None:
    sync(repo)
    old, new = make_record(CELLS[2]), make_record(CELLS[2], seed=1)
    (original,) = [run for run in runs_of() if run.data.tags["record_id"] == old.record_id]
    write_run(repo, new)
    assert sync(repo) == Changes(4, added=1, moved=1)
    assert_equal_to_records()
    (copy,) = runs_of("thaw-history")
    assert (copy.info.run_name, copy.data.params, copy.data.metrics) == ("lite0/full/0", original.data.params, original.data.metrics)
    assert copy.data.tags["record_id"] == old.record_id and copy.info.status == "FINISHED"
    points = client_of(find_store()).get_metric_history(copy.info.run_id, "train/loss")
    assert sorted((m.step, m.value) for m in points) == [(row["epoch"], row["train/loss"]) for row in old.history]
    assert (repo / "mlartifacts" / "thaw-history" / copy.info.run_id / "artifacts" / "record.json").is_file()
    assert len(list((repo / "mlartifacts" / "thaw").iterdir())) == 4
    plant({"record_id": old.record_id, "mlflow.runName": "lite0/full/0"}, "FINISHED")  # left by an interrupted move: not copied again
    assert sync(repo).moved == 0 and len(runs_of("thaw-history")) == 1
    write_run(repo, old)
    assert sync(repo) == Changes(4, added=1, moved=1)
    assert_equal_to_records()
    assert record_ids("thaw-history") == {new.record_id: 1}


def test_a_run_that_is_not_asked_for_any_more_moves(repo: Path) -> None:
    sync(repo)
    assert track(CELLS[:3], "thaw", find_store(), repo) == Changes(3, moved=1)
    assert_equal_to_records(CELLS[:3])


def _same_id(status: str | None) -> Callable[[], str]:
    return lambda: plant({"record_id": make_record(CELLS[0]).record_id}, status)


def _running(pid: int, host: str = "") -> Callable[[], str]:
    return lambda: plant({"record_id": "gone", "pid": str(pid), "host": host or socket.gethostname()})


@pytest.mark.parametrize(
    "planted",
    [
        _same_id("FINISHED"),
        _same_id("FAILED"),
        _same_id(None),
        _running(dead_pid()),
        lambda: plant(
            {"record_id": "gone", "pid": str(os.getpid()), "host": socket.gethostname(), "process": "1"}
        ),  # the number was used again
        lambda: plant({"record_id": "gone"}),
        lambda: plant({"record_id": "gone"}, "KILLED"),
    ],
    ids=["duplicate", "failed", "running, yet finished", "dead", "pid used again", "nobody's", "killed"],
)
def test_what_should_not_be_there_goes(repo: Path, planted: Callable[[], str]) -> None:
    sync(repo)
    planted()
    assert sync(repo) == Changes(4, removed=1)
    assert_equal_to_records()
    assert runs_of("thaw-history") == [] and count_runs_ever(repo / "mlflow.db") == 4


def test_who_still_trains_is_left_alone(repo: Path) -> None:
    sync(repo)
    mine, other = _running(os.getpid())(), _running(1, host="another-host")()
    for _ in range(2):  # and no short cut is taken while somebody may die
        assert sync(repo) == Changes(4, running=2)
    assert {run.info.run_id for run in runs_of() if run.info.status == "RUNNING"} == {mine, other}


def test_a_run_that_lost_something_is_replaced(repo: Path) -> None:
    sync(repo)
    first, second, *_ = runs_of()
    client = client_of(find_store())
    client.delete_tag(first.info.run_id, "content_sha256")
    shutil.rmtree(repo / "mlartifacts" / "thaw" / second.info.run_id)
    assert sync(repo) == Changes(4, replaced=2)
    client.delete_experiment(client.get_experiment_by_name("thaw").experiment_id)
    assert sync(repo).runs == 4
    assert_equal_to_records()


@pytest.mark.parametrize(
    "change",
    [
        lambda client, run_id: client.update_run(run_id, name="my favourite"),
        lambda client, run_id: client.set_tag(run_id, "git_commit", "b" * 40),
        lambda client, run_id: client.log_metric(run_id, "best_val_auc", 0.999),
        lambda client, run_id: client.log_param(run_id, "added", "1"),
    ],
    ids=["name", "tag", "metric", "param"],
)
def test_a_run_that_someone_changed_is_replaced(repo: Path, change: Callable[[Any, str], object]) -> None:
    sync(repo)
    shown = {run.info.run_name: (run.data.params, run.data.metrics, run.data.tags) for run in runs_of()}
    change(client_of(find_store()), runs_of()[0].info.run_id)
    assert sync(repo) == Changes(4, replaced=1)
    assert {run.info.run_name: (run.data.params, run.data.metrics, run.data.tags) for run in runs_of()} == shown
    assert sync(repo) == Changes(4)


def test_what_people_wrote_outlives_its_run(repo: Path) -> None:
    """A new cost, a training again, a move to the history and back: the note and the tags go along, what is ours does not."""
    sync(repo)
    record, notes = make_record(CELLS[2]), {"mlflow.note.content": "look again", "reviewed": "yes"}
    (run,) = [run for run in runs_of() if run.data.tags["record_id"] == record.record_id]
    for name, value in {**notes, "git_commit": "mine"}.items():
        client_of(find_store()).set_tag(run.info.run_id, name, value)
    expected = {**notes, "git_commit": "b" * 40}

    def tags(name: str = "thaw") -> dict[str, str]:
        (found,) = [run for run in runs_of(name) if run.data.tags["record_id"] == record.record_id]
        return {name: found.data.tags[name] for name in expected}

    write_cost(FULL, {**COST, "git_commit": "b" * 40}, repo / COSTS)
    assert sync(repo) == Changes(4, replaced=1) and tags() == expected
    with live_run(record):
        pass
    assert sync(repo) == Changes(4, replaced=1) and tags() == expected
    assert {name for run in runs_of() for name in run.data.tags} & {"pid", "host", "process"} == set()
    write_record(make_record(CELLS[2], seed=1), FULL.folder(repo / RUNS))
    assert sync(repo).moved == 1 and tags("thaw-history") == expected
    write_record(record, FULL.folder(repo / RUNS))
    assert sync(repo).added == 1 and tags() == expected
    assert sum("reviewed" in run.data.tags for run in runs_of()) == 1


def test_a_deleted_history_stays_deleted(repo: Path) -> None:
    sync(repo)
    write_run(repo, make_record(CELLS[2], seed=1))
    sync(repo)
    client = client_of(find_store())
    client.delete_experiment(client.get_experiment_by_name("thaw-history").experiment_id)
    write_run(repo, make_record(CELLS[2], seed=2))
    assert sync(repo) == Changes(4, added=1, removed=1)
    assert_equal_to_records()
    assert client.get_experiment_by_name("thaw-history").lifecycle_stage == "deleted"
    write_run(repo, make_record(CELLS[2], seed=1))
    assert sync(repo) == Changes(4, added=1, removed=1)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_an_unreadable_marker_counts_as_absent(repo: Path, content: bytes) -> None:
    sync(repo)
    marker = repo / ".thaw" / "track.json"
    before = marker.read_bytes()
    marker.write_bytes(content)
    assert sync(repo) == Changes(4) and marker.read_bytes() == before


def test_a_training_that_cannot_be_looked_at_counts_as_alive(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync(repo)
    plant({"record_id": "gone", "pid": str(os.getpid()), "host": socket.gethostname(), "process": "1"})
    monkeypatch.setattr(os, "kill", Mock(side_effect=PermissionError))
    assert sync(repo) == Changes(4, running=1)


def test_a_run_that_a_person_has_under_way_is_left_alone(repo: Path) -> None:
    sync(repo)
    theirs = plant({"mlflow.user": "someone"})
    assert sync(repo) == Changes(4)
    assert {run.info.run_id for run in runs_of() if run.info.status == "RUNNING"} == {theirs}


def test_a_run_with_many_params_moves_whole(repo: Path) -> None:
    sync(repo)
    run_id, client = plant({}), client_of(find_store())
    for k in range(101):
        client.log_param(run_id, f"p{k}", k)
    client.set_terminated(run_id)
    assert sync(repo) == Changes(4, moved=1)
    assert len(runs_of("thaw-history")[0].data.params) == 101


def test_two_clones_share_a_store(repo: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, other = repo.parent / "theirs.db", repo.with_name("other clone")
    shutil.copy(template, theirs)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{theirs}")
    shutil.copytree(repo / RUNS, other / RUNS)
    shutil.copytree(repo / COSTS, other / COSTS)
    write_run(other, make_record(CELLS[2], seed=1))

    def sync_in(root: Path) -> Changes:
        monkeypatch.setenv("DVC_ROOT", str(root))
        return sync(root)

    assert [sync_in(root) for root in (repo, other, repo, other)] == [Changes(4, added=4)] * 2 + [Changes(4)] * 2
    before = {run.info.run_id for run in runs_of()}
    plant({"record_id": make_record(CELLS[0]).record_id})  # a colleague's training, of a thaw that gives no id
    with live_run(make_record(CELLS[0])):  # in `other`
        pass
    assert len(runs_of()) == 9 and len(before & {run.info.run_id for run in runs_of()}) == 7
    assert sync_in(repo) == Changes(4)
    assert sync_in(other) == Changes(4, replaced=1)
    write_run(other, make_record(CELLS[2], seed=2))
    assert sync_in(other) == Changes(4, added=1, moved=1)
    assert [sync_in(root) for root in (repo, other)] == [Changes(4)] * 2
    assert record_ids("thaw-history") == {make_record(CELLS[2], seed=1).record_id: 1}
    assert len({(root / ".thaw" / "project-id").read_text() for root in (repo, other)}) == 2


def test_a_repository_may_be_moved(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync(repo)
    moved = repo.with_name("moved")
    repo.rename(moved)
    monkeypatch.setenv("DVC_ROOT", str(moved))
    write_run(moved, make_record(CELLS[2], seed=1))
    assert sync(moved) == Changes(4, added=1, moved=1)
    assert_equal_to_records()
    assert not repo.exists() and all(str(moved) in run.info.artifact_uri for run in runs_of())


# ---------------------------------------------------------------- where the store is


def test_the_users_store_wins(repo: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = repo.parent / "theirs.db"
    shutil.copy(template, theirs)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{theirs}")
    assert sync(repo).added == 4 and sync(repo) == Changes(4)
    assert_equal_to_records(folder=repo)
    assert count_runs_ever(theirs) == 4 and count_runs_ever(repo / "mlflow.db") == 0
    assert "--backend-store-uri" in (command := ui_command(repo)) and f"sqlite:///{theirs}" in command
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert find_store().location("thaw") is None
    with pytest.raises(InputError, match="open its address"):
        ui_command(repo)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(InputError, match="is a folder"):
        find_store()


@pytest.mark.parametrize("uri", ["localhost:5000", "htp://user:s/ecr@et@x", "postgres://user:s/ecr@et@x/y", "C:\\\\mlruns", "http://"])
def test_a_wrong_address_is_said_in_one_line(
    uri: str, repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI: .* set http://<server>, .*sqlite:///<file>") as caught:
        find_store()
    assert "ecr" not in str(caught.value) and "et@" not in str(caught.value)
    with live_run(make_record(CELLS[2])) as live:  # a training goes on all the same
        live.epoch({"epoch": 1, "train/loss": 0.5})
    assert capsys.readouterr().err == f"MLflow is away ({caught.value}): {AWAY}\n"


@pytest.mark.parametrize("uri", ["https://x", "databricks", "databricks://profile", "postgresql+psycopg://x/y", "mysql://x", "mssql://x"])
def test_addresses_that_mlflow_knows_are_taken(uri: str) -> None:
    assert find_store({"MLFLOW_TRACKING_URI": uri}).uri == uri


@pytest.mark.parametrize(("scheme", "mend"), [("mysql", "install mysqlclient into"), ("postgresql+odd", "postgresql.odd")])
def test_a_missing_driver_is_named(
    scheme: str, mend: str, repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://user:secret@127.0.0.1/x")
    monkeypatch.setitem(sys.modules, "MySQLdb", None)  # whether it is installed here or not
    with pytest.raises(InputError, match=mend) as caught:
        sync(repo)
    with live_run(make_record(CELLS[2])):
        pass
    assert capsys.readouterr().err == f"MLflow is away ({caught.value}): {AWAY}\n" and "secret" not in str(caught.value)


def test_the_page_is_served_from_the_root_to_this_machine_alone(repo: Path) -> None:
    command = ui_command(repo, 5123)
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert command[:4] == [sys.executable, "-m", "mlflow", "server"]
    assert options["--backend-store-uri"] == f"sqlite:///{repo}/mlflow.db"
    assert options["--artifacts-destination"] == (repo / "mlartifacts").as_uri()
    assert (options["--host"], options["--port"]) == ("127.0.0.1", "5123")


def test_mlflow_is_quiet_even_where_it_was_imported_before(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow  # noqa: F401  # it reads its environment at its first import, and by default speaks from INFO

    logger = logging.getLogger("mlflow")
    for asked, level in ((None, logging.WARNING), ("error", logging.ERROR)):
        monkeypatch.delenv("MLFLOW_LOGGING_LEVEL", raising=False)
        if asked:
            monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", asked)
        logger.setLevel(logging.INFO)
        be_quiet()
        assert logger.level == level
    monkeypatch.undo()
    be_quiet()


def test_two_first_starts_do_not_race(repo: Path) -> None:
    (repo / "mlflow.db").unlink()
    shutil.copy(PROJECT / "params.yaml", repo)
    (repo / ".thaw").mkdir()
    starts = [subprocess.Popen([sys.executable, "-m", "thaw.stages.track"], cwd=repo, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in starts]
    assert [process.returncode for process in starts] == [0, 0], said
    assert sorted(out for out, _ in said) == [
        "MLflow: 4 runs equal their records (4 added)\n",
        "MLflow: 4 runs equal their records (nothing to do)\n",
    ]
    assert [err for _, err in said] == ["", ""]
    assert_equal_to_records()
    assert sorted(p.name for p in repo.iterdir()) == [".thaw", "costs", "mlartifacts", "mlflow.db", "params.yaml", "runs"]


def test_the_stage_outlives_a_server_that_is_away(repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(PROJECT / "params.yaml", repo)
    monkeypatch.chdir(repo)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{free_port()}")
    stage.main()
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "secret" not in said.err
    assert said.err.startswith(f"MLflow is away ({REFUSED})")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    stage.main()
    assert capsys.readouterr().out == "MLflow: 4 runs equal their records (4 added)\n"


def test_an_error_that_is_not_absence_surfaces(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException

    with closing(sqlite3.connect(repo / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'of another MLflow'")
    with pytest.raises(MlflowException, match="out-of-date database schema"):
        sync(repo)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    for status, kind in [(401, InputError), (403, InputError), (400, MlflowException), (502, StoreAway), (404, StoreAway)]:
        answer = MlflowException(f"API request to endpoint /x failed with error code {status} != 200. Response body: ''")
        monkeypatch.setattr("thaw.tracking.records.sync", Mock(side_effect=answer))
        with pytest.raises(kind, match=str(status)):
            sync(repo)


# ---------------------------------------------------------------- a training while it goes on


def test_a_live_run_shows_curves_and_is_replaced_by_its_record(repo: Path) -> None:
    record = read_record(FULL.folder(repo / RUNS))
    sync(repo)
    with live_run(record, history=record.history[:1]) as live:
        for row in record.history[1:]:
            live.epoch(row)
    (run,) = [run for run in runs_of() if run.data.tags["record_id"] == record.record_id]  # the imported one made way
    assert run.info.status == "FINISHED" and run.data.params == params_of(record) and run.info.run_name == "lite0/full/0"
    assert (run.data.tags["pid"], run.data.tags["host"]) == (str(os.getpid()), socket.gethostname())
    for name in ("train/loss", "val/auc", "lr/head"):
        points = client_of(find_store()).get_metric_history(run.info.run_id, name)
        assert sorted((m.step, m.value) for m in points) == [(row["epoch"], row[name]) for row in record.history]
    assert sync(repo) == Changes(4, replaced=1)
    assert_equal_to_records()


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")])
def test_how_a_training_ended_is_said(repo: Path, error: type[BaseException], status: str) -> None:
    sync(repo)
    with pytest.raises(error), live_run(make_record(CELLS[2], seed=7)) as live:
        wait_until(lambda: any(run.info.status == "RUNNING" for run in runs_of()))
        live.epoch({"epoch": 1, "phase": "all", "train/loss": float("nan"), "val/auc": 0.5})
        raise error
    assert Counter(run.info.status for run in runs_of()) == {"FINISHED": 4, status: 1}
    assert sync(repo) == Changes(4, removed=1)
    assert_equal_to_records()


def test_a_training_stopped_at_once_leaves_nothing(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync(repo)
    monkeypatch.setattr("thaw.tracking.live.PATIENCE", 0.1)
    live = live_run(make_record(CELLS[2], seed=7))
    with lock(find_store()), pytest.raises(SystemExit), live:  # the thread cannot begin before the end
        raise SystemExit
    live._thread.join(10)
    assert not live._thread.is_alive() and len(runs_of()) == 4


def test_a_killed_training_is_closed(repo: Path) -> None:
    sync(repo)
    code = (
        "import time; from thaw.tracking import LiveRun; from thaw.runs import Identity\n"
        "with LiveRun('gone', Identity('lite0', 'full', 0), {}, {}, 'thaw') as live: time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=repo)
    try:
        wait_until(lambda: any(run.info.status == "RUNNING" for run in runs_of()))
        assert sync(repo) == Changes(4, running=1)
    finally:
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    assert sync(repo) == Changes(4, removed=1)  # a zombie trains no more
    process.wait()
    assert_equal_to_records()


def test_a_training_that_is_killed_at_once_asks_mlflow_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thaw.tracking.live.find_store", lambda: pytest.fail("the store was looked for"))
    live = LiveRun("gone", FULL, {}, {}, "thaw")
    with pytest.raises(SystemExit), live:
        raise SystemExit(143)
    assert not live._thread.is_alive()


def test_a_training_goes_on_without_a_server(repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    start = time.monotonic()
    with live_run(make_record(CELLS[2])) as live:
        for epoch in range(1, 4):
            live.epoch({"epoch": epoch, "train/loss": 0.5})
    assert time.monotonic() - start < PATIENCE
    assert capsys.readouterr().err == f"MLflow is away ({REFUSED}): {AWAY}\n"


def test_a_training_does_not_wait_for_a_mute_server(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("thaw.tracking.live.PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{mute.getsockname()[1]}")
        start = time.monotonic()
        with live_run(make_record(CELLS[2])) as live:
            live.epoch({"epoch": 1, "train/loss": 0.5})
        assert time.monotonic() - start < 4  # MLflow itself would wait for 5
    live._thread.join(15)
    assert capsys.readouterr().err.count("MLflow is away (no answer within") == 1


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def test_imported_steps_have_times_of_their_own() -> None:
    points = [("val/auc", 1, 0.5), ("val/auc", 2, 0.6), ("val/auc", 4, 0.7), ("best_val_auc", 0, 0.7)]
    assert [entity.timestamp for entity in spread(points, 1000, 2000)] == [1250, 1500, 2000, 1000]
    assert [entity.timestamp for entity in spread(points[3:], 1000, 2000)] == [2000]
