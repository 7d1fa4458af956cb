"""Whether the code that runs is the code that DVC watches: a project holds its own copy of the package, in src/thaw."""

import os
from pathlib import Path

from thaw.checksums import edited_files
from thaw.errors import InputError
from thaw.files import sha256_of_file

RUNS = Path(__file__).parent
MEND = "`make repro` runs the right one; for plain `dvc repro`: export PYTHONPATH=src, or pip install --no-deps --editable ."


def check_code(root: Path, package: Path = RUNS) -> None:
    """In a stage that DVC runs: its lock would call the results those of ``root``/src/thaw as it was listed. Raises `InputError` if not."""
    address = os.environ.get("DVC_STAGE")
    if address is None or not (root / "src" / "thaw").is_dir():
        return
    if differ := differing_files(root, package):
        raise InputError(f"the thaw that runs ({package}) is not this project's src/thaw ({differ[0]} differs); {MEND}")
    stage = address.rpartition("dvc.yaml:")[2].partition("@")[0]  # ../dvc.yaml:features@lite0, where DVC was called from another folder
    if edited := edited_files(stage, root):
        raise InputError(f"{edited[0]} was edited after the stage code had listed it; run `dvc repro code`, then this again")


def differing_files(root: Path, package: Path = RUNS) -> list[str]:
    """Modules that are not the same in ``root``/src/thaw and in the package that runs; [] at once where these are one folder."""
    own = root / "src" / "thaw"
    if own.resolve() == package.resolve():
        return []
    return sorted(name for name in _modules(own) | _modules(package) if _hash(own / name) != _hash(package / name))


def _modules(package: Path) -> set[str]:
    return {path.relative_to(package).as_posix() for path in package.rglob("*.py")}


def _hash(path: Path) -> str:
    return sha256_of_file(path) if path.is_file() else ""
