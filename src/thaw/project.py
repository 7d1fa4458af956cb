"""``thaw init``: a folder of images -> a project of its own, with params.yaml filled with what was found."""

import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from string import Template

from ruamel.yaml import YAML

from thaw.copies import NOT_COPIED, commit_all, copy_file, set_dials
from thaw.errors import InputError
from thaw.files import write_text
from thaw.params import Params, read_params
from thaw.speed import estimate, in_words, measure_speed
from thaw.suggestions import Suggestions, suggest
from thaw.survey import Sizes, Survey, survey

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parents[1]
"""Of the clone, or of the project whose own copy of the package this is."""
SHARED = ("dvc.yaml", "params.yaml", "requirements.txt", ".gitignore", ".dvcignore", ".dvc/plots", "data/own/README.md", "LICENSE")
"""A project has these as the clone has them; a wheel carries them in starter/, see `packed`."""
OWN = ("Makefile", "README.md", "pyproject.toml", ".dvc/config", ".dvc/.gitignore")
"""A project has its own, made from starter/."""
FILLED = ("README.md", "pyproject.toml")
"""With $names for facts of the project."""
SHOWN = 6
"""Classes and strategies that are printed by name."""


def init_project(images: Path, into: Path, measure: bool = True) -> None:
    """Look at ``images``, make the project in ``into`` and print what was found. Raises `InputError` before anything is written.

    ``measure``: time a few seconds of the default work, to say how long everything takes.
    """
    check_target(into, images)
    found = survey(images)
    base = {name: template(name) for name in (*SHARED, *OWN)}
    tree = YAML(typ="safe", pure=True).load(base["params.yaml"].read_text(encoding="utf-8"))
    chosen = suggest(found, named_from(found.root, into), tree["backbones"])
    write_project(base, into, found, chosen)
    params = read_params(into / "params.yaml")
    kept = keep(into)
    print("\n".join([*in_lines(found, chosen), *(times(params, found) if measure else []), *kept, f"next: {next_command(into)}"]))


def check_target(into: Path, images: Path) -> None:
    """Nothing of a person's is overwritten, and no image is taken for the project's. Raises `InputError`."""
    if shutil.which("git") is None:
        raise InputError("init: git is not installed, and a project is kept in it; install it (apt install git), then run this again")
    own = images.resolve()
    folder = images.parent.resolve() if images.is_file() else own
    if into.exists() and not into.is_dir():
        raise InputError(f"init: {into} is a file; name a folder with --into")
    check_nesting(into, images, folder)
    if folder.is_relative_to(into.resolve()) and is_taken(folder.relative_to(into.resolve())):
        raise InputError(
            f"init: {folder} is where a project keeps its own files; rename the folder, or make the project elsewhere with --into"
        )
    there = sorted(path.name for path in into.iterdir() if path.resolve() not in (own, *own.parents)) if into.exists() else []
    seen = [name for name in there if not name.startswith(".")]
    if seen:
        listed = ", ".join(seen[:3]) + (", …" if len(seen) > 3 else "")
        raise InputError(f"init: {into} is not empty ({listed}); name an empty folder with --into")
    if clash := [name for name in there if name in (".dvc", ".dvcignore", ".gitignore")]:
        raise InputError(f"init: {into} has a {clash[0]} already; name an empty folder with --into")


def check_nesting(into: Path, images: Path, folder: Path) -> None:
    """What the pipeline makes must not lie in ``folder``, the images' or their table's, which it watches. Raises `InputError` if so."""
    if folder not in (into.resolve(), *into.resolve().parents):
        return
    if images.is_file():
        mend = "put the table beside the images in a folder of their own, or the project elsewhere with --into"
        raise InputError(f"init: {into} lies within the table's folder ({folder}), all of which counts as data; {mend}")
    raise InputError(
        f"init: {into} lies within the images, and so would what the pipeline makes; name an empty folder elsewhere with --into"
    )


