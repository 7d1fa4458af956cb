"""The process that stages are forked from: ``python -m thaw.warm_process SOCKET OWNER``, started by `thaw.warm` and by nothing else.

Until it forks it imports and waits, with one thread of Python's and none of OpenMP's, whose pools do not survive a fork; the threads that
NumPy's and Arrow's libraries begin at once, theirs look after. In a fork, `main` goes on with the stage as its own process would.
"""

import ctypes
import gc
import importlib
import io
import json
import os
import selectors
import signal
import socket
import sys
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TextIO

from thaw.startup import at_the_end, run_here
from thaw.warm import same_user, send

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
PATIENCE = 10.0  # s between parts of a request


@dataclass
class Asked:
    """A stage, and who waits for it."""

    line: socket.socket
    streams: list[int]
    message: dict[str, Any]


@dataclass(eq=False)
class Fork:
    process: int
    descriptor: int  # readable when it has ended
    line: socket.socket  # readable when who waits for it has
    waited_for: bool = True
    ended: bool = False


class Warm:
    """Forks on request until the owner has ended, and waits until the last fork has."""

    def __init__(self, listening: socket.socket, owner: int) -> None:
        """``owner``: a descriptor of the process."""
        self.listening, self.owner, self.forks = listening, owner, set[Fork]()
        self.ready = selectors.DefaultSelector()
        self.ready.register(listening, selectors.EVENT_READ)
        self.ready.register(owner, selectors.EVENT_READ)

    def serve(self) -> Asked | None:
        """What was asked for, in a fork; None in this process, when it is done."""
        while self.forks or self.listening.fileno() >= 0:
            for key, _ in self.ready.select():
                if key.data is not None:
                    self._look_at(key.data, key.fileobj)
                elif key.fileobj == self.owner:
                    self.ready.unregister(self.owner)
                    self.ready.unregister(self.listening)
                    self.listening.close()
                elif self.listening.fileno() >= 0:
                    asked = self._accepted()
                    if asked is not None and self._is_fork(asked):
                        return asked
        return None

    def _accepted(self) -> Asked | None:
        """A whole request of this user's, or None."""
        line, streams = self.listening.accept()[0], list[int]()
        if same_user(line):
            line.settimeout(PATIENCE)
            with suppress(OSError):  # who asks has ended, or says nothing
                data, streams, *_ = socket.recv_fds(line, 1 << 16, 3)
                while data and not data.endswith(b"\n"):
                    more = line.recv(1 << 16)
                    data = data + more if more else b""
                line.settimeout(None)
                if data and len(streams) == 3:
                    return Asked(line, streams, json.loads(data))
        self._drop(line, streams)
        return None

    def _drop(self, line: socket.socket, streams: list[int]) -> None:
        """Who waits runs the stage itself."""
        line.close()
        for stream in streams:
            os.close(stream)

    def _is_fork(self, asked: Asked) -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, about threads: see the module's words
            try:
                process = os.fork()
            except OSError:  # there may be no more processes, or no memory for one
                self._drop(asked.line, asked.streams)
                return False
        if process == 0:
            self.ready.close()
            for fork in self.forks:
                os.close(fork.descriptor)
                fork.line.close()
            self.listening.close()
            os.close(self.owner)
            asked.line.close()
            return True
        for stream in asked.streams:
            os.close(stream)
        fork = Fork(process, os.pidfd_open(process), asked.line)
        self.forks.add(fork)
        self.ready.register(fork.descriptor, selectors.EVENT_READ, fork)
        self.ready.register(fork.line, selectors.EVENT_READ, fork)
        with suppress(OSError):  # if who waits has ended, its line says so
            send(fork.line, {"number": process})
        return False

    def _look_at(self, fork: Fork, which: Any) -> None:
        if fork.ended:
            return  # both came at once
        if which is fork.line:
            os.kill(fork.process, signal.SIGKILL)
            self.ready.unregister(fork.line)
            fork.waited_for = False
            return
        _, status = os.waitpid(fork.process, 0)
        fork.ended = True
        self.forks.remove(fork)
        self.ready.unregister(fork.descriptor)
        os.close(fork.descriptor)
        if fork.waited_for:
            self.ready.unregister(fork.line)
            with suppress(OSError):
                send(fork.line, {"number": os.waitstatus_to_exitcode(status)})
        fork.line.close()


def main(listening: str, owner: str) -> None:
    process = os.pidfd_open(int(owner))
    parent, libc = os.getpid(), ctypes.CDLL(None)
    at_the_end()  # before what libraries register, as in a stage's own process
    gc.disable()
    _import()
    if threading.active_count() > 1 or libc.prctl(DIE_WITH_PARENT, 0):
        raise SystemExit("forks could hang, or outlive this process")
    gc.freeze()  # what is here lives to the end, and stays shared with the forks
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A signal to everybody, as at a shutdown, is for the forks to answer; they would not live to do it. This process ends with the owner.
    before = {number: signal.signal(number, _stay) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    asked = Warm(socket.socket(fileno=int(listening)), process).serve()
    if asked is None:
        os._exit(0)  # nothing is left to be written
    libc.prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it has ended before that
    for number, handler in before.items():
        signal.signal(number, handler)
    gc.enable()
    become(asked)


def _stay(number: int, frame: object) -> None:
    """Not `SIG_IGN`, which a program that a stage runs would inherit."""


def _import() -> None:
    """What a training cell imports, early or late."""
    import timm.models  # noqa: F401

    import thaw.cells  # noqa: F401
    from thaw.tracking.store import import_mlflow

    import_mlflow()


def become(asked: Asked) -> None:
    """Be the process that the stage was started as, from its first line on."""
    for number, stream in enumerate(asked.streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(asked.message["env"])
    os.chdir(asked.message["cwd"])
    sys.stdin, sys.stdout, sys.stderr = (_opened(number, old) for number, old in enumerate((sys.stdin, sys.stdout, sys.stderr)))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]  # not as constant as typed
    module = importlib.import_module(asked.message["module"])
    sys.argv = [str(module.__file__), *asked.message["args"]]
    sys.modules["__main__"] = module
    try:
        run_here(module.main, *asked.message["args"])
    finally:
        gc.unfreeze()  # Python takes everything apart after a failure, and some libraries complain of what is left


def _opened(number: int, old: TextIO) -> io.TextIOWrapper:
    """A standard stream as Python opens it at its start; what was opened on the old one is dropped."""
    unbuffered = getattr(old, "write_through", False)  # as the interpreter was told
    raw = io.FileIO(number, "r" if number == 0 else "w", closefd=False)
    buffered: Any = io.BufferedReader(raw) if number == 0 else raw if unbuffered else io.BufferedWriter(raw)
    by_lines = number == 2 or raw.isatty()
    return io.TextIOWrapper(buffered, old.encoding, old.errors, line_buffering=by_lines, write_through=number > 0 and unbuffered)


if __name__ == "__main__":
    main(*sys.argv[1:])
