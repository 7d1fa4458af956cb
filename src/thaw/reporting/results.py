"""What the report is about: everything that was measured, gathered per strategy, best first."""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from thaw.errors import InputError
from thaw.files import read_json
from thaw.measures import measure_of
from thaw.reporting.findings import Findings, read_findings
from thaw.runs import CONTROLS, COSTS, HEADS, RUNS, Identity, Record, read_cost, read_record

Row = dict[str, str]
Pair = tuple[str, str]  # backbone, strategy
PROBE = "linear_probe"  # the head that a strategy may start from
ON_FEATURES = (*HEADS, "shuffled_labels")  # heads that look through the backbone


@dataclass(frozen=True)
class Estimate:
    """A pooled figure with its interval; NaN where undefined."""

    value: float
    lo: float
    hi: float


@dataclass(frozen=True)
class Contrast:
    """Strategy minus reference on the same images, in the metric's own unit; NaN where undefined."""

    diff: float
    lo: float
    hi: float
    p_holm: float
    mde: float  # the true difference that this comparison, alone, detects four times in five
    p_better: float = math.nan  # share of the resamples in which the strategy is the better one
    p_permutation_holm: float = math.nan  # groups change sides; corrected as p_holm is
    p_mcnemar: float = math.nan  # takes images for independent
    p_delong: float = math.nan  # takes images for independent
    sentence: str = ""  # the comparison in plain words


@dataclass(frozen=True)
class Planned:
    """A pretrained strategy minus one from random weights, a pair that was fixed beforehand; NaN where undefined."""

    pretrained: str  # names of results
    scratch: str
    diff: float
    lo: float
    hi: float
    p: float  # not corrected: it is a question of its own
    mde: float


@dataclass(frozen=True)
class Cost:
    """Of one model: its own training, and what that needs: the features of its training images, the probe that it starts from."""

    seconds: float
    images: int  # through the network, repeats included

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.images + other.images)


@dataclass(frozen=True)
class Curve:
    """One pooled ROC (false against true positive rate) or PR (recall against precision) curve."""

    kind: str  # "roc" | "pr"
    label: str  # the class that counts as positive
    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class Result:
    """One backbone with one strategy over all folds."""

    backbone: str
    strategy: str
    scratch: bool  # starts from random weights
    estimates: dict[str, Estimate]
    contrasts: dict[str, Contrast]  # empty for the reference and the controls
    curves: list[Curve]
    pooled: dict[str, Any]
    folds: dict[int, dict[str, Any]]
    records: list[Record]  # in the order of the folds, never empty
    costs: list[Cost]  # of each model, in the order of the folds

    @property
    def name(self) -> str:
        return f"{self.backbone}/{self.strategy}"

    @property
    def control(self) -> bool:
        return self.records[0].control

    @property
    def finetuned(self) -> bool:
        return self.records[0].kind == "finetune"

    @property
    def random_backbone(self) -> bool:
        """A head on the features of a network that nobody trained."""
        return not self.finetuned and self.records[0].inputs.get("weights_sha256") == "random"

    @property
    def trainable(self) -> int:
        return self.records[0].trainable_parameters

    @property
    def start(self) -> str | None:
        """What the training starts from: "pretrained", "random" or "linear_probe"; None for heads."""
        return _start(self.records[0])

    @property
    def included(self) -> str:
        """What its seconds hold beside its own training, in words."""
        if self.start == PROBE:
            return "its probe and the probe's features included"
        return "features included" if self.strategy in ON_FEATURES else ""

    @property
    def seconds(self) -> list[float]:
        """Per model, features (and the probe that it starts from) included, in the order of the folds."""
        return [cost.seconds for cost in self.costs]

    @property
    def typical_seconds(self) -> float:
        return median(self.seconds)

    @property
    def typical_images(self) -> int:
        """Images through the network for one model: a cost that is the same on every machine."""
        return round(median(cost.images for cost in self.costs))

    def estimate(self, metric: str) -> Estimate:
        return self.estimates.get(metric, Estimate(math.nan, math.nan, math.nan))

    def fold_values(self, metric: str) -> dict[int, float]:
        """Folds where the metric is defined."""
        values = {fold: figures.get(metric) for fold, figures in self.folds.items()}
        return {fold: float(value) for fold, value in values.items() if value is not None}


