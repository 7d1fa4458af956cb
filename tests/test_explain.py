"""Class-activation maps against the closed form, finite differences, and a network whose reason is known."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from tiny import tiny_network
from torch import nn

from thaw.backbones import Network
from thaw.explain import class_activation, contrast, enlarged, outputs_with_places


def network_on(encoder: nn.Module, dim: int, n_classes: int = 2, seed: int = 0) -> Network:
    """The encoder with a random head, in double precision."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(encoder, dim, n_classes)
        nn.init.normal_(network.head.weight)
    return network.double().eval()


def timm_network(name: str, n_classes: int = 2, **settings: Any) -> Network:
    """One of timm's smallest networks with random weights, norm layers with statistics of their own."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        encoder = timm.create_model(name, num_classes=0, **settings)
        for layer in encoder.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
                layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network_on(encoder, int(encoder.num_features), n_classes)  # type: ignore[arg-type]  # timm sets an int


def pixels(side: int, n: int = 3) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def activation(network: Network, images: torch.Tensor, classes: list[int]) -> torch.Tensor:
    found = class_activation(network, images, torch.tensor(classes))
    assert found is not None
    return found


def weights_of_contrast(network: Network, classes: list[int]) -> torch.Tensor:
    """(B, D): the row of the class minus the mean of the other rows."""
    rows = network.head.weight.detach()
    return torch.stack([rows[c] - torch.stack([row for k, row in enumerate(rows) if k != c]).mean(dim=0) for c in classes])


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_byobnet"])
def test_pooling_and_a_linear_head_give_the_closed_form(name: str, n_classes: int) -> None:
    """CAM (Zhou 2016): ReLU of sum_k w_ck A_k, which Grad-CAM divides by the number of places."""
    network, images, classes = timm_network(name, n_classes), pixels(96), [0, 1, n_classes - 1]
    with torch.no_grad():
        maps = network.backbone.forward_features(images)  # type: ignore[operator]  # timm's word
    closed = torch.einsum("bd,bdhw->bhw", weights_of_contrast(network, classes), maps).relu() / maps[0, 0].numel()
    assert closed.amax() > 0 and (closed == 0).any()  # so that the ReLU matters
    torch.testing.assert_close(activation(network, images, classes), closed, rtol=1e-5, atol=1e-5 * float(closed.amax()))


def test_weights_are_slopes_by_finite_differences() -> None:
    """A network whose pooled map goes through a layer norm: no closed form, but a channel that is shifted at all places moves the
    contrast by the sum of its slopes there."""
    network, images, classes = timm_network("test_convnext", 3), pixels(96), [2, 0, 1]
    encoder: Any = network.backbone

    def contrast_of(maps: torch.Tensor) -> torch.Tensor:
        return contrast(network.head(encoder.forward_head(maps)), torch.tensor(classes))

    with torch.no_grad():
        maps = encoder.forward_features(images)
        steps = 1e-5 * torch.eye(maps.shape[1], dtype=maps.dtype)[:, None, :, None, None]  # (C, 1, C, 1, 1): one channel each
        slopes = torch.stack([(contrast_of(maps + step) - contrast_of(maps - step)) / 2e-5 for step in steps], dim=1)
    expected = torch.einsum("bc,bchw->bhw", slopes / maps[0, 0].numel(), maps).relu()
    assert expected.amax() > 0
    torch.testing.assert_close(activation(network, images, classes), expected, rtol=1e-5, atol=1e-6 * float(expected.amax()))


class Brightness(nn.Module):
    """Two channels of 4 x 4 px patches, how bright and how dark: (B, 3, S, S) -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 2, 4, stride=4, bias=False)
        nn.init.constant_(self.patches.weight[0], 1 / 48)
        nn.init.constant_(self.patches.weight[1], -1 / 48)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.patches(images).relu().mean(dim=(2, 3))


@pytest.mark.parametrize("corner", [(0, 0), (8, 16), (20, 4), (24, 24)])
def test_the_hot_spot_is_what_the_network_decides_by(corner: tuple[int, int]) -> None:
    network = Network(Brightness(), 2, 2)
    nn.init.eye_(network.head.weight)  # class 0: bright, class 1: dark
    top, left = corner
    images = torch.full((1, 3, 32, 32), -0.2)
    images[:, :, top : top + 8, left : left + 8] = 1
    bright, dark = (enlarged(activation(network, images, [k]), 32)[0] for k in (0, 1))
    square = torch.zeros(32, 32, dtype=torch.bool)
    square[top : top + 8, left : left + 8] = True
    assert square.flatten()[bright.argmax()] and bright[square].mean() > 5 * bright[~square].mean()
    assert not square.flatten()[dark.argmax()] and dark[square].mean() < dark[~square].mean() / 2


