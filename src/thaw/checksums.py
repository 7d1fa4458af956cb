"""The source files that a stage is made of, with their sha256: a list in data/code for each stage, since DVC does not follow imports."""

from pathlib import Path, PurePosixPath

from thaw.closure import PACKAGE, import_closure
from thaw.files import sha256_of_file

LISTS = Path("data/code")
SOURCE = PurePosixPath("src/thaw")


def listed_stages() -> list[str]:
    """All but `code`, which watches the whole package, and `track`, which always runs; sorted."""
    return sorted({path.stem for path in (PACKAGE / "stages").glob("*.py")} - {"__init__", "code", "track"})


def checksums(stage: str) -> str:
    """A line for each file that can change the stage's result, by path: ``<sha256>  src/thaw/files.py``, as ``sha256sum`` writes it."""
    files = import_closure(f"thaw.stages.{stage}")
    return "".join(f"{sha256_of_file(file)}  {SOURCE / file.relative_to(PACKAGE).as_posix()}\n" for file in files)


def edited_files(stage: str, root: Path) -> list[str]:
    """Files below ``root`` that are not as the stage's list has them; [] where it has none.

    No import is followed again: what a file imports cannot change while its bytes do not.
    """
    listed = root / LISTS / f"{stage}.txt"
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    pairs = (line.split("  ", maxsplit=1) for line in lines)
    return [path for sha256, path in pairs if not (root / path).is_file() or sha256_of_file(root / path) != sha256]
