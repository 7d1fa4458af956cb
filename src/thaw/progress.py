"""What a long stage shows: a live bar on a terminal, one line per finished part elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class Progress:
    """Counts images. `note` names the current part; `line` stays on screen."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total = what, total
        self.done = self.skipped = 0
        self.start = time.perf_counter()

    def advance(self, images: int) -> None:
        self.done += images

    def skip(self, images: int) -> None:
        """Images that were done before an interruption: they count towards the total, not towards the rate."""
        self.skipped = images
        self.advance(images)

    def note(self, text: str) -> None:
        """Current fold, phase or epoch, beside the bar."""

    def line(self, text: str) -> None:
        print(f"{self.what}: {text}", flush=True)

    @property
    def seconds(self) -> float:
        """Wall clock since the start."""
        return time.perf_counter() - self.start

    @property
    def rate(self) -> float:
        """Images per second since the start."""
        return (self.done - self.skipped) / max(self.seconds, 1e-9)


class BarProgress(Progress):
    """The same with a live bar: share done, images per second, time left."""

    def __init__(self, what: str, total: int, stream: TextIO | None = None) -> None:
        super().__init__(what, total)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        own: dict[str, Any] = (
            {} if stream is None else {"console": Console(file=stream), "redirect_stdout": False}
        )  # stdout holds something else
        self.bar = Bar(*columns, **own)
        self.task = self.bar.add_task(what, total=total, rate="")

    def advance(self, images: int) -> None:
        super().advance(images)
        self.bar.update(self.task, completed=self.done, rate=f"{self.rate:,.0f} images/s")

    def note(self, text: str) -> None:
        self.bar.update(self.task, description=f"{self.what} {text}")

    def line(self, text: str) -> None:
        self.bar.console.print(f"{self.what}: {text}", highlight=False, markup=False)


@contextmanager
def progress(what: str, total: int, stream: TextIO | None = None) -> Iterator[Progress]:
    """A bar if stdout, or ``stream`` in its place, is a terminal, else lines on stdout."""
    if not (stream or sys.stdout).isatty():
        yield Progress(what, total)
        return
    shown = BarProgress(what, total, stream)
    with shown.bar:
        yield shown
