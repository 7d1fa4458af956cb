"""Networks of timm and torchvision: their own preprocessing, weights from files that run no code, one clear line for what does not fit."""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from thaw.architectures import encoder_of, tensors_in
from thaw.backbones import build_backbone
from thaw.errors import InputError
from thaw.files import sha256_of_file
from thaw.packaged import PACKAGED, renamed_state
from thaw.views import Recipe, evaluation_view, normalise
from thaw.weights import Weights, parse_weights

SIZE = 64


@pytest.fixture(autouse=True)
def hubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty hub of PyTorch's, and none that answers."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "hub"))
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("thaw.hubs.unreachable", lambda url: f"no route to {url}")
    yield tmp_path / "hub/checkpoints"
    torch.hub.set_dir(before)


def images(n: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 80, 80, 3), dtype=np.uint8)


def saved(path: Path, network: torch.nn.Module) -> str:
    torch.save(network.state_dict(), path)
    return sha256_of_file(path)


def seeded(build: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return build().eval()


# ---- names


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("lite0", Weights("packaged", "lite0")),
        ("lite2:random", Weights("packaged", "lite2", random=True)),
        ("timm/resnet18.a1_in1k", Weights("timm", "resnet18.a1_in1k")),
        ("timm/vit_tiny_patch16_224:random", Weights("timm", "vit_tiny_patch16_224", random=True)),
        ("torchvision/resnet50", Weights("torchvision", "resnet50")),
        ("torchvision/resnet50:IMAGENET1K_V2", Weights("torchvision", "resnet50", "IMAGENET1K_V2")),
        ("torchvision/resnet50:random", Weights("torchvision", "resnet50", random=True)),
        ("file:models/my weights.pth", Weights("file", "models/my weights.pth")),
    ],
)
def test_names_are_read(text: str, named: Weights) -> None:
    assert parse_weights(text) == named