def is_taken(folder: Path) -> bool:
    """Whether a path from a project's top is the pipeline's own: what stages make, what git is told to pass over, and the project's files.

    In data/ there is room for other folders, such as data/own.
    """
    stages = YAML(typ="safe", pure=True).load(template("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    made = [next(iter(out)) if isinstance(out, dict) else out for stage in stages.values() for out in stage.get("outs", [])]
    ignored = [line[1:] for line in template(".gitignore").read_text(encoding="utf-8").splitlines() if line.startswith("/")]
    if folder.parts[:1] == ("data",):
        return len(folder.parts) == 1 or folder.parts[:2] in {tuple(path.split("/")[:2]) for path in made}
    tops = {path.split("/")[0] for path in [*made, *ignored, *SHARED, *OWN]}
    return folder.parts[0] in {*tops, "src", ".git"}


def packed(name: str) -> str:
    """How a file of a project is called in starter/: no name there means anything to git, DVC or an editor."""
    return name.replace("/", "-").lstrip(".") + ".in"


def template(name: str) -> Path:
    """Where a file of a new project comes from. Raises `InputError` where the installation does not have it."""
    for path in (PACKAGE / "starter" / packed(name), ROOT / name, ROOT / "src" / name):
        if path.exists():
            return path
    raise InputError(f"init: this installation of thaw has no {name}; run it from a clone (`make setup`, then .venv/bin/thaw init …)")


def named_from(root: Path, into: Path) -> str:
    """The images' folder as params.yaml names it: relative within the project, else absolute."""
    inside = root.is_relative_to(into.resolve())
    return (root.relative_to(into.resolve()) if inside else root).as_posix()


def write_project(base: dict[str, Path], into: Path, found: Survey, chosen: Suggestions) -> None:
    """All files, params.yaml the last."""
    into.mkdir(parents=True, exist_ok=True)
    facts = {"name": into.resolve().name, "images": f"{len(found.labels):,}", "classes": len(found.classes), "version": own_version()}
    for name in OWN:
        text = base[name].read_text(encoding="utf-8")
        write_text(into / name, Template(text).substitute(facts) if name in FILLED else text)
    for name in SHARED:
        copy_file(base[name], into / ("src/LICENSE" if name == "LICENSE" else name))
    shutil.copytree(PACKAGE, into / "src" / "thaw", dirs_exist_ok=True, ignore=NOT_COPIED)
    inside = chosen.dials["data.path"]
    if not Path(inside).is_absolute():
        with (into / ".gitignore").open("a", encoding="utf-8") as file:
            file.write(f"/{inside}/\n")
    set_dials(into / "params.yaml", chosen.dials, chosen.notes)


def own_version() -> str:
    try:
        return version("thaw")
    except PackageNotFoundError:  # run from its source, not installed
        return "0"


def keep(into: Path) -> list[str]:
    """The first commit, unless the folder lies in somebody's repository, who commits when they like; what to say of it."""
    above = repository_above(into)
    if above is not None:
        return [f"git: {into} lies in the repository {above}, so nothing was committed; `git add {shlex.quote(str(into))}` is yours to do"]
    commit_all(into, "thaw init", forced=["data/own/README.md"])
    return []


def repository_above(folder: Path) -> Path | None:
    """The git repository that ``folder`` is part of without being its top."""
    return next((path for path in folder.resolve().parents if (path / ".git").exists()), None) if not (folder / ".git").exists() else None


def in_lines(found: Survey, chosen: Suggestions) -> list[str]:
    """What was found and chosen, for a terminal."""
    counts = [f"{name} {count:,}" for name, count in found.classes.items()]
    more = f", and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
    return [
        f"{found.root}: {len(found.labels):,} images ({found.source}) of {len(counts)} classes: {', '.join(counts[:SHOWN])}{more}",
        size_line(found.sizes),
        *unreadable_lines(found.sizes),
        *(f"note: {remark}" for remark in found.remarks[:2]),
        *chosen.said,
    ]


def size_line(sizes: Sizes) -> str:
    kind = "colour" if sizes.colour else "gray"
    span = f"shortest side {sizes.shortest:,}, longest {sizes.longest:,} px"
    return f"sizes: median {sizes.width:,} x {sizes.height:,} px, {span}, {kind} ({sizes.read:,} headers read)"


def unreadable_lines(sizes: Sizes) -> list[str]:
    if not sizes.unreadable:
        return []
    many = len(sizes.unreadable)
    return [
        f"unreadable: {many} of {sizes.read + many:,} headers, {sizes.unreadable[0]} the first; mend them or set data.on_bad: quarantine"
    ]


def times(params: Params, found: Survey) -> list[str]:
    """How long it takes here, each part and together."""
    speed = measure_speed(params, len(found.classes))
    parts = estimate(params, speed, len(found.labels))
    listed = [f"{name} {in_words(seconds)}" for name, seconds in parts.items()]
    whole = in_words(sum(parts.values()))
    measured = f"{1000 * speed.forward:.1f} ms forward, {1000 * speed.training:.1f} ms trained, an image"
    return [f"time on this machine, about: {', '.join(listed)}; together {whole}, and minutes for heads and report ({measured})"]


def next_command(into: Path) -> str:
    """To be pasted into the shell that ran this, whether the environment is active or not."""
    bin_ = Path(sys.executable).parent
    active = shutil.which("thaw") is not None and Path(str(shutil.which("thaw"))).parent == bin_
    away = [] if into.resolve() == Path.cwd() else [f"cd {shlex.quote(str(into))}"]
    work = "make repro" if shutil.which("make") else "dvc repro"
    path = "" if active else f"PATH={shlex.quote(str(bin_))}:$PATH "
    return " && ".join([*away, path + work])
