"""MLflow as a copy of the run records, for looking at. The only module that imports mlflow, and only where it is used.

Records on disk are the truth. `sync` makes an experiment equal to them; `LiveRun` shows a training while it goes on and can
never stop it. The default store is ``mlflow.db`` + ``mlartifacts/`` at the repository root; ``MLFLOW_TRACKING_URI`` wins where set.
"""

import json
import math
import os
import queue
import re
import shutil
import socket
import sqlite3
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock

from thaw.errors import InputError
from thaw.files import read_json, sha256_of_file, sha256_of_value, write_json, write_text, write_with
from thaw.runs import COSTS, RUNS, Identity, Record

METRICS = Path("reports") / "metrics.json"
MOST_METRICS = 29  # names a run: MLflow's pages slow down with many; rates of further groups stay in record.json
MOST_PARAMS = 100  # what MLflow takes in one request
LONGEST_VALUE = 500  # characters of a param: what every MLflow back end accepts
PATIENCE = 10.0  # seconds that the end of a training waits for MLflow
SILENCE = 7 * 24 * 3600  # seconds after which a run on another host, which nobody here can ask, counts as dead
AWAY = "training goes on, `dvc repro track` catches up"
KNOWN = r"https?://[^/]|(sqlite|postgresql|mysql|mssql)(\+\w+)?://|databricks(://|$)"
DENIED = r"failed with error code 40[13]\b|^40[13] Client Error|^(UNAUTHENTICATED|PERMISSION_DENIED)\b"
PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # where the module's name differs
PROCESS = ("pid", "host", "process")  # tags of a training while it goes on
OWN_TAGS = {"record_id", "data_sha256", "params_sha256", "dvc_stage", "kind", "control", "git_commit", "git_dirty"}
OWN_TAGS |= {"content_sha256", "project", *PROCESS}
NOTE = "mlflow.note.content"

QUIET = {  # environment defaults, set only where the user did not; `ui_command` wants them too
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing here may need the network
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # background workers of features that are not used here
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # MLflow's own default retries for four minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds
}


class StoreAway(Exception):
    """The store cannot be reached now; the message is the reason in a few words."""


# ---------------------------------------------------------------- the store


@dataclass(frozen=True)
class Store:
    """Where MLflow lives. ``root`` is the repository: lock, fingerprint and the embedded store are anchored there."""

    uri: str
    root: Path

    @property
    def embedded(self) -> bool:
        """The default store, which is this project's alone: its runs may be removed for good."""
        return self.uri == f"sqlite:///{self.database}"

    @property
    def database(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        return self.root / "mlartifacts"

    def location(self, experiment: str) -> str | None:
        """Artifact root of an experiment; None: the server's own. A bare database would put it below the working directory."""
        served = self.uri.startswith(("http://", "https://", "databricks"))
        return None if served else (self.artifacts / experiment).as_uri()


def find_store(environment: Mapping[str, str] = os.environ) -> Store:
    """The store that ``environment`` asks for; the root is ``DVC_ROOT``, else the working directory. Raises `InputError`."""
    root = Path(environment.get("DVC_ROOT") or Path.cwd()).resolve()
    uri = environment.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"
    if uri.startswith("file:") or (":" not in uri and uri != "databricks"):
        raise InputError(
            f"MLFLOW_TRACKING_URI: {uri!r} is a folder, which MLflow no longer writes; set sqlite:///<file> or http://<server>"
        )
    if not re.match(KNOWN, uri):
        shown = re.sub(r"^(.*//)?.*@", r"\1…@", uri)  # without a password
        valid = "http://<server>, https://<server>, sqlite:///<file>, postgresql://, mysql://, mssql:// or databricks"
        raise InputError(f"MLFLOW_TRACKING_URI: {shown!r} is no address that MLflow knows; set {valid}")
    return Store(uri, root)


def ui_command(root: Path, port: int = 5000) -> list[str]:
    """Arguments that serve MLflow's page for the store of the repository at ``root``, on this machine alone.

    Run it with ``QUIET`` in the environment. Raises `InputError` if the store is a server, which has a page of its own.
    """
    store = find_store({**os.environ, "DVC_ROOT": str(root)})
    if store.location("") is None:
        raise InputError("MLFLOW_TRACKING_URI names a server: open its address in a browser, or unset it to see the local store")
    served = ["--backend-store-uri", store.uri, "--artifacts-destination", store.artifacts.as_uri()]
    return [sys.executable, "-m", "mlflow", "server", *served, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]


def _lock(store: Store) -> FileLock:
    """Held while the schema, an experiment or a whole synchronisation is made: two first starts would race."""
    path = store.root / ".thaw" / "mlflow.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


def _project(store: Store) -> str:
    """A random id, which tells this clone's runs from those of other clones on the same server. Call with the lock held."""
    path = store.root / ".thaw" / "project-id"
    if not path.is_file() or not path.read_text(encoding="utf-8").strip():
        write_text(path, uuid.uuid4().hex + "\n")
    return path.read_text(encoding="utf-8").strip()


def _connect(store: Store) -> Any:
    """An ``MlflowClient`` of the store, which is made if it is the embedded one and absent. Call with the lock held.

    Raises `InputError` if the database's driver does not load.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from sqlalchemy.exc import NoSuchModuleError

    if store.embedded and not store.database.exists():
        write_with(store.database, lambda path: _create_schema(path, store.artifacts))
    try:
        return MlflowClient(tracking_uri=store.uri, registry_uri=store.uri)
    except (ImportError, NoSuchModuleError) as error:
        scheme, module = store.uri.partition(":")[0], getattr(error, "name", None) or "another driver"
        mend = f"install {PACKAGES.get(module, module)} into this environment"
        raise InputError(f"MLFLOW_TRACKING_URI: the driver of {scheme} does not load ({error}); {mend}") from error


def _create_schema(path: Path, artifacts: Path) -> None:
    """Written under another name, then renamed: a schema that was killed half way would not be mended by MLflow."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{path}", artifacts.as_uri()).engine.dispose()


