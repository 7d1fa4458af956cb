"""params.yaml as a strict, frozen tree. The only reader of that file.

No field has a default that does something: a stage's result is decided by the values in params.yaml, which DVC compares, and never by
this module. A phase's extra dials (`Phase`) may be absent, which always and only means off.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML, YAMLError

from thaw.errors import InputError, nearest
from thaw.grouping import group_pattern
from thaw.installed import check_code
from thaw.runs import CONTROLS, HEADS
from thaw.weights import parse_weights

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]  # stage names are made of these
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Metric = Literal["roc_auc", "pr_auc", "balanced_accuracy", "f1_macro", "log_loss"]
SourceName = Literal["elpv", "digits", "folder", "csv", "parquet", "torchvision", "fashion_mnist"]
OWN = ("folder", "csv", "parquet")
"""Sources that read ``data.path``."""
MADE = (("data", "raw"), ("data", "features"), ("data", "gallery"))
"""Folders in data/ that stages write, and empty first."""


class Block(BaseModel):
    """A mapping of params.yaml: unknown keys are errors, types are not coerced, values do not change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Data(Block):
    """Dials that the source does not read may have any value: so sources can be changed to and fro."""

    source: SourceName
    path: str = Field(min_length=1)
    table: str
    name: str
    group: str
    on_bad: Literal["stop", "quarantine"]
    elpv_label: Literal["p_over_half", "p_over_zero", "drop_unsure", "four_classes"]

    @field_validator("path")
    @classmethod
    def _is_not_what_fetch_writes(cls, path: str) -> str:
        parts = Path(os.path.normpath(path)).parts
        if parts in ((), ("data",)) or parts[:2] in MADE:
            raise ValueError("must be a folder of your own, such as data/own: none that the pipeline makes, and none above those")
        return path

    @model_validator(mode="after")
    def _says_what_its_source_needs(self) -> "Data":
        if self.source == "csv" and not self.table:
            raise InputError("data.table: source csv needs the table's name below data.path, such as labels.csv")
        if self.source == "torchvision" and not self.name:
            raise InputError("data.name: source torchvision needs the name of a data set, such as CIFAR10")
        if self.group:
            group_pattern(self.group, "data.group:")
        return self


class Prepare(Block):
    max_side: int = Field(ge=8, le=1024)


class Split(Block):
    method: Literal["grouped", "stratified", "leave_domain_out", "given"]
    folds: list[int]
    validation: float = Field(ge=0.05, le=0.5)
    inside: float = Field(ge=0.05, le=0.5)
    seed: Seed

    @field_validator("folds")
    @classmethod
    def _counts_from_zero(cls, folds: list[int], info: Any) -> list[int]:
        if info.data.get("method") == "given":
            if folds != [0]:
                raise ValueError("must be [0] where split.method is given: the data come with one split")
            return folds
        if not 2 <= len(folds) <= 20 or folds != list(range(len(folds))):
            raise ValueError("must count from 0 to K-1 with 2 <= K <= 20, for example [0, 1, 2, 3]")
        return folds


class Features(Block):
    backbones: list[Name] = Field(min_length=1)
    batch_size: int = Field(ge=1, le=1024)
    engine: Literal["auto", "onnxruntime", "openvino", "torch"]


Positive = Annotated[float, Field(gt=0)]


class Heads(Block):
    seed: Seed
    C: list[Positive] = Field(min_length=1)
    ridge: list[Positive] = Field(min_length=1)
    k: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    keep: list[Annotated[float, Field(gt=0, le=1)]] = Field(min_length=1)
    relevance: Literal["group_sparse", "l2"]
    raw_pixels_side: int = Field(ge=2, le=64)


Transform = Literal[
    "hflip",
    "vflip",
    "quarter_turns",
    "dihedral",
    "random_resized_crop",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "randaugment",
]


class Finetune(Block):
    backbones: list[Name]
    strategies: list[Name]
    batch_size: int = Field(ge=2, le=1024)
    augment: list[Transform]
    activations_mb: int = Field(ge=0, le=1_000_000)
    precision: Literal["auto", "float32", "bfloat16"]
    seed: Seed

    @field_validator("augment")
    @classmethod
    def _once_each(cls, augment: list[str]) -> list[str]:
        if len(set(augment)) < len(augment):
            raise ValueError("names a transform twice")
        return augment


Factors = Annotated[list[Annotated[float, Field(gt=0, le=1000)]], Field(min_length=2, max_length=2)]


