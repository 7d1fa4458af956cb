"""What a run holds: a pure function of the files that stand behind it."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from thaw.files import sha256_of_value
from thaw.fractions import Fraction
from thaw.runs import Record
from thaw.stage_names import stage_of

MOST_METRICS = 29  # names a run: MLflow's pages slow down with many; rates of further groups stay in record.json
MOST_PARAMS = 100  # what MLflow takes in one request
LONGEST_VALUE = 500  # characters of a param: what every MLflow back end accepts


@dataclass(frozen=True)
class Content:
    """Everything that MLflow shows of one run."""

    record_id: str  # one run of it at a time
    name: str  # <backbone>/<strategy>/<fold>
    params: dict[str, str]
    metrics: list[tuple[str, int, float]]  # name, step, value
    tags: dict[str, str]
    artifacts: dict[str, bytes]  # by path within the run
    times: tuple[int, int] = (0, 0)  # start and end, ms since 1970: not part of the identity

    @property
    def sha256(self) -> str:
        hashed = {path: hashlib.sha256(data).hexdigest() for path, data in self.artifacts.items()}
        return sha256_of_value({k: v for k, v in asdict(self).items() if k != "times"} | {"artifacts": hashed})


def content_of(record: Record, text: bytes, cost: bytes, metrics: Mapping[str, Any], end: float = 0.0) -> Content:
    """``text`` and ``cost``: record.json and the cost file themselves, b"" where there is none; ``metrics``: reports/metrics.json, {} for
    runs that it does not know; ``end``: when the record was written, s since 1970."""
    name, pooled = f"{record.backbone}/{record.strategy}", metrics.get("pooled", {})
    spent = json.loads(cost or b"{}")
    test = metrics.get("folds", {}).get(name, {}).get(str(record.fold), {})
    tables = _test_tables(pooled.get(name, {}), metrics.get("classes", []))
    shown = {"mlflow.loggedArtifacts": json.dumps([{"path": path, "type": "table"} for path in tables])} if tables else {}
    return Content(
        record_id=record.record_id,
        name=name_of(record),
        params=params_of(record),
        metrics=_metrics(record, spent, test),
        tags=tags_of(record, spent) | shown,
        artifacts={"record.json": text} | ({"cost.json": cost} if cost else {}) | tables,
        times=(round((end - float(spent.get("seconds") or 0)) * 1000), round(end * 1000)),
    )


def fraction_of(record: Record) -> Fraction | None:
    """The share of the labels that it was trained on; None: all of them."""
    fraction = record.inputs.get("settings", {}).get("fraction")
    return Fraction(**fraction) if fraction else None


def name_of(record: Record) -> str:
    """<backbone>/<strategy>/<fold>, or <backbone>/<strategy>/<by>-<percent>/<fold>."""
    fraction = fraction_of(record)
    return "/".join([record.backbone, record.strategy, *([str(fraction)] if fraction else []), str(record.fold)])


def params_of(record: Record) -> dict[str, str]:
    """What runs are grouped and compared by, at most ``MOST_PARAMS``. Works on a record whose history is still empty."""
    settings = dict(sorted(dict(_scalars(record.inputs.get("settings", {}))).items()))  # in one order, read from disk or not
    epochs = [int(value) for name, value in settings.items() if re.search(r"(^|\.)phases\.\d+\.epochs$", name)]
    in_steps = any(re.search(r"(^|\.)phases\.\d+\.steps$", name) for name in settings)  # their epochs are known at the end only
    start_and_norm = {leaf: settings.pop(name) for name in [*settings] if (leaf := name.rpartition(".")[2]) in ("start", "norm")}
    named = {
        "strategy": record.strategy,
        "backbone": record.backbone,
        "fold": record.fold,
        "dataset": record.dataset,
        "label_percent": settings.pop("fraction.percent", None),
        "label_by": settings.pop("fraction.by", None),
        "kind": record.kind,
        "control": record.control,
        "image_size": record.preprocessing.get("image_size"),
        **start_and_norm,
        "epochs": None if in_steps else sum(epochs) or len(record.history),
        "trainable_parameters": record.trainable_parameters,
    }
    named = {name: _text(value)[:LONGEST_VALUE] for name, value in named.items() if value is not None}
    rest = {_plain(name): _text(value)[:LONGEST_VALUE] for name, value in settings.items()}
    return dict(list((named | rest | named).items())[:MOST_PARAMS])


def tags_of(record: Record, cost: Mapping[str, Any]) -> dict[str, str]:
    """Where the run comes from. ``cost`` gives git_commit and git_dirty, where it has them."""
    stage = stage_of(record.identity, fraction_of(record))
    tags = {
        "record_id": record.record_id,
        "data_sha256": record.inputs.get("data_sha256"),
        "params_sha256": sha256_of_value(record.inputs.get("settings", {})),
        "dvc_stage": stage,
        "kind": record.kind,
        "control": record.control,
        "git_commit": cost.get("git_commit"),
        "git_dirty": cost.get("git_dirty"),
        "mlflow.source.name": f"dvc repro {stage}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": cost.get("git_commit"),
    }
    return {name: _text(value) for name, value in tags.items() if value is not None}


def _metrics(record: Record, cost: Mapping[str, Any], test: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    """Final figures once, at step 0, and a curve per epoch. Rates of groups beyond ``MOST_METRICS`` names are left out."""
    finals = dict(record.metrics) | {f"test_{name}": value for name, value in sorted(test.items())}
    finals |= {f"cost/{name}": cost.get(name) for name in ("seconds", "images_per_second", "peak_memory_mb")}
    points = [(name, 0, float(value)) for name, value in finals.items() if _is_number(value)]
    points += [point for row in record.history for point in curve(row)]
    names = dict.fromkeys(name for name, _, _ in points)
    kept = set(sorted(names, key=lambda name: name.startswith("lr/"))[:MOST_METRICS])
    return [point for point in points if point[0] in kept]


def curve(row: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    """One row of a record's history as points at its epoch."""
    return [(_plain(name), int(row["epoch"]), float(value)) for name, value in row.items() if name != "epoch" and _is_number(value)]


def _test_tables(pooled: Mapping[str, Any], classes: list[str]) -> dict[str, bytes]:
    """Figures per class and confusion of the pooled folds, in the form that MLflow shows as tables; {} where not evaluated."""
    tables: dict[str, bytes] = {}
    if per_class := pooled.get("per_class"):
        columns = list(dict.fromkeys(name for row in per_class.values() for name in row))
        rows = [[name, *(row.get(column) for column in columns)] for name, row in per_class.items()]
        tables["test_pooled/per_class.json"] = _table(["class", *columns], rows)
    if confusion := pooled.get("confusion"):
        rows = [[name, *counts] for name, counts in zip(classes, confusion, strict=True)]
        tables["test_pooled/confusion.json"] = _table(["true \\ predicted", *classes], rows)
    return tables


def _table(columns: list[str], rows: list[list[Any]]) -> bytes:
    return json.dumps({"columns": columns, "data": rows}).encode()


def _scalars(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of every scalar of a JSON tree, in order; a list of scalars is one text."""
    if isinstance(value, list) and not any(isinstance(inner, dict | list) for inner in value):
        yield path, ", ".join(_text(inner) for inner in value)
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _scalars(inner, f"{path}.{key}" if path else str(key))
    elif value is not None:
        yield path, value


def _plain(name: str) -> str:
    """MLflow allows letters, digits and ``_-. :/`` in names; the pattern ``*`` of a rate means every group."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("*", "all"))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