def _experiment(client: Any, store: Store, name: str) -> str:
    """Id of the experiment, which is made if absent and brought back if someone deleted it. Call with the lock held."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=store.location(name))
        except MlflowException as error:  # another machine may have been faster, which our lock cannot know
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return client.get_experiment_by_name(name).experiment_id
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    if store.embedded and found.artifact_location != store.location(name):
        _rehome(store, found.experiment_id, (store.artifacts / name).as_uri())
    return found.experiment_id


def _rehome(store: Store, experiment_id: str, location: str) -> None:
    """Artifact paths are stored absolute: without this, a repository that was moved or copied writes where it used to lie."""
    with closing(sqlite3.connect(store.database, timeout=20)) as database, database:
        database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (location, experiment_id))
        moved = "UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts' WHERE experiment_id = ?"
        database.execute(moved, (location, experiment_id))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_away(error: Exception, store: Store) -> bool:
    """Whether the store did not answer, as opposed to having answered with an error."""
    from requests import RequestException
    from sqlalchemy.exc import OperationalError

    if store.embedded:  # a file that cannot be used is a fault to be seen
        return False
    if store.uri.startswith("http") and re.match(r"API request to endpoint .* failed with error code (404|5\d\d)", str(error)):
        return True  # whoever answered, a gateway or proxy, is not MLflow
    return any(isinstance(e, RequestException | OperationalError) for e in _chain(error))


def _reason(error: BaseException) -> str:
    """The innermost cause on one line, without addresses: a store's URI may hold a password."""
    if isinstance(error, InputError):
        return str(error)
    innermost = list(_chain(error))[-1]
    return re.sub(r"\w+://\S+", "<store>", " ".join(str(innermost).split()))[:160] or type(innermost).__name__


# ---------------------------------------------------------------- what a run holds


@dataclass(frozen=True)
class Content:
    """Everything that MLflow shows of one record; a pure function of the files."""

    record_id: str
    name: str  # <backbone>/<strategy>/<fold>
    params: dict[str, str]
    metrics: list[tuple[str, int, float]]  # name, step, value
    tags: dict[str, str]
    artifacts: dict[str, str]  # path within the run -> text
    times: tuple[int, int] = (0, 0)  # start and end, ms since 1970: not part of the identity

    @property
    def sha256(self) -> str:
        return sha256_of_value({k: v for k, v in asdict(self).items() if k != "times"})


