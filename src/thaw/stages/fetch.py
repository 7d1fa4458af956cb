"""fetch: a data source -> data/raw, data/index.csv, data/dataset.json. Every file is opened, decoded and hashed."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from thaw.errors import InputError
from thaw.feasible import check_enough
from thaw.files import sha256_of_file
from thaw.images import BadImage, measure
from thaw.index import Dataset, write_dataset, write_index
from thaw.params import read_params
from thaw.progress import Progress, progress
from thaw.sources import check_path, fetch_source, with_groups
from thaw.startup import run_stage

RAW = Path("data/raw")


def main() -> None:
    params = read_params()
    check_path(params.data)
    shutil.rmtree(RAW, ignore_errors=True)
    RAW.mkdir(parents=True)
    fetched = fetch_source(params.data, RAW)
    for remark in fetched.remarks:
        print(f"fetch: {remark}", file=sys.stderr)
    with progress("fetch", len(fetched.table)) as shown:
        table, undecoded = check_files(fetched.table, RAW, shown, fetched.origin)
        bad = [*fetched.bad, *undecoded]
        if bad and params.data.on_bad == "stop":
            raise InputError(f"fetch: {_files(len(bad))} not images: {_listed(bad)}; mend them or set data.on_bad: quarantine")
        if table.empty:
            raise InputError(f"fetch: none of the {len(bad)} files is an image: {_listed(bad)}")
        for path, reason in bad:
            print(f"fetch: left out {in_a_line(path)} ({reason})", file=sys.stderr)
        shown.line(f"{fetched.dataset.name}: {len(table)} images, {shown.rate:,.0f} images/s checked")
    table, dataset = with_groups(table, with_images(fetched.dataset, table), params.data)
    check_enough(table, dataset, params.split.method, len(params.split.folds))
    write_index(table, Path("data/index.csv"))
    left_out = [f"{len(bad)} files that are not images were left out: {_listed(bad)}."] if bad else []
    write_dataset(replace(dataset, notes=dataset.notes + left_out), Path("data/dataset.json"))


def check_files(
    table: pd.DataFrame, raw: Path, shown: Progress, origin: Sequence[Path] | None = None
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """(table with size, channels and hash, without the bad rows; (path, reason) of each bad file).

    ``origin``: where each row's file lies, if not in ``raw`` yet; what is an image is copied there.
    """
    measured, bad = [], []
    for row, path in enumerate(table["path"]):
        try:
            size = measure(raw / path if origin is None else origin[row])
            if origin is not None:
                _copy(origin[row], raw / path)
            measured.append((*size, sha256_of_file(raw / path)))
        except BadImage as error:
            measured.append(None)
            bad.append((path, str(error)))
        shown.advance(1)
    good = [row is not None for row in measured]
    kept = table[good].reset_index(drop=True)
    facts = pd.DataFrame([row for row in measured if row is not None], columns=["width", "height", "channels", "sha256"])
    return pd.concat([kept, facts], axis=1), bad


def _copy(origin: Path, target: Path) -> None:
    """A full disk is not the image's fault: it ends the stage."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(origin, target)
    except OSError as error:
        raise InputError(f"fetch: {origin} cannot be copied to {target}: {error.strerror}") from None


def with_images(dataset: Dataset, table: pd.DataFrame) -> Dataset:
    """The data set with those of its classes that have an image; the others are told on stderr."""
    found = set(table["label"])
    for name in (name for name in dataset.classes if name not in found):
        print(f"fetch: class {name!r} has no image, so it is left out", file=sys.stderr)
    return replace(dataset, classes=[name for name in dataset.classes if name in found])


def _files(count: int) -> str:
    return f"{count} files are" if count > 1 else "1 file is"


def _listed(bad: list[tuple[str, str]]) -> str:
    shown = "; ".join(f"{in_a_line(path)} ({reason})" for path, reason in bad[:5])
    return shown + (f"; and {len(bad) - 5} more" if len(bad) > 5 else "")


def in_a_line(path: str) -> str:
    """The path, in quotes where it holds what would break a line."""
    return path if path.isprintable() else repr(path)


if __name__ == "__main__":
    run_stage(main)