@pytest.mark.parametrize("text", ["lite9", "", "timm/", "timm/a b", "torchvision/x:y:z", "file:", "resnet18", "hub/x", "lite0:zufall"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not lite0, lite1, lite2"):
        parse_weights(text)


# ---- packages


@pytest.mark.parametrize("name", ["lite1", "lite2"])
def test_the_larger_lites_are_published_ones(name: str) -> None:
    theirs = timm.create_model(PACKAGED[name].timm_name.split(".")[0], pretrained=False).state_dict()
    ours = renamed_state(name)
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: tensor.shape for key, tensor in theirs.items()}
    backbone = build_backbone(name, SIZE)
    native = {"lite1": 240, "lite2": 260}[name]
    assert (backbone.dim, backbone.recipe.native_size, backbone.weights_sha256) == (1280, native, PACKAGED[name].sha256)


# ---- torchvision


@pytest.mark.parametrize(
    ("name", "dim", "size"),
    [
        ("resnet18", 512, 64),
        ("mobilenet_v3_small", 1024, 64),
        ("convnext_tiny", 768, 64),
        ("densenet121", 1024, 64),
        ("vit_b_32", 768, 224),
    ],
)
def test_torchvision_gives_what_its_last_linear_layer_sees(name: str, dim: int, size: int, hubs: Path) -> None:
    """With the weights that its hub keeps, the classifier on our features gives the logits of the whole network."""
    whole = seeded(lambda: torchvision.models.get_model(name, weights=None))
    published: Any = torchvision.models.get_model_weights(name)
    file = hubs / Path(published.DEFAULT.url).name
    hubs.mkdir(parents=True)
    saved(file, whole)
    backbone = build_backbone(f"torchvision/{name}", size)
    preset = published.DEFAULT.transforms()
    assert backbone.recipe == Recipe(
        size,
        preset.crop_size[0],
        preset.crop_size[0] / preset.resize_size[0],
        preset.interpolation.value,
        tuple(preset.mean),
        tuple(preset.std),
    )
    assert backbone.weights_sha256 == sha256_of_file(file) and backbone.dim == dim
    x = normalise(evaluation_view(images(), backbone.recipe), backbone.recipe)
    last = [module for module in whole.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.inference_mode():
        assert torch.allclose(last(backbone.encoder(x)), whole(x), atol=1e-4)


def test_resize_is_the_presets_for_every_set_of_weights() -> None:
    """``resize_size`` comes back from the share that the crop keeps, for the sizes that torchvision publishes."""
    for crop, whole in {
        (224, 256),
        (224, 232),
        (224, 224),
        (240, 240),
        (288, 288),
        (384, 384),
        (480, 480),
        (528, 528),
        (224, 236),
        (224, 246),
    }:
        assert Recipe(crop, crop, crop / whole, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).resize == whole


def test_old_names_of_densenet_are_understood(hubs: Path) -> None:
    whole = seeded(lambda: torchvision.models.densenet121(weights=None))
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", name): tensor for name, tensor in whole.state_dict().items()}
    hubs.mkdir(parents=True)
    torch.save(old, hubs / Path(torchvision.models.DenseNet121_Weights.DEFAULT.url).name)
    found = build_backbone("torchvision/densenet121", SIZE).encoder.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in whole.state_dict().items() if not name.startswith("classifier"))


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("torchvision/resnet81", "torchvision has no network 'resnet81'; did you mean"),
        ("torchvision/resnet18:V3", "torchvision has no weights 'V3' of resnet18"),
        ("torchvision/squeezenet1_0:random", "does not end in one linear layer"),
        ("torchvision/inception_v3:random", "gives more than features in training"),
        ("torchvision/vit_b_16:random", r"cannot see images of 64 px .*try another image_size"),
        ("timm/resnet81", "timm has no network 'resnet81'; did you mean"),
        ("timm/resnet18.a9_in1k", "timm has no weights 'a9_in1k' of resnet18; did you mean"),
    ],
)
def test_what_does_not_exist_or_fit_is_one_line(weights: str, said: str) -> None:
    with pytest.raises(InputError, match=f"^backbones: .*{said}") as caught:
        build_backbone(weights, SIZE)
    assert "\n" not in str(caught.value)


# ---- timm


