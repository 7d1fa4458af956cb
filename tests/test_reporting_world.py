"""A small synthetic project whose answer is known, with every file that the report reads; and that it is read back as it was written."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thaw.errors import InputError
from thaw.files import write_json, write_text
from thaw.index import Dataset, write_dataset
from thaw.reporting.findings import Findings
from thaw.reporting.results import Results, read_results
from thaw.runs import CONTROLS, HEADS, Identity, Record, write_cost, write_record

MISTAKEN = "lite0_unnormalised"
CALIBRATION = {
    "temperatures": [1.31, 0.94, 1.1, 1.02],
    "raw": {"log_loss": 0.471, "brier": 0.15, "ece": 0.06},
    "scaled": {"log_loss": 0.448, "brier": 0.14, "ece": 0.02},
}
TRAINED = ("full", "grouped", "grouped_tuned", "lp_ft", "gradual", "scratch")
SCALARS = (
    "accuracy",
    "balanced_accuracy",
    "weighted_accuracy",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "roc_auc",
    "roc_auc_within",
    "pr_auc",
    "log_loss",
    "brier",
)
QUALITY = {
    "lite0/linear_probe": 0.820, "lite0/ridge": 0.812, "lite0/nearest_centroid": 0.741, "lite0/knn": 0.758,
    "lite0/head2toe": 0.815, "lite0_native/head2toe": 0.833,
    "lite0_native/linear_probe": 0.836, "lite0_native/ridge": 0.829, "lite0_native/nearest_centroid": 0.752, "lite0_native/knn": 0.766,
    "lite0/full": 0.838, "lite0/grouped": 0.809, "lite0/grouped_tuned": 0.835, "lite0/lp_ft": 0.841, "lite0/gradual": 0.833,
    "lite0/scratch": 0.701,
    "majority": 0.500, "metadata": 0.531, "raw_pixels": 0.644, "shuffled_labels": 0.497,
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """What a synthetic project holds. ``p`` is the Holm p of every contrast."""

    name: str = "elpv"
    classes: tuple[str, ...] = ("functional", "defective")
    grouped: bool = True
    backbones: tuple[str, ...] = ("lite0", "lite0_native")
    trained: tuple[str, ...] = TRAINED
    primary: str = "roc_auc"
    reference: str = "linear_probe"
    p: float = 0.0123
    undefined: tuple[str, ...] = ()  # names whose figures are all null
    within: tuple[tuple[str, float], ...] = ()  # names whose ROC AUC within folds lies so much off the pooled one
    absent: tuple[str, ...] = ()  # classes that no image has
    findings: bool = True  # calibration, thresholds, groups, shares, claims, gallery and the wider audit were made
    shifted: bool = False  # trained on one domain, tested on the other
    mistaken: bool = False  # a backbone with its preprocessing wrong on purpose is among the backbones

    @property
    def names(self) -> list[str]:
        backbones = (*self.backbones, MISTAKEN) if self.mistaken else self.backbones
        heads = [f"{b}/{s}" for b in backbones for s in (*HEADS, *CONTROLS)]
        return heads + [f"{self.backbones[0]}/{s}" for s in self.trained]

    @property
    def runs(self) -> list[tuple[str, str, int]]:
        return [(*name.split("/"), fold) for name in self.names for fold in range(4)]  # type: ignore[misc]

    def candidate(self, name: str) -> bool:
        backbone, strategy = name.split("/")
        return strategy not in CONTROLS and backbone != MISTAKEN

    @property
    def domains(self) -> tuple[str, str]:
        return "mono", "poly"

    def quality(self, name: str, metric: str) -> float | None:
        if name in self.undefined or (metric == "weighted_accuracy" and not self.grouped):
            return None
        base = QUALITY.get(name, QUALITY.get(name.split("/")[1], 0.5))
        shift = {
            "roc_auc": 0.0,
            "roc_auc_within": dict(self.within).get(name, 0.0),
            "pr_auc": -0.07,
            "log_loss": -0.4,
            "brier": -0.65,
            "weighted_accuracy": -0.03,
        }
        value = base + shift.get(metric, -0.06)
        return round(1 - value if metric in ("log_loss", "brier") else value, 10) + 0.0


def build(world: World, root: Path) -> Results:
    """Write the project's files below ``root`` and read them as the report does."""
    candidates = [name for name in world.names if world.candidate(name)]
    lower = world.primary in ("log_loss", "brier")
    defined = [n for n in candidates if world.quality(n, world.primary) is not None]
    best = sorted(defined, key=lambda n: (world.quality(n, world.primary) or 0.0) * (1 if lower else -1))
    _write_evaluation(world, root, best[0], best[1])
    write_json(root / "reports/leakage.json", _leakage(world) | (_wider_audit(world) if world.findings else {}))
    notes = ["Images: CC BY-NC-SA 4.0; not part of this repository.", "Modules are *inferred* from <row order> | type."]
    group_name = "inferred module" if world.grouped else "image"
    write_dataset(Dataset(world.name, list(world.classes), world.grouped, world.grouped, group_name, notes), root / "data/dataset.json")
    for backbone, strategy, fold in world.runs:
        _write_run(world, root, Identity(backbone, strategy, fold))
    for backbone in (*world.backbones, MISTAKEN):
        seconds = 20.0 if backbone == "lite0" else 100.0
        write_json(root / f"costs/{backbone}/features.json", {"seconds": seconds, "images_seen": 2624, "images_per_second": 2624 / seconds})
    if world.findings:
        _write_findings(world, root)
    return read_results(world.runs, ["scratch"], root)


