"""Backbones: name -> encoder, its ordered blocks, its preprocessing recipe and the hash of its weights."""

import re
from dataclasses import dataclass, replace
from itertools import accumulate, groupby

import torch
from jaxtyping import Float
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from thaw.architectures import encoder_of, first_line
from thaw.errors import InputError
from thaw.params import Backbone as Settings
from thaw.views import Recipe
from thaw.weights import parse_weights


@dataclass(frozen=True)
class Backbone:
    encoder: nn.Module  # (B, 3, S, S) -> (B, D)
    dim: int  # D
    blocks: dict[str, list[str]]  # block name -> its parameters' names, stem first
    recipe: Recipe
    weights_sha256: str  # "random" where the weights are


def backbone_of(settings: Settings, random_seed: int | None = None) -> Backbone:
    """What a block of ``backbones`` in params.yaml describes; with ``random_seed`` the same network without its weights."""
    return build_backbone(
        settings.weights, settings.image_size, random_seed, settings.mismatch, architecture=settings.architecture, sha256=settings.sha256
    )


def build_backbone(
    weights: str,
    image_size: int,
    random_seed: int | None = None,
    mismatch: str | None = None,
    *,
    architecture: str | None = None,
    sha256: str | None = None,
) -> Backbone:
    """Encoder with the weights that are named or, with ``random_seed``, as its library initialises it. Channels-last, eval mode.

    ``weights``: as in `thaw.weights`; of a file also the ``architecture`` (``timm/...`` or ``torchvision/...``) and its ``sha256``.
    ``mismatch``: get one part of the preprocessing wrong, see `mistaken`. Raises `InputError` where weights cannot be had, do not fit,
    or the network cannot see images of ``image_size`` px.
    """
    named = parse_weights(weights)
    seed = 0 if named.random and random_seed is None else random_seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0 if seed is None else seed)
        found = encoder_of(named, image_size, architecture, sha256, with_weights=seed is None)
    encoder = found.encoder.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # torch stubs know only dtype and device
    recipe = replace(found.recipe, image_size=image_size)
    recipe = recipe if mismatch is None else mistaken(recipe, mismatch)
    return Backbone(encoder, width_of(encoder, recipe.image_size, weights), ordered_blocks(encoder), recipe, found.sha256 or "random")