def torchvision_encoder(name: str) -> nn.Module:
    """A small network of one of torchvision's families, without its last layer."""
    from torchvision.models import ConvNeXt, MobileNetV2, ResNet, SwinTransformer, VisionTransformer, convnext, resnet

    if name == "resnet":
        encoder, last = ResNet(resnet.BasicBlock, [1, 1, 1, 1]), "fc"
    elif name == "mobilenet":
        encoder, last = MobileNetV2(width_mult=0.1), "classifier"
    elif name == "convnext":
        encoder, last = ConvNeXt([convnext.CNBlockConfig(8, 16, 1), convnext.CNBlockConfig(16, None, 1)]), "classifier"
    elif name == "swin":
        encoder, last = SwinTransformer([4, 4], 8, [1, 1], [1, 2], [4, 4]), "head"
    else:
        encoder, last = VisionTransformer(32, 8, 2, 2, 16, 32), "heads"
    setattr(encoder, last, nn.Flatten())
    return encoder


SPATIAL: dict[str, tuple[Callable[[], nn.Module], int, int, tuple[int, int]]] = {  # encoder, D, input px, places
    "torchvision resnet": (lambda: torchvision_encoder("resnet"), 512, 64, (2, 2)),
    "torchvision mobilenet": (lambda: torchvision_encoder("mobilenet"), 1280, 64, (2, 2)),
    "torchvision convnext": (lambda: torchvision_encoder("convnext"), 16, 64, (8, 8)),
    "torchvision swin": (lambda: torchvision_encoder("swin"), 16, 64, (8, 8)),
    "torchvision vit, class token": (lambda: torchvision_encoder("vit"), 16, 32, (4, 4)),
    "timm, a map of one place": (lambda: timm.create_model("test_resnet", num_classes=0), 96, 32, (2, 2)),  # the one below it
    "timm, channels last": (lambda: timm.create_model("test_mambaout", num_classes=0), 256, 96, (3, 3)),
    "timm, tokens, averaged": (lambda: timm.create_model("test_vit2", num_classes=0), 64, 160, (10, 10)),
    "timm, class token": (lambda: timm.create_model("test_vit", num_classes=0), 64, 160, (10, 10)),
    "timm, registers": (lambda: timm.create_model("test_vit", num_classes=0, reg_tokens=4), 64, 160, (10, 10)),
}


