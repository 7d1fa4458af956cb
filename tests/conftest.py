"""Shapes and types in signatures are checked at run time here, and only here."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

from jaxtyping import install_import_hook

install_import_hook("thaw", "beartype.beartype")

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small project with its model at the end; nobody changes it."""
    from finished import make_project

    folder = tmp_path_factory.mktemp("finished")
    make_project(folder)
    yield folder