@pytest.mark.parametrize(
    ("name", "size"), [("resnet18.a1_in1k", 64), ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", 96), ("mobilenetv3_small_100", 64)]
)
def test_timm_gives_its_own_features_and_preprocessing(name: str, size: int, tmp_path: Path) -> None:
    """A file of a whole network, classifier included; of another size where position embeddings are resampled."""
    architecture = name.split(".")[0]
    whole = seeded(lambda: timm.create_model(architecture, pretrained=False))
    sha256 = saved(tmp_path / "whole.pth", whole)
    backbone = build_backbone(f"file:{tmp_path}/whole.pth", size, architecture=f"timm/{name}", sha256=sha256)
    config: Any = timm.get_pretrained_cfg(name)
    assert (backbone.recipe.mean, backbone.recipe.interpolation, backbone.recipe.crop) == (
        config.mean,
        config.interpolation,
        config.crop_pct,
    )
    assert backbone.weights_sha256 == sha256
    if "vit" in name:
        assert backbone.encoder.state_dict()["pos_embed"].shape[1] == (size // 16) ** 2 + 1
        return
    x = normalise(evaluation_view(images(), backbone.recipe), backbone.recipe)
    with torch.inference_mode():
        assert torch.allclose(backbone.encoder(x), whole.forward_head(whole.forward_features(x), pre_logits=True), atol=1e-4)


def test_blocks_of_every_kind_partition_their_parameters() -> None:
    for weights in ("timm/resnet18:random", "timm/vit_tiny_patch16_224:random", "torchvision/mobilenet_v3_small:random"):
        backbone = build_backbone(weights, SIZE)
        named = sorted(name for names in backbone.blocks.values() for name in names)
        assert named == sorted(name for name, _ in backbone.encoder.named_parameters()) and len(backbone.blocks) > 3
        assert backbone.weights_sha256 == "random"


def test_random_is_the_same_network_without_its_weights() -> None:
    first, again, scratch = build_backbone("lite0:random", SIZE), build_backbone("lite0:random", SIZE), build_backbone("lite0", SIZE, 0)
    trained = build_backbone("lite0", SIZE)
    stems = [backbone.encoder.state_dict()["conv_stem.weight"] for backbone in (first, again, scratch, trained)]
    assert torch.equal(stems[0], stems[1]) and torch.equal(stems[0], stems[2]) and not torch.equal(stems[0], stems[3])
    assert first.recipe == trained.recipe


# ---- files


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("classes", [1000, 7, 0])
def test_files_of_ones_own(library: str, wrapped: bool, classes: int, tmp_path: Path) -> None:
    """Of any number of classes, or without the classifier; as training tools wrap them; as safetensors."""
    create = timm.create_model if library == "timm" else torchvision.models.get_model
    whole = seeded(lambda: create("resnet18", num_classes=classes or 1000))
    state = {name: tensor for name, tensor in whole.state_dict().items() if classes or not name.startswith("fc.")}
    file = tmp_path / ("my weights.pth" if wrapped else "my weights.safetensors")
    if wrapped:
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, file)
    else:
        save_file(state, file)
    backbone = build_backbone(f"file:{file}", SIZE, architecture=f"{library}/resnet18", sha256=sha256_of_file(file))
    assert backbone.dim == 512
    found = backbone.encoder.state_dict()
    assert found.keys() == {name for name in state if not name.startswith("fc.")}
    assert all(torch.equal(found[name], state[name]) for name in found)


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    with (tmp_path / "trap.pth").open("wb") as file:
        pickle.dump({"weight": Trap()}, file)
    torch.save({"weight": Trap()}, tmp_path / "zipped.pth")
    for name in ("trap.pth", "zipped.pth"):
        with pytest.raises(InputError, match="cannot be read without running code of its own"):
            tensors_in(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_file_of_another_network_does_not_fit(library: str, tmp_path: Path) -> None:
    sha256 = saved(tmp_path / "other.pth", seeded(lambda: torchvision.models.mobilenet_v3_small(weights=None)))
    with pytest.raises(InputError, match=r"^backbones: other.pth does not fit .*resnet18") as caught:
        build_backbone(f"file:{tmp_path}/other.pth", SIZE, architecture=f"{library}/resnet18", sha256=sha256)
    assert "\n" not in str(caught.value)


def test_a_file_is_the_one_that_was_named(tmp_path: Path) -> None:
    def build(sha256: str, architecture: str = "timm/resnet18") -> None:
        build_backbone(f"file:{tmp_path}/w.pth", SIZE, architecture=architecture, sha256=sha256)

    with pytest.raises(InputError, match="there is no file"):
        build("0" * 64)
    (tmp_path / "w.pth").write_bytes(b"text")
    with pytest.raises(InputError, match=f"the sha256 of .* is {sha256_of_file(tmp_path / 'w.pth')}"):
        build("0" * 64)
    for content, said in ((b"text", "cannot be read"), (b"", "cannot be read")):
        (tmp_path / "w.pth").write_bytes(content)
        with pytest.raises(InputError, match=said):
            build(sha256_of_file(tmp_path / "w.pth"))
    torch.save({"a": 1}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="is no state dict"):
        build(sha256_of_file(tmp_path / "w.pth"))
    with pytest.raises(InputError, match="must be timm/<name> or torchvision/<name>"):
        build(sha256_of_file(tmp_path / "w.pth"), "lite0")


def test_without_weights_a_file_is_not_asked_for() -> None:
    found = encoder_of(parse_weights("file:nowhere.pth:random"), SIZE, "timm/resnet18", None, with_weights=False)
    assert found.sha256 is None
