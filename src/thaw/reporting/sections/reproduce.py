"""Data and how to reproduce this."""

from collections.abc import Sequence

from thaw.reporting.blocks import Block
from thaw.reporting.results import Results
from thaw.reporting.tables import listed, literal


def data_and_how_to_reproduce_this(results: Results, drawn: Sequence[str]) -> list[Block]:
    return [
        listed([literal(note) for note in results.notes]),
        _versions(results),
        "`make repro` (or `dvc repro`) rebuilds every figure on this page from the data. "
        "To try something else, edit `params.yaml` and run it again: only what the edit touched runs. `make ui` shows every run in MLflow.",
    ]


def _versions(results: Results) -> str:
    """Each library with every version that a record names: more than one is worth seeing."""
    found: dict[str, set[str]] = {}
    for record in (record for result in results.ranked for record in result.records):
        for name, version in record.inputs.get("libraries", {}).items():
            found.setdefault(name, set()).add(str(version))
    told = ", ".join(f"{literal(name)} {literal(' and '.join(sorted(versions)))}" for name, versions in sorted(found.items()))
    return f"Computed with {told}." if told else ""
