"""Encoders of timm and torchvision: a network without its classifier, its weights from a file, and its own preprocessing."""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thaw.errors import InputError, nearest
from thaw.files import sha256_of_file
from thaw.hubs import timm_file, torchvision_file
from thaw.packaged import PACKAGED, encoder_state
from thaw.views import Recipe
from thaw.weights import Weights, parse_weights

State = dict[str, torch.Tensor]
INTERPOLATIONS = ("bicubic", "bilinear", "nearest")
SIDE_OUTPUTS = ("googlenet", "inception_v3")
"""Networks of torchvision's that give more than one thing in training."""
IMAGENET = 1000  # classes that a published classifier tells apart


@dataclass(frozen=True)
class Encoder:
    encoder: nn.Module  # (B, 3, S, S) -> (B, D), contiguous
    recipe: Recipe  # at the size that the checkpoint saw
    sha256: str | None  # of the weights' file; None without weights


def encoder_of(named: Weights, image_size: int, architecture: str | None, sha256: str | None, *, with_weights: bool) -> Encoder:
    """The encoder that ``named`` names, for images of ``image_size`` px; random numbers are drawn from torch's default generator.

    ``architecture``, ``sha256``: of ``file:`` weights. Raises `InputError` where they cannot be had or do not fit.
    """
    if named.source == "packaged":
        return _packaged(named.name, with_weights)
    file, of = None, named
    if named.source == "file":
        of = _architecture(architecture)
        file = checked_file(Path(named.name), sha256) if with_weights else None
    build = timm_encoder if of.source == "timm" else torchvision_encoder
    return build(of, image_size, file, named.source != "file" and with_weights)


def _architecture(text: str | None) -> Weights:
    """What a file of weights is for; its own tag only says whose preprocessing counts."""
    of = parse_weights(text or "")
    if of.source not in ("timm", "torchvision") or of.random:
        raise InputError(f"backbones: architecture {text!r} must be timm/<name> or torchvision/<name>")
    return of


def _packaged(name: str, with_weights: bool) -> Encoder:
    import timm

    packaged = PACKAGED[name]
    encoder = timm.create_model(packaged.timm_name.split(".")[0], pretrained=False, num_classes=0)
    if with_weights:
        encoder.load_state_dict(encoder_state(name))
    return Encoder(encoder, recipe_of(_timm_cfg(packaged.timm_name).to_dict()), packaged.sha256 if with_weights else None)


# ---- timm


def timm_encoder(of: Weights, image_size: int, file: Path | None, from_hub: bool) -> Encoder:
    """timm reads the file itself: it knows how position embeddings are resampled and old names are mapped."""
    import timm

    name, cfg = of.name.split(".")[0], _timm_cfg(of.name)
    sized: dict[str, Any] = {"img_size": image_size} if cfg.fixed_input_size else {}
    file = timm_file(of.name, cfg) if from_hub else file
    recipe = recipe_of(cfg.to_dict())
    if file is None:
        return Encoder(timm.create_model(name, pretrained=False, num_classes=0, **sized), recipe, None)
    classifier = cfg.classifier if isinstance(cfg.classifier, str) else next(iter(cfg.classifier or ()), "")
    held = tensors_in(file)
    classes = _rows(held, f"{classifier}.weight")
    overlay = {"file": str(file), "num_classes": classes or cfg.num_classes, "custom_load": False}
    encoder = _fitting(file, of.name, lambda: timm.create_model(name, True, cfg, overlay, num_classes=classes, **sized))
    encoder.reset_classifier(0)
    missing = sorted(set(encoder.state_dict()) - set(held)) if not classes else []  # without a classifier timm does not insist
    if missing:
        raise InputError(f"backbones: {file.name} does not fit {of.name}: it has no {missing[0]}")
    return Encoder(encoder, recipe, sha256_of_file(file))


def _timm_cfg(name: str) -> Any:
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise InputError(f"backbones: timm has no network {architecture!r}; {nearest(architecture, timm.list_models())}")
    tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise InputError(f"backbones: timm has no weights {tag!r} of {architecture}; {nearest(tag, tags)}")
    return timm.get_pretrained_cfg(name, allow_unregistered=False)


def recipe_of(pretrained_cfg: Mapping[str, Any]) -> Recipe:
    """The checkpoint's own preprocessing (timm's ``pretrained_cfg``)."""
    mean, std = ((float(r), float(g), float(b)) for r, g, b in (pretrained_cfg["mean"], pretrained_cfg["std"]))
    side = pretrained_cfg["input_size"][-1]
    return Recipe(side, side, pretrained_cfg["crop_pct"], _interpolation(pretrained_cfg["interpolation"]), mean, std)