def _write_evaluation(world: World, root: Path, winner: str, runner_up: str) -> None:
    scalars = [m for m in SCALARS if world.grouped or m != "weighted_accuracy"]
    reference = f"lite0/{world.reference}"

    def identity(name: str) -> dict[str, str]:
        return dict(zip(("backbone", "strategy"), name.split("/"), strict=True))

    pooled = {name: {m: world.quality(name, m) for m in scalars} | _details(world) for name in world.names}
    metrics = {
        "dataset": world.name, "classes": list(world.classes), "n": 2624 if world.grouped else 1797,
        "groups": 44 if world.grouped else 1797, "grouped": world.grouped, "group_name": "inferred module" if world.grouped else "image",
        "primary": world.primary, "confidence": 0.95, "reference": identity(reference), "winner": identity(winner),
        "runner_up": identity(runner_up), "pooled": pooled, "folds": {name: _fold_figures(world, name, scalars) for name in world.names},
        "pretraining": _planned(world, "lite0/full", "lite0/scratch") if {"full", "scratch"} <= {*world.trained} else None,
        "undefined_classes": {"pooled": {"count": len(world.absent), "names": list(world.absent)}, "folds": {}},
    }  # fmt: skip
    write_json(root / "reports/metrics.json", metrics)
    board, contrasts, curves = [], [], []
    for name in world.names:
        control = not world.candidate(name)
        for m in scalars:
            value = world.quality(name, m)
            bounds = {"value": value, "lo": None if value is None else value - 0.035, "hi": None if value is None else value + 0.03}
            board.append(identity(name) | {"kind": "head", "control": control, "metric": m} | bounds | {"n": 1, "groups": 1})
            if not control and name != reference:
                contrasts.append(identity(name) | _contrast(world, name, reference, m))
        if not control and name not in world.undefined:
            curves += [identity(name) | row for row in _curve_rows(world, QUALITY[name])]
    for file, rows in (("leaderboard", board), ("contrasts", contrasts), ("curves", curves)):
        pd.DataFrame(rows).to_csv(root / f"reports/{file}.csv", index=False)


def _details(world: World) -> dict:
    k = len(world.classes)
    per_class = {c: {"precision": 0.8, "recall": 0.75, "f1": 0.774, "support": 400 - i} for i, c in enumerate(world.classes)}
    confusion = (np.full((k, k), 7) + np.eye(k, dtype=int) * 300).tolist()
    known = {"per_class": per_class, "confusion": confusion, "thresholds": [0.41, 0.38, 0.5, 0.44] if k == 2 else None}
    return known | ({"calibration": CALIBRATION} if world.findings else {})


def _fold_figures(world: World, name: str, scalars: list[str]) -> dict[str, dict[str, float | None]]:
    shifts = (-0.05, 0.02, 0.04, -0.01)
    own = 0.004 * (sum(map(ord, name)) % 5 - 2)
    values = {m: world.quality(name, m) for m in scalars}
    return {str(f): {m: None if v is None else round(v + s + own * (f - 1), 6) for m, v in values.items()} for f, s in enumerate(shifts)}


