"""The report from an MLflow store alone: without the repository, the runs or the data. It is the bytes that stage `report` writes."""

import tempfile
from pathlib import Path

from thaw.errors import InputError
from thaw.reporting.build import build
from thaw.tracking.bundle import download_report, report_store


def report_from_mlflow(uri: str, experiment: str, out: Path) -> None:
    """Write report.md, report.html and figures/ into ``out``. Raises `InputError` for a store that lacks something."""
    store = report_store(uri)
    with tempfile.TemporaryDirectory() as folder:
        inputs = download_report(store, experiment, Path(folder))
        try:
            build(inputs.runs, inputs.scratch, inputs.title, Path(folder), out)
        except InputError as error:  # its paths are those of a repository
            raise InputError(f"{store.named_by}: {str(error).replace(f'{folder}/', '')}, then `dvc repro track`") from error
