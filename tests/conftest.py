"""Shapes and types in signatures are checked at run time here, and only here."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("MPLBACKEND", "Agg")
install_import_hook("thaw", "beartype.beartype")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small project with its model at the end; nobody changes it."""
    from finished import make_project

    folder = tmp_path_factory.mktemp("finished")
    make_project(folder)
    yield folder