def content_of(record: Record, text: str, cost: dict[str, Any], metrics: dict[str, Any], end: float = 0.0) -> Content:
    """``text`` is record.json itself, ``metrics`` reports/metrics.json or {}, ``end`` when the record was written (s since 1970)."""
    name, pooled = f"{record.backbone}/{record.strategy}", metrics.get("pooled", {})
    test = metrics.get("folds", {}).get(name, {}).get(str(record.fold), {})
    tables = _test_tables(pooled.get(name, {}), metrics.get("classes", []))
    shown = {"mlflow.loggedArtifacts": json.dumps([{"path": path, "type": "table"} for path in tables])} if tables else {}
    return Content(
        record_id=record.record_id,
        name=str(record.identity),
        params=params_of(record),
        metrics=_metrics(record, cost, test),
        tags=tags_of(record, cost) | shown,
        artifacts={"record.json": text} | tables,
        times=(round((end - float(cost.get("seconds") or 0)) * 1000), round(end * 1000)),
    )


def params_of(record: Record) -> dict[str, str]:
    """What runs are grouped and compared by, at most ``MOST_PARAMS``. Works on a record whose history is still empty."""
    settings = dict(sorted(dict(_scalars(record.inputs.get("settings", {}))).items()))  # in one order, read from disk or not
    epochs = [int(value) for name, value in settings.items() if re.search(r"(^|\.)phases\.\d+\.epochs$", name)]
    in_steps = any(re.search(r"(^|\.)phases\.\d+\.steps$", name) for name in settings)  # their epochs are known at the end only
    start_and_norm = {leaf: settings.pop(name) for name in [*settings] if (leaf := name.rpartition(".")[2]) in ("start", "norm")}
    named = {
        "strategy": record.strategy,
        "backbone": record.backbone,
        "fold": record.fold,
        "dataset": record.dataset,
        "kind": record.kind,
        "control": record.control,
        "image_size": record.preprocessing.get("image_size"),
        **start_and_norm,
        "epochs": None if in_steps else sum(epochs) or len(record.history),
        "trainable_parameters": record.trainable_parameters,
    }
    named = {name: _text(value)[:LONGEST_VALUE] for name, value in named.items() if value is not None}
    rest = {_plain(name): _text(value)[:LONGEST_VALUE] for name, value in settings.items()}
    return dict(list((named | rest | named).items())[:MOST_PARAMS])


def tags_of(record: Record, cost: Mapping[str, Any]) -> dict[str, str]:
    """Where the run comes from. ``cost`` gives git_commit and git_dirty, where it has them."""
    b, s, fold = record.backbone, record.strategy, record.fold
    stage = f"heads@{b}" if record.kind == "head" else f"finetune@{b}-{s}-{fold}"
    tags = {
        "record_id": record.record_id,
        "data_sha256": record.inputs.get("data_sha256"),
        "params_sha256": sha256_of_value(record.inputs.get("settings", {})),
        "dvc_stage": stage,
        "kind": record.kind,
        "control": record.control,
        "git_commit": cost.get("git_commit"),
        "git_dirty": cost.get("git_dirty"),
        "mlflow.source.name": f"dvc repro {stage}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": cost.get("git_commit"),
    }
    return {name: _text(value) for name, value in tags.items() if value is not None}


def _metrics(record: Record, cost: dict[str, Any], test: dict[str, Any]) -> list[tuple[str, int, float]]:
    """Final figures once, at step 0, and a curve per epoch. Rates of groups beyond ``MOST_METRICS`` names are left out."""
    finals = dict(record.metrics) | {f"test_{name}": value for name, value in sorted(test.items())}
    finals |= {f"cost/{name}": cost.get(name) for name in ("seconds", "images_per_second", "peak_memory_mb")}
    points = [(name, 0, float(value)) for name, value in finals.items() if _is_number(value)]
    points += [point for row in record.history for point in _curve(row)]
    names = dict.fromkeys(name for name, _, _ in points)
    kept = set(sorted(names, key=lambda name: name.startswith("lr/"))[:MOST_METRICS])
    return [point for point in points if point[0] in kept]


