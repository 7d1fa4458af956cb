"""Kinds of data source: name -> raw images below a folder, and a table of them.

A source is one file here with ``fetch(raw, ...) -> Fetched``, a line in `fetch_source`, and its name in `params.SourceName`.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from thaw.index import Dataset


@dataclass(frozen=True)
class Fetched:
    """``table``: columns id, path (below ``raw``), label, group, domain, weight, in the order that the data set gives."""

    table: pd.DataFrame
    dataset: Dataset


def fetch_source(source: str, raw: Path, elpv_label: str) -> Fetched:
    """Put the images of ``source`` below ``raw`` and describe them. Imports only the source that is asked for."""
    if source == "elpv":
        from thaw.sources.elpv import fetch

        return fetch(raw, elpv_label)
    from thaw.sources.digits import fetch as fetch_digits

    return fetch_digits(raw)
