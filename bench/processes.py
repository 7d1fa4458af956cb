"""Other processes as they are measured: how long they took and when they printed what; and DVC's stages read out of that."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw.tour import environment

BENCH = Path(__file__).parents[1]
"""The folder that ``bench`` is imported from."""
RUNNING = re.compile(r"Running stage '([^']+)'")
OTHER = re.compile(r"Stage '[^']+' (didn't change|is cached)")
"""What DVC says of a stage that it does not run."""


@dataclass(frozen=True)
class Line:
    at: float  # s since the process was started
    text: str


@dataclass(frozen=True)
class Finished:
    seconds: float  # wall clock
    lines: list[Line]

    def last_json(self) -> dict[str, Any]:
        """The JSON object that the last line is."""
        return json.loads(self.lines[-1].text)


@dataclass(frozen=True)
class Repro:
    """One ``dvc repro``."""

    seconds: float
    stages: dict[str, float]  # what ran, in its order -> s
    said: tuple[str, ...] = ()  # lines of its output


def watched(command: Sequence[str], folder: Path, env: Mapping[str, str], echo: bool = False, limit: float | None = None) -> Finished:
    """Run a command in ``folder`` and note when each line of its output and complaints came. ``echo``: show them on stderr.

    Raises `RuntimeError` with the end of the output where it fails, and `TimeoutExpired` where it takes longer than ``limit`` seconds.
    """
    started, lines = time.perf_counter(), list[Line]()
    # Unbuffered, so that a line is noted when it is printed.
    process = subprocess.Popen(
        command, cwd=folder, env={**env, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None  # it is a pipe
    with process, stopped_after(limit, process):
        for text in process.stdout:
            lines.append(Line(time.perf_counter() - started, text.rstrip("\n")))
            if echo:
                print(text, end="", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - started
    if limit is not None and process.returncode == -signal.SIGKILL and seconds >= limit:
        raise subprocess.TimeoutExpired(command, limit)
    if process.returncode:
        said = "\n".join(line.text for line in lines[-20:])
        raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}:\n{said}")
    return Finished(seconds, lines)


@contextmanager
def stopped_after(limit: float | None, process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill the process, and with it the wait for its output, if the block lasts longer than ``limit`` seconds."""
    timer = threading.Timer(threading.TIMEOUT_MAX if limit is None else limit, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    except BaseException:
        process.kill()
        raise
    finally:
        timer.cancel()


def python_module(folder: Path, module: str, *arguments: str, limit: float | None = None) -> Finished:
    """``python -m module arguments`` in a project, with that project's own package; modules of ``bench`` can be named."""
    env = environment(folder)
    env["PYTHONPATH"] = os.pathsep.join([env["PYTHONPATH"], str(BENCH)])
    return watched([sys.executable, "-m", module, *arguments], folder, env, limit=limit)


def repro(folder: Path, echo: bool = False) -> Repro:
    """``dvc repro`` in a project's folder."""
    done = watched([sys.executable, "-m", "dvc", "repro"], folder, environment(folder), echo)
    return Repro(done.seconds, stage_seconds(done.lines, done.seconds), tuple(line.text for line in done.lines))


def stage_seconds(lines: Sequence[Line], end: float) -> dict[str, float]:
    """Stage -> s from DVC's announcement of it to its next one, or to ``end``: the command, and DVC's keeping of what it made."""
    found: dict[str, float] = {}
    current: tuple[str, float] | None = None
    for line in [*lines, Line(end, "Stage 'end' didn't change")]:
        running = RUNNING.match(line.text)
        if running is None and OTHER.match(line.text) is None:
            continue
        if current is not None:
            found[current[0]] = found.get(current[0], 0.0) + line.at - current[1]
        current = None if running is None else (running.group(1), line.at)
    return found
