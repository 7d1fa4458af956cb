"""One process for each ``dvc repro`` that has imported what takes seconds; stages that need it are forked from there.

A training cell imports for three seconds before it trains for thirty, and the default comparison has 24 of them. So the first such stage
starts a process that imports once, waits, and ends with the DVC that it belongs to (`thaw.warm_process`). A stage's own process then asks
it for a fork, which gets its arguments, environment, working folder and standard streams. It passes signals on, ends as the fork ends, and
the fork ends when it does. Each fork starts from the imports alone: nothing that a stage computes is seen by the next.

Whatever was imported is what the stage would import itself: the process has the same interpreter, path, environment and source files,
or another one is started. Where there is no such process to be had, the stage runs in its own, as it does without DVC. Only on Linux, and
not beside a GPU, which a fork cannot use if an import has touched it. ``THAW_WARM=0`` turns it off.
"""

import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

FORKED = frozenset({"thaw.stages.features", "thaw.stages.finetune", "thaw.stages.finetune_part", "thaw.stages.final"})
"""Stages that import what a training does, and nothing of it before their ``main`` runs. Named here, since an edit of a stage reruns it."""
SWITCH = "THAW_WARM"
OF_A_STAGE = frozenset({"DVC_STAGE", "_", "SHLVL", "PWD", "OLDPWD"})
"""What differs between the environments of two stages of one run."""
SHELLS = frozenset({"sh", "ash", "bash", "dash", "fish", "ksh", "zsh"})
GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Device files of NVIDIA's and AMD's drivers, and of WSL's."""
PACKAGE = Path(__file__).parent


def forked(module: str, args: Sequence[str]) -> int | None:
    """Run ``main(*args)`` of the module in a fork of the warm process, and wait. None: not possible, and not begun.

    Returns the exit status; where a signal ended the fork, it ends this process too.
    """
    owner = owner_of_stage()
    if owner is None or "-m" not in sys.orig_argv:
        return None
    try:
        line = _connected(_address(owner), owner)
        send(line, {"module": module, "args": list(args), "cwd": str(Path.cwd()), "env": dict(os.environ)}, [0, 1, 2])
        answers = line.makefile("rb")
        began = answer(answers)
    except OSError:  # no such sockets here, a stream that is closed, or the process ended before it began with the stage
        return None
    return None if began is None else _ended(began, answers)


def owner_of_stage() -> int | None:
    """Number of the DVC process that runs this one as a stage: the nearest above it that is no shell. None: no fork is to be had here."""
    if sys.platform != "linux" or os.environ.get(SWITCH) == "0" or "DVC_STAGE" not in os.environ or any(map(os.path.exists, GPUS)):
        return None
    try:
        owner = os.getppid()
        while _read(owner, "comm").strip() in SHELLS:
            owner = int(_read(owner, "stat").rpartition(")")[2].split()[1])
        return owner if "dvc" in (Path(word).name for word in _read(owner, "cmdline").split("\0")) else None
    except (OSError, ValueError):  # it has ended, or is another user's
        return None


def _read(process: int, what: str) -> str:
    return Path(f"/proc/{process}/{what}").read_text(encoding="utf-8", errors="replace")


def _address(owner: int) -> str:
    """Of a socket that has no file: there is none to clean up, and whatever a fork would have of the process is part of the name.

    Containers can share their sockets and not their processes and files, so these are in it, too. Raises `OSError`.
    """
    environment = {name: value for name, value in os.environ.items() if name not in OF_A_STAGE}
    sources = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(PACKAGE.rglob("*.py"))]
    installed = [Path(path).stat().st_mtime_ns for path in sys.path if path.endswith("-packages") and Path(path).is_dir()]
    spaces = [Path(f"/proc/self/ns/{kind}").stat().st_ino for kind in ("pid", "mnt", "user")]
    rights = [os.getuid(), os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0))]
    alike = [owner, spaces, rights, sys.executable, _options(), sys.path, sorted(environment.items()), sources, installed]
    return f"\0thaw-{hashlib.sha256(repr(alike).encode()).hexdigest()}"


def _options() -> list[str]:
    """Of the interpreter."""
    return sys.orig_argv[1 : sys.orig_argv.index("-m")]


def _connected(address: str, owner: int) -> socket.socket:
    """To the warm process, which is started if it is not there. Raises `OSError`."""
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(address)
    except ConnectionRefusedError:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(address)
            listening.listen()
            line.connect(address)  # it answers once it has imported, or the line breaks
            command = [sys.executable, *_options(), "-m", "thaw.warm_process", str(listening.fileno()), str(owner)]
            nothing: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
            subprocess.Popen(command, pass_fds=[listening.fileno()], start_new_session=True, **nothing)
    if not same_user(line):
        raise PermissionError("another user's socket")
    return line


def same_user(line: socket.socket) -> bool:
    """Whether who is at the other end is this user, and among the processes that can be seen; addresses are everybody's."""
    process, user, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return user == os.getuid() and process > 0


def send(line: socket.socket, message: dict[str, Any], streams: Sequence[int] = ()) -> None:
    """One line of JSON, and open files with it."""
    data = json.dumps(message).encode() + b"\n"
    sent = socket.send_fds(line, [data], streams) if streams else 0
    line.sendall(data[sent:])


def answer(answers: BinaryIO) -> int | None:
    """The next number that the warm process says, None if it has ended."""
    try:
        said = answers.readline()
    except ConnectionError:
        return None
    return json.loads(said)["number"] if said.endswith(b"\n") else None


def _ended(process: int, answers: BinaryIO) -> int:
    """Wait for the fork while signals go on to it; its status, or this process's end by the signal that ended it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` leaves it, for the fork too
            signal.signal(number, _pausing(process) if number == signal.SIGTSTP else _passing(process))
    status = answer(answers)
    if status is None:
        print("thaw: the process that this stage was forked from was killed, and the stage with it", file=sys.stderr)
        return 1
    if status < 0:
        if -status != signal.SIGKILL:  # which has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _passing(process: int) -> Callable[[int, Any], None]:
    def pass_on(number: int, frame: object) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(process, number)

    return pass_on


def _pausing(process: int) -> Callable[[int, Any], None]:
    """Of a stop at the terminal, which the fork does not belong to: both stop, and both go on."""

    def pause(number: int, frame: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)
            os.kill(os.getpid(), signal.SIGSTOP)
            os.kill(process, signal.SIGCONT)

    return pause
