"""What a measurement writes: a section of reports/bench.json beside the others, and the machine that it was measured on.

A section has rows (a way to do the work: seconds in each round, and the quality reached), ratios between rows, round by round, and targets.
Ways are measured in turns (`interleaved`), so that what else the machine does meets all of them alike; ratios then need no quiet machine.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from thaw.devices import find_device
from thaw.files import read_json, write_json

RESULTS, GPU_RESULTS = Path("reports/bench.json"), Path("reports/bench-gpu.json")
MACHINE, VERSIONS = "machine", "versions"
"""Keys beside the sections."""
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16")
"""What decides how fast a CPU multiplies; of /proc/cpuinfo."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PACKAGES = (
    *("thaw", "torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pillow", "onnxruntime", "openvino"),
    *("mlflow", "dvc", "fastai", "lightning"),
)

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One way to do the work."""

    name: str
    seconds: list[float]  # one per round
    images: int | None = None  # that a round works through
    note: str = ""
    quality: dict[str, float] = field(default_factory=dict)  # what the way reaches, beside its speed


@dataclass(frozen=True)
class Ratio:
    """How many times as fast ``of`` is as ``to``: above 1, ``of`` is faster."""

    name: str
    of: str
    to: str
    values: list[float]  # one per round
    median: float
    lo: float  # the least
    hi: float  # the largest


@dataclass(frozen=True)
class Target:
    """What was wanted, and whether it was reached."""

    text: str
    value: float
    wanted: float
    met: bool


@dataclass(frozen=True)
class Section:
    title: str
    about: str  # what was measured, and how
    rounds: int
    rows: list[Row]
    ratios: list[Ratio]
    targets: list[Target]
    extra: dict[str, Any] = field(default_factory=dict)


def ratio(rows: Iterable[Row], of: str, to: str, name: str) -> Ratio:
    """Speed of the row ``of`` over that of the row ``to``, round by round; per image where both say how many images they took."""
    found = {row.name: row for row in rows}
    values = [slow / fast for slow, fast in zip(_costs(found, to, of), _costs(found, of, to), strict=True)]
    return Ratio(name, of, to, values, median(values), min(values), max(values))


def _costs(rows: Mapping[str, Row], name: str, other: str) -> list[float]:
    """Seconds of each round; an image's share of them where both rows count images."""
    row = rows[name]
    return [seconds / row.images for seconds in row.seconds] if row.images and rows[other].images else row.seconds


def at_least(text: str, value: float, wanted: float) -> Target:
    return Target(text, value, wanted, value >= wanted)


def at_most(text: str, value: float, wanted: float) -> Target:
    return Target(text, value, wanted, value <= wanted)


def interleaved(ways: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Way -> what it gave in each round. Every round runs every way once, every other round from the last to the first."""
    found: dict[str, list[T]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(ways[name]())
    return found


def in_a_process(module: str, *arguments: str) -> dict[str, Any]:
    """The JSON object that ``python -m module arguments`` prints as its last line.

    A way that runs in a process of its own neither profits nor suffers from another's allocator, threads and patches.
    Raises `RuntimeError` with the end of what it complained about.
    """
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"python -m {module} {' '.join(arguments)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def results_file() -> Path:
    """Of this machine: what was measured on a GPU stands by itself."""
    return RESULTS if find_device().type == "cpu" else GPU_RESULTS


def write_section(name: str, section: Section, path: Path | None = None) -> None:
    """Put the section beside the others, whole or not at all. Sections of another machine go: a file describes one."""
    path = path or results_file()
    here, held = machine(), read_json(path) if path.exists() else {}
    if held and _same_machine(held.get(MACHINE, {}), here):
        held[VERSIONS] = held.get(VERSIONS, {}) | versions()
    else:
        held = {VERSIONS: versions()}
    write_json(path, held | {MACHINE: here, name: _plain(section)})


def _plain(section: Section) -> dict[str, Any]:
    found = asdict(section)
    return found if section.extra else {key: value for key, value in found.items() if key != "extra"}


def read_section(name: str, path: Path = RESULTS) -> Section:
    """As it was written. Raises `KeyError` where it was not measured."""
    held = read_json(path)[name]
    parts = {key: [kind(**each) for each in held[key]] for key, kind in (("rows", Row), ("ratios", Ratio), ("targets", Target))}
    return Section(**(held | parts))


def _same_machine(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(key) == other.get(key) for key in ("cpu", "cores", "flags", "gpu"))


def machine() -> dict[str, Any]:
    """What speed depends on, as far as the system tells."""
    import torch

    info = _cpu_info()
    flags = set(info.get("flags", "").split())
    gpu = {"gpu": torch.cuda.get_device_name()} if find_device().type == "cuda" else {}
    return gpu | {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "memory_gb": _memory_gb(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ} | {"torch": str(torch.get_num_threads())},
    }


def _cpu_info() -> dict[str, str]:
    """The first CPU of /proc/cpuinfo, empty where there is none."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if path.exists() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _memory_gb() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Of what is installed among ``packages``."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