def _curve(row: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    """One row of a record's history as points at its epoch."""
    return [(_plain(name), int(row["epoch"]), float(value)) for name, value in row.items() if name != "epoch" and _is_number(value)]


def _test_tables(pooled: dict[str, Any], classes: list[str]) -> dict[str, str]:
    """Figures per class and confusion of the pooled folds, in the form that MLflow shows as tables; {} where not evaluated."""
    tables: dict[str, str] = {}
    if per_class := pooled.get("per_class"):
        columns = list(dict.fromkeys(name for row in per_class.values() for name in row))
        rows = [[name, *(row.get(column) for column in columns)] for name, row in per_class.items()]
        tables["test_pooled/per_class.json"] = json.dumps({"columns": ["class", *columns], "data": rows})
    if confusion := pooled.get("confusion"):
        rows = [[name, *counts] for name, counts in zip(classes, confusion, strict=True)]
        tables["test_pooled/confusion.json"] = json.dumps({"columns": ["true \\ predicted", *classes], "data": rows})
    return tables


def _scalars(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of every scalar of a JSON tree, in order; a list of scalars is one text."""
    if isinstance(value, list) and not any(isinstance(inner, dict | list) for inner in value):
        yield path, ", ".join(_text(inner) for inner in value)
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _scalars(inner, f"{path}.{key}" if path else str(key))
    elif value is not None:
        yield path, value


def _plain(name: str) -> str:
    """MLflow allows letters, digits and ``_-. :/`` in names; the pattern ``*`` of a rate means every group."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("*", "all"))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# ---------------------------------------------------------------- the experiment made equal to the records


@dataclass(frozen=True)
class Changes:
    """What a synchronisation did; ``running`` counts trainings that are alive and were left alone."""

    runs: int
    added: int = 0
    replaced: int = 0
    moved: int = 0
    removed: int = 0
    running: int = 0

    def sentence(self, experiment: str) -> str:
        done = [(self.added, "added"), (self.replaced, "replaced"), (self.moved, f"moved to {experiment}-history")]
        done += [(self.removed, "left over and removed"), (self.running, "still training")]
        said = ", ".join(f"{count} {word}" for count, word in done if count)
        return f"MLflow: {self.runs} runs equal their records ({said or 'nothing to do'})"


def track(runs: Iterable[tuple[str, str, int]], experiment: str, store: Store, folder: Path = Path()) -> Changes:
    """Make ``experiment`` equal to the records of ``runs`` (backbone, strategy, fold) below ``folder``.

    Returns at once, without mlflow, if neither the files nor the embedded store have changed since the last time.
    Raises `StoreAway` if the store does not answer, `InputError` if it refuses or cannot be used.
    """
    identities = [Identity(*run) for run in runs]
    texts = _read_texts(identities, folder)
    marker = store.root / ".thaw" / "track.json"
    if store.embedded and _read_marker(marker) == _fingerprint(texts, experiment, store):
        return Changes(runs=sum(path.endswith("record.json") for path in texts))
    contents = _contents(identities, texts, folder)
    try:
        changes = sync(contents, experiment, store)
    except Exception as error:
        if re.search(DENIED, str(error)):
            mend = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            raise InputError(f"MLFLOW_TRACKING_URI: the server refuses this user ({_reason(error)}); {mend}") from error
        if _is_away(error, store):
            raise StoreAway(_reason(error)) from error
        raise
    if store.embedded and not changes.running:  # who still trains may die without touching the store
        write_json(marker, _fingerprint(texts, experiment, store))
    return changes


def _read_marker(path: Path) -> Any:
    """None where it is absent or cannot be read: then the store is asked."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _read_texts(identities: list[Identity], folder: Path) -> dict[str, str]:
    """Path -> text of every record, cost and metrics file that exists."""
    paths = [path for i in identities for path in (i.folder(RUNS) / "record.json", i.cost_file(COSTS))]
    return {p.as_posix(): (folder / p).read_text(encoding="utf-8") for p in [*paths, METRICS] if (folder / p).is_file()}


def _contents(identities: list[Identity], texts: dict[str, str], folder: Path) -> list[Content]:
    metrics = json.loads(texts.get(METRICS.as_posix(), "{}"))
    contents = []
    for identity in identities:
        path = (identity.folder(RUNS) / "record.json").as_posix()
        if path in texts:
            cost = json.loads(texts.get(identity.cost_file(COSTS).as_posix(), "{}"))
            end = (folder / path).stat().st_mtime
            contents.append(content_of(Record(**json.loads(texts[path])), texts[path], cost, metrics, end))
    return contents


def _fingerprint(texts: dict[str, str], experiment: str, store: Store) -> dict[str, Any]:
    """Equal fingerprints: same files, same code, and nobody wrote to the embedded store since."""
    state = store.database.stat() if store.database.exists() else None
    return {
        "store": store.uri,
        "experiment": experiment,
        "database": [state.st_size, state.st_mtime_ns] if state else None,
        "artifacts": sum(1 for _ in store.artifacts.glob("*/*/artifacts/record.json")),
        "files": sha256_of_value(texts),
        "code": sha256_of_file(Path(__file__)),
    }


def sync(contents: list[Content], experiment: str, store: Store) -> Changes:
    """One finished run per content in ``experiment``; runs of other records move to ``<experiment>-history``.

    Other people's runs are left alone: see `_is_ours`.
    """
    with _lock(store):
        client = _connect(store)
        main = _experiment(client, store, experiment)
        kept, stale, past, running = _sort_runs(_own_runs(client, store, main), contents, store)
        missing = [c for c in contents if c.sha256 not in kept]
        moved, back = _archive(client, store, experiment, past, {c.record_id for c in contents})
        for content in missing:
            _import(client, main, content, _carried([*back, *stale], content.record_id) | {"project": _project(store)})
        for run in [*stale, *back]:
            _remove(client, store, run)
    again = {run.data.tags.get("record_id") for run in stale}
    replaced = sum(c.record_id in again for c in missing)
    removed = max(0, len(stale) - replaced) + len(past) - moved
    return Changes(len(contents), len(missing) - replaced, replaced, moved, removed, running)


def _sort_runs(runs: list[Any], contents: list[Content], store: Store) -> tuple[set[str], list[Any], list[Any], int]:
    """(hashes of contents that are there, runs to remove, finished runs of other records, number of living ones)."""
    kept, wanted, current = set(), {c.sha256: c for c in contents}, {c.record_id for c in contents}
    stale, past, running = [], [], 0
    for run in runs:
        tags, finished = run.data.tags, run.info.status == "FINISHED"
        gone, sha256 = tags.get("record_id") not in current, tags.get("content_sha256")
        if gone and finished:
            past.append(run)
        elif gone and _is_alive(run):
            running += 1
        elif finished and sha256 in wanted.keys() - kept and _is_equal(run, wanted[sha256]) and _has_artifacts(run, store):
            kept.add(sha256)
        else:
            stale.append(run)
    return kept, stale, past, running


def _is_equal(run: Any, content: Content) -> bool:
    """Whether what the fetched run shows, and anyone may have changed, is still ``content``; its hash vouches for curves and artifacts."""
    last = {name: value for name, _, value in sorted(content.metrics, key=lambda point: point[1])}
    shown = (run.info.run_name, run.data.params, run.data.metrics)
    return shown == (content.name, content.params, last) and content.tags.items() <= run.data.tags.items()


def _own_runs(client: Any, store: Store, experiment_id: str) -> list[Any]:
    """Every run of this clone that is not deleted, oldest first."""
    runs, token = [], None
    while token != "":
        page = client.search_runs([experiment_id], max_results=1000, order_by=["attributes.start_time ASC"], page_token=token)
        runs, token = runs + list(page), page.token or ""
    project = _project(store)
    return [run for run in runs if _is_ours(run, store, project)]


def _is_ours(run: Any, store: Store, project: str) -> bool:
    """On a server, what this clone made. The embedded store is this clone's alone, but an unfinished run may be a person's there, too."""
    tags = run.data.tags
    return "record_id" in tags or run.info.status == "FINISHED" if store.embedded else tags.get("project") == project


def _carried(runs: list[Any], record_id: str) -> dict[str, str]:
    """What people wrote on ``runs`` of this record, which make way for a new one: the note and tags; the last run wins."""
    tags = [tag for run in runs if run.data.tags.get("record_id") == record_id for tag in run.data.tags.items()]
    return {name: value for name, value in tags if name == NOTE or not (name in OWN_TAGS or name.startswith("mlflow."))}


def _has_artifacts(run: Any, store: Store) -> bool:
    """Asked of the embedded store only, where it costs nothing."""
    return not store.embedded or (store.artifacts / _folder_of(run) / "artifacts" / "record.json").is_file()


def _folder_of(run: Any) -> Path:
    """``<experiment>/<run id>`` from ``…/<experiment>/<run id>/artifacts``."""
    return Path(*Path(run.info.artifact_uri).parts[-3:-1])


def _import(client: Any, experiment_id: str, content: Content, further: Mapping[str, str]) -> None:
    """``further``: tags beside those of the content."""
    start, end = content.times
    tags = {**further, **content.tags, "content_sha256": content.sha256}
    run_id = client.create_run(experiment_id, start_time=start, tags=tags, run_name=content.name).info.run_id
    _log(client, run_id, content.params, _spread(content.metrics, start, end))
    with tempfile.TemporaryDirectory() as folder:
        for path, text in content.artifacts.items():
            write_text(Path(folder) / path, text)
        client.log_artifacts(run_id, folder)
    client.set_terminated(run_id, "FINISHED", end)


def _log(client: Any, run_id: str, params: Mapping[str, str], metrics: list[Any]) -> None:
    """In as few requests as MLflow's limits (100 params, 1,000 entities) allow: each is a commit that waits for the disk."""
    from mlflow.entities import Param

    entities = [Param(name, value) for name, value in params.items()]
    for k in range(max(math.ceil(len(entities) / 100), math.ceil(len(metrics) / 900))):
        client.log_batch(run_id, params=entities[100 * k : 100 * (k + 1)], metrics=metrics[900 * k : 900 * (k + 1)])


def _entities(points: list[tuple[str, int, float]], moment: int) -> list[Any]:
    """MLflow's metrics; ``moment``: ms since 1970."""
    from mlflow.entities import Metric

    return [Metric(name, value, moment, step) for name, step, value in points]


def _spread(points: list[tuple[str, int, float]], start: int, end: int) -> list[Any]:
    """Steps at even times between ``start`` and ``end``: with one time for all, MLflow's relative-time axis draws a vertical line."""
    last = max((step for _, step, _ in points), default=0)
    return [entity for point in points for entity in _entities([point], start + (end - start) * point[1] // last if last else end)]


def _remove(client: Any, store: Store, run: Any) -> None:
    """For good in the embedded store, as ``mlflow gc`` does it; elsewhere MLflow's own deletion, which a person can undo."""
    client.delete_run(run.info.run_id)
    if store.embedded:
        client._tracking_client.store._hard_delete_run(run.info.run_id)
        shutil.rmtree(store.artifacts / _folder_of(run), ignore_errors=True)


def _archive(client: Any, store: Store, experiment: str, runs: list[Any], current: set[str]) -> tuple[int, list[Any]]:
    """Move ``runs`` to the history, where each is kept once. Returns how many were copied and the runs there that are ``current`` again.

    A history that someone deleted stays deleted; then ``runs`` are deleted too, so that a person can undo it.
    """
    name = f"{experiment}-history"
    found = client.get_experiment_by_name(name)
    if found is None and not runs:
        return 0, []
    if found and found.lifecycle_stage == "deleted":
        for run in runs:
            client.delete_run(run.info.run_id)
        return 0, []
    history, there, back, copied = _experiment(client, store, name), set(), [], 0
    for run in _own_runs(client, store, history):
        if run.info.status != "FINISHED":
            _remove(client, store, run)
        elif run.data.tags.get("record_id") in current:
            back.append(run)
        else:
            there.add(_key(run))
    for run in runs:
        if _key(run) not in there:
            _copy(client, history, run)
            there.add(_key(run))
            copied += 1
        _remove(client, store, run)
    return copied, back


def _key(run: Any) -> tuple[str, str]:
    return run.data.tags.get("record_id") or run.info.run_id, run.info.run_name


def _copy(client: Any, experiment_id: str, run: Any) -> None:
    """Params, tags, every point of every metric and the artifacts, with the times and the name of the original."""
    tags = {name: value for name, value in run.data.tags.items() if name not in ("mlflow.runName", *PROCESS)}
    copy = client.create_run(experiment_id, start_time=run.info.start_time, tags=tags, run_name=run.info.run_name).info.run_id
    history = [m for name in run.data.metrics for m in client.get_metric_history(run.info.run_id, name)]
    _log(client, copy, run.data.params, history)
    with tempfile.TemporaryDirectory() as folder:
        if client.list_artifacts(run.info.run_id):
            client.download_artifacts(run.info.run_id, "", folder)
            client.log_artifacts(copy, folder)
    client.set_terminated(copy, run.info.status, run.info.end_time)


def _is_alive(run: Any) -> bool:
    """Whether the training that logs this run still runs, as far as this host can tell."""
    tags = run.data.tags
    if run.info.status not in ("RUNNING", "SCHEDULED") or not tags.get("pid", "").isdigit():
        return False
    if tags.get("host") != socket.gethostname():
        return time.time() - run.info.start_time / 1000 < SILENCE
    started = _process_start(int(tags["pid"]))
    return started is not None and ("" in (started, tags.get("process", "")) or started == tags["process"])


def _process_start(pid: int) -> str | None:
    """When a process began, in the kernel's ticks, since numbers are used again; "" where that cannot be read; None: no such process."""
    try:
        os.kill(pid, 0)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # from the third, the state, on
    except ProcessLookupError:
        return None
    except (PermissionError, FileNotFoundError):
        return ""
    return None if fields[0] in ("Z", "X") else fields[19]  # a zombie trains no more


# ---------------------------------------------------------------- a training while it goes on


class LiveRun:
    """Shows a training in MLflow while it goes on: ``with LiveRun(...) as live: live.epoch(row)``.

    A thread does the talking, so that the training never waits for a store and never stops for one. The run ends FINISHED, FAILED
    (exception) or KILLED (KeyboardInterrupt, SystemExit); `track` replaces it by the record.
    """

    def __init__(
        self,
        record_id: str,
        identity: Identity,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        experiment: str,
        history: Iterable[Mapping[str, Any]] = (),
        store: Store | None = None,
    ) -> None:
        """``params`` and ``tags`` as from `params_of` and `tags_of`; ``history``: rows from before an interruption."""
        self._store = store
        self._name, self._experiment, self._record_id = str(identity), experiment, record_id
        self._params = dict(params)
        self._tags = {**tags, "record_id": record_id, "pid": str(os.getpid()), "host": socket.gethostname()}
        self._tags["process"] = _process_start(os.getpid()) or ""
        self._messages: queue.SimpleQueue[dict[str, Any] | str] = queue.SimpleQueue()  # rows, then the final status
        for row in history:
            self._messages.put(dict(row))
        self._given_up = threading.Event()  # from now on no run may be begun
        self._said = False
        self._thread = threading.Thread(target=self._talk, name="mlflow", daemon=True)

    def __enter__(self) -> "LiveRun":  # beartype cannot check Self on a single method
        self._thread.start()
        return self

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Log one row of the history (epoch, train/loss, val/auc, lr/<group> …). Returns at once."""
        self._messages.put(dict(row))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        status = "FINISHED" if kind is None else "KILLED" if issubclass(kind, KeyboardInterrupt | SystemExit) else "FAILED"
        if status == "KILLED":
            self._given_up.set()
        self._messages.put(status)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._given_up.set()
            self._say_away(f"no answer within {PATIENCE:.0f} s")

    def _talk(self) -> None:
        try:
            self._log(self._store or find_store())
        except Exception as error:
            if not self._is_the_stores(error):
                raise  # a mistake of this module: the thread ends with a traceback, the training goes on all the same
            self._say_away(_reason(error))

    def _log(self, store: Store) -> None:
        run = self._begin(store)
        if run is None:
            return
        client, run_id = run
        for message in iter(self._messages.get, None):
            if isinstance(message, str):
                client.set_terminated(run_id, message)
                return
            _log(client, run_id, {}, _entities(_curve(message), round(time.time() * 1000)))

    def _begin(self, store: Store) -> tuple[Any, str] | None:
        """Make the run, and then remove earlier ones of the same record. None if the training was stopped meanwhile."""
        with _lock(store):
            client = _connect(store)
            experiment_id = _experiment(client, store, self._experiment)
            runs = _own_runs(client, store, experiment_id)
            tags = _carried(runs, self._record_id) | self._tags | {"project": _project(store)}
        if self._given_up.is_set():
            return None
        run_id = client.create_run(experiment_id, tags=tags, run_name=self._name).info.run_id
        _log(client, run_id, self._params, [])
        for run in runs:
            if run.data.tags.get("record_id") == self._record_id:
                _remove(client, store, run)
        return client, run_id

    def _is_the_stores(self, error: Exception) -> bool:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        return isinstance(error, InputError | MlflowException | SQLAlchemyError | OSError)

    def _say_away(self, reason: str) -> None:
        if not self._said:  # once, whoever comes first
            self._said = True
            print(f"MLflow is away ({reason}): {AWAY}", file=sys.stderr, flush=True)
