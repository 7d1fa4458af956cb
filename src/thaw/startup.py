"""What makes a program start, and end, sooner."""

import atexit
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from thaw.errors import exit_with_one_line
from thaw.warm import FORKED, forked


@contextmanager
def uncollected() -> Iterator[None]:
    """For imports: what they make lives to the end, and to look through it for garbage again and again takes a fifth of their time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def run_stage(main: Callable[..., None], *args: str) -> None:
    """`run_here`, or for a stage that imports for seconds in a fork of a process that has done so, see `thaw.warm`."""
    program = sys.modules["__main__"]
    if program.__spec__ is not None and program.__spec__.name in FORKED and getattr(program, "main", None) is main:
        status = forked(program.__spec__.name, args)
        if status is not None:
            os._exit(status)  # nothing was printed here
    run_here(main, *args)


def run_here(main: Callable[..., None], *args: str) -> None:
    """`exit_with_one_line` in this process, to its end.

    Python takes modules and objects apart one by one before it ends, a second or two after an import of torch; the system frees them at
    once. So where all went well, the process ends as soon as threads have been joined, what ``main`` registered for the end has run and
    everything is written. What libraries registered while the program's top imported them is left out, so a library that leaves files
    behind is to be imported by ``main``. If ``main`` is not the program's own, the process is somebody else's and ends as they like.
    """
    at_the_end()
    exit_with_one_line(main, *args)
    _DONE.append(main)


_DONE: list[Callable[..., None]] = []
"""Stages that went well in this process."""


@cache
def at_the_end() -> None:
    """Have this process end as `run_here` says. What is registered for the end after this comes before it."""
    atexit.register(_end)


def _end() -> None:
    main = getattr(sys.modules["__main__"], "main", None)
    if main is None or main not in _DONE:
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was closed before the start
            stream.flush()  # if it cannot be written, the rest is left to Python, which fails for it
    os._exit(0)
