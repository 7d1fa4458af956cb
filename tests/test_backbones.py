"""The loaded backbone is the published one: names, photographs, and what a wrong recipe does."""

from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from thaw.architectures import recipe_of
from thaw.backbones import IMAGENET_MEAN, IMAGENET_STD, Backbone, Network, build_backbone, mistaken
from thaw.errors import InputError
from thaw.images import decode_square
from thaw.packaged import PACKAGED, encoder_state, packaged_file, renamed_state
from thaw.views import Recipe, evaluation_view, normalise

PHOTOGRAPHS = {  # package, file -> ImageNet classes that a person would accept
    ("skimage", "data/chelsea.png"): {"tabby", "tiger cat", "Egyptian cat"},
    ("skimage", "data/coffee.png"): {"espresso", "cup", "coffee mug"},
    ("skimage", "data/rocket.jpg"): {"missile", "projectile"},
    ("skimage", "data/motorcycle_left.png"): {"moped", "motor scooter"},
    ("sklearn", "datasets/images/china.jpg"): {"palace"},
    ("sklearn", "datasets/images/flower.jpg"): {"daisy"},
}
WRONG = {  # the usual mistakes
    "ImageNet's mean and std": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "no normalisation": {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
    "values 0..255": {"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255)},
}


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return build_backbone("lite0", 224)


def test_the_name_map_is_complete_and_exact() -> None:
    """296 tensors on each side, the same names, the same shapes: nothing is left over and nothing is left random."""
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    ours = renamed_state("lite0")
    assert len(ours) == len(theirs) == 296
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: tensor.shape for name, tensor in theirs.items()}


def right_answers(recipe: Recipe) -> int:
    """How many of the photographs the full classifier puts into a sensible class."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    classifier = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    classifier.load_state_dict(renamed_state("lite0"))
    right = 0
    for (package, file), sensible in PHOTOGRAPHS.items():
        spec = find_spec(package)
        assert spec is not None and spec.origin is not None
        square = decode_square(Path(spec.origin).parent / file, 300, 3)
        with torch.inference_mode():
            logits = classifier(normalise(evaluation_view(square[None], recipe), recipe))
        right += _IMAGENET_CATEGORIES[int(logits.argmax())] in sensible
    return right


def test_photographs_are_recognised(lite0: Backbone) -> None:
    assert right_answers(lite0.recipe) == len(PHOTOGRAPHS)


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_normalisation_would_be_noticed(lite0: Backbone, mistake: str) -> None:
    assert right_answers(replace(lite0.recipe, **WRONG[mistake])) < len(PHOTOGRAPHS)


def test_the_recipe_is_the_checkpoints_own(lite0: Backbone) -> None:
    assert lite0.recipe == Recipe(224, 224, 0.875, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model: Any = timm.create_model("tf_efficientnet_lite0")
    assert recipe_of(model.pretrained_cfg) == lite0.recipe
    small = build_backbone("lite0", 96).recipe
    assert small == replace(lite0.recipe, image_size=96)
    assert (lite0.recipe.resize, small.resize) == (256, 109)


def test_blocks_are_ordered_and_partition_the_parameters(lite0: Backbone) -> None:
    assert list(lite0.blocks) == ["conv_stem", *(f"blocks.{number}" for number in range(7))]
    names = [name for block in lite0.blocks.values() for name in block]
    assert sorted(names) == sorted(name for name, _ in lite0.encoder.named_parameters())
    assert "conv_head.weight" in lite0.blocks["blocks.6"]
    assert lite0.dim == 1280


def test_random_weights_come_from_their_seed_and_leave_the_global_state_alone(lite0: Backbone) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (build_backbone("lite0", 32, random_seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    stem = "conv_stem.weight"
    assert torch.equal(first.encoder.state_dict()[stem], again.encoder.state_dict()[stem])
    assert not torch.equal(first.encoder.state_dict()[stem], other.encoder.state_dict()[stem])
    assert first.weights_sha256 == "random" and lite0.weights_sha256 == PACKAGED["lite0"].sha256
    assert torch.equal(lite0.encoder.state_dict()[stem], encoder_state("lite0")[stem])


def test_a_file_that_is_not_the_pinned_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED, "lite0", replace(PACKAGED["lite0"], sha256="0" * 64))
    with pytest.raises(InputError, match=r"is not the file that 'lite0' names"):
        packaged_file("lite0")


def test_a_missing_package_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED, "lite0", replace(PACKAGED["lite0"], package="not_installed_at_all"))
    with pytest.raises(InputError, match=r"need the package not-installed-at-all; run `make setup`"):
        packaged_file("lite0")


def test_a_network_has_a_zero_head(lite0: Backbone) -> None:
    network = Network(lite0.encoder, lite0.dim, 3)
    assert not network.head.weight.any() and not network.head.bias.any()


def test_each_mismatch_gets_one_thing_wrong() -> None:
    right = Recipe(96, 224, 0.875, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    changed = {
        name: {field for field in asdict(right) if getattr(mistaken(right, name), field) != getattr(right, field)}
        for name in ("normalisation", "no_normalisation", "interpolation", "size")
    }
    assert changed == {
        "normalisation": {"mean", "std"},
        "no_normalisation": {"mean", "std"},
        "interpolation": {"interpolation"},
        "size": {"image_size"},
    }
    usual = replace(right, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert mistaken(usual, "normalisation").mean == (0.5, 0.5, 0.5)  # where ImageNet's are right, they would be no mistake
    with pytest.raises(ValueError, match="unknown mismatch"):
        mistaken(right, "sizes")


@pytest.mark.parametrize("name", ["normalisation", "no_normalisation", "interpolation", "size"])
def test_a_mismatch_reaches_what_the_network_sees(name: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    right = build_backbone("lite0", 32).recipe
    wrong = build_backbone("lite0", 32, mismatch=name).recipe
    seen, mistaken_view = (normalise(evaluation_view(images, recipe), recipe) for recipe in (right, wrong))
    assert seen.shape != mistaken_view.shape or (seen - mistaken_view).abs().max() > 0.1
