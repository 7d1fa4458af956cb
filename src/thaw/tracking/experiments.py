"""Experiments made equal to contents: what is missing is imported, what is over moves to the history, who still trains is left alone."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from thaw.tracking.content import Content
from thaw.tracking.entries import carried, copy, has_artifacts, import_run, own_runs, remove
from thaw.tracking.live import is_alive
from thaw.tracking.store import Store, connect, lock, open_experiment, project_id


@dataclass(frozen=True)
class Changes:
    """What a synchronisation did; ``running`` counts trainings that are alive and were left alone."""

    runs: int
    added: int = 0
    replaced: int = 0
    moved: int = 0
    removed: int = 0
    running: int = 0
    renewed: int = 0  # whether the report's files were stored anew
    registered: int = 0  # whether the model at the end became a new version

    def __add__(self, other: "Changes") -> "Changes":
        return Changes(**{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(Changes)})

    def sentence(self) -> str:
        done = [(self.added, "added"), (self.replaced, "replaced"), (self.moved, "moved to the history")]
        done += [(self.removed, "left over and removed"), (self.running, "still training")]
        once = ["the report's files renewed"] * self.renewed + ["the model registered"] * self.registered
        said = ", ".join([f"{count} {word}" for count, word in done if count] + once)
        return f"MLflow: {self.runs} runs equal their records ({said or 'nothing to do'})"


def sync(wanted: Mapping[str, list[Content]], store: Store) -> dict[str, Changes]:
    """One finished run per content in every experiment of ``wanted``; runs of other records move to ``<experiment>-history``.

    Other people's runs are left alone: see `own_runs`. An experiment that has nothing to hold is not made.
    """
    with lock(store):
        client = connect(store)
        return {name: _sync(client, store, name, contents) for name, contents in wanted.items()}


def _sync(client: Any, store: Store, experiment: str, contents: list[Content]) -> Changes:
    if not contents and not _is_there(client, experiment):
        return Changes(0)
    main = open_experiment(client, store, experiment)
    kept, stale, past, running = _sort_runs(own_runs(client, store, main), contents, store)
    missing = [c for c in contents if c.sha256 not in kept]
    moved, back = _archive(client, store, experiment, past, {c.record_id for c in contents})
    for content in missing:
        import_run(client, main, content, carried([*back, *stale], content.record_id) | {"project": project_id(store)})
    for run in [*stale, *back]:
        remove(client, store, run)
    again = {run.data.tags.get("record_id") for run in stale}
    replaced = sum(c.record_id in again for c in missing)
    removed = max(0, len(stale) - replaced) + len(past) - moved
    return Changes(len(contents), len(missing) - replaced, replaced, moved, removed, running)


def _is_there(client: Any, experiment: str) -> bool:
    found = client.get_experiment_by_name(experiment)
    return found is not None and found.lifecycle_stage != "deleted"


def _sort_runs(runs: list[Any], contents: list[Content], store: Store) -> tuple[set[str], list[Any], list[Any], int]:
    """(hashes of contents that are there, runs to remove, finished runs of other records, number of living ones)."""
    kept, wanted, current = set(), {c.sha256: c for c in contents}, {c.record_id for c in contents}
    stale, past, running = [], [], 0
    for run in runs:
        tags, finished = run.data.tags, run.info.status == "FINISHED"
        gone, sha256 = tags.get("record_id") not in current, tags.get("content_sha256")
        if gone and finished:
            past.append(run)
        elif gone and is_alive(run):
            running += 1
        elif finished and sha256 in wanted.keys() - kept and _is_whole(run, wanted[sha256], store):
            kept.add(sha256)
        else:
            stale.append(run)
    return kept, stale, past, running


def _is_whole(run: Any, content: Content, store: Store) -> bool:
    """Whether what the fetched run shows, and anyone may have changed, is still ``content``; its hash vouches for curves and artifacts."""
    last = {name: value for name, _, value in sorted(content.metrics, key=lambda point: point[1])}
    shown = (run.info.run_name, run.data.params, run.data.metrics)
    equal = shown == (content.name, content.params, last) and content.tags.items() <= run.data.tags.items()
    return equal and has_artifacts(run, content, store)


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
    history, there, back, copied = open_experiment(client, store, name), set(), [], 0
    for run in own_runs(client, store, history):
        if run.info.status != "FINISHED":
            remove(client, store, run)
        elif run.data.tags.get("record_id") in current:
            back.append(run)
        else:
            there.add(_key(run))
    for run in runs:
        if _key(run) not in there:
            copy(client, history, run)
            there.add(_key(run))
            copied += 1
        remove(client, store, run)
    return copied, back


def _key(run: Any) -> tuple[str, str]:
    return run.data.tags.get("record_id") or run.info.run_id, run.info.run_name
