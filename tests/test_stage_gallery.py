"""The stage on a small project whose networks look for bright squares: files, pictures, which strategy explains, lines for bad input."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from safetensors.torch import save_file
from torch import nn

from thaw.backbones import Backbone, Network, build_backbone
from thaw.errors import InputError
from thaw.explain import class_activation, enlarged
from thaw.features import extract
from thaw.gallery import SIDE, as_seen, overlaid, png
from thaw.index import write_index
from thaw.inputs import predict
from thaw.runs import Identity, Predictions, Record, read_record, write_predictions, write_record
from thaw.splits import write_splits
from thaw.stages import gallery
from thaw.views import Recipe, evaluation_view, normalise

ROOT = Path(__file__).parents[1]
RECIPE = Recipe(32, 32, 0.8, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # of 40 px all but 4 on each side are seen
N, PX, SQUARE = 48, 40, 12
CLASSES = ["plain", "a spot / “bright”"]
GROUPS = [f"tile {row // 6}" for row in range(N)]
FOLD = np.arange(N) // 24


class Bright(nn.Module):
    """How bright and how dark the 4 x 4 px patches are: (B, 3, 32, 32) -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 2, 4, stride=4, bias=False)
        nn.init.constant_(self.patches.weight[0], -1 / 48)
        nn.init.constant_(self.patches.weight[1], 1 / 48)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.patches(pixels).relu().mean(dim=(2, 3))


def network(fold: int, encoder: nn.Module | None = None) -> Network:
    """Each fold's network has a scale of its own; bright squares speak for class 1."""
    made = Network(encoder or Bright(), 2, 2)
    with torch.no_grad():
        made.head.weight.copy_(torch.tensor([[1.0, -20.0], [-1.0, 20.0]]) * (1 + fold))
        made.head.bias.copy_(torch.tensor([0.3, -0.3]))
    return made.eval()


def corners() -> np.ndarray:
    """(N, 2) row and column of each image's square, within what is seen."""
    return np.random.default_rng(0).integers(6, PX - SQUARE - 6, (N, 2))


def pictures() -> np.ndarray:
    """Every second image has a bright square."""
    images = np.random.default_rng(1).integers(30, 60, (N, PX, PX, 1)).astype(np.uint8)
    for row, (top, left) in enumerate(corners()):
        images[row, top : top + SQUARE, left : left + SQUARE] = 240 if row % 2 else 50
    return images


