"""Copies of a project: its files in another folder, its dials changed with their comments kept, its first commit."""

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

from thaw.errors import InputError

NOT_COPIED = shutil.ignore_patterns("__pycache__")


def copy_file(source: Path, target: Path) -> None:
    """A file, or a folder with all that is in it; what is not there is left out."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=NOT_COPIED)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def set_dials(file: Path, dials: Mapping[str, Any], notes: Mapping[str, str] | None = None) -> None:
    """Edit values in place, comments kept. A path names mappings by key and lists by number, separated by dots.

    ``notes``: path of a mapping's key -> a comment to stand above it.
    """
    yaml = YAML()
    yaml.width = 4096  # no line is broken
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    tree = yaml.load(file.read_text(encoding="utf-8"))
    for path, value in dials.items():
        block, key = _place(tree, path)
        block[key] = _written(value)
    for path, note in (notes or {}).items():
        block, key = _place(tree, path)
        block.yaml_set_comment_before_after_key(key, before=note, indent=2 * path.count("."))
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(tree, stream)


def _place(tree: Any, path: str) -> tuple[Any, Any]:
    """The block that a path leads to, and the key within it."""
    *parents, last = path.split(".")
    block = tree
    for part in parents:
        block = block[_key(block, part)]
    return block, _key(block, last)


def _key(block: Any, part: str) -> Any:
    """Index or key that exists: a dial that is not there would change nothing, silently."""
    key = int(part) if isinstance(block, list) else part
    if key not in (range(len(block)) if isinstance(block, list) else block):
        raise InputError(f"params.yaml: no {part!r} in {list(block)}")
    return key


def _written(value: Any) -> Any:
    """As the file writes its own: lists in one line, an empty word and regular expressions between quotes."""
    if isinstance(value, list):
        written = CommentedSeq(value)
        written.fa.set_flow_style()
        return written
    if value == "":
        return DoubleQuotedScalarString(value)
    return SingleQuotedScalarString(value) if isinstance(value, str) and "\\" in value else value  # backslashes stand as they are


def git(folder: Path, *arguments: str) -> None:
    """Raises `InputError` where git is not there or does not do it."""
    try:
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise InputError("git is not installed, and a project is a git repository; install it (apt install git)") from None
    except subprocess.CalledProcessError as error:
        raise InputError(f"`git {arguments[0]}` in {folder} failed: {' '.join(error.stderr.split())}") from None


def commit_all(folder: Path, message: str, forced: Iterable[str] = ()) -> None:
    """Commit everything that git does not ignore, and ``forced`` even if it does; a repository is made if ``folder`` is none."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    for name in forced:
        git(folder, "add", "--force", name)
    author = ("-c", "user.name=thaw", "-c", "user.email=thaw@localhost", "-c", "commit.gpgsign=false")
    git(folder, *author, "commit", "--quiet", "--allow-empty", "--message", message)
