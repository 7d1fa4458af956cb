"""What else was found, each in a file of its own: calibration, thresholds, groups, shares of labels, shift, mismatch, claims, examples.

A file that is absent, or has a header only, is a question that was not asked: it reads as nothing found,
and its section says what would fill it.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from thaw.errors import InputError
from thaw.files import read_json


@dataclass(frozen=True)
class About:
    """A row about one backbone with one strategy."""

    backbone: str
    strategy: str

    @property
    def name(self) -> str:
        return f"{self.backbone}/{self.strategy}"


@dataclass(frozen=True)
class Bin(About):
    """Of ``n`` predictions between ``lower`` and ``upper``, mean ``confidence``, the ``share`` that came true."""

    stage: str  # "raw" | "scaled"
    bin: int
    lower: float
    upper: float
    confidence: float
    share: float
    n: int


@dataclass(frozen=True)
class OperatingPoint(About):
    """What comes of calling an image positive from ``threshold`` on."""

    threshold: float
    precision: float
    recall: float
    specificity: float
    f1: float
    balanced_accuracy: float


@dataclass(frozen=True)
class GroupFigures(About):
    group: str
    domain: str
    n: int
    positives: float  # images of the second of two classes; NaN beyond two
    accuracy: float
    log_loss: float


@dataclass(frozen=True)
class Share(About):
    """A figure after training on ``percent`` of the labelled images, and its difference to the reference on the same share."""

    by: str  # "images" | "groups"
    percent: float
    metric: str
    value: float
    lo: float
    hi: float
    diff: float
    diff_lo: float
    diff_hi: float
    p: float
    train_images: float
    train_groups: float


@dataclass(frozen=True)
class Shift(About):
    """A figure on held-out images of the domain that was trained on and on other domains; ``drop`` is outside minus inside."""

    trained_on: str  # a domain, or "all" for the folds together
    metric: str
    inside: float
    inside_lo: float
    inside_hi: float
    outside: float
    outside_lo: float
    outside_hi: float
    drop: float
    drop_lo: float
    drop_hi: float


@dataclass(frozen=True)
class Mismatch:
    """A backbone with its preprocessing wrong on purpose, minus its ``twin`` with the right one."""

    backbone: str
    twin: str
    mismatch: str
    strategy: str
    metric: str
    diff: float
    lo: float
    hi: float
    p: float


@dataclass(frozen=True)
class Claim:
    """What was published, what this data says to it. Figures are points of the primary metric; NaN where there is none."""

    claim: str
    source: str
    published: str
    here: str
    verdict: str
    why: str
    estimate: float = math.nan
    lo: float = math.nan
    hi: float = math.nan


@dataclass(frozen=True)
class Mistake:
    """One of the worst errors, with its picture (and what the network looked at), by path below the gallery."""

    id: str
    true: str
    predicted: str
    probability: float
    fold: int
    group: str
    image: str
    cam: str


@dataclass(frozen=True)
class Duplicates:
    """Two images that are nearly one."""

    a: str
    b: str
    label_a: str
    label_b: str
    fold_a: int
    fold_b: int
    hash_distance: float
    cosine: float
    image_a: str
    image_b: str


@dataclass(frozen=True)
class Gallery:
    folder: Path
    winner: str
    explained: str
    method: str
    note: str
    errors: list[Mistake] = field(default_factory=list)
    duplicates: list[Duplicates] = field(default_factory=list)


@dataclass(frozen=True)
class Findings:
    reliability: list[Bin] = field(default_factory=list)
    operating: list[OperatingPoint] = field(default_factory=list)
    groups: list[GroupFigures] = field(default_factory=list)
    learning: list[Share] = field(default_factory=list)
    shift: list[Shift] = field(default_factory=list)
    mismatch: list[Mismatch] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    gallery: Gallery | None = None


Kind = TypeVar("Kind")


def read_findings(root: Path) -> Findings:
    """What lies in ``root``/reports and ``root``/data/gallery. Raises `InputError` where a file lacks a column that the report needs."""
    reports = root / "reports"
    return Findings(
        reliability=_table(reports / "reliability.csv", Bin),
        operating=_table(reports / "operating.csv", OperatingPoint),
        groups=_table(reports / "groups.csv", GroupFigures),
        learning=_table(reports / "learning.csv", Share),
        shift=_table(reports / "shift.csv", Shift),
        mismatch=_table(reports / "mismatch.csv", Mismatch),
        claims=_claims(reports / "claims.json"),
        gallery=_gallery(root / "data/gallery"),
    )


def _table(path: Path, kind: type[Kind]) -> list[Kind]:
    """Plain text throughout: a group may be called "NA"."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [_as(kind, row, path) for row in csv.DictReader(file)]


def _claims(path: Path) -> list[Claim]:
    return [_as(Claim, row, path) for row in read_json(path)] if path.exists() else []


def _gallery(folder: Path) -> Gallery | None:
    path = folder / "gallery.json"
    if not path.exists():
        return None
    found = read_json(path)
    winner, explained, method, note = (found.get(name) or "" for name in ("winner", "explained", "method", "note"))
    errors = [_as(Mistake, row, path) for row in found.get("errors", [])]
    return Gallery(folder, winner, explained, method, note, errors, [_as(Duplicates, row, path) for row in found.get("duplicates", [])])


def _as(kind: type[Kind], row: dict[str, Any], path: Path) -> Kind:
    """A row as ``kind``, by the types of its fields; what ``kind`` does not know is left alone."""
    values = {}
    for place in fields(kind):  # type: ignore[arg-type]
        if place.name not in row and place.default is MISSING:
            raise InputError(f"{path}: has no {place.name!r}; run `dvc repro`")
        if place.name in row:
            values[place.name] = _value(row[place.name], place.type, f"{path}: {place.name!r}")
    return kind(**values)


def _value(raw: Any, wanted: Any, where: str) -> Any:
    """Text, a whole number, or a number that is NaN where nothing stands. Raises `InputError` for what is no such number."""
    if wanted is str:
        return "" if raw is None else str(raw)
    if wanted is float and raw in (None, ""):
        return math.nan
    try:
        return float(raw) if wanted is float else int(float(raw))
    except (TypeError, ValueError):
        raise InputError(f"{where} is {raw!r}, which is no number; run `dvc repro`") from None


def of(name: str, rows: Sequence[Any]) -> list[Any]:
    """The rows about one candidate."""
    return [row for row in rows if row.name == name]