def width_of(encoder: nn.Module, image_size: int, name: str) -> int:
    """D, from a forward pass of zeros. Raises `InputError` where the network does not give one vector for each image of that size."""
    try:
        with torch.inference_mode():
            features = encoder(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InputError(f"backbones: {name} cannot see images of {image_size} px ({first_line(error)}); try another image_size") from error
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise InputError(f"backbones: {name} gives no feature vector for an image; choose another backbone")
    return features.shape[1]


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def mistaken(recipe: Recipe, mismatch: str) -> Recipe:
    """The recipe with one mistake that people make and nothing reports: a control that shows what it costs.

    normalisation     ImageNet's usual mean and standard deviation; 0.5 and 0.5 where those would be right
    no_normalisation  values in [0, 1] as they are
    interpolation     nearest neighbour, without antialiasing
    size              half the side
    """
    if mismatch == "normalisation":
        usual = recipe.mean == IMAGENET_MEAN and recipe.std == IMAGENET_STD
        mean, std = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)) if usual else (IMAGENET_MEAN, IMAGENET_STD)
        return replace(recipe, mean=mean, std=std)
    if mismatch == "no_normalisation":
        return replace(recipe, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    if mismatch == "interpolation":
        return replace(recipe, interpolation="nearest")
    if mismatch == "size":
        return replace(recipe, image_size=recipe.image_size // 2)
    raise ValueError(f"unknown mismatch {mismatch!r}")


NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
CONTAINERS = frozenset({"features", "encoder", "encoder.layers"})
"""Modules of torchvision's models whose children are blocks (EfficientNet, ConvNeXt, DenseNet, Swin; VisionTransformer)."""


def ordered_blocks(encoder: nn.Module) -> dict[str, list[str]]:
    """Blocks from the stem up, as timm groups them or else as the encoder's modules stand; every parameter stands in exactly one.

    A block has the name of its first module. Norm layers and bare parameters that would be blocks of their own join the block below them,
    and what lies below the stem joins the stem. Raises `InputError` where this is no partition or a block is called as the network's head.
    """
    matched = hasattr(encoder, "group_matcher")  # timm's models
    blocks: list[tuple[str, list[str]]] = []
    early: list[str] = []
    for name, parameters in _timm_groups(encoder) if matched else _module_groups(encoder):
        if name and not _only_norms(encoder, parameters):
            blocks.append((name, early + parameters))
            early = []
        else:
            (blocks[-1][1] if blocks else early).extend(parameters)
    found, names = sorted(name for _, parameters in blocks for name in parameters), {name for name, _ in blocks}
    if len(names) != len(blocks) or "head" in names or found != sorted(name for name, _ in encoder.named_parameters()):
        rule = "its library's grouping does" if matched else "its modules in their order do"
        raise InputError(f"backbone {type(encoder).__name__}: {rule} not partition its parameters; choose another backbone")
    return dict(blocks)


def _timm_groups(encoder: nn.Module) -> list[tuple[str | None, list[str]]]:
    """(Name of the first module, parameters) of each group, the stem first; no name where all are bare."""
    from timm.models import group_parameters

    groups = group_parameters(encoder, encoder.group_matcher(coarse=True))  # type: ignore[operator]  # nn.Module hides the method
    return [(next(filter(None, map(_block_name, names)), None), list(names)) for _, names in sorted(groups.items())]


def _module_groups(encoder: nn.Module) -> list[tuple[str | None, list[str]]]:
    """The same by modules, in the order in which they are registered; each bare parameter on its own."""
    return [(module, list(names)) for module, names in groupby((name for name, _ in encoder.named_parameters()), _module_name)]


def _block_name(parameter: str) -> str | None:
    """``blocks.3.0.conv_pw.weight`` -> ``blocks.3``; ``conv_stem.weight`` -> ``conv_stem``; ``cls_token`` -> None."""
    found = re.match(r"[^.]+(\.\d+)?(?=\.)", parameter)
    return found and found.group()


def _module_name(parameter: str) -> str | None:
    """``layer1.0.conv1.weight`` -> ``layer1``; ``features.3.0.weight`` -> ``features.3``; ``encoder.pos_embedding`` -> None."""
    parts = parameter.split(".")[:-1]
    return next((name for name in accumulate(parts, "{}.{}".format) if name not in CONTAINERS), None)


def _only_norms(encoder: nn.Module, parameters: list[str]) -> bool:
    return all(isinstance(encoder.get_submodule(name.rpartition(".")[0]), NORMS) for name in parameters)


class Network(nn.Module):
    """Backbone and linear head. Layers named in ``fixed`` stay in evaluation mode whatever `train` says."""

    def __init__(self, encoder: nn.Module, dim: int, n_classes: int) -> None:
        super().__init__()
        self.backbone = encoder
        self.head = nn.Linear(dim, n_classes)
        self.fixed: frozenset[str] = frozenset()
        nn.init.zeros_(self.head.weight)  # a zero head starts at log K and gives the backbone no noise to follow (BiT, Kolesnikov 2020)
        nn.init.zeros_(self.head.bias)

    def forward(self, pixels: Float[torch.Tensor, "B 3 S S"]) -> Float[torch.Tensor, "B K"]:
        return self.head(self.backbone(pixels))

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    def train(self, mode: bool = True) -> "Network":
        """As always, but frozen norm and dropout layers keep evaluation mode: their statistics are frozen too."""
        super().train(mode)
        for name in self.fixed:
            self.get_submodule(name).eval()
        return self
