"""fetch: a data source -> data/raw, data/index.csv, data/dataset.json. Every file is opened, decoded and hashed."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from thaw.errors import InputError, exit_with_one_line
from thaw.files import sha256_of_file
from thaw.images import BadImage, measure
from thaw.index import write_dataset, write_index
from thaw.params import read_params
from thaw.progress import Progress, progress
from thaw.sources import fetch_source

RAW = Path("data/raw")


def main() -> None:
    params = read_params()
    shutil.rmtree(RAW, ignore_errors=True)
    fetched = fetch_source(params.data.source, RAW, params.data.elpv_label)
    with progress("fetch", len(fetched.table)) as shown:
        table, bad = check_files(fetched.table, RAW, shown)
        if bad and params.data.on_bad == "stop":
            raise InputError(f"fetch: {len(bad)} files are not images: {_listed(bad)}; mend them or set data.on_bad: quarantine")
        if table.empty:
            raise InputError(f"fetch: none of the {len(bad)} files is an image: {_listed(bad)}")
        for path, reason in bad:
            print(f"fetch: left out {path} ({reason})", file=sys.stderr)
        shown.line(f"{fetched.dataset.name}: {len(table)} images, {shown.rate:,.0f} images/s checked")
    write_index(table, Path("data/index.csv"))
    left_out = [f"{len(bad)} files that are not images were left out: {_listed(bad)}."] if bad else []
    write_dataset(replace(fetched.dataset, notes=fetched.dataset.notes + left_out), Path("data/dataset.json"))


def check_files(table: pd.DataFrame, raw: Path, shown: Progress) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """(table with size, channels and hash, without the bad rows; (path, reason) of each bad file)."""
    measured, bad = [], []
    for path in table["path"]:
        try:
            measured.append((*measure(raw / path), sha256_of_file(raw / path)))
        except (BadImage, FileNotFoundError) as error:
            measured.append(None)
            bad.append((path, str(error)))
        shown.advance(1)
    good = [row is not None for row in measured]
    kept = table[good].reset_index(drop=True)
    facts = pd.DataFrame([row for row in measured if row is not None], columns=["width", "height", "channels", "sha256"])
    return pd.concat([kept, facts], axis=1), bad


def _listed(bad: list[tuple[str, str]]) -> str:
    shown = "; ".join(f"{path} ({reason})" for path, reason in bad[:5])
    return shown + (f"; and {len(bad) - 5} more" if len(bad) > 5 else "")


if __name__ == "__main__":
    exit_with_one_line(main)
