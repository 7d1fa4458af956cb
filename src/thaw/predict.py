"""``thaw predict``: image files -> path, predicted class, a probability for each class; streamed, so that memory does not grow."""

import csv
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from thaw.allocator import keep_freed_memory
from thaw.deployed import BATCH, Model, read_model
from thaw.errors import InputError
from thaw.files import whole
from thaw.images import BadImage
from thaw.progress import Progress, progress

AHEAD = 2 * BATCH  # files decoded, or being decoded, before the network asks for them


@dataclass(frozen=True)
class Listed:
    """Files to predict, each once, in the order asked for; and how many in folders have no image's ending."""

    files: list[Path]
    left_out: int


def predict_files(asked: Sequence[Path], folder: Path, table: Path | None) -> None:
    """Write the table to ``table``, whole or not at all, or else to stdout. Raises `InputError`; at the end, where files were bad."""
    listed = list_files(asked)
    model = read_model(folder)
    keep_freed_memory()
    bad: list[tuple[Path, str]] = []
    with open_table(table) as file, shown_for(table, len(listed.files)) as shown:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", *model.columns])
        for row in predictions(model, listed.files, bad, shown.advance):
            writer.writerow(row)
        seconds, good = shown.seconds, len(listed.files) - len(bad)
    where = "" if table is None else f" -> {table}"
    print(f"predict: {good:,} images in {seconds:.1f} s, {good / max(seconds, 1e-9):,.0f} images/s{where}", file=sys.stderr)
    if listed.left_out:
        print(f"predict: {listed.left_out:,} files in the folders have no image's ending and were left out", file=sys.stderr)
    for path, reason in bad:
        print(f"predict: {path.as_posix()} is no image that can be read ({reason})", file=sys.stderr)
    if bad:
        raise InputError(
            f"predict: {len(bad):,} of {len(listed.files):,} files could not be read, so they have no row; mend or remove them"
        )


def list_files(asked: Sequence[Path]) -> Listed:
    """Files as they stand, folders with everything below them but hidden files and folders; a file given twice stands once.

    Raises `InputError` for what is not there, and where nothing is left.
    """
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found, left_out = dict[Path, Path](), 0  # real path -> path as given
    for path in asked:
        if not path.exists():
            raise InputError(f"predict: there is no file or folder {path.as_posix()!r}")
        for file in _below(path) if path.is_dir() else [path]:
            if file is not path and file.suffix.lower() not in endings:
                left_out += 1
            else:
                found.setdefault(file.resolve(), file)
    if not found:
        named = ", ".join(path.as_posix() for path in asked)
        raise InputError(f"predict: no images in {named}; name image files, or folders that hold some")
    return Listed(list(found.values()), left_out)


def _below(folder: Path) -> Iterator[Path]:
    """In the order of names, whatever the file system's is."""
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(path, name) for name in sorted(files) if not name.startswith("."))


def predictions(
    model: Model, files: Iterable[Path], bad: list[tuple[Path, str]], advance: Callable[[int], object] = lambda images: None
) -> Iterator[list[str]]:
    """Rows of the table in the order of ``files``; those that cannot be read get none and are added to ``bad``."""
    waiting: list[tuple[Path, np.ndarray]] = []
    for path, image in decoded(files, model.read):
        if isinstance(image, str):
            bad.append((path, image))
            advance(1)
            continue
        waiting.append((path, image))
        if len(waiting) == BATCH:
            yield from rows_of(model, waiting)
            advance(len(waiting))
            waiting = []
    if waiting:
        yield from rows_of(model, waiting)
        advance(len(waiting))


def rows_of(model: Model, batch: Sequence[tuple[Path, np.ndarray]]) -> list[list[str]]:
    probabilities = model.probabilities(model.logits(np.stack([image for _, image in batch])))
    named = zip(batch, model.predicted(probabilities), probabilities, strict=True)
    return [[path.as_posix(), predicted, *(f"{p:.6g}" for p in row)] for (path, _), predicted, row in named]


def decoded(files: Iterable[Path], read: Callable[[Path], np.ndarray]) -> Iterator[tuple[Path, np.ndarray | str]]:
    """(File, its pixels or why it has none), in order. Threads decode while the network computes, never more than `AHEAD` files ahead."""
    with ThreadPoolExecutor(max_workers=min(8, (os.cpu_count() or 1) + 1), thread_name_prefix="decode") as pool:
        left = iter(files)
        waiting: deque[tuple[Path, Future[np.ndarray | str]]] = deque()

        def ask(count: int) -> None:
            waiting.extend((path, pool.submit(_read, path, read)) for path in islice(left, count))

        ask(AHEAD)
        while waiting:
            path, future = waiting.popleft()
            yield path, future.result()
            ask(1)


def _read(path: Path, read: Callable[[Path], np.ndarray]) -> np.ndarray | str:
    try:
        os.fsencode(path).decode()
    except UnicodeDecodeError:
        return "its name is not UTF-8, so that no table can hold it"
    try:
        return read(path)
    except BadImage as error:  # whatever a decoder raises is one
        return str(error)


@contextmanager
def open_table(table: Path | None) -> Iterator[IO[str]]:
    """A file that is there when all of it is; stdout for None."""
    if table is None:
        yield sys.stdout
        return
    with whole(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield file


def shown_for(table: Path | None, total: int) -> AbstractContextManager[Progress]:
    """A bar, unless the table itself goes to the terminal."""
    if table is not None:
        return progress("predict", total)
    return nullcontext(Progress("predict", total)) if sys.stdout.isatty() else progress("predict", total, sys.stderr)