def _planned(world: World, pretrained: str, scratch: str) -> dict:
    """A little to either side of the difference, and the p of the world."""
    identities = [dict(zip(("backbone", "strategy"), name.split("/"), strict=True)) for name in (pretrained, scratch)]
    value, other = (world.quality(name, world.primary) for name in (pretrained, scratch))
    diff = None if value is None or other is None else value - other
    limits = {"lo": None, "hi": None} if diff is None else {"lo": diff - 0.017, "hi": diff + 0.017}
    return dict(zip(("pretrained", "scratch"), identities, strict=True)) | limits | {"diff": diff, "p": world.p, "mde": 0.028}


def _contrast(world: World, name: str, reference: str, metric: str) -> dict:
    a, b = world.quality(name, metric), world.quality(reference, metric)
    known = {"reference_backbone": "lite0", "reference": world.reference, "metric": metric, "n": 2624}
    if a is None or b is None:
        return known | dict.fromkeys(("diff", "lo", "hi", "p", "p_holm", "mde"))
    diff = round(a - b, 10)
    tests = {"diff": diff, "lo": diff - 0.017, "hi": diff + 0.018, "p": world.p / 15, "p_holm": world.p, "mde": 0.028}
    if not world.findings:
        return known | tests
    alone = not world.grouped  # McNemar's and DeLong's tests are made where every image stands for itself
    independent = {
        "p_mcnemar": 0.004 if alone and metric == "accuracy" else None,
        "p_delong": 0.03 if alone and len(world.classes) == 2 and metric == "roc_auc" else None,
    }
    sentence = f"`{name}` and `{reference}` differ by {diff:+.3f} in {metric}"
    return known | tests | independent | {"p_better": 0.993 if diff > 0 else 0.012, "p_permutation_holm": 0.021, "sentence": sentence}


def _curve_rows(world: World, auc: float) -> list[dict]:
    t = np.linspace(0, 1, 60)
    power = auc / (1 - auc)
    shown = world.classes[1:] if len(world.classes) == 2 else world.classes
    roc, pr = list(zip(t, t ** (1 / power), strict=True)), list(zip(t[::-1], (1 - 0.7 * t**power)[::-1], strict=True))
    return [{"curve": kind, "class": c, "x": x, "y": y} for c in shown for kind, points in (("roc", roc), ("pr", pr)) for x, y in points]


def _leakage(world: World) -> dict:
    counts = {c: 80 + i for i, c in enumerate(world.classes)}
    folds = [{"fold": f, "images": 656, "groups": 11, "classes": counts, "validation_images": 394} for f in range(4)]
    auc = {"this_split": 0.531, "stratified": 0.862, "grouped": 0.531} if world.grouped else {}
    return {
        "method": "grouped", "images": 2624, "groups": 44, "group_name": "inferred module", "groups_torn": 0,
        "exact_duplicates": {"pairs": 0, "across_folds": 0, "conflicting_labels": 0}, "folds": folds,
        "metadata_auc": {"this_split": None, "stratified": None, "grouped": None} | auc, "words": ["Nothing torn.", "No <b>copies</b>."],
    }  # fmt: skip


def _write_run(world: World, root: Path, identity: Identity) -> None:
    trained = identity.strategy in world.trained
    history = []
    if trained:
        phases = ["head", "top", "all", "all"] if identity.strategy == "gradual" else ["all"] * (4 if identity.strategy == "scratch" else 3)
        end = QUALITY[f"{identity.backbone}/{identity.strategy}"]
        for i, phase in enumerate(phases):
            auc = end - 0.15 * math.exp(-i) + 0.01 * identity.fold
            history.append(
                {"epoch": i + 1, "phase": phase, "train/loss": 0.6 / (i + 1), "val/auc": auc, "val/log_loss": 0.5, "lr/head": 1e-3}
            )
    row = {"length": "3 epochs", "schedule": "cosine", "rate": 5e-4, "weight_decay": 0.01, "tensors": 2, "scalars": 2562}
    groups = [{"phase": "all", "group": g} | row for g in ("head", "backbone")] if trained else []
    slow = {"linear_probe": 0.61, "ridge": 0.17, "nearest_centroid": 0.011, "knn": 0.052, "head2toe": 0.9}
    seconds = (95.0 + len(identity.strategy) * 3 if trained else slow.get(identity.strategy, 0.3)) * (1 + 0.03 * identity.fold)
    seconds *= 1.3 if identity.backbone == "lite0_native" else 1
    starts = {"scratch": "random", "lp_ft": "linear_probe"}
    start = starts.get(identity.strategy, "pretrained") if trained else None
    record = Record(
        record_id="0" * 16, backbone=identity.backbone, strategy=identity.strategy, fold=identity.fold, dataset=world.name,
        kind="finetune" if trained else "head", control=not world.candidate(f"{identity.backbone}/{identity.strategy}"),
        classes=list(world.classes),
        inputs={"libraries": {"torch": "2.15.0", "python": "3.12.1"}, "settings": {"start": start} if start else {}},
        groups=groups, history=history,
        metrics={"best_val_auc": 0.8} | ({"best_epoch": 3.0} if trained else {"C": 0.01}),
        trainable_parameters=3_372_001 if trained else 2562,
        preprocessing={"image_size": 96, "mean": [0.5, 0.5, 0.5], "interpolation": "bicubic", "crop": 0.875},
    )  # fmt: skip
    write_record(record, identity.folder(root / "runs"))
    write_cost(identity, {"seconds": seconds, "images_seen": 1312 * max(len(history), 1)}, root / "costs")


