"""Stages split and audit on a small project: files, equal bytes, domains left out, what is missing."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import flipped, scenes
from PIL import Image
from ruamel.yaml import YAML

from thaw.files import read_json
from thaw.index import Dataset, read_index, write_dataset, write_index
from thaw.splits import read_splits, rows_of
from thaw.stages import audit, split

ROOT = Path(__file__).parents[1]
N = 96


def write_params(folder: Path, **dials: object) -> None:
    yaml = YAML()
    tree = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    tree["split"] |= {"method": "grouped", "folds": [0, 1, 2], "seed": 0} | dials
    tree["evaluate"]["reference_backbone"] = "lite0"
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(tree, file)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """96 images of two classes in 24 groups and two domains; the last is the first, flipped."""
    monkeypatch.chdir(tmp_path)
    images = scenes(N, 48)
    images[-1] = flipped(images[0])
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/features/lite0").mkdir(parents=True)
    for row, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / f"data/raw/{row}.png")
    np.save(tmp_path / "data/images.npy", images)
    np.save(tmp_path / "data/features/lite0/features.npy", images[:, ::6, ::6].reshape(N, -1).astype(np.float32))
    table = pd.DataFrame({"id": [f"im{row:02d}" for row in range(N)], "path": [f"{row}.png" for row in range(N)]})
    table["label"] = np.array(["sound", "defective"])[np.random.default_rng(0).integers(0, 2, N)]
    table["group"] = [f"m{row // 4:02d}" for row in range(N)]
    table["domain"] = np.where(np.arange(N) < N // 2, "mono", "poly")
    table["sha256"] = [hashlib.sha256((tmp_path / f"data/raw/{row}.png").read_bytes()).hexdigest() for row in range(N)]
    write_index(table.assign(split="", weight=1.0, width=48, height=48, channels=1), tmp_path / "data/index.csv")
    write_dataset(Dataset("toy", ["sound", "defective"], True, False, "module", []), tmp_path / "data/dataset.json")
    write_params(tmp_path)
    return tmp_path


def test_split_writes_the_folds_and_audit_what_they_let_through(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split.main()
    assert capsys.readouterr().out == "split: 96 images in 24 groups -> 3 folds, grouped\n"
    assert not (project / "reports").exists()
    splits = read_splits(Path("data/splits.csv"))
    audit.main()
    found = read_json(Path("reports/leakage.json"))
    assert capsys.readouterr().out.startswith(f"audit: {found['verdict']['level']}. ")
    assert [path.name for path in (project / "reports").iterdir()] == ["leakage.json"]
    assert (found["method"], len(found["folds"]), found["groups_torn"]) == ("grouped", 3, 0)
    (pair,) = found["near_duplicates"]["listed"]
    assert (pair["a"], pair["b"], pair["hash_distance"]) == ("im00", "im95", 0)
    assert pair["across_folds"] == (splits["fold"][0] != splits["fold"][95])
    assert found["exact_duplicates"]["pairs"] == 0


def test_the_same_inputs_give_the_same_bytes(project: Path) -> None:
    seen = []
    for _ in range(2):
        split.main()
        audit.main()
        seen.append([(project / name).read_bytes() for name in ("data/splits.csv", "reports/leakage.json")])
    assert seen[0] == seen[1]


def test_domains_are_left_out(project: Path) -> None:
    write_params(project, method="leave_domain_out", folds=[0, 1])
    split.main()
    splits = read_splits(Path("data/splits.csv"))
    assert rows_of(splits, 0, "test").tolist() == list(range(48, 96)) and len(rows_of(splits, 1, "inside")) > 0
    audit.main()
    found = read_json(Path("reports/leakage.json"))
    assert found["method"] == "leave_domain_out" and found["near_duplicates"]["across_folds"] == 1
    assert set(found["split_gap"]) == {"stratified", "grouped", "this_split", "points", "lo", "hi"}


def give(project: Path, parts: list[str]) -> None:
    index = read_index(Path("data/index.csv")).assign(split=parts)
    write_index(index, Path("data/index.csv"))


@pytest.mark.parametrize("parts", [("train", "val", "test"), ("train", "train", "val"), ("train", "train", "test")])
def test_the_split_that_the_data_come_with(project: Path, parts: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    give(project, [parts[row // 32] for row in range(N)])
    write_params(project, method="given", folds=[0])
    split.main()
    told = capsys.readouterr()
    assert told.out == "split: 96 images in 24 groups -> 1 fold, given\n" and told.err == ""
    splits = read_splits(Path("data/splits.csv"))
    assert rows_of(splits, 0, "test").tolist() == list(range(64, 96)) and len(rows_of(splits, 0, "val")) > 0
    audit.main()
    found = read_json(Path("reports/leakage.json"))
    assert (found["method"], found["groups_torn"], len(found["folds"])) == ("given", 0, 1)
    assert found["folds"][0]["images"] == 32 and found["near_duplicates"]["across_folds"] == 1
    gap = found["split_gap"]
    assert None not in (gap["stratified"], gap["grouped"], gap["this_split"]) and any("under this split" in said for said in found["words"])


def test_a_given_split_that_tears_groups_is_told_as_it_is(project: Path) -> None:
    give(project, [("train", "train", "val", "test")[row % 4] for row in range(N)])
    write_params(project, method="given", folds=[0])
    split.main()
    audit.main()
    found = read_json(Path("reports/leakage.json"))
    assert found["groups_torn"] == 24
    (torn,) = [said for said in found["verdict"]["sentences"] if "are torn" in said]
    assert "use split.method: grouped" in torn and "dvc repro split" not in torn


def test_a_given_split_that_is_not_used_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    give(project, ["train"] * 64 + ["test"] * 32)
    split.main()
    said = "split: the split that the data come with (test 32, train 64) is not used; split.method: given would\n"
    assert capsys.readouterr().err == said


def test_a_missing_file_is_named(project: Path) -> None:
    split.main()
    (project / "data/raw/5.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"5\.png"):
        audit.main()
