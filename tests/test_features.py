"""Cached features are what the network computes, and the probe on them is the first forward pass of a network that starts from it."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from tiny import BLOCKS, RECIPE, TinyEncoder, tiny_material
from torch import nn

from thaw.backbones import Network, build_backbone, ordered_blocks
from thaw.engines import Begun, Engine
from thaw.errors import InputError
from thaw.features import ENCODER, Extracted, extract, pool
from thaw.finetune import predict
from thaw.heads import Part, fit_logistic
from thaw.views import Recipe, evaluation_view, normalise

NETWORKS = {  # the widths that the library's own tables give
    "test_efficientnet": [24, 16, 24, 32, 48, 64, 256],
    "test_resnet": [32, 32, 48, 192, 96],  # its last block, averaged, is what it gives
    "test_convnext": [24, 24, 32, 48, 64, 64],
    "test_vit": [64] * 8,
}


def everything(encoder: Any, blocks: Any, view: torch.Tensor, recipe: Recipe, batch: int) -> Extracted:
    """Batches put together."""
    found = list(extract(encoder, blocks, view.split(batch), recipe))
    features, outputs = (np.concatenate([getattr(part, name) for part in found]) for name in ("features", "blocks"))
    return Extracted(features, outputs, found[0].widths, found[0].engine)


def test_order_and_values_are_those_of_single_images() -> None:
    encoder, view = TinyEncoder(), tiny_material().view
    X = everything(encoder, BLOCKS, view, RECIPE, 10).features
    encoder.eval()
    with torch.inference_mode():
        alone = np.concatenate([encoder(normalise(view[row : row + 1], RECIPE)).numpy() for row in range(len(view))])
    np.testing.assert_allclose(X, alone, atol=1e-6)
    assert X.dtype == np.float32


def test_an_engine_that_works_ahead_keeps_the_order() -> None:
    encoder, view = TinyEncoder(), tiny_material().view
    batches = view.split(5)  # the last is smaller
    found = [
        np.concatenate([part.features for part in extract(encoder, BLOCKS, batches, RECIPE, name)]) for name in ("torch", "onnxruntime")
    ]
    assert len(batches) > 4 and len(batches[-1]) < 5
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)


@pytest.mark.parametrize(("ahead", "begun"), [(0, 1), (4, 2), (5, 2), (6, 3)])
def test_no_more_is_begun_than_an_engine_wants_ahead(monkeypatch: pytest.MonkeyPatch, ahead: int, begun: int) -> None:
    """Batches of five: that which is waited for, and as many as hold ``ahead`` images. What was begun and is not wanted is cancelled."""
    state, view = {"begun": 0, "waited": 0, "cancelled": 0}, tiny_material().view

    def count(what: str, *values: Any) -> list[Any]:
        state[what] += 1
        return list(values)

    def begin(pixels: torch.Tensor) -> Begun:
        count("begun")
        return Begun(lambda: count("waited", *(np.zeros((len(pixels), width), np.float32) for width in (6, 4))), lambda: count("cancelled"))

    monkeypatch.setattr("thaw.features.engine_for", lambda *_: Engine("counted", begin, ahead))
    found = extract(TinyEncoder(), BLOCKS, view.split(5), RECIPE)
    next(found)
    assert state == {"begun": begun, "waited": 1, "cancelled": 0}
    found.close()
    assert state == {"begun": begun, "waited": 1, "cancelled": begun - 1}


def test_a_training_encoder_is_put_into_evaluation_mode() -> None:
    encoder, view = TinyEncoder().train(), tiny_material().view
    before = encoder.bn.running_mean.clone()  # type: ignore[union-attr]
    first, again = (everything(encoder, BLOCKS, view, RECIPE, 16).features for _ in range(2))
    assert (first == again).all() and torch.equal(encoder.bn.running_mean, before)  # type: ignore[arg-type]


def test_features_that_are_no_numbers_are_said() -> None:
    encoder, view = TinyEncoder(), tiny_material().view
    with torch.no_grad():
        next(encoder.parameters()).fill_(float("inf"))
    with pytest.raises(InputError, match="not finite"):
        everything(encoder, BLOCKS, view, RECIPE, 16)


def test_probe_equals_first_forward_pass_of_lp_ft() -> None:
    """Real weights, float32: a head fitted on cached features and put on the network gives the same logits to 1e-4 of their scale."""
    images = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 1), dtype=np.uint8)
    backbone = build_backbone("lite0", 64)
    view = evaluation_view(images, backbone.recipe)
    X = everything(backbone.encoder, backbone.blocks, view, backbone.recipe, 32).features
    y = np.arange(40) % 2
    head = fit_logistic(Part(X[:30], y[:30]), Part(X[30:], y[30:]), [1e-2], "auc", 2).head
    assert head is not None
    network = Network(backbone.encoder, backbone.dim, 2)
    network.head.load_state_dict({"weight": torch.from_numpy(head.W), "bias": torch.from_numpy(head.b)})
    logits = predict(network, view, np.arange(40), backbone.recipe, batch_size=7)
    expected = head.logits(X)
    assert np.abs(logits - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())


def network(name: str, size: int = 160) -> tuple[nn.Module, torch.Tensor, Recipe]:
    """A tiny network with random weights, norm layers with statistics of their own, and five images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = timm.create_model(name, num_classes=0).eval()
        for layer in encoder.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
                layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        view = torch.randint(0, 256, (5, 3, size, size), dtype=torch.uint8)
    return encoder, view, Recipe(size, size, 1.0, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def by_hand(name: str, encoder: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """Outputs of the blocks from the library's `forward_intermediates` and from calling the first layers one by one."""
    final, maps = encoder.forward_intermediates(x, norm=False)
    stem = {
        "test_efficientnet": lambda: encoder.bn1(encoder.conv_stem(x)),
        "test_resnet": lambda: encoder.maxpool(encoder.act1(encoder.bn1(encoder.conv1(x)))),
        "test_convnext": lambda: encoder.stem(x),
        "test_vit": lambda: encoder.norm_pre(encoder.patch_drop(encoder._pos_embed(encoder.patch_embed(x)))),
    }[name]()
    if name == "test_efficientnet":  # the library names maps where the resolution falls: the others by hand
        maps, at = [], stem
        for block in encoder.blocks:
            at = block(at)
            maps.append(at)
    if name == "test_resnet":
        maps = maps[1:-1]  # the first is the stem's before it is pooled, the last averages to the encoder's output
    if name == "test_vit":
        maps, at = [], stem
        for block in encoder.blocks:
            at = block(at)
            maps.append(at)
        torch.testing.assert_close(encoder.norm(at), final)
    return [stem, *maps]


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_are_what_the_library_gives_pooled(name: str) -> None:
    encoder, view, recipe = network(name)
    found = everything(encoder, ordered_blocks(encoder), view, recipe, 2)
    with torch.inference_mode():
        x = normalise(view, recipe)
        outputs = by_hand(name, encoder, x)
        pooled = [o.mean(dim=(2, 3)) if o.ndim == 4 else o.mean(dim=1) for o in outputs] + [encoder(x)]
    assert [width for _, width in found.widths] == NETWORKS[name] == [columns.shape[1] for columns in pooled]
    names = [block for block, _ in found.widths]
    assert names == [*list(ordered_blocks(encoder))[: len(names) - 1], ENCODER]
    np.testing.assert_allclose(found.blocks, torch.cat(pooled, dim=1).numpy(), rtol=1e-4, atol=1e-5)
    assert found.blocks.dtype == np.float32


@pytest.mark.parametrize("name", NETWORKS)
def test_watching_the_blocks_changes_no_bit_of_the_features(name: str) -> None:
    encoder, view, recipe = network(name, 96 if name != "test_vit" else 160)
    found = everything(encoder, ordered_blocks(encoder), view, recipe, 2)
    with torch.inference_mode():
        alone = np.concatenate([encoder(normalise(view[start : start + 2], recipe)).numpy() for start in (0, 2, 4)])
    assert found.features.tobytes() == alone.tobytes()
    assert (found.blocks[:, -found.features.shape[1] :] == found.features).all()
    assert not any(layer._forward_hooks for layer in encoder.modules())


def test_axes_that_are_averaged() -> None:
    rng = np.random.default_rng(0)
    for shape, channels_last, axes in [
        ((2, 5, 3, 3), False, (2, 3)),
        ((2, 5, 3, 3), True, (2, 3)),  # the equal axes are the places
        ((2, 3, 3, 5), False, (1, 2)),
        ((2, 3, 3, 3), False, (2, 3)),
        ((2, 3, 3, 3), True, (1, 2)),
        ((2, 7, 5), False, (1,)),
        ((2, 5), False, ()),
    ]:
        output = rng.normal(size=shape)
        np.testing.assert_allclose(pool(torch.from_numpy(output), channels_last).numpy(), output.mean(axis=axes))
    with pytest.raises(InputError, match="5 axes"):
        pool(torch.zeros(2, 3, 4, 4, 4), False)


def test_a_block_without_a_layer_is_said() -> None:
    class Lonely(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(3))
            self.top = nn.Conv2d(3, 4, 3)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.top(pixels + self.shift[:, None, None]).mean(dim=(2, 3))

    with pytest.raises(InputError, match="block 'shift' has no layer"):
        blocks = {"shift": ["shift"], "top": ["top.weight", "top.bias"]}
        next(extract(Lonely(), blocks, tiny_material().view.expand(-1, 3, -1, -1).split(8), RECIPE))
