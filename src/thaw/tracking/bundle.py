"""What the report reads beside the runs, as one run of ``<experiment>-report``; and everything that it reads, back into files."""

import json
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thaw.errors import InputError
from thaw.files import read_json, write_with
from thaw.runs import COSTS, RUNS, Identity
from thaw.tracking.content import Content
from thaw.tracking.entries import all_runs, folder_of
from thaw.tracking.store import Store, client_of, is_the_stores, reason, store_at

METRICS = "reports/metrics.json"  # without it there is nothing to report
PLACES = ("reports/*.json", "reports/*.csv", "data/dataset.json", "data/gallery/**/*")  # and costs/<backbone>/features.json
INPUTS = "inputs.json"
BUNDLE = "report"  # record_id and name of the run that holds them
MEND = "run `dvc repro track` where it was made"


@dataclass(frozen=True)
class ReportInputs:
    """What the report knows from params.yaml."""

    runs: list[tuple[str, str, int]]  # backbone, strategy, fold
    scratch: list[str]  # strategies that start from random weights
    title: str


# ---------------------------------------------------------------- into the store


def bundled(runs: Iterable[tuple[str, str, int]], folder: Path) -> list[Path]:
    """Files below ``folder`` that the report reads beside the records and costs of ``runs``, relative to it; those that exist."""
    costs = [f"{COSTS}/{backbone}/features.json" for backbone in dict.fromkeys(run[0] for run in runs)]
    return sorted(path.relative_to(folder) for place in (*PLACES, *costs) for path in folder.glob(place) if path.is_file())


def bundle_of(inputs: ReportInputs, files: Mapping[str, bytes], contents: Mapping[str, Content], end: float) -> list[Content]:
    """The one content of the report's experiment; none where nothing was evaluated.

    ``files``: by path, from `bundled`; ``contents``: those of the runs, by their names, which it points to by their hashes, so that records
    and figures of different times are never put together; ``end``: when the latest of the files was written, s since 1970.
    """
    if METRICS not in files:
        return []
    entries = [asdict(run) | {"content_sha256": _sha256(contents, run)} for run in (Identity(*run) for run in inputs.runs)]
    about = json.dumps({"title": inputs.title, "scratch": inputs.scratch, "runs": entries}, indent=1).encode()
    params = {"title": inputs.title} | _figures_of(json.loads(files[METRICS]))
    moment = round(end * 1000)
    return [Content(BUNDLE, BUNDLE, params, [], {"record_id": BUNDLE, "kind": BUNDLE}, {**files, INPUTS: about}, (moment, moment))]


def _sha256(contents: Mapping[str, Content], run: Identity) -> str | None:
    return contents[str(run)].sha256 if str(run) in contents else None


def _figures_of(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What the report is about, for people who look at its run."""
    named = {role: metrics.get(role) for role in ("winner", "reference")}
    found = {role: f"{strategy['backbone']}/{strategy['strategy']}" for role, strategy in named.items() if strategy}
    return {name: str(metrics[name]) for name in ("dataset", "primary") if name in metrics} | found


# ---------------------------------------------------------------- and back


def report_store(uri: str) -> Store:
    """The store at ``uri``, for reading. Raises `InputError` where a database file is absent or not MLflow's: MLflow would make one."""
    store = store_at(uri, Path.cwd(), "--from-mlflow")
    if not (file := re.match(r"sqlite(?:\+\w+)?:///([^?]+)", uri)):
        return store
    path = Path(file[1]).resolve()
    if not path.is_file():
        raise InputError(f"--from-mlflow: there is no file {file[1]}")
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            database.execute("SELECT 1 FROM experiments")
    except sqlite3.Error as error:
        raise InputError(f"--from-mlflow: {file[1]} is no database of MLflow's ({error})") from None
    return store_at(uri, path.parent, "--from-mlflow")


def download_report(store: Store, experiment: str, folder: Path) -> ReportInputs:
    """Write everything that the report reads below ``folder``, at the paths of a repository. The store stays as it is.

    Raises `InputError` if the store does not answer, holds no such run, or lacks a record that the run points to.
    """
    try:
        return _download(client_of(store), store, experiment, folder)
    except InputError:
        raise
    except Exception as error:
        if not is_the_stores(error):
            raise
        raise InputError(f"{store.named_by}: the store cannot be read ({reason(error)})") from error


def _download(client: Any, store: Store, experiment: str, folder: Path) -> ReportInputs:
    _fetch(client, store, _bundle_in(client, store, experiment), folder)
    about = read_json(folder / INPUTS)
    copies = {run.data.tags["content_sha256"]: run for run in _runs_of(client, experiment) if "content_sha256" in run.data.tags}
    runs = {Identity(entry["backbone"], entry["strategy"], entry["fold"]): copies.get(entry["content_sha256"]) for entry in about["runs"]}
    for run, copy in runs.items():
        if copy is None:
            lost = f"the experiment {experiment!r} lacks the record of {run} that the report is made of"
            raise InputError(f"{store.named_by}: {lost}; {MEND}")
        _fetch_run(client, store, copy, run, folder)
    return ReportInputs([(run.backbone, run.strategy, run.fold) for run in runs], about["scratch"], about["title"])


def _bundle_in(client: Any, store: Store, experiment: str) -> Any:
    """The latest finished one: clones that share a server have one each."""
    name = f"{experiment}-report"
    found = [run for run in _runs_of(client, name) if run.data.tags.get("record_id") == BUNDLE]
    if not found:
        raise InputError(f"{store.named_by}: no report in the experiment {name!r}{_others(client)}; {MEND}, or name another --experiment")
    return max(found, key=lambda run: run.info.end_time)


def _others(client: Any) -> str:
    names = [experiment.name.removesuffix("-report") for experiment in client.search_experiments() if experiment.name.endswith("-report")]
    return f" (there are reports of {', '.join(sorted(names))})" if names else ""


def _runs_of(client: Any, experiment: str) -> list[Any]:
    """Finished runs; none where there is no such experiment."""
    found = client.get_experiment_by_name(experiment)
    return [run for run in all_runs(client, found.experiment_id) if run.info.status == "FINISHED"] if found else []


def _fetch_run(client: Any, store: Store, copy: Any, run: Identity, folder: Path) -> None:
    """record.json and the cost file to where a repository has them; what is not there, the report will miss."""
    with tempfile.TemporaryDirectory() as all_of_it:
        _fetch(client, store, copy, Path(all_of_it))
        for name, path in (("record.json", run.folder(folder / RUNS) / "record.json"), ("cost.json", run.cost_file(folder / COSTS))):
            if (file := Path(all_of_it) / name).is_file():
                write_with(path, lambda target, file=file: shutil.copyfile(file, target))


def _fetch(client: Any, store: Store, run: Any, folder: Path) -> None:
    """All artifacts of the run. What lies beside the database wins over the address within it: that is absolute, and outdated where a
    repository was moved or copied."""
    beside = store.artifacts / folder_of(run) / "artifacts"
    if beside.is_dir():
        shutil.copytree(beside, folder, dirs_exist_ok=True)
    else:
        client.download_artifacts(run.info.run_id, "", str(folder))