@dataclass(frozen=True)
class Results:
    """Everything that the report says."""

    dataset: str
    classes: list[str]
    images: int
    groups: int
    grouped: bool
    group_name: str
    notes: list[str]
    primary: str
    confidence: float
    ranked: list[Result]  # best first by the primary metric, controls among them
    reference: Result
    winner: Result
    runner_up: Result | None
    leakage: dict[str, Any]
    undefined: list[str]  # classes whose ROC AUC against the rest is undefined, in the folds together
    findings: Findings
    pretraining: Planned | None  # None where nothing starts from random weights

    def named(self, name: str) -> Result:
        """The result of backbone/strategy. Raises `InputError` where params.yaml no longer asks for it."""
        for result in self.ranked:
            if result.name == name:
                return result
        raise InputError(f"reports/metrics.json: {name} is not among the runs of params.yaml; run `dvc repro evaluate`")

    @property
    def candidates(self) -> list[Result]:
        return [r for r in self.ranked if not r.control]

    @property
    def finetuned(self) -> bool:
        return any(r.finetuned for r in self.candidates)

    @property
    def controls(self) -> list[Result]:
        """What no one would use. Networks that see the wrong pixels on purpose are left to a section of their own."""
        return [r for r in self.ranked if r.control and r.backbone not in self.mismatched]

    @property
    def mismatched(self) -> set[str]:
        """Backbones whose preprocessing is wrong on purpose: on them heads are controls too, as they are on random ones."""
        return {r.backbone for r in self.ranked if r.control and r.strategy not in CONTROLS and not r.random_backbone}

    @property
    def shown(self) -> list[Result]:
        """Candidates and controls, best first."""
        return [r for r in self.ranked if r.backbone not in self.mismatched]

    @property
    def units(self) -> str:
        """What is resampled, plural: "inferred modules", or "images" where the data knows no groups."""
        return f"{self.group_name}s" if self.grouped else "images"

    @property
    def domains_left_out(self) -> bool:
        """Whether each fold trains on one domain alone and is tested on the others."""
        return self.leakage.get("method") == "leave_domain_out"

    @property
    def split_given(self) -> bool:
        """Whether the data came with the split: then there is one fold, and only its test part counts."""
        return self.leakage.get("method") == "given"

    @property
    def comparisons(self) -> int:
        """How many comparisons Holm's correction of the primary metric allows for."""
        return sum(not math.isnan(r.contrasts[self.primary].p_holm) for r in self.candidates if self.primary in r.contrasts)

    @property
    def from_scratch(self) -> Result | None:
        """The best strategy that starts from random weights."""
        return next((r for r in self.candidates if r.scratch), None)


def read_results(runs: list[tuple[str, str, int]], scratch: list[str], root: Path = Path()) -> Results:
    """Read what `evaluate`, `split`, `fetch` and the training stages left below ``root``.

    ``runs``: (backbone, strategy, fold) that count; ``scratch``: strategies that start from random weights.
    Raises `InputError` where a file or a strategy is missing.
    """
    metrics = _json(root / "reports/metrics.json", "evaluate")
    facts = _json(root / "data/dataset.json", "fetch")
    pairs = list(dict.fromkeys((backbone, strategy) for backbone, strategy, _ in runs))
    tables = [_by_pair(root / f"reports/{name}.csv") for name in ("leaderboard", "contrasts", "curves")]
    gathered = [_gather(pair, [fold for b, s, fold in runs if (b, s) == pair], scratch, metrics, tables, root) for pair in pairs]
    ranked = _ranked(gathered, metrics["primary"])
    return Results(
        dataset=metrics["dataset"],
        classes=metrics["classes"],
        images=metrics["n"],
        groups=metrics["groups"],
        grouped=metrics["grouped"],
        group_name=metrics["group_name"],
        notes=facts["notes"],
        primary=metrics["primary"],
        confidence=float(metrics["confidence"]),
        ranked=ranked,
        reference=_find(ranked, metrics, "reference"),
        winner=_find(ranked, metrics, "winner"),
        runner_up=_find(ranked, metrics, "runner_up") if metrics["runner_up"] else None,
        leakage=_json(root / "reports/leakage.json", "audit"),
        undefined=metrics.get("undefined_classes", {}).get("pooled", {}).get("names", []),
        findings=read_findings(root),
        pretraining=_planned(metrics.get("pretraining")),
    )


def _gather(
    pair: Pair, folds: list[int], scratch: list[str], metrics: dict[str, Any], tables: list[dict[Pair, list[Row]]], root: Path
) -> Result:
    name = "/".join(pair)
    if name not in metrics["pooled"]:
        raise InputError(f"reports/metrics.json: has no {name}, which params.yaml asks for; run `dvc repro evaluate`")
    leaderboard, contrasts, curves = (table.get(pair, []) for table in tables)
    identities = [Identity(*pair, fold) for fold in folds]
    records = [_record(identity, root) for identity in identities]
    return Result(
        backbone=pair[0],
        strategy=pair[1],
        scratch=pair[1] in scratch,
        estimates={row["metric"]: Estimate(*_numbers(row, "value", "lo", "hi")) for row in leaderboard},
        contrasts={row["metric"]: _contrast(row) for row in contrasts},
        curves=_curves(curves),
        pooled=metrics["pooled"][name],
        folds={int(fold): figures for fold, figures in metrics["folds"][name].items()},
        records=records,
        costs=[_cost(identity, _start(record), root) for identity, record in zip(identities, records, strict=True)],
    )