def labels() -> np.ndarray:
    """The square decides, but for every third pair of images, where the labels are wrong."""
    numbers = np.arange(N)
    return np.where(numbers // 2 % 3 == 0, 1 - numbers % 2, numbers % 2)


def write_run(strategy: str, kind: str, fold: int, control: bool = False) -> None:
    """A run whose logits are those of `network`, whatever the strategy is called; the images of the other fold are its validation."""
    run, made = Identity("eye", strategy, fold), network(fold)
    rows = np.random.default_rng(fold).permutation(N)
    logits = predict(made, evaluation_view(pictures(), RECIPE), rows, RECIPE)
    role = np.where(FOLD[rows] == fold, "test", "val")
    write_predictions(Predictions(np.array([f"../id {row}" for row in rows]), role, logits), run.folder())
    said = {"record_id": "0", "dataset": "toy", "classes": CLASSES, "inputs": {}, "groups": [], "history": [], "metrics": {}}
    identity = {"backbone": run.backbone, "strategy": strategy, "fold": fold, "kind": kind, "control": control}
    write_record(Record(**said, **identity, trainable_parameters=0, preprocessing=asdict(RECIPE)), run.folder())  # type: ignore[arg-type]
    if kind == "finetune":
        save_file(made.state_dict(), run.folder() / "model.safetensors")
    elif strategy != "knn":
        save_file(made.head.state_dict(), run.folder() / "head.safetensors")


def write_metrics(values: dict[str, float], winner: str, thresholds: list[float] | None = None) -> None:
    pooled = {f"eye/{name}": {"roc_auc": value, "thresholds": thresholds} for name, value in values.items()}
    found = {"classes": CLASSES, "primary": "roc_auc", "pooled": pooled, "winner": {"backbone": "eye", "strategy": winner}}
    Path("reports/metrics.json").write_text(json.dumps(found, sort_keys=True))


def listed(**pair: Any) -> dict[str, Any]:
    return {"near_duplicates": {"pairs": 1, "listed": [{"hash_distance": 3, "cosine": 0.98, "across_folds": True} | pair]}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folds, eight groups, and runs of a fine-tuned strategy, three heads and a control, all with the same logits."""
    monkeypatch.chdir(tmp_path)
    yaml = YAML()
    tree = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    tree["split"]["folds"] = [0, 1]
    tree["report"]["gallery"] = 10
    tree["backbones"]["eye"] = {"weights": "lite0", "image_size": 32}
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(tree, file)
    Path("reports").mkdir()
    ids = [f"../id {row}" for row in range(N)]
    index = pd.DataFrame({"id": ids, "label": [CLASSES[k] for k in labels()], "group": GROUPS, "path": "x", "domain": "all"})
    write_index(index.assign(split="", weight=1.0, width=PX, height=PX, channels=1, sha256="0"), Path("data/index.csv"))
    roles = {f"role_{fold}": np.where(fold == FOLD, "test", "train") for fold in (0, 1)}
    write_splits(pd.DataFrame({"id": ids, "fold": FOLD} | roles), Path("data/splits.csv"))
    np.save("data/images.npy", pictures())
    for fold in (0, 1):
        write_run("full", "finetune", fold)
        for head in ("linear_probe", "head2toe", "knn"):
            write_run(head, "head", fold)
        write_run("ridge", "head", fold, control=True)  # as on a backbone whose preprocessing is wrong on purpose
    write_metrics({"full": 0.9, "linear_probe": 0.8, "head2toe": 0.7, "ridge": 0.5}, "full", [0.5, 0.5])
    Path("reports/leakage.json").write_text("{}")
    monkeypatch.setattr(gallery, "backbone_of", lambda settings: Backbone(Bright(), 2, {}, RECIPE, "random"))
    return tmp_path


def found() -> dict[str, Any]:
    return json.loads(Path("data/gallery/gallery.json").read_text())


def everything() -> dict[str, bytes]:
    folder = Path("data/gallery")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def row_of(error: dict[str, Any]) -> int:
    return int(error["id"].removeprefix("../id "))


def opened(name: str) -> np.ndarray:
    return np.asarray(Image.open(Path("data/gallery") / name).convert("RGB")).astype(int)


def test_errors_are_the_wrong_ones_and_files_are_numbered(project: Path) -> None:
    gallery.main()
    told = found()
    assert set(told) == {"winner", "explained", "method", "note", "errors", "duplicates"}
    assert (told["winner"], told["explained"], told["method"], told["duplicates"]) == ("eye/full", "eye/full", "Grad-CAM", [])
    assert len(told["errors"]) == 10
    for number, error in enumerate(told["errors"]):
        row = row_of(error)
        assert row // 2 % 3 == 0 and (error["fold"], error["group"]) == (FOLD[row], GROUPS[row])
        assert (error["true"], error["predicted"]) == (CLASSES[labels()[row]], CLASSES[row % 2])
        assert 0.5 < error["probability"] <= 1
        assert (error["image"], error["cam"]) == (f"errors/{number:03d}.png", f"errors/{number:03d}-cam.png")
        assert opened(error["image"]).shape == opened(error["cam"]).shape == (SIDE, SIDE, 3)
    assert len(everything()) == 1 + 2 * 10
    confidences = [error["probability"] for error in told["errors"]]
    assert confidences == sorted(confidences, reverse=True)
    assert [error["true"] for error in told["errors"]].count(CLASSES[0]) == 5


def test_the_hot_spot_lies_on_the_square(project: Path) -> None:
    """In the picture's own px; crop 0.8 of 40 px is 32 px from px 4. Gray has no colour, so what is yellow is heat."""
    gallery.main()
    spots = [error for error in found()["errors"] if error["predicted"] == CLASSES[1]]
    assert len(spots) == 5
    for error in spots:
        cam = opened(error["cam"])
        place = np.array(np.unravel_index((cam[..., 0] - cam[..., 2]).argmax(), (SIDE, SIDE)))
        first = (corners()[row_of(error)] - 4) * SIDE / 32
        assert (first <= place).all() and (place < first + SQUARE * SIDE / 32).all()
        inside = opened(error["image"])[tuple(first.astype(int) + SIDE // 8)]  # the plain picture shows the square at the same place
        assert inside.min() > 200


@pytest.mark.parametrize("strategy", ["full", "linear_probe"])
def test_the_maps_are_those_of_the_fold_that_tests_the_image(project: Path, strategy: str) -> None:
    """Fold 1's stored tensors are replaced, so that both the folder and every tensor in it matter."""
    torch.manual_seed(0)
    swapped = network(1, Bright())
    nn.init.normal_(swapped.head.weight)
    if strategy == "full":
        nn.init.normal_(swapped.backbone.patches.weight)  # type: ignore[arg-type, union-attr]
        save_file(swapped.state_dict(), Path("runs/eye/full/1/model.safetensors"))
    else:
        save_file(swapped.head.state_dict(), Path("runs/eye/linear_probe/1/head.safetensors"))
    write_metrics({strategy: 0.9}, strategy, [0.5, 0.5])
    gallery.main()
    assert {error["fold"] for error in found()["errors"]} == {0, 1}
    for error in found()["errors"]:
        image = pictures()[[row_of(error)]]
        made = swapped if error["fold"] == 1 else network(0)
        classes = torch.tensor([CLASSES.index(error["predicted"])])
        activation = class_activation(made, normalise(evaluation_view(image, RECIPE), RECIPE), classes)
        assert activation is not None
        expected = overlaid(as_seen(image, RECIPE)[0], enlarged(activation, SIDE)[0].numpy())
        assert everything()[error["cam"]] == png(expected)


def test_only_the_folds_that_are_needed_are_read(project: Path) -> None:
    Path("runs/eye/full/1/model.safetensors").unlink()
    index = pd.read_csv("data/index.csv", keep_default_na=False)
    index.loc[FOLD == 1, "label"] = [CLASSES[row % 2] for row in np.flatnonzero(FOLD == 1)]  # no errors there
    write_index(index, Path("data/index.csv"))
    gallery.main()
    assert {error["fold"] for error in found()["errors"]} == {0}


def test_a_winner_without_a_map_is_explained_by_the_best_that_has_one(project: Path) -> None:
    """Controls never explain; thresholds decide what is an error."""
    write_metrics({"knn": 0.9, "head2toe": 0.95, "ridge": 0.85, "full": 0.6, "linear_probe": 0.8}, "head2toe", [0.5, 1.1])
    gallery.main()
    told = found()
    assert (told["winner"], told["explained"]) == ("eye/head2toe", "eye/linear_probe")
    assert told["note"].startswith("eye/head2toe has no such map") and "eye/linear_probe, the best strategy that has one" in told["note"]
    assert {error["predicted"] for error in told["errors"] if error["fold"] == 1} == {CLASSES[0]}
    assert all(error["cam"] for error in told["errors"])


def test_no_network_no_maps(project: Path) -> None:
    write_metrics({"knn": 0.9, "ridge": 0.5}, "knn")
    gallery.main()
    told = found()
    assert (told["explained"], told["method"]) == (None, None) and "no maps" in told["note"]
    assert len(told["errors"]) == 10 and {error["cam"] for error in told["errors"]} == {None}
    assert not any("cam" in name for name in everything())


def test_an_encoder_without_places_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    monkeypatch.setattr(gallery, "backbone_of", lambda settings: Backbone(flat, 2, {}, RECIPE, "random"))
    write_metrics({"linear_probe": 0.9}, "linear_probe", [0.5, 0.5])
    gallery.main()
    told = found()
    assert (told["explained"], told["method"]) == (None, None)
    assert told["note"] == "The encoder of eye has no output with places, so there are no maps."


def test_nothing_to_show(project: Path) -> None:
    write_metrics({"full": 0.9}, "full", [1.1, 1.1])
    index = pd.read_csv("data/index.csv", keep_default_na=False)
    write_index(index.assign(label=CLASSES[0]), Path("data/index.csv"))
    gallery.main()
    assert (found()["errors"], found()["explained"], found()["note"]) == ([], None, "There are no errors to show.")
    assert list(everything()) == ["gallery.json"]


def test_equal_inputs_give_equal_bytes_and_nothing_stays_behind(project: Path) -> None:
    Path("reports/leakage.json").write_text(json.dumps(listed(a="../id 3", b="../id 30")))
    gallery.main()
    first = everything()
    Path("data/gallery/errors/099.png").write_bytes(b"of an earlier run")
    gallery.main()
    assert everything() == first


def test_near_duplicates_stand_side_by_side(project: Path) -> None:
    Path("reports/leakage.json").write_text(json.dumps(listed(a="../id 3", b="../id 30")))
    gallery.main()
    (pair,) = found()["duplicates"]
    images = {"image_a": "duplicates/000-a.png", "image_b": "duplicates/000-b.png"}
    words = {"label_a": CLASSES[labels()[3]], "label_b": CLASSES[labels()[30]], "a": "../id 3", "b": "../id 30"}
    assert pair == words | images | {"fold_a": 0, "fold_b": 1, "hash_distance": 3, "cosine": 0.98}
    whole = np.kron(pictures()[3, ..., 0], np.ones((SIDE // PX, SIDE // PX)))
    assert np.abs(opened(pair["image_a"])[..., 0] - whole).mean() < 8  # the whole image, edges included, but for interpolation


def test_images_of_a_given_split_that_nobody_tests_are_in_no_fold(project: Path) -> None:
    roles = np.where(np.arange(N) < 10, "train", np.where(FOLD == 0, "test", "val"))
    ids = [f"../id {row}" for row in range(N)]
    write_splits(pd.DataFrame({"id": ids, "fold": np.where(roles == "test", 0, -1), "role_0": roles}), Path("data/splits.csv"))
    assert gallery.read_data(CLASSES, [0]).fold == [0 if role == "test" else -1 for role in roles]


def test_an_image_that_the_index_lacks_is_said(project: Path) -> None:
    Path("reports/leakage.json").write_text(json.dumps(listed(a="../id 3", b="gone")))
    with pytest.raises(InputError, match=r"^reports/leakage.json: data/index.csv has no image 'gone'; run `dvc repro -f audit`$"):
        gallery.main()
    Path("reports/leakage.json").write_text("{}")
    run = Identity("eye", "full", 0)
    write_predictions(Predictions(np.array(["gone"]), np.array(["test"]), np.zeros((1, 2), np.float32)), run.folder())
    with pytest.raises(InputError, match=r"^runs/eye/full/0/predictions.npz: .* run `dvc repro -f finetune@eye-full-0`$"):
        gallery.main()


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("reports/metrics.json", "evaluate"),
        ("reports/leakage.json", "audit"),
        ("data/index.csv", "fetch"),
        ("data/splits.csv", "split"),
        ("data/images.npy", "prepare"),
        ("runs/eye/full/1/predictions.npz", "finetune@eye-full-1"),
        ("runs/eye/full/0/record.json", "finetune@eye-full-0"),
        ("runs/eye/full/1/model.safetensors", "finetune@eye-full-1"),
        ("runs/eye/linear_probe/0/head.safetensors", "heads@eye"),
    ],
)
def test_a_missing_file_is_one_line_that_names_its_stage(project: Path, path: str, stage: str) -> None:
    if "linear_probe" in path:
        write_metrics({"linear_probe": 0.9}, "linear_probe", [0.5, 0.5])
    Path(path).unlink()
    with pytest.raises(InputError) as error:
        gallery.main()
    assert str(error.value) == f"{path}: is missing; run `dvc repro {stage}`"


def test_the_real_backbone_with_a_stored_head_is_the_network_that_predicted(project: Path) -> None:
    """Lite0 at 32 px: head and encoder put together give the logits of the head on extracted features, and a map of 2 x 2 places."""
    backbone = build_backbone("lite0", 32)
    view = evaluation_view(pictures(), backbone.recipe)
    X = np.concatenate([found.features for found in extract(backbone.encoder, backbone.blocks, view.split(16), backbone.recipe)])
    head = nn.Linear(backbone.dim, 2)
    save_file(head.state_dict(), Path("runs/eye/linear_probe/0/head.safetensors"))
    made = Network(backbone.encoder, backbone.dim, 2)
    record = replace(read_record(Path("runs/eye/linear_probe/0")), preprocessing=asdict(backbone.recipe))
    assert gallery.recipe_of(record) == backbone.recipe
    gallery.load_fold(made, record, 0)
    with torch.no_grad():
        expected = head(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(predict(made, view, np.arange(N), backbone.recipe), expected, atol=1e-4)
    activation = class_activation(made, normalise(view[:2], backbone.recipe), torch.tensor([0, 1]))
    assert activation is not None and activation.shape == (2, 2, 2)