# --- what else was found


def _wider_audit(world: World) -> dict:
    pair = {"hash_distance": 3, "cosine": 0.991, "across_folds": True, "same_group": False, "same_label": False}
    grouped = world.grouped
    return {
        "near_duplicates": {
            "hash_threshold": 6, "cosine_threshold": 0.98, "pairs": 2, "across_folds": 1, "conflicting_labels": 1,
            "listed": [{"a": "cell0001.png", "b": "cell<2>.png"} | pair],
        },
        "metadata": {"position": {"auc": 0.59}, "file_size": {"auc": 0.61, "lo": 0.52, "hi": 0.69}, "dimensions": {"auc": None}},
        "separability": {"accuracy": 0.71, "chance": 0.0227, "groups": 44} if grouped else None,
        "split_gap": {"stratified": 0.893, "grouped": 0.821, "points": 7.2, "lo": 4.1, "hi": 10.4} if grouped else None,
        "verdict": {"level": "caution", "sentences": ["Groups can be told apart.", "Keep them <whole>."]},
    }  # fmt: skip


def _write_findings(world: World, root: Path) -> None:
    candidates = [name for name in world.names if world.candidate(name) and name not in world.undefined]
    tables = {
        "reliability": _rows(candidates, lambda name: _reliability(name)),
        "operating": _rows(candidates, lambda name: _operating() if len(world.classes) == 2 else []),
        "groups": _rows(candidates, lambda name: _groups(world, name) if world.grouped else []),
        "learning": _rows([n for n in candidates if n.endswith(SHARED)], lambda name: _learning(world, name)),
        "shift": _rows(candidates, lambda name: _shift(world, name)) if world.shifted else [],
        "mismatch": _mismatch(world) if world.mistaken else [],
    }
    for name, rows in tables.items():
        pd.DataFrame(rows, columns=COLUMNS[name]).to_csv(root / f"reports/{name}.csv", index=False)
    write_json(root / "reports/claims.json", CLAIMS)
    _write_gallery(world, root / "data/gallery")


SHARED = ("linear_probe", "full", "lp_ft", "scratch")  # trained on shares of the labels too
HEADERS = {
    "reliability": "backbone strategy stage bin lower upper confidence share n",
    "operating": "backbone strategy threshold precision recall specificity f1 balanced_accuracy",
    "groups": "backbone strategy group domain n positives accuracy log_loss",
    "learning": "backbone strategy by percent metric value lo hi diff diff_lo diff_hi p train_images train_groups n",
    "shift": "backbone strategy trained_on metric inside inside_lo inside_hi outside outside_lo outside_hi drop drop_lo drop_hi",
    "mismatch": "backbone twin mismatch strategy metric diff lo hi p",
}
COLUMNS = {name: columns.split() for name, columns in HEADERS.items()}
CLAIMS = [
    {"claim": "LP-FT beats full fine-tuning in-domain", "source": "Kumar 2022", "published": "+1 point", "here": "lp_ft − full",
     "estimate": 0.3, "lo": -1.5, "hi": 2.0, "verdict": "not decidable here", "why": "the interval holds zero"},
    {"claim": "Pretraining helps", "source": "Raghu 2019", "published": "+2.4 points", "here": "full − scratch",
     "estimate": 13.7, "lo": 11.0, "hi": 16.1, "verdict": "reproduced", "why": "the interval lies on the claimed side of zero"},
    {"claim": "Better networks | transfer better", "source": "Kornblith 2019", "published": "r = .96", "here": "",
     "estimate": None, "lo": None, "hi": None, "verdict": "not decidable here", "why": "it needs several architectures"},
]  # fmt: skip