def _interpolation(name: str) -> str:
    if name not in INTERPOLATIONS:
        raise InputError(f"backbones: these weights want {name!r} interpolation, which is not among {', '.join(INTERPOLATIONS)}")
    return name


# ---- torchvision


def torchvision_encoder(of: Weights, image_size: int, file: Path | None, from_hub: bool) -> Encoder:
    """The last linear layer goes; dropout before it stays, as it is part of the network."""
    from torchvision import models

    known = models.list_models(module=models)
    if of.name not in known:
        raise InputError(f"backbones: torchvision has no network {of.name!r}; {nearest(of.name, known)}")
    published: Any = models.get_model_weights(of.name)
    if of.tag and of.tag not in published.__members__:
        raise InputError(f"backbones: torchvision has no weights {of.tag!r} of {of.name}; {nearest(of.tag, published.__members__)}")
    chosen = published[of.tag] if of.tag else published.DEFAULT
    file = torchvision_file(f"torchvision/{of.name}", chosen.url) if from_hub else file
    state = None if file is None else _renamed(tensors_in(file))
    if of.name in SIDE_OUTPUTS:
        raise InputError(f"backbones: torchvision/{of.name} gives more than features in training; choose another network, or timm's")
    probe = models.get_model(of.name, weights=None)
    last = _last_linear(probe, of.name)
    if state is not None and (classes := _rows(state, f"{last}.weight")) not in (0, IMAGENET):
        probe = models.get_model(of.name, weights=None, num_classes=classes)
    if file is not None and state is not None:
        whole = {name: state.get(name, tensor) if name.startswith(f"{last}.") else None for name, tensor in probe.state_dict().items()}
        full = state | {name: tensor for name, tensor in whole.items() if tensor is not None}  # a file without a classifier is as good
        _fitting(file, of.name, lambda: probe.load_state_dict(full))
    parent, _, leaf = last.rpartition(".")
    probe.get_submodule(parent)._modules[leaf] = nn.Identity()
    return Encoder(probe, _recipe_of_preset(chosen.transforms()), None if file is None else sha256_of_file(file))


def _last_linear(network: nn.Module, name: str) -> str:
    """Name of the classifier. Raises `InputError` where the network does not end in a linear layer."""
    linear = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    leaves = [path for path, module in network.named_modules() if path and not list(module.children())]
    if not linear or linear[-1] != leaves[-1]:
        raise InputError(
            f"backbones: torchvision/{name} does not end in one linear layer, which thaw would replace; choose another network"
        )
    return linear[-1]


def _renamed(state: State) -> State:
    """DenseNet's files have names (``norm.1``) that modules must not have any more."""
    return {re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", name): tensor for name, tensor in state.items()}


def _recipe_of_preset(preset: Any) -> Recipe:
    """Of torchvision's ``ImageClassification`` transforms."""
    side, whole = preset.crop_size[0], preset.resize_size[0]
    return Recipe(side, side, side / whole, _interpolation(preset.interpolation.value), tuple(preset.mean), tuple(preset.std))


# ---- files


def checked_file(path: Path, sha256: str | None) -> Path:
    """Raises `InputError` where there is no such file, or another one than the hash names."""
    if not path.is_file():
        raise InputError(f"backbones: there is no file {path}")
    if (found := sha256_of_file(path)) != sha256:
        raise InputError(f"backbones: the sha256 of {path} is {found}; write it beside the file's name (now {sha256})")
    return path


def tensors_in(file: Path) -> State:
    """A state dict, unpickling no code. What training tools wrap it in is taken off. Raises `InputError`."""
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            raise InputError(f"backbones: {file} is no safetensors file ({first_line(error)})") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickle protocols, to people who save files
            held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no checkpoint make the unpickler raise anything
        unread = f"{file} cannot be read without running code of its own ({first_line(error)})"
        raise InputError(f"backbones: {unread}; save a plain state dict") from error
    for key in ("state_dict", "model"):
        held = held[key] if isinstance(held, dict) and isinstance(held.get(key), dict) else held
    if not isinstance(held, dict) or not held or not all(isinstance(tensor, torch.Tensor) for tensor in held.values()):
        raise InputError(f"backbones: {file} is no state dict; save it with torch.save(model.state_dict(), ...)")
    return {name.removeprefix("module."): tensor for name, tensor in held.items()}


def _rows(state: Mapping[str, torch.Tensor], name: str) -> int:
    return len(state[name]) if name in state else 0


def _fitting(file: Path, name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except RuntimeError as error:
        raise InputError(f"backbones: {file.name} does not fit {name}: {' '.join(str(error).split())[:300]}") from None


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