def _contrast(row: Row) -> Contrast:
    """Tests that an evaluation did not make are NaN."""
    known = _numbers(row, "diff", "lo", "hi", "p_holm", "mde")
    further = _numbers(row, "p_better", "p_permutation_holm", "p_mcnemar", "p_delong")
    return Contrast(*known, *further, sentence=row.get("sentence") or "")


def _planned(found: dict[str, Any] | None) -> Planned | None:
    if not found:
        return None
    pretrained, scratch = ("{backbone}/{strategy}".format(**found[who]) for who in ("pretrained", "scratch"))
    return Planned(pretrained, scratch, *(math.nan if found[name] is None else found[name] for name in ("diff", "lo", "hi", "p", "mde")))


def _ranked(results: list[Result], primary: str) -> list[Result]:
    """Best first; undefined figures last; ties keep the order of params.yaml, controls behind candidates."""
    sign = -1 if measure_of(primary).higher_is_better else 1

    def key(result: Result) -> tuple[bool, float, bool]:
        value = result.estimate(primary).value
        return (math.isnan(value), 0.0 if math.isnan(value) else sign * value, result.control)

    return sorted(results, key=key)


def _find(ranked: list[Result], metrics: dict[str, Any], role: str) -> Result:
    wanted = metrics[role]
    if not wanted:
        raise InputError(f"reports/metrics.json: has no {role}, since {metrics['primary']} is undefined; choose another evaluate.primary")
    for result in ranked:
        if (result.backbone, result.strategy) == (wanted["backbone"], wanted["strategy"]):
            return result
    raise InputError(f"reports/metrics.json: the {role} {wanted} is not among the runs of params.yaml; run `dvc repro evaluate`")


def _curves(rows: Iterable[Row]) -> list[Curve]:
    found: dict[tuple[str, str], Curve] = {}
    for row in rows:
        curve = found.setdefault((row["curve"], row["class"]), Curve(row["curve"], row["class"], [], []))
        x, y = _numbers(row, "x", "y")
        if not (math.isnan(x) or math.isnan(y)):
            curve.x.append(x)
            curve.y.append(y)
    return [curve for curve in found.values() if curve.x]


def _numbers(row: Row, *columns: str) -> list[float]:
    return [float(row.get(column) or "nan") for column in columns]


def _by_pair(path: Path) -> dict[Pair, list[Row]]:
    """Rows of a table by backbone and strategy. Plain text throughout: a class may be called "NA"."""
    if not path.exists():
        raise InputError(f"{path} is missing; run `dvc repro evaluate`")
    table: dict[Pair, list[Row]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            table.setdefault((row["backbone"], row["strategy"]), []).append(row)
    return table


def _json(path: Path, stage: str) -> dict[str, Any]:
    if not path.exists():
        raise InputError(f"{path} is missing; run `dvc repro {stage}`")
    return read_json(path)


def _record(identity: Identity, root: Path) -> Record:
    if not (identity.folder(root / RUNS) / "record.json").exists():
        raise InputError(f"runs/{identity}/record.json is missing; run `dvc repro evaluate`")
    return read_record(identity.folder(root / RUNS))


def _start(record: Record) -> str | None:
    return record.inputs.get("settings", {}).get("start")


def _cost(identity: Identity, start: str | None, root: Path) -> Cost:
    """What one model costs: its training; for a head on features their extraction from its training images; a probe that it starts from."""
    if not identity.cost_file(root / COSTS).exists():
        raise InputError(f"costs/{identity}.json is missing; run `dvc repro evaluate`")
    own = read_cost(identity, root / COSTS)
    cost = Cost(float(own["seconds"]), int(own["images_seen"]))
    if identity.strategy in ON_FEATURES:
        cost += Cost(cost.images * _seconds_an_image(identity.backbone, root), 0)
    if start == PROBE:
        cost += _cost(Identity(identity.backbone, PROBE, identity.fold), None, root)
    return cost


def _seconds_an_image(backbone: str, root: Path) -> float:
    """Of feature extraction, which is done once for all images and shared by all heads and folds."""
    if not (root / COSTS / backbone / "features.json").exists():
        raise InputError(f"costs/{backbone}/features.json is missing; run `dvc repro features@{backbone}`")
    cost = read_json(root / COSTS / backbone / "features.json")
    return cost["seconds"] / cost["images_seen"]
