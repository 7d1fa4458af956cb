"""A training while it goes on: shown, never stopped; and whether one still goes on."""

import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from thaw.runs import Identity
from thaw.tracking.content import curve
from thaw.tracking.entries import carried, log, measured, own_runs, remove
from thaw.tracking.store import Store, connect, find_store, is_the_stores, lock, open_experiment, project_id, reason

PATIENCE = 10.0  # seconds that the end of a training waits for MLflow
HEAD_START = 1.0  # seconds before MLflow is imported, which holds the interpreter for as long: the first batches come first
SILENCE = 7 * 24 * 3600  # seconds after which a run on another host, which nobody here can ask, counts as dead
AWAY = "training goes on, `dvc repro track` catches up"


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
        self._tags["process"] = process_start(os.getpid()) or ""
        self._messages: queue.SimpleQueue[dict[str, Any] | str] = queue.SimpleQueue()  # rows, then the final status
        for row in history:
            self._messages.put(dict(row))
        self._given_up = threading.Event()  # from now on no run may be begun
        self._ended = threading.Event()
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
        self._ended.set()
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._given_up.set()
            self._say_away(f"no answer within {PATIENCE:.0f} s")

    def _talk(self) -> None:
        self._ended.wait(HEAD_START)
        if self._given_up.is_set():
            return
        try:
            self._log(self._store or find_store())
        except Exception as error:
            if not is_the_stores(error):
                raise  # a mistake of this module: the thread ends with a traceback, the training goes on all the same
            self._say_away(reason(error))

    def _log(self, store: Store) -> None:
        run = self._begin(store)
        if run is None:
            return
        client, run_id = run
        for message in iter(self._messages.get, None):
            if isinstance(message, str):
                client.set_terminated(run_id, message)
                return
            log(client, run_id, {}, measured(curve(message), round(time.time() * 1000)))

    def _begin(self, store: Store) -> tuple[Any, str] | None:
        """Make the run, and then remove earlier ones of the same record. None if the training was stopped meanwhile."""
        with lock(store):
            client = connect(store)
            experiment_id = open_experiment(client, store, self._experiment)
            runs = own_runs(client, store, experiment_id)
            tags = carried(runs, self._record_id) | self._tags | {"project": project_id(store)}
        if self._given_up.is_set():
            return None
        run_id = client.create_run(experiment_id, tags=tags, run_name=self._name).info.run_id
        log(client, run_id, self._params, [])
        for run in runs:
            if run.data.tags.get("record_id") == self._record_id:
                remove(client, store, run)
        return client, run_id

    def _say_away(self, reason: str) -> None:
        if not self._said:  # once, whoever comes first
            self._said = True
            print(f"MLflow is away ({reason}): {AWAY}", file=sys.stderr, flush=True)


def is_alive(run: Any) -> bool:
    """Whether the training that logs this run still runs, as far as this host can tell."""
    tags = run.data.tags
    if run.info.status not in ("RUNNING", "SCHEDULED") or not tags.get("pid", "").isdigit():
        return False
    if tags.get("host") != socket.gethostname():
        return time.time() - run.info.start_time / 1000 < SILENCE
    started = process_start(int(tags["pid"]))
    return started is not None and ("" in (started, tags.get("process", "")) or started == tags["process"])


def process_start(pid: int) -> str | None:
    """When a process began, in the kernel's ticks, since numbers are used again; "" where that cannot be read; None: no such process."""
    try:
        os.kill(pid, 0)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # from the third, the state, on
    except ProcessLookupError:
        return None
    except (PermissionError, FileNotFoundError):
        return ""
    return None if fields[0] in ("Z", "X") else fields[19]  # a zombie trains no more
