"""Files on disk made into contents, and the experiments equal to them; at once where nothing has changed."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from thaw.errors import InputError
from thaw.files import read_json, sha256_of_file, sha256_of_value, write_json
from thaw.runs import COSTS, RUNS, Identity, Record
from thaw.tracking.bundle import METRICS, ReportInputs, bundle_of, bundled
from thaw.tracking.content import Content, content_of
from thaw.tracking.experiments import Changes, sync
from thaw.tracking.registry import describes, register
from thaw.tracking.store import Store, StoreAway, connect, is_away, lock, reason

DENIED = r"failed with error code 40[13]\b|^40[13] Client Error|^(UNAUTHENTICATED|PERMISSION_DENIED)\b"


def track(
    runs: Iterable[tuple[str, str, int]],
    experiment: str,
    store: Store,
    folder: Path = Path(),
    learning: Iterable[tuple[str, str, str, str, int]] = (),
    scratch: Iterable[str] = (),
    title: str = "",
) -> Changes:
    """Make three experiments equal to the files below ``folder``.

    ``<experiment>`` holds the records of ``runs`` (backbone, strategy, fold), ``<experiment>-learning`` those of ``learning`` (root,
    backbone, strategy, <by>-<percent>, fold), and ``<experiment>-report`` one run with what else the report is made of: files, ``scratch``
    (strategies that start from random weights) and ``title``. A model in models/final becomes a version of ``<experiment>`` in the model
    registry. Returns at once, without mlflow, if neither the files nor the embedded
    store have changed since the last time. Raises `StoreAway` if the store does not answer, `InputError` if it refuses or cannot be used.
    """
    inputs, parts = ReportInputs([*runs], [*scratch], title), [Path(*map(str, part)) for part in learning]
    files = _read_files(inputs.runs, parts, folder)
    files |= {path.as_posix(): (folder / path).read_bytes() for path in describes(folder)}
    marker = store.root / ".thaw" / "track.json"
    if store.embedded and _read_marker(marker) == _fingerprint(files, inputs, experiment, store):
        return Changes(runs=sum(path.endswith("/record.json") for path in files))
    contents = _contents(inputs.runs, files, folder)
    changes = _sync(
        {
            experiment: [*contents.values()],
            f"{experiment}-learning": _contents_on_shares(parts, files, folder),
            f"{experiment}-report": _bundle(inputs, files, contents, folder),
        },
        store,
        folder,
    )
    if store.embedded and not changes.running:  # who still trains may die without touching the store
        write_json(marker, _fingerprint(files, inputs, experiment, store))
    return changes


def _sync(wanted: Mapping[str, list[Content]], store: Store, folder: Path) -> Changes:
    """All changes together; the report's run and the model's are no runs of results and count apart. Raises as `track` does."""
    try:
        *runs, bundle = sync(wanted, store).values()
        registered = _register(next(iter(wanted)), store, folder)
    except Exception as error:
        if re.search(DENIED, str(error)):
            mend = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            raise InputError(f"{store.named_by}: the server refuses this user ({reason(error)}); {mend}") from error
        if is_away(error, store):
            raise StoreAway(reason(error)) from error
        raise
    return sum(runs, start=replace(bundle, runs=0, added=0, replaced=0, renewed=bundle.added + bundle.replaced, registered=registered))


def _register(name: str, store: Store, folder: Path) -> int:
    """How many versions were new."""
    if not describes(folder):
        return 0
    with lock(store):
        return int(register(connect(store), store, name, folder))


def _read_marker(path: Path) -> Any:
    """None where it is absent or cannot be read: then the store is asked."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _read_files(runs: list[tuple[str, str, int]], parts: list[Path], folder: Path) -> dict[str, bytes]:
    """Path -> content of every file that exists: records, costs, and what else the report is made of."""
    identities = [Identity(*run) for run in runs]
    paths = [path for run in identities for path in (run.folder(RUNS) / "record.json", run.cost_file(COSTS))]
    paths += [part / "record.json" for part in parts] + bundled(runs, folder)
    return {path.as_posix(): (folder / path).read_bytes() for path in paths if (folder / path).is_file()}


def _contents(runs: list[tuple[str, str, int]], files: Mapping[str, bytes], folder: Path) -> dict[str, Content]:
    """By <backbone>/<strategy>/<fold>, those that have a record."""
    metrics = json.loads(files.get(METRICS, b"{}"))
    contents = {}
    for run in (Identity(*run) for run in runs):
        path = run.folder(RUNS) / "record.json"
        if text := files.get(path.as_posix()):
            cost = files.get(run.cost_file(COSTS).as_posix(), b"")
            contents[str(run)] = content_of(Record(**json.loads(text)), text, cost, metrics, _written(folder / path))
    return contents


def _contents_on_shares(parts: list[Path], files: Mapping[str, bytes], folder: Path) -> list[Content]:
    """Runs on shares of the labels: no test figures of folds, and no costs."""
    found = [(path, files[path.as_posix()]) for path in (part / "record.json" for part in parts) if path.as_posix() in files]
    return [content_of(Record(**json.loads(text)), text, b"", {}, _written(folder / path)) for path, text in found]


def _bundle(inputs: ReportInputs, files: Mapping[str, bytes], contents: Mapping[str, Content], folder: Path) -> list[Content]:
    paths = bundled(inputs.runs, folder)
    end = max((_written(folder / path) for path in paths), default=0.0)
    return bundle_of(inputs, {path.as_posix(): files[path.as_posix()] for path in paths}, contents, end)


def _written(path: Path) -> float:
    """When, s since 1970."""
    return path.stat().st_mtime


def _fingerprint(files: Mapping[str, bytes], inputs: ReportInputs, experiment: str, store: Store) -> dict[str, Any]:
    """Equal fingerprints: same files, same code, and nobody wrote to the embedded store since."""
    state = store.database.stat() if store.database.exists() else None
    return {
        "store": store.uri,
        "experiment": experiment,
        "database": [state.st_size, state.st_mtime_ns] if state else None,
        "artifacts": sum(path.is_file() for path in store.artifacts.rglob("*")),
        "files": sha256_of_value({path: hashlib.sha256(data).hexdigest() for path, data in files.items()}),
        "inputs": sha256_of_value(asdict(inputs)),
        "code": sha256_of_value([sha256_of_file(path) for path in sorted(Path(__file__).parent.glob("*.py"))]),
    }