class Tune(Block):
    trials: int = Field(ge=0, le=1000)
    rate: Factors
    weight_decay: Factors
    epochs: Factors
    seed: Seed

    @field_validator("rate", "weight_decay", "epochs")
    @classmethod
    def _rising(cls, factors: list[float]) -> list[float]:
        if factors[0] > factors[1]:
            raise ValueError("must be [smallest, largest] factor")
        return factors


Percent = Annotated[int, Field(ge=1, le=99)]


class Learning(Block):
    heads: list[Name]
    percents: list[Percent]
    by: list[Literal["images", "groups"]]
    finetune: list[Name]
    finetune_percents: list[Percent]

    @field_validator("percents", "by", "finetune_percents")
    @classmethod
    def _once_each(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) < len(values):
            raise ValueError("names a value twice")
        return values


class Selection(Block):
    metric: Literal["auc", "log_loss"]


class Evaluate(Block):
    reference: Name
    reference_backbone: Name
    primary: Metric
    bootstrap: int = Field(ge=200, le=100_000)
    confidence: float = Field(ge=0.5, le=0.999)
    threshold: Literal["balanced_accuracy", "f1"]
    seed: Seed


class Report(Block):
    title: str
    gallery: int = Field(ge=0, le=200)


BEST, NONE = "best", "none"
KEEPS_IMAGES = "knn"
"""The head strategy that is no network of fixed size: it keeps every training image, so it cannot be the model at the end."""


class Final(Block):
    strategy: Name
    backbone: Name


class Track(Block):
    experiment: Name


class Backbone(Block):
    weights: str  # as `thaw.weights` has it
    image_size: int = Field(ge=16, le=512)
    # Of a file of weights alone: what network they are for, and what the file must be.
    architecture: str | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    # Absent means right.
    mismatch: Literal["normalisation", "no_normalisation", "interpolation", "size"] | None = None

    @field_validator("weights")
    @classmethod
    def _are_named(cls, weights: str) -> str:
        try:
            parse_weights(weights)
        except InputError as error:
            raise ValueError(str(error)) from None
        return weights

    @model_validator(mode="after")
    def _fits_together(self) -> "Backbone":
        from_file = parse_weights(self.weights).source == "file"
        if from_file != (self.architecture is not None):
            raise ValueError("architecture (timm/<name> or torchvision/<name>) goes with file: weights, and with no others")
        if from_file != (self.sha256 is not None):
            raise ValueError("sha256 goes with file: weights, and with no others; `sha256sum FILE` prints it")
        return self

    @property
    def control(self) -> bool:
        """Nobody would use it: the network knows nothing, or sees the wrong pixels on purpose."""
        return self.mismatch is not None or parse_weights(self.weights).random


class Optimiser(Block):
    """AdamW (Loshchilov 2019) or SGD. ``momentum`` is Adam's first beta; one-cycle schedules take it to ``momentum_at_peak`` and back."""

    name: Literal["adamw", "sgd"]
    momentum: float = Field(ge=0, lt=1)
    momentum_at_peak: float | None = Field(default=None, ge=0, lt=1)
    beta2: float | None = Field(default=None, ge=0, lt=1)
    eps: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _whole(self) -> "Optimiser":
        adam = (self.beta2 is not None, self.eps is not None)
        if self.name == "adamw" and not all(adam):
            raise ValueError("adamw needs beta2 and eps, for example {name: adamw, momentum: 0.9, beta2: 0.999, eps: 1.0e-8}")
        if self.name == "sgd" and any(adam):
            raise ValueError("sgd has no beta2 and no eps")
        return self


class Stop(Block):
    patience: int = Field(ge=1, le=1000)
    floor: float = Field(ge=0)


class L2SP(Block):
    alpha: float = Field(ge=0)
    beta: float = Field(ge=0)


