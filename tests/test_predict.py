"""`thaw predict`: the pipeline's own predictions, streamed; bad files at the end, never in the middle."""

import csv
import io
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from thaw import predict as module
from thaw.backbones import Network, build_backbone
from thaw.calibration import tempered
from thaw.cli import app
from thaw.deployed import Model, read_model
from thaw.errors import InputError
from thaw.export import run_onnx
from thaw.index import read_index
from thaw.inputs import predict
from thaw.metrics import decide
from thaw.predict import AHEAD, decoded, list_files, predict_files, predictions
from thaw.views import evaluation_view


@pytest.fixture(scope="module")
def model(finished: Path) -> Model:
    return read_model(finished / "models/final")


def rows_in(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_are_the_pipelines_own_and_onnx_runtimes(
    finished: Path, model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same weights on data/images.npy, by the function that the cells predict with."""
    table = tmp_path / "out/predictions.csv"
    predict_files([finished / "data/raw"], finished / "models/final", table)
    assert "120 images" in capsys.readouterr().err
    found = rows_in(table)
    index, images = read_index(finished / "data/index.csv"), np.load(finished / "data/images.npy")
    assert [Path(row["path"]).name for row in found] == index["path"].tolist()
    backbone = build_backbone("lite0", 32)
    network = Network(backbone.encoder, backbone.dim, 2)
    network.load_state_dict(load_file(finished / "models/final/model.safetensors"))
    view = evaluation_view(images, backbone.recipe)
    own = tempered(predict(network, view, np.arange(len(view)), backbone.recipe), model.about.temperature)
    said = np.array([[float(row["p_class0"]), float(row["p_class1"])] for row in found])
    np.testing.assert_allclose(said, own, atol=1e-4)
    assert [row["predicted"] for row in found] == [model.about.classes[k] for k in decide(said, model.about.threshold)]
    assert len({row["predicted"] for row in found}) == 2
    _, probabilities = run_onnx(finished / "models/final/model.onnx", view.numpy())
    np.testing.assert_allclose(probabilities, said, atol=1e-3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nested, with what people have lying about: hidden files, other files, upper case, spaces, a broken image among good ones."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8))
    for name in ("b.png", "sub/deep er/A.JPG", "sub/ü.webp", ".hidden.png", ".thumbs/c.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    data = (tmp_path / "in/b.png").read_bytes()
    (tmp_path / "in/cut.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "in/empty.jpg").touch()
    (tmp_path / "in/text.tif").write_text("no image")
    (tmp_path / "in/labels.csv").write_text("a,b\n")
    return tmp_path / "in"


def test_files_stand_once_in_order_without_hidden_ones(folder: Path, tmp_path: Path) -> None:
    found = list_files([folder / "b.png", folder, folder / "sub/../b.png"])
    names = [path.relative_to(folder).as_posix() for path in found.files]
    assert names == ["b.png", "cut.png", "empty.jpg", "text.tif", "sub/ü.webp", "sub/deep er/A.JPG"]
    assert found.left_out == 1
    assert list_files([folder / ".hidden.png"]).files == [folder / ".hidden.png"]  # asked for by name
    with pytest.raises(InputError, match="there is no file or folder"):
        list_files([folder, tmp_path / "nowhere"])
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match=r"predict: no images in .*bare; name image files"):
        list_files([tmp_path / "bare"])


def test_bad_files_are_listed_at_the_end_and_the_others_are_in_the_table(finished: Path, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    done = CliRunner().invoke(app, ["predict", str(folder), "--model", str(finished / "models/final"), "--csv", str(table)])
    assert done.exit_code == 1
    assert [Path(row["path"]).name for row in rows_in(table)] == ["b.png", "ü.webp", "A.JPG"]
    lines = done.stderr.splitlines()
    assert lines[-1].startswith("thaw: predict: 3 of 6 files could not be read")
    assert [name for line in lines for name in ("cut.png", "empty.jpg", "text.tif") if f"{name} is no image" in line] == [
        "cut.png",
        "empty.jpg",
        "text.tif",
    ]
    assert "1 files in the folders have no image's ending" in done.stderr
    assert not list(tmp_path.glob(".table.csv*"))


def test_a_name_that_no_table_can_hold_is_a_bad_file(finished: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    shutil.copyfile(finished / "data/raw/image000.png", images / "a.png")
    shutil.copyfile(finished / "data/raw/image000.png", os.fsencode(images) + b"/b\xff.png")
    table = tmp_path / "table.csv"
    done = CliRunner().invoke(app, ["predict", str(images), "--model", str(finished / "models/final"), "--csv", str(table)])
    assert done.exit_code == 1 and [Path(row["path"]).name for row in rows_in(table)] == ["a.png"]
    assert "its name is not UTF-8" in done.stderr and "thaw: predict: 1 of 2 files could not be read" in done.stderr


def test_without_a_table_rows_go_to_stdout_and_nothing_else_does(finished: Path, folder: Path) -> None:
    done = CliRunner().invoke(app, ["predict", str(folder / "b.png"), "--model", str(finished / "models/final")])
    assert done.exit_code == 0
    header, row = csv.reader(io.StringIO(done.stdout))
    assert header == ["path", "predicted", "p_class0", "p_class1"]
    assert row[1] in ("class0", "class1") and float(row[2]) + float(row[3]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "nowhere"], "nowhere: has no model.json, so there is no model"),
        (["--model", "newer"], "newer/model.json: is of format 99, and this thaw reads format 1"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer/model.json").write_text('{"format": 99}')
    done = CliRunner().invoke(app, ["predict", str(folder), *arguments])
    assert done.exit_code == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1


def test_an_interrupted_table_is_not_there(finished: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> list[list[str]]:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "rows_of", stop)
    with pytest.raises(KeyboardInterrupt):
        predict_files([folder], finished / "models/final", tmp_path / "table.csv")
    assert not list(tmp_path.glob("*table.csv*"))


def test_no_more_files_are_decoded_than_the_network_is_behind() -> None:
    """Memory is bounded: however many files there are, so many are decoded ahead of the one that is asked for."""
    begun, lock = [], threading.Lock()

    def read(path: Path) -> np.ndarray:
        with lock:
            begun.append(path)
        return np.zeros((1, 1, 1), np.uint8)

    files = [Path(f"{number}.png") for number in range(1000)]
    for number, (path, _) in enumerate(decoded(files, read)):
        assert path == files[number]
        assert len(begun) <= number + AHEAD
    assert len(begun) == 1000


def test_rows_keep_the_order_of_the_files_across_batches(finished: Path, model: Model, tmp_path: Path) -> None:
    good = sorted((finished / "data/raw").iterdir())[:70]
    broken = tmp_path / "broken.png"
    broken.touch()
    files, bad, counted = [*good[:40], broken, *good[40:]], [], []
    rows = list(predictions(model, files, bad, counted.append))
    assert [row[0] for row in rows] == [path.as_posix() for path in good]
    assert [path for path, _ in bad] == [broken] and sum(counted) == len(files)


def test_a_copy_of_the_folder_elsewhere_is_a_model(finished: Path, tmp_path: Path, folder: Path) -> None:
    shutil.copytree(finished / "models/final", tmp_path / "mine")
    predict_files([folder / "b.png"], tmp_path / "mine", tmp_path / "table.csv")
    assert len(rows_in(tmp_path / "table.csv")) == 1