def _rows(names: list[str], rows: Callable[[str], list[dict]]) -> list[dict]:
    return [dict(zip(("backbone", "strategy"), name.split("/"), strict=True)) | row for name in names for row in rows(name)]


def _reliability(name: str) -> list[dict]:
    """Before scaling 0.06 off in every bin, after it 0.02."""
    middles = np.arange(0.05, 1, 0.1)
    return [
        {"stage": stage, "bin": i, "lower": x - 0.05, "upper": x + 0.05, "confidence": x, "n": 300 - 25 * i,
         "share": x + off * (1 if x < 0.5 else -1)}
        for stage, off in (("raw", 0.06), ("scaled", 0.02)) for i, x in enumerate(middles)
    ]  # fmt: skip


def _operating() -> list[dict]:
    t = np.linspace(0, 1, 41)
    figures = {"threshold": t, "precision": 0.3 + 0.65 * t, "recall": 1 - t**2, "specificity": t**0.5, "f1": 0.6 * (1 - t)}
    figures["balanced_accuracy"] = (figures["recall"] + figures["specificity"]) / 2
    return pd.DataFrame(figures).to_dict("records")


def _groups(world: World, name: str) -> list[dict]:
    """Harder from group to group, and not for everybody alike; in the last three all are equally good."""
    accuracy = [QUALITY[name] - 0.2 + 0.007 * g + 0.05 * math.sin(g * len(name)) for g in range(41)] + [0.95] * 3
    return [
        {"group": f"module {g:02d}", "domain": world.domains[g >= 18], "n": 60 - g, "positives": 20, "log_loss": 0.5,
         "accuracy": round(min(1.0, accuracy[g]), 4)}
        for g in range(44)
    ]  # fmt: skip


