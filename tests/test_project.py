"""`thaw init`: an empty folder becomes a project, and nothing of anybody's is overwritten."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from folders import put_classes, put_images
from typer.testing import CliRunner

from thaw.checksums import checksums
from thaw.cli import app
from thaw.errors import InputError
from thaw.files import write_text
from thaw.installed import check_code
from thaw.params import Params, read_params
from thaw.preview import total_cost
from thaw.project import OWN, SHARED, init_project, next_command, packed, template
from thaw.reporting.readme import readme_is_current
from thaw.speed import Speed, estimate, in_words, measure_speed

ROOT = Path(__file__).parents[1]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    names = [f"{c}/patient_{p}_{k}.jpg" for c in ("cat", "dog") for p in range(12) for k in range(3)]
    return put_images(tmp_path / "photos", names, (160, 150))


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def made(images: Path, into: Path) -> Params:
    init_project(images, into, measure=False)
    return read_params(into / "params.yaml")


def test_the_project_is_whole_and_committed(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "my project"
    params = made(photos, project)
    assert (params.data.source, params.data.path, params.data.table) == ("folder", photos.as_posix(), "")
    assert (params.split.method, params.split.folds, params.finetune.augment) == ("grouped", [0, 1, 2, 3], ["hflip"])
    assert git(project, "status", "--porcelain") == "" and git(project, "log", "--format=%s").splitlines() == ["thaw init"]
    kept = set(git(project, "ls-files").splitlines())
    assert {
        "dvc.yaml",
        "params.yaml",
        "Makefile",
        "README.md",
        "data/own/README.md",
        ".dvc/config",
        "src/thaw/cli.py",
        "src/LICENSE",
    } <= kept
    assert not any("photos" in path or "__pycache__" in path for path in kept)
    assert readme_is_current(project / "README.md", "`make repro` writes the result here.")
    said = capsys.readouterr().out
    assert len(said.splitlines()) <= 20
    assert "72 images (folder) of 2 classes: cat 36, dog 36" in said and said.splitlines()[-1].startswith("next: cd ")


def test_dvc_takes_it_for_a_project_without_a_network(photos: Path, tmp_path: Path) -> None:
    made(photos, tmp_path / "p")
    done = subprocess.run([sys.executable, "-m", "dvc", "stage", "list", "--name-only"], cwd=tmp_path / "p", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"code", "fetch", "prepare", "split"} <= set(done.stdout.split()) and "finetune@lite0-full-3" in done.stdout.split()


def test_comments_stay_and_choices_are_explained(photos: Path, tmp_path: Path) -> None:
    made(photos, tmp_path / "p")
    ours = (tmp_path / "p" / "params.yaml").read_text().splitlines()
    theirs = (ROOT / "params.yaml").read_text().splitlines()
    explained = [line.strip() for line in ours if line.strip().startswith("# thaw init:")]
    assert any("patient and a number makes 12 groups" in line for line in explained)
    comments = {line.partition("#")[2].strip() for line in ours}
    assert {line.partition("#")[2].strip() for line in theirs} <= comments
    changed = [line for line in ours if line not in theirs and not line.strip().startswith("#")]
    assert len(changed) <= 20, "only what init chose is written anew"


def test_images_within_the_project_are_named_relatively_and_not_committed(photos: Path) -> None:
    project = photos.parent
    params = made(photos, project)
    assert params.data.path == "photos"
    assert not [path for path in git(project, "ls-files").splitlines() if path.startswith("photos")]
    assert git(project, "status", "--porcelain") == ""


def test_a_table_with_groups(tmp_path: Path) -> None:
    put_images(tmp_path / "scans", [f"{k}.png" for k in range(48)])
    rows = [f"{k}.png,{'ab'[k % 2]},g{k // 4}" for k in range(48)]
    (tmp_path / "scans" / "labels.csv").write_text("path,label,group\n" + "\n".join(rows) + "\n")
    params = made(tmp_path / "scans" / "labels.csv", tmp_path / "p")
    assert (params.data.source, params.data.table, params.data.group, params.split.method) == ("csv", "labels.csv", "", "grouped")


def test_a_given_split(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        put_classes(tmp_path / "x" / split, {"a": 6, "b": 6})
    params = made(tmp_path / "x", tmp_path / "p")
    assert (params.split.method, params.split.folds) == ("given", [0])


def test_nothing_is_written_where_something_is_wrong(photos: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("mine")
    other = tmp_path / "other"
    (other / ".dvc").mkdir(parents=True)
    cases = [
        (photos, full, r"is not empty \(thesis\.tex\)"),
        (photos, other, r"has a \.dvc already"),
        (photos, photos, "lies within the images"),
        (photos, photos / "cat" / "new", "lies within the images"),
        (photos, full / "thesis.tex", "is a file"),
        (put_classes(tmp_path / "one", {"cat": 9}), tmp_path / "new", "one class only"),
        (put_classes(tmp_path / "few", {"cat": 9, "dog": 1}), tmp_path / "new", "the rarest class, 'dog', has 1 images"),
    ]
    for images, into, message in cases:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(InputError, match=message):
            init_project(images, into, measure=False)
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["data", "data/raw", "data/raw/deep", "data/code", "runs", "models", "src", "reports", "tour", ".dvc/photos"]
)
def test_images_where_the_pipeline_keeps_its_own_are_refused(tmp_path: Path, name: str) -> None:
    images = put_classes(tmp_path / name, {"cat": 12, "dog": 12})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=rf"{name} is where a project keeps its own files; rename the folder, or .* --into"):
        init_project(images, tmp_path, measure=False)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["data/own", "data/photos", "photos/runs"])
def test_images_elsewhere_in_the_project_may_stay(tmp_path: Path, name: str) -> None:
    assert made(put_classes(tmp_path / name, {"cat": 12, "dog": 12}), tmp_path).data.path == name


@pytest.mark.parametrize("into", [".", "project"])
def test_a_table_whose_folder_holds_the_project_is_refused(tmp_path: Path, into: str) -> None:
    put_images(tmp_path / "scans", [f"{k}.png" for k in range(24)])
    rows = [f"scans/{k}.png,{'ab'[k % 2]}" for k in range(24)]
    (tmp_path / "labels.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"lies within the table's folder .* put the table beside the images .* elsewhere with --into"):
        init_project(tmp_path / "labels.csv", tmp_path / into, measure=False)
    assert sorted(tmp_path.rglob("*")) == before


def test_without_git_nothing_is_written(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="init: git is not installed"):
        init_project(photos, tmp_path / "p", measure=False)
    assert not (tmp_path / "p").exists()


def test_hidden_files_do_not_make_a_folder_full(photos: Path, tmp_path: Path) -> None:
    project = tmp_path / "p"
    (project / ".idea").mkdir(parents=True)
    git(project, "init", "--quiet")
    made(photos, project)
    assert len(git(project, "log", "--format=%s").splitlines()) == 1


def test_somebodys_repository_is_theirs_to_commit_to(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    git(whole, "init", "--quiet")
    made(photos, whole / "part")
    assert not (whole / "part" / ".git").exists()
    assert "so nothing was committed" in capsys.readouterr().out
    assert subprocess.run(["git", "rev-parse", "--verify", "HEAD"], cwd=whole, capture_output=True).returncode != 0


def test_the_command(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "p"
    project.mkdir()
    monkeypatch.chdir(project)
    done = CliRunner().invoke(app, ["init", "../photos", "--no-measure"])
    assert done.exit_code == 0, done.output
    assert read_params().data.path == photos.as_posix()
    again = subprocess.run([sys.executable, "-m", "thaw.cli", "init", "../photos"], capture_output=True, text=True)
    assert again.returncode == 1 and again.stderr.count("\n") == 1 and "is not empty" in again.stderr


def test_the_next_command_works_without_an_active_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_ = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}/usr/bin")
    assert "PATH=" not in next_command(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin")
    assert f"cd {tmp_path} && PATH={bin_}:$PATH " in next_command(tmp_path)


def test_make_uses_the_active_environment_and_else_makes_one(photos: Path, tmp_path: Path) -> None:
    made(photos, tmp_path / "p")

    def would_do(path: str) -> str:
        own, dry = {**os.environ, "PATH": path}, ["make", "--no-print-directory", "--dry-run", "repro"]
        return subprocess.run(dry, cwd=tmp_path / "p", env=own, capture_output=True, text=True, check=True).stdout

    active, bare = would_do(f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"), would_do("/usr/bin:/bin")
    assert active.splitlines() == [f"python -m {work}" for work in ("thaw.cli check", "dvc repro", "thaw.cli readme", "thaw.cli answer")]
    assert "pip install" in bare and "--require-hashes" in bare and active in bare


def test_a_wheel_carries_what_a_project_is_made_of(photos: Path, tmp_path: Path) -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert listed == {name: f"thaw/starter/{packed(name)}" for name in SHARED}
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    own = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    for source, package in (("wheel", own), ("clone", {**os.environ, "PYTHONPATH": str(ROOT / "src")})):
        command = [sys.executable, "-m", "thaw.cli", "init", str(photos), "--into", str(tmp_path / source / "p"), "--no-measure"]
        done = subprocess.run(command, cwd=tmp_path / "elsewhere", env=package, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def content(source: str) -> dict[str, bytes]:
        top = tmp_path / source / "p"
        kept = git(top, "ls-files").splitlines()
        return {path: (top / path).read_bytes() for path in kept if not path.startswith("src/thaw/starter/")}

    assert content("wheel") == content("clone")


def test_every_file_of_a_project_has_a_source() -> None:
    assert all(template(name).exists() for name in (*SHARED, *OWN))
    with pytest.raises(InputError, match=r"has no nothing\.yaml; run it from a clone"):
        template("nothing.yaml")


def test_a_project_runs_its_own_copy_and_says_where_it_would_not(photos: Path, tmp_path: Path) -> None:
    made(photos, tmp_path / "p")
    with (tmp_path / "p" / "src" / "thaw" / "splits.py").open("a") as file:
        file.write("# an edit\n")
    in_stage = {**os.environ, "DVC_STAGE": "split"}
    work = [sys.executable, "-c", "from thaw.params import read_params; read_params()"]
    other = subprocess.run(work, cwd=tmp_path / "p", env={**in_stage, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True)
    assert other.returncode and "is not this project's src/thaw (splits.py differs)" in other.stderr
    right = subprocess.run(work, cwd=tmp_path / "p", env={**in_stage, "PYTHONPATH": "src"}, capture_output=True, text=True)
    assert right.returncode == 0, right.stderr


@pytest.mark.parametrize("address", ["split", "../dvc.yaml:split", "../me@work/dvc.yaml:split@lite0", "split@lite0:random"])
def test_a_stage_refuses_code_that_was_edited_after_it_was_listed(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "src/thaw", tmp_path / "src/thaw", ignore=shutil.ignore_patterns("__pycache__"))
    own = tmp_path / "src/thaw"
    write_text(tmp_path / "data/code/split.txt", checksums("split"))
    monkeypatch.setenv("DVC_STAGE", address)
    check_code(tmp_path, own)
    for module, said in (("learning.py", None), ("folding.py", r"folding\.py was edited .* `dvc repro code`, then this again")):
        with (own / module).open("a") as file:
            file.write("# an edit\n")
        with pytest.raises(InputError, match=said) if said else nullcontext():
            check_code(tmp_path, own)
    (own / "folding.py").unlink()
    with pytest.raises(InputError, match=r"folding\.py was edited"):
        check_code(tmp_path, own)
    monkeypatch.setenv("DVC_STAGE", "track")  # has no list
    check_code(tmp_path, own)


def test_times_are_costs_times_speed_and_folds() -> None:
    params = read_params(ROOT / "params.yaml")
    parts = estimate(params, Speed(0.01, 0.1), 1000)
    assert parts["features lite0"] == pytest.approx(10) and parts["features lite0_native"] == pytest.approx(10 * (224 / 96) ** 2)
    own = 600  # three of four folds, a fifth of which validates
    assert parts["full"] == pytest.approx(total_cost(params, "full", own) * own * 0.1 * 4)
    assert set(parts) == {*(f"features {name}" for name in params.features.backbones), *params.finetune.strategies}
    assert [in_words(s) for s in (0.1, 40.0, 300.0, 9000.0, 200000.0)] == ["1 s", "40 s", "5 min", "2.5 h", "2 days"]


def test_speed_is_measured_on_the_network_that_trains() -> None:
    speed = measure_speed(read_params(ROOT / "params.yaml"), 3, seconds=0.0)
    assert 0 < speed.forward < speed.training < 60