@pytest.mark.parametrize("kind", SPATIAL)
def test_encoders_of_both_libraries_have_a_map(kind: str) -> None:
    build, dim, side, places = SPATIAL[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = network_on(build(), dim)
    found = torch.cat([activation(network, pixels(side, 1), [k]) for k in (0, 1)])
    assert tuple(found.shape[1:]) == places and bool((found >= 0).all()) and bool(found.isfinite().all())
    assert found.amax() > 0


def test_channels_that_come_last_give_the_closed_form_too() -> None:
    """Swin's map is (B, h, w, C) until it is pooled."""
    network, images = network_on(torchvision_encoder("swin"), 16), pixels(64, 2)
    encoder: Any = network.backbone
    with torch.no_grad():
        maps = encoder.norm(encoder.features(images))
    closed = torch.einsum("bd,bhwd->bhw", weights_of_contrast(network, [0, 1]), maps).relu() / 64
    torch.testing.assert_close(activation(network, images, [0, 1]), closed, rtol=1e-5, atol=1e-5 * float(closed.amax()))


def test_a_class_token_is_explained_by_the_last_tokens_that_it_reads() -> None:
    """The output of the last block at the places is never read: the map is that of what the last attention reads, its norm layer's."""
    network, images, classes = timm_network("test_vit"), pixels(160), [0, 1, 1]
    read: list[torch.Tensor] = []
    handle = network.backbone.get_submodule("blocks")[-1].norm1.register_forward_hook(lambda _l, _i, output: read.append(output))  # type: ignore[index, union-attr]
    score = contrast(network(images), torch.tensor(classes)).sum()
    handle.remove()
    (slopes,) = torch.autograd.grad(score, read[0])
    alone = [torch.relu((slopes[b, 1:].mean(dim=0) * read[0][b, 1:]).sum(dim=1)).reshape(10, 10) for b in range(3)]
    torch.testing.assert_close(activation(network, images, classes), torch.stack(alone).detach())


def test_tokens_are_read_row_by_row() -> None:
    """A patch alone decides: tokens without attention, of which one at a known place is not zero."""

    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Conv2d(3, 2, 4, stride=4, bias=False)
            self.norm = nn.Linear(2, 2, bias=False)
            self.class_token = nn.Parameter(torch.zeros(1, 1, 2))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = self.project(images).flatten(2).transpose(1, 2)
            return self.norm(torch.cat([self.class_token.expand(len(images), -1, -1), tokens], dim=1)).mean(dim=1)

    network = Network(Patches(), 2, 2)
    for layer in (network.backbone.project, network.backbone.norm, network.head):
        nn.init.constant_(layer.weight, 1.0)  # type: ignore[arg-type]
    nn.init.zeros_(network.head.weight[1])
    images = torch.zeros(1, 3, 20, 20)
    images[:, :, 4:8, 12:16] = 1
    found = activation(network, images, [0])
    assert found.shape == (1, 5, 5) and found.nonzero().tolist() == [[0, 1, 3]]


class Tokens(nn.Module):
    """``count`` tokens of 6 numbers each through a linear layer, averaged: (B, 3, 8, 8) -> (B, 6)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.layer = nn.Linear(6, 6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1)[:, : self.count * 6].unflatten(1, (self.count, 6))).mean(dim=1)


@pytest.mark.parametrize(("count", "side"), [(1, None), (2, None), (4, 2), (5, 2), (7, None), (9, 3), (10, 3), (12, None)])
def test_tokens_fill_a_square_or_are_no_map(count: int, side: int | None) -> None:
    """With a class token or without one; a single place is no map either."""
    found = class_activation(network_on(Tokens(count), 6), pixels(8), torch.tensor([0, 1, 0]))
    assert found is None if side is None else found is not None and found.shape == (3, side, side)


def test_no_places_no_map() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 6))
    assert class_activation(network_on(flat, 6), pixels(8), torch.tensor([0, 1, 0])) is None


def test_an_untrained_head_explains_nothing() -> None:
    network = tiny_network()
    assert not activation(network, pixels(8).float(), [0, 1, 0]).any()


def test_contrast_of_more_classes_is_against_the_mean_of_the_others() -> None:
    logits = torch.tensor([[1.0, 2.0, 6.0], [4.0, 0.0, 1.0]])
    torch.testing.assert_close(contrast(logits, torch.tensor([2, 0])), torch.tensor([6 - 1.5, 4 - 0.5]))
    torch.testing.assert_close(contrast(logits + 5, torch.tensor([2, 0])), contrast(logits, torch.tensor([2, 0])))


def test_images_of_a_batch_do_not_touch_each_other() -> None:
    network, images = timm_network("test_convnext"), pixels(96)
    together = activation(network, images, [0, 1, 0])
    alone = torch.cat([activation(network, images[[row]], [k]) for row, k in enumerate([0, 1, 0])])
    torch.testing.assert_close(together, alone)


def test_the_network_is_as_before() -> None:
    network, images = timm_network("test_efficientnet").train(), pixels(96)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    activation(network, images, [0, 1, 0])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters()) and images.grad is None and not images.requires_grad
    assert not any(layer._forward_hooks for layer in network.modules())


def test_outputs_with_places_leave_no_hook_behind_an_error() -> None:
    network = tiny_network()
    with pytest.raises(RuntimeError), outputs_with_places(network):
        network.backbone(torch.zeros(1, 5, 8, 8))
    assert not any(layer._forward_hooks for layer in network.modules())


def test_enlarging_is_bilinear_between_the_centres_of_places() -> None:
    """2 x 2 places on 8 px: centres at 1.5 and 5.5 px, weights linear between them, flat beyond; the largest is 1."""
    small = torch.tensor([[[0.0, 1.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    share = ((torch.arange(8) - 1.5) / 4).clamp(0, 1)
    across = small[0, :, :1] * (1 - share) + small[0, :, 1:] * share  # (2, 8)
    expected = across[0] * (1 - share[:, None]) + across[1] * share[:, None]
    found = enlarged(small, 8)
    torch.testing.assert_close(found[0], expected / 4)
    assert found[0].max() == 1 and not found[1].any()


def test_the_last_bits_of_an_activation_change_no_bit_of_the_picture() -> None:
    activation = torch.tensor([[[0.2, 0.3], [0.61, 0.9]]])
    assert torch.equal(enlarged(activation, 16), enlarged(activation * (1 + 1e-6 * torch.tensor([[1.0, -1.0], [-1.0, 0.0]])), 16))