class Phase(Block):
    name: Name
    train: str = Field(min_length=1)
    epochs: int | None = Field(default=None, ge=1, le=1000)
    steps: Annotated[int, Field(ge=1, le=10_000_000)] | Literal["bit"] | None = None
    rates: dict[str, Annotated[float, Field(ge=0)]] = Field(min_length=1)
    weight_decay: float = Field(ge=0, le=10)
    schedule: Literal["constant", "cosine", "one_cycle", "fit_one_cycle", "slanted", "bit"]
    warmup: float = Field(ge=0, le=0.99)
    # Absent means off.
    layer_decay: float | None = Field(default=None, gt=0, le=1)
    div: float | None = Field(default=None, gt=1)
    optimiser: Optimiser | None = None
    stop: Stop | None = None
    clip: float | None = Field(default=None, gt=0)
    label_smoothing: float | None = Field(default=None, gt=0, lt=1)
    mixup: float | None = Field(default=None, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    class_weights: Literal["balanced"] | None = None
    l2sp: L2SP | None = None
    views: int | None = Field(default=None, ge=1, le=64)

    @model_validator(mode="after")
    def _fits_together(self) -> "Phase":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("needs a length: either epochs or steps")
        if (self.schedule == "bit") != (self.steps == "bit"):
            raise ValueError("`steps: bit` and `schedule: bit` go together: they are one rule")
        if self.div is not None and self.schedule not in ("one_cycle", "fit_one_cycle", "slanted"):
            raise ValueError(f"div is a dial of one_cycle, fit_one_cycle and slanted, not of {self.schedule}")
        peak = self.optimiser.momentum_at_peak if self.optimiser else None
        if peak is not None and self.schedule not in ("one_cycle", "fit_one_cycle"):
            raise ValueError(f"optimiser.momentum_at_peak needs one_cycle or fit_one_cycle, not {self.schedule}")
        return self


class Strategy(Block):
    start: Literal["pretrained", "random", "linear_probe"]
    norm: Literal["frozen_eval", "eval", "train"]
    phases: list[Phase] = Field(min_length=1)
    interpolate: list[Annotated[float, Field(ge=0, le=1)]] | None = Field(default=None, min_length=1)

    @field_validator("phases")
    @classmethod
    def _different_names(cls, phases: list[Phase]) -> list[Phase]:
        if len({phase.name for phase in phases}) < len(phases):
            raise ValueError("two phases have the same name")
        return phases

    @model_validator(mode="after")
    def _interpolates_from_a_model(self) -> "Strategy":
        if self.interpolate and self.start != "linear_probe":
            raise ValueError("interpolate needs start: linear_probe; the other starts have no head that could be mixed in")
        return self


class Params(Block):
    data: Data
    prepare: Prepare
    split: Split
    features: Features
    heads: Heads
    finetune: Finetune
    tune: Tune
    learning: Learning
    selection: Selection
    evaluate: Evaluate
    report: Report
    final: Final
    track: Track
    backbones: dict[Name, Backbone]
    strategies: dict[Name, Strategy]

    @model_validator(mode="after")
    def _names_are_known(self) -> "Params":
        trained = {*HEADS, *CONTROLS}
        _known("features.backbones", self.features.backbones, self.backbones)
        _known("finetune.backbones", self.finetune.backbones, self.features.backbones)
        _known("finetune.strategies", self.finetune.strategies, self.strategies)
        _known("evaluate.reference", [self.evaluate.reference], [*HEADS, *CONTROLS, *self.finetune.strategies])
        _known("evaluate.reference_backbone", [self.evaluate.reference_backbone], self.features.backbones)
        self._controls_are_for_features()
        _known("learning.heads", self.learning.heads, HEADS)
        _known("learning.finetune", self.learning.finetune, self.finetune.strategies)
        self._shares_have_their_probe()
        for name in self.strategies:
            if name in trained:
                raise InputError(f"strategies.{name}: the name belongs to a head; choose another")
            if name in (BEST, NONE):
                raise InputError(f"strategies.{name}: the name means something in `final`; choose another")
        if self.evaluate.reference in self.strategies:
            _known("evaluate.reference_backbone", [self.evaluate.reference_backbone], self.finetune.backbones)
        self._final_is_compared()
        return self

    def _controls_are_for_features(self) -> None:
        """A backbone that is wrong on purpose, or random, is a control: its features are compared, nobody trains it or compares with it."""
        named = [("finetune.backbones", name) for name in self.finetune.backbones]
        for where, name in [*named, ("evaluate.reference_backbone", self.evaluate.reference_backbone)]:
            if self.backbones[name].control:
                why = "is random" if self.backbones[name].mismatch is None else "has a mismatch"
                raise InputError(f"{where}: {name!r} {why}, so it is a control; name it in features.backbones alone")

    def _shares_have_their_probe(self) -> None:
        """A cell on a share of the labels starts from, or is compared with, the probe on the same share."""
        if not (self.learning.finetune and self.learning.finetune_percents):
            return
        if "linear_probe" not in self.learning.heads or "images" not in self.learning.by:
            raise InputError("learning: finetune needs linear_probe in learning.heads and images in learning.by")
        for percent in self.learning.finetune_percents:
            if percent not in self.learning.percents:
                raise InputError(f"learning.finetune_percents: {percent} must be in learning.percents too, for the probe of that share")

    def _final_is_compared(self) -> None:
        """The model at the end is one of those that were compared, so that there is evidence on it."""
        if self.final.strategy == KEEPS_IMAGES:
            mend = "name another, such as linear_probe, or best"
            raise InputError(
                f"final.strategy: {KEEPS_IMAGES} keeps every training image, so it is no network that could be handed on; {mend}"
            )
        right = [name for name in self.features.backbones if not self.backbones[name].control]
        compared = [name for name in (*HEADS, *self.finetune.strategies) if name != KEEPS_IMAGES]
        _known("final.strategy", [self.final.strategy], [BEST, NONE, *compared])
        _known("final.backbone", [self.final.backbone], [BEST, *right])
        if self.final.strategy in self.finetune.strategies:
            _known("final.backbone", [self.final.backbone], [BEST, *self.finetune.backbones])

    def candidates(self) -> list[tuple[str, str]]:
        """(backbone, strategy) of every result that somebody would use, so without controls, in the order of `runs`."""
        found = dict.fromkeys((backbone, strategy) for backbone, strategy, _ in self.runs())
        return [(b, s) for b, s in found if s not in CONTROLS and not self.backbones[b].control]

    def learning_runs(self, grouped: bool) -> list[tuple[str, str, str, str, int]]:
        """(root, backbone, strategy, by-percent, fold) of every run on a share of the labels. ``grouped``: the data knows groups."""
        shares = [f"{by}-{percent}" for by in self.learning.by if grouped or by == "images" for percent in self.learning.percents]
        heads = [("learning/heads", b, s, share) for b in self.features.backbones for s in self.learning.heads for share in shares]
        parts = [f"images-{percent}" for percent in self.learning.finetune_percents]
        trained = [("learning/finetune", b, s, part) for b in self.finetune.backbones for s in self.learning.finetune for part in parts]
        return [(*run, fold) for run in heads + trained for fold in self.split.folds]

    def runs(self) -> list[tuple[str, str, int]]:
        """Every (backbone, strategy, fold) that these params ask for, heads first, in a fixed order."""
        heads = [(b, s) for b in self.features.backbones for s in (*HEADS, *CONTROLS)]
        trained = [(b, s) for b in self.finetune.backbones for s in self.finetune.strategies]
        return [(b, s, fold) for b, s in heads + trained for fold in self.split.folds]


def read_params(path: Path = Path("params.yaml")) -> Params:
    """Parse and check ``path``. Raises `InputError`: file, path within it, what is wrong, the nearest valid name.

    In a stage, also where the code that runs is not the code that DVC watches.
    """
    check_code(Path.cwd())
    try:
        tree = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is not in {Path.cwd()}: run inside the project") from None
    except YAMLError as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from None
    return parse_params(tree, str(path))


def parse_params(tree: Any, where: str) -> Params:
    """Check a plain tree; ``where`` names the file in messages."""
    if not isinstance(tree, dict):
        raise InputError(f"{where}: is empty or not a mapping of blocks ({', '.join(Params.model_fields)})")
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise InputError(f"{where}: {_first_error(error)}") from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _known(where: str, names: list[str], valid: Any) -> None:
    for name in names:
        if name not in valid:
            raise InputError(f"{where}: unknown name {name!r}; {nearest(name, valid)}")
    if len(set(names)) < len(names):
        raise InputError(f"{where}: a name stands twice in {names}")


def _first_error(error: ValidationError) -> str:
    """The most telling of pydantic's errors as ``path: what; how to mend it``.

    A misspelt key also misses its right name: say the former.
    """
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    *parents, key = first["loc"]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"] if part != "[key]").lstrip(".")
    if first["type"] == "extra_forbidden":
        return f"{path}: unknown key; {nearest(str(key), _fields_at(parents))}"
    if first["type"] == "missing":
        return f"{path}: is missing; add it, there are no hidden defaults"
    if first["type"] == "literal_error":
        valid = re.findall(r"'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
        return f"{path}: unknown value {first['input']!r}; {nearest(str(first['input']), valid)}"
    got = "" if isinstance(first["input"], dict) else f" (got {first['input']!r})"
    return f"{path}: {first['msg'].removeprefix('Value error, ')}{got}"


def _fields_at(parents: list[int | str]) -> list[str]:
    """Valid keys of the block at a path such as ``strategies, full, phases, 0``."""
    block: Any = Params
    for part in parents:
        inside = isinstance(block, type) and issubclass(block, Block)
        block = _block_in(block.model_fields[str(part)].annotation) if inside else get_args(block)[-1]  # list[X], dict[Name, X]: X
    return list(block.model_fields)


def _block_in(annotation: Any) -> Any:
    """X of ``X | None``; any other annotation as it is."""
    blocks = [kind for kind in get_args(annotation) if isinstance(kind, type) and issubclass(kind, Block)]
    return blocks[0] if type(None) in get_args(annotation) and blocks else annotation