def _learning(world: World, name: str) -> list[dict]:
    """What a strategy has at the whole, less what it loses at a share: random weights lose most, whole groups a little more."""
    kinds = ("images", "groups") if world.grouped and name.endswith("linear_probe") else ("images",)
    percents = (5, 10, 25, 50, 100) if name.endswith("linear_probe") else (25, 100)
    steep = 0.06 if name.endswith("scratch") else 0.03
    rows = []
    for by in kinds:
        for percent in percents:
            value = (world.quality(name, world.primary) or 0) - (steep + 0.01 * (by == "groups")) * math.log(100 / percent)
            other = (world.quality(f"lite0/{world.reference}", world.primary) or 0) - 0.03 * math.log(100 / percent)
            diff = value - other
            rows.append({"by": by, "percent": percent, "metric": world.primary, "value": value, "lo": value - 0.03, "hi": value + 0.03,
                         "diff": diff, "diff_lo": diff - 0.02, "diff_hi": diff + 0.02, "p": 0.01, "train_images": 1544 * percent / 100,
                         "train_groups": max(1, 26 * percent // 100), "n": 2624})  # fmt: skip
    return rows


def _shift(world: World, name: str) -> list[dict]:
    value = world.quality(name, world.primary) or 0
    rows = []
    for domain, drop in (("all", 0.1), (world.domains[0], 0.14), (world.domains[1], 0.07)):
        drop -= 0.05 * name.endswith("lp_ft")
        outside = value - drop
        rows.append({"trained_on": domain, "metric": world.primary, "inside": value, "inside_lo": value - 0.02, "inside_hi": value + 0.02,
                     "outside": outside, "outside_lo": outside - 0.04, "outside_hi": outside + 0.04, "drop": -drop, "drop_lo": -drop - 0.05,
                     "drop_hi": 0.05 - drop})  # fmt: skip
    return rows


def _mismatch(world: World) -> list[dict]:
    known = {"backbone": MISTAKEN, "twin": "lite0", "mismatch": "no_normalisation", "metric": world.primary}
    return [known | {"strategy": s, "diff": -0.02 - 0.01 * i, "lo": -0.05, "hi": -0.001, "p": 0.004} for i, s in enumerate(HEADS)]


def _write_gallery(world: World, folder: Path) -> None:
    names = world.classes
    errors = [
        {"id": f"cell{i:04d}.png", "true": names[i % 2], "predicted": names[1 - i % 2], "probability": 0.97 - 0.01 * i,
         "fold": i % 4, "group": f"module {i:02d}" if world.grouped else "", "image": f"errors/{i:03d}.png",
         "cam": f"errors/{i:03d}-cam.png" if i else None}
        for i in range(6)
    ]  # fmt: skip
    duplicate = {
        "a": "cell0001.png", "b": "cell<2>.png", "label_a": names[0], "label_b": names[1], "fold_a": 0, "fold_b": 2,
        "hash_distance": 3, "cosine": 0.991, "image_a": "duplicates/000-a.png", "image_b": "duplicates/000-b.png",
    }  # fmt: skip
    found = {"winner": "lite0/lp_ft", "explained": "lite0/lp_ft", "method": "Grad-CAM", "note": "Bright places speak for <the> class.",
             "errors": errors, "duplicates": [duplicate]}  # fmt: skip
    write_json(folder / "gallery.json", found)
    pictures = [e[kind] for e in errors for kind in ("image", "cam") if e[kind]] + [duplicate["image_a"], duplicate["image_b"]]
    for number, name in enumerate(pictures):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(thumbnail(number))


def thumbnail(number: int) -> bytes:
    """A gray PNG with a dark bar, at another place in each."""
    shades = np.full((64, 64), 170, dtype=np.uint8)
    shades[:, (7 * number) % 60 : (7 * number) % 60 + 4] = 40
    buffer = BytesIO()
    Image.fromarray(shades).save(buffer, format="png")
    return buffer.getvalue()


# --- it is read back as it was written


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    build(World(backbones=("lite0",), trained=("full", "scratch"), shifted=True, mistaken=True, absent=("<gone>",)), folder)
    return folder


RUNS = World(backbones=("lite0",), trained=("full", "scratch"), mistaken=True).runs


def test_findings_are_read_as_they_were_written(root: Path) -> None:
    found = read_results(RUNS, ["scratch"], root).findings
    for name, rows in (("reliability", found.reliability), ("operating", found.operating), ("groups", found.groups),
                       ("learning", found.learning), ("shift", found.shift), ("mismatch", found.mismatch)):  # fmt: skip
        table = pd.read_csv(root / f"reports/{name}.csv")
        assert len(rows) == len(table) > 0, name
        for column in set(COLUMNS[name]) & set(vars(rows[0])):
            np.testing.assert_array_equal([getattr(row, column) for row in rows], table[column].to_numpy(), err_msg=f"{name}.{column}")
    assert [claim.claim for claim in found.claims] == [claim["claim"] for claim in CLAIMS] and math.isnan(found.claims[2].lo)
    assert found.gallery is not None and len(found.gallery.errors) == 6 and found.gallery.errors[0].cam == ""


def test_what_was_not_asked_reads_as_nothing(root: Path, tmp_path: Path) -> None:
    world = World(backbones=("lite0",), trained=("full",), findings=False)
    assert build(world, tmp_path).findings == Findings()
    for name, columns in COLUMNS.items():
        write_text(tmp_path / f"reports/{name}.csv", ",".join(columns) + "\n")
    write_json(tmp_path / "reports/claims.json", [])
    assert read_results(world.runs, [], tmp_path).findings == Findings()


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    world = World(backbones=("lite0",), trained=("full",))
    build(world, tmp_path)
    path = tmp_path / "reports/groups.csv"
    write_text(path, path.read_text(encoding="utf-8").replace("accuracy", "acuracy", 1))
    with pytest.raises(InputError, match=r"groups\.csv: has no 'accuracy'; run `dvc repro`"):
        read_results(world.runs, [], tmp_path)
    write_text(path, ",".join(COLUMNS["groups"]) + "\nlite0,full,g,,many,1,0.5,0.5\n")
    with pytest.raises(InputError, match=r"groups\.csv: 'n' is 'many', which is no number; run `dvc repro`"):
        read_results(world.runs, [], tmp_path)


def test_mistaken_backbones_stand_apart(root: Path) -> None:
    results = read_results(RUNS, ["scratch"], root)
    assert results.mismatched == {MISTAKEN} and results.undefined == ["<gone>"]
    assert not [r for r in (*results.candidates, *results.controls, *results.shown) if r.backbone == MISTAKEN]
    assert [r for r in results.ranked if r.backbone == MISTAKEN and r.strategy in HEADS]


def test_costs_add_up(root: Path) -> None:
    results = read_results(RUNS, ["scratch"], root)
    images = {r.name: r.typical_images for r in results.ranked}
    assert images["lite0/full"] == 3 * 1312 and images["lite0/scratch"] == 4 * 1312 and images["lite0/ridge"] == 1312
