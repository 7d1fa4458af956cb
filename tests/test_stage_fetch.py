"""fetch and prepare on a folder of whatever people have."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_listing import touch
from test_sources import data
from zoo import BAD, GOOD, scene

from thaw.errors import InputError
from thaw.feasible import check_enough
from thaw.index import Dataset, read_dataset, read_index
from thaw.params import Params, parse_params
from thaw.stages import fetch, prepare


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dials(monkeypatch: pytest.MonkeyPatch, method: str = "stratified", folds: int = 2, **source: str) -> Params:
    from ruamel.yaml import YAML

    tree = YAML(typ="safe", pure=True).load((Path(__file__).parents[1] / "params.yaml").read_text())
    tree["data"] = data(**{"source": "folder", **source}).model_dump()
    tree["split"] |= {"method": method, "folds": list(range(folds))}
    tree["prepare"]["max_side"] = 32
    params = parse_params(tree, "params.yaml")
    for stage in (fetch, prepare):
        monkeypatch.setattr(stage, "read_params", lambda: params)
    return params


def plain(*paths: str) -> None:
    for number, path in enumerate(paths):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (20, 20), number).save(path)


def zoo(names: dict[str, Any], kind: str) -> None:
    Path("data/own", kind).mkdir(parents=True, exist_ok=True)
    for name, (make, _) in names.items():
        make(Path("data/own", kind, name))


def test_the_whole_zoo_becomes_an_index_and_an_array(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dials(monkeypatch)
    zoo(GOOD, "awkward")
    plain("data/own/b/1.png", "data/own/b/2.png", "data/own/b/3.png", "data/own/b/4.png")
    fetch.main()
    index, dataset = read_index(Path("data/index.csv")), read_dataset(Path("data/dataset.json"))
    sizes = index[["id", "width", "height", "channels"]].values.tolist()
    found = {Path(name).name: tuple(size) for name, *size in sizes if name.startswith("awkward/")}
    assert found == {name: size for name, (_, size) in GOOD.items()}
    assert dataset.classes == ["awkward", "b"] and dataset.notes == []
    for path in index["path"]:
        assert Path("data/raw", path).read_bytes() == Path("data/own", path).read_bytes()
    prepare.main()
    images = np.load("data/images.npy", mmap_mode="r")
    assert images.shape == (len(index), 32, 32, 3)
    rows = np.flatnonzero(index["label"] == "b")
    ids = index["id"].tolist()
    assert [int(images[row].max()) for row in rows] == [int(Path(ids[row]).stem) - 1 for row in rows]


def test_bad_files_stop_the_run_and_are_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dials(monkeypatch)
    plain("data/own/a/1.png", "data/own/b/1.png")
    touch(project / "data/own", "a/text.png", "b/line\nbreak.png", "top.png")
    with pytest.raises(InputError, match=r"fetch: 3 files are not images: top\.png .lies in no class folder.; ") as caught:
        fetch.main()
    said = str(caught.value)
    assert "a/text.png (cannot identify image file)" in said and "'b/line\\nbreak.png'" in said and "\n" not in said
    assert said.endswith("; mend them or set data.on_bad: quarantine") and not Path("data/index.csv").exists()


def test_bad_files_are_left_out_and_listed(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    dials(monkeypatch, on_bad="quarantine")
    zoo(BAD, "bad")
    names = [name for name in BAD if name != "folder.png"]
    plain(*(f"data/own/{kind}/{k}.png" for kind in ("a", "b") for k in range(4)))
    Path("data/own/empty").mkdir()
    fetch.main()
    told = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("fetch: left out bad/") for line in told) == len(names)
    assert "fetch: class 'bad' has no image, so it is left out" in told
    assert "fetch: data/own/empty: is empty, so there is no class 'empty' in it" in told
    dataset = read_dataset(Path("data/dataset.json"))
    assert dataset.classes == ["a", "b"] and dataset.notes[0].startswith(f"{len(names)} files that are not images were left out: bad/")
    assert sorted(path.name for path in Path("data/raw").iterdir()) == ["a", "b"]


def test_groups_are_asked_of_images_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain(*(f"data/own/{kind}/patient_{k // 2}_{k}.png" for kind in ("a", "b") for k in range(8)))
    touch(project / "data/own", "a/notes.txt")
    group = r"(?P<group>patient_\d+)_"
    dials(monkeypatch, method="grouped", group=group)
    with pytest.raises(InputError, match=r"fetch: 1 file is not images: a/notes\.txt .* data\.on_bad: quarantine"):
        fetch.main()
    dials(monkeypatch, method="grouped", group=group, on_bad="quarantine")
    fetch.main()
    assert sorted(set(read_index(Path("data/index.csv"))["group"])) == [f"patient_{k}" for k in range(4)]
    dataset = read_dataset(Path("data/dataset.json"))
    assert dataset.grouped and dataset.group_name == "group"
    plain("data/own/a/unnamed.png")
    with pytest.raises(InputError, match=r"data\.group: .* matches 16 of 17 paths, not 'a/unnamed\.png'"):
        fetch.main()


def test_a_disk_that_is_full_is_not_the_images_fault(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dials(monkeypatch, on_bad="quarantine")
    plain(*(f"data/own/{kind}/{k}.png" for kind in ("a", "b") for k in range(4)))

    def full(origin: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(InputError, match=r"fetch: data/own/./0\.png cannot be copied to data/raw/./0\.png: No space left on device"):
        fetch.main()


def test_a_csv_through_the_stage(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dials(monkeypatch, source="csv", table="labels.csv", method="grouped", on_bad="quarantine")
    plain(*(f"data/own/x {k}.PNG" for k in range(16)))
    rows = [f"x {k}.PNG,{'ab'[k % 2]},g{k // 2}" for k in range(16)]
    Path("data/own/labels.csv").write_text("\n".join(["path,label,group", *rows, "gone.png,a,g9"]))
    fetch.main()
    index = read_index(Path("data/index.csv"))
    assert index["id"].tolist() == [f"x {k}.PNG" for k in range(16)] and len(set(index["group"])) == 8
    assert read_dataset(Path("data/dataset.json")).notes == [
        "1 files that are not images were left out: gone.png (no such file or directory)."
    ]


def test_prepare_names_a_file_that_was_spoilt_since(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dials(monkeypatch)
    plain(*(f"data/own/{kind}/{k}.png" for kind in ("a", "b") for k in range(4)))
    fetch.main()
    Path("data/raw/a/1.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"prepare: data/raw/a/1\.png: the file is empty; run `dvc repro -f fetch`"):
        prepare.main()
    assert not Path("data/images.npy").exists()


def test_prepare_writes_what_numpy_would(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dials(monkeypatch)
    for kind in ("a", "b"):
        for k in range(4):
            Path(f"data/own/{kind}").mkdir(parents=True, exist_ok=True)
            scene(40 + k, 33).save(f"data/own/{kind}/{k}.png")
    fetch.main()
    prepare.main()
    np.save("again.npy", np.load("data/images.npy"))
    assert Path("again.npy").read_bytes() == Path("data/images.npy").read_bytes()


# ---- whether the data can fill the folds


def world(**columns: Any) -> tuple[pd.DataFrame, Dataset]:
    n = 24
    plain = {"id": [f"i{k}" for k in range(n)], "label": ["cat", "dog"] * (n // 2), "domain": "all", "split": ""}
    index = pd.DataFrame({**plain, "group": [f"g{k // 2}" for k in range(n)], **columns})
    return index, Dataset("pets", sorted(set(index["label"])), True, False, "group", [])


def parts(train: int, val: int, test: int) -> list[str]:
    return ["train"] * train + ["val"] * val + ["test"] * test


@pytest.mark.parametrize(
    ("columns", "method", "folds", "said"),
    [
        ({"label": "cat"}, "stratified", 2, "fetch: all 24 images are of one class, 'cat'"),
        (
            {"label": ["cat"] * 21 + ["dog"] * 3},
            "stratified",
            4,
            "fetch: class 'dog' has 3 images, too few for 4 folds, which need 5; use fewer",
        ),
        ({"label": ["cat"] * 23 + ["dog"]}, "grouped", 2, "fetch: class 'dog' has 1 image, too few for 2 folds"),
        ({"group": "p1"}, "grouped", 2, "fetch: all 24 images are of one group, 'p1'; use split.method: stratified"),
        ({"group": ["a", "b", "c"] * 8}, "grouped", 2, "fetch: 3 groups cannot fill 2 folds with validation, which need 4"),
        (
            {"label": ["dog"] * 4 + ["cat"] * 20, "group": ["g0"] * 4 + [f"g{k}" for k in range(20)]},
            "grouped",
            2,
            "fetch: class 'dog' lies in one group alone",
        ),
        ({}, "leave_domain_out", 2, "split.method: leave_domain_out needs two domains or more, and the data name one, 'all'; use grouped"),
        (
            {"domain": ["x", "y", "z"] * 8},
            "leave_domain_out",
            2,
            "split.folds: leave_domain_out needs a fold for each of 3 domains (x, y, z)",
        ),
        ({}, "given", 1, "split.method: given needs images that come with train, val and test, and no image has one"),
        ({"split": ["", *parts(20, 0, 3)]}, "given", 1, "and 1 of 24 images lack one; use grouped or stratified"),
        ({"split": "train"}, "given", 1, "split.method: given: no image is in test and no val"),
        ({"split": parts(0, 12, 12)}, "given", 1, "split.method: given: no image is in train"),
        ({"split": parts(22, 1, 1)}, "given", 1, "split.method: given: all val images are of one class, 'cat'"),
        (
            {"split": parts(16, 4, 4), "label": ["cat", "dog"] * 10 + ["cat", "dog", "cow", "cow"]},
            "given",
            1,
            "class 'cow' has 0 in train, where 1",
        ),
        (
            {"split": parts(16, 0, 8), "label": ["cow", *["cat", "dog"] * 11, "cow"]},
            "given",
            1,
            "class 'cow' has 1 in train, where 2 are needed",
        ),
    ],
)
def test_data_that_cannot_fill_the_folds_are_told_by_name(columns: dict[str, Any], method: str, folds: int, said: str) -> None:
    with pytest.raises(InputError) as caught:
        check_enough(*world(**columns), method, folds)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "method", "folds"),
    [
        ({}, "grouped", 4),
        ({"group": "p1"}, "stratified", 4),
        ({"domain": ["x", "y"] * 12}, "leave_domain_out", 2),
        ({"split": parts(12, 6, 6)}, "given", 1),
        ({"split": parts(12, 12, 0)}, "given", 1),
        ({"split": parts(12, 0, 12)}, "given", 1),
    ],
)
def test_data_that_can_pass(columns: dict[str, Any], method: str, folds: int) -> None:
    check_enough(*world(**columns), method, folds)


def test_groups_that_nobody_named_are_not_counted() -> None:
    index, dataset = world(group="p1")
    check_enough(index, Dataset(**{**vars(dataset), "grouped": False}), "grouped", 4)


@pytest.mark.parametrize(
    ("make", "said"), [(lambda: plain("data/own/a/1.png", "data/own/b/1.png"), "class 'a' has 1 image, too few for 2 folds")]
)
def test_it_is_told_before_anything_is_written(project: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], None], said: str) -> None:
    dials(monkeypatch)
    make()
    with pytest.raises(InputError, match=said):
        fetch.main()
    assert not Path("data/index.csv").exists()
