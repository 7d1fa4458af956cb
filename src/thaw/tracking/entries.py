"""Single runs of the store: listed, imported, copied, removed. ``client`` is an ``MlflowClient`` throughout."""

import math
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thaw.files import write_with
from thaw.tracking.content import Content
from thaw.tracking.store import Store, project_id

PROCESS = ("pid", "host", "process")  # tags of a training while it goes on
OWN_TAGS = {"record_id", "data_sha256", "params_sha256", "dvc_stage", "kind", "control", "git_commit", "git_dirty"}
OWN_TAGS |= {"content_sha256", "project", *PROCESS}
NOTE = "mlflow.note.content"


def all_runs(client: Any, experiment_id: str) -> list[Any]:
    """Every run that is not deleted, oldest first."""
    runs, token = [], None
    while token != "":
        page = client.search_runs([experiment_id], max_results=1000, order_by=["attributes.start_time ASC"], page_token=token)
        runs, token = runs + list(page), page.token or ""
    return runs


def own_runs(client: Any, store: Store, experiment_id: str) -> list[Any]:
    """Those of `all_runs` that this clone made. Call with the lock held."""
    project = project_id(store)
    return [run for run in all_runs(client, experiment_id) if _is_ours(run, store, project)]


def _is_ours(run: Any, store: Store, project: str) -> bool:
    """On a server, what this clone made. The embedded store is this clone's alone, but an unfinished run may be a person's there, too."""
    tags = run.data.tags
    return "record_id" in tags or run.info.status == "FINISHED" if store.embedded else tags.get("project") == project


def carried(runs: list[Any], record_id: str) -> dict[str, str]:
    """What people wrote on ``runs`` of this record, which make way for a new one: the note and tags; the last run wins."""
    tags = [tag for run in runs if run.data.tags.get("record_id") == record_id for tag in run.data.tags.items()]
    return {name: value for name, value in tags if name == NOTE or not (name in OWN_TAGS or name.startswith("mlflow."))}


def has_artifacts(run: Any, content: Content, store: Store) -> bool:
    """Asked of the embedded store only, where it costs nothing."""
    folder = store.artifacts / folder_of(run) / "artifacts"
    return not store.embedded or all((folder / path).is_file() for path in content.artifacts)


def folder_of(run: Any) -> Path:
    """``<experiment>/<run id>`` from ``…/<experiment>/<run id>/artifacts``."""
    return Path(*Path(run.info.artifact_uri).parts[-3:-1])


def import_run(client: Any, experiment_id: str, content: Content, further: Mapping[str, str]) -> None:
    """``further``: tags beside those of the content."""
    start, end = content.times
    tags = {**further, **content.tags, "content_sha256": content.sha256}
    run_id = client.create_run(experiment_id, start_time=start, tags=tags, run_name=content.name).info.run_id
    log(client, run_id, content.params, spread(content.metrics, start, end))
    with tempfile.TemporaryDirectory() as folder:
        for path, data in content.artifacts.items():
            write_with(Path(folder) / path, lambda file, data=data: file.write_bytes(data))
        client.log_artifacts(run_id, folder)
    client.set_terminated(run_id, "FINISHED", end)


def log(client: Any, run_id: str, params: Mapping[str, str], metrics: list[Any]) -> None:
    """In as few requests as MLflow's limits (100 params, 1,000 entities) allow: each is a commit that waits for the disk."""
    from mlflow.entities import Param

    entities = [Param(name, value) for name, value in params.items()]
    for k in range(max(math.ceil(len(entities) / 100), math.ceil(len(metrics) / 900))):
        client.log_batch(run_id, params=entities[100 * k : 100 * (k + 1)], metrics=metrics[900 * k : 900 * (k + 1)])


def measured(points: list[tuple[str, int, float]], moment: int) -> list[Any]:
    """MLflow's metrics; ``moment``: ms since 1970."""
    from mlflow.entities import Metric

    return [Metric(name, value, moment, step) for name, step, value in points]


def spread(points: list[tuple[str, int, float]], start: int, end: int) -> list[Any]:
    """Steps at even times between ``start`` and ``end``: with one time for all, MLflow's relative-time axis draws a vertical line."""
    last = max((step for _, step, _ in points), default=0)
    return [entity for point in points for entity in measured([point], start + (end - start) * point[1] // last if last else end)]


def remove(client: Any, store: Store, run: Any) -> None:
    """For good in the embedded store, as ``mlflow gc`` does it; elsewhere MLflow's own deletion, which a person can undo."""
    client.delete_run(run.info.run_id)
    if store.embedded:
        client._tracking_client.store._hard_delete_run(run.info.run_id)
        shutil.rmtree(store.artifacts / folder_of(run), ignore_errors=True)


def copy(client: Any, experiment_id: str, run: Any) -> None:
    """Params, tags, every point of every metric and the artifacts, with the times and the name of the original."""
    tags = {name: value for name, value in run.data.tags.items() if name not in ("mlflow.runName", *PROCESS)}
    twin = client.create_run(experiment_id, start_time=run.info.start_time, tags=tags, run_name=run.info.run_name).info.run_id
    history = [m for name in run.data.metrics for m in client.get_metric_history(run.info.run_id, name)]
    log(client, twin, run.data.params, history)
    with tempfile.TemporaryDirectory() as folder:
        if client.list_artifacts(run.info.run_id):
            client.download_artifacts(run.info.run_id, "", folder)
            client.log_artifacts(twin, folder)
    client.set_terminated(twin, run.info.status, run.info.end_time)
