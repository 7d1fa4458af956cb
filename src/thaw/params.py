"""params.yaml as a strict, frozen tree. The only reader of that file.

No field has a default: a stage's result is decided by the values in params.yaml, which DVC compares, and never by this module.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML, YAMLError

from thaw.errors import InputError, nearest
from thaw.runs import CONTROLS, HEADS

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]  # stage names are made of these
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Metric = Literal["roc_auc", "pr_auc", "balanced_accuracy", "f1_macro", "log_loss"]
SourceName = Literal["elpv", "digits"]
Weights = Literal["lite0"]


class Block(BaseModel):
    """A mapping of params.yaml: unknown keys are errors, types are not coerced, values do not change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Data(Block):
    source: SourceName
    on_bad: Literal["stop", "quarantine"]
    elpv_label: Literal["p_over_half", "p_over_zero", "drop_unsure", "four_classes"]


class Prepare(Block):
    max_side: int = Field(ge=8, le=1024)


class Split(Block):
    method: Literal["grouped", "stratified"]
    folds: list[int]
    validation: float = Field(ge=0.05, le=0.5)
    seed: Seed

    @field_validator("folds")
    @classmethod
    def _counts_from_zero(cls, folds: list[int]) -> list[int]:
        if not 2 <= len(folds) <= 20 or folds != list(range(len(folds))):
            raise ValueError("must count from 0 to K-1 with 2 <= K <= 20, for example [0, 1, 2, 3]")
        return folds


class Features(Block):
    backbones: list[Name] = Field(min_length=1)
    batch_size: int = Field(ge=1, le=1024)


Positive = Annotated[float, Field(gt=0)]


class Heads(Block):
    seed: Seed
    C: list[Positive] = Field(min_length=1)
    ridge: list[Positive] = Field(min_length=1)
    k: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    raw_pixels_side: int = Field(ge=2, le=64)


class Finetune(Block):
    backbones: list[Name]
    strategies: list[Name]
    batch_size: int = Field(ge=2, le=1024)
    augment: Literal["none", "dihedral"]
    seed: Seed


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


class Track(Block):
    experiment: Name


class Backbone(Block):
    weights: Weights
    image_size: int = Field(ge=16, le=512)


class Phase(Block):
    name: Name
    train: str = Field(min_length=1)
    epochs: int = Field(ge=1, le=1000)
    rates: dict[str, Annotated[float, Field(ge=0)]] = Field(min_length=1)
    weight_decay: float = Field(ge=0, le=10)
    schedule: Literal["constant", "cosine", "one_cycle"]
    warmup: float = Field(ge=0, le=0.9)


class Strategy(Block):
    start: Literal["pretrained", "random", "linear_probe"]
    norm: Literal["train", "eval"]
    phases: list[Phase] = Field(min_length=1)


class Params(Block):
    data: Data
    prepare: Prepare
    split: Split
    features: Features
    heads: Heads
    finetune: Finetune
    selection: Selection
    evaluate: Evaluate
    report: Report
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
        for name in self.strategies:
            if name in trained:
                raise InputError(f"strategies.{name}: the name belongs to a head; choose another")
        if self.evaluate.reference in self.strategies:
            _known("evaluate.reference_backbone", [self.evaluate.reference_backbone], self.finetune.backbones)
        return self

    def runs(self) -> list[tuple[str, str, int]]:
        """Every (backbone, strategy, fold) that these params ask for, heads first, in a fixed order."""
        heads = [(b, s) for b in self.features.backbones for s in (*HEADS, *CONTROLS)]
        trained = [(b, s) for b in self.finetune.backbones for s in self.finetune.strategies]
        return [(b, s, fold) for b, s in heads + trained for fold in self.split.folds]


def read_params(path: Path = Path("params.yaml")) -> Params:
    """Parse and check ``path``. Raises `InputError`: file, path within it, what is wrong, the nearest valid name."""
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
    return f"{path}: {first['msg'].removeprefix('Value error, ')} (got {first['input']!r})"


def _fields_at(parents: list[int | str]) -> list[str]:
    """Valid keys of the block at a path such as ``strategies, full, phases, 0``."""
    block: Any = Params
    for part in parents:
        inside = isinstance(block, type) and issubclass(block, Block)
        block = block.model_fields[str(part)].annotation if inside else get_args(block)[-1]  # list[X], dict[Name, X]: step into X
    return list(block.model_fields)
