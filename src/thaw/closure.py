"""Which source files a module is made of: its imports within the package, followed. Nothing is executed."""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
OBSERVERS = frozenset({"thaw.tracking", "thaw.progress", "thaw.allocator", "thaw.provenance", "thaw.startup"})
"""They are told of results and cannot change one: what shows, logs, measures, or hastens a start or an end. Left out, so that
editing them retrains nothing."""
PARSER = "thaw.params"
"""Has no defaults: what it hands out are values of params.yaml, which DVC compares by itself. Left out for the same reason."""


def import_closure(module: str, leave_out: frozenset[str] = OBSERVERS | {PARSER}) -> list[Path]:
    """Files of ``module`` and of every module of thaw that it imports, directly or not, at any depth of code; sorted."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name in leave_out:
            continue
        seen.add(name)
        waiting += _imports(file_of(name))
    return sorted(file_of(name) for name in seen)


def file_of(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(file: Path) -> list[str]:
    return [name for name in _imported(file.read_text(encoding="utf-8")) if file_of(name).exists()]


@cache
def _imported(source: str) -> tuple[str, ...]:
    """What import statements name of thaw, whether a module or something in one. Kept, since most files are in several stages' closures."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]  # `from thaw.sources import elpv`
    return tuple(name for name in found if name.split(".")[0] == "thaw")
