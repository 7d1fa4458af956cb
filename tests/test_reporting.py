"""The report against a small synthetic world whose answer is known."""

import base64
import json
import math
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from thaw.errors import InputError
from thaw.files import write_json
from thaw.index import Dataset, write_dataset
from thaw.reporting import figures, wording
from thaw.reporting.answer import answer_block, answer_lines, difference_sentence
from thaw.reporting.budget import budget, trials_of
from thaw.reporting.markdown import report
from thaw.reporting.page import page
from thaw.reporting.readme import END, START, readme_is_current, readme_table, update_readme
from thaw.reporting.results import Contrast, Results, read_results
from thaw.reporting.tables import literal, table
from thaw.runs import CONTROLS, HEADS, Identity, Record, write_cost, write_record
from thaw.stages import report as stage

PROJECT = Path(__file__).resolve().parents[1]
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

    @property
    def names(self) -> list[str]:
        heads = [f"{b}/{s}" for b in self.backbones for s in (*HEADS, *CONTROLS)]
        return heads + [f"{self.backbones[0]}/{s}" for s in self.trained]

    @property
    def runs(self) -> list[tuple[str, str, int]]:
        return [(*name.split("/"), fold) for name in self.names for fold in range(4)]  # type: ignore[misc]

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
    candidates = [name for name in world.names if name.split("/")[1] not in CONTROLS]
    lower = world.primary in ("log_loss", "brier")
    defined = [n for n in candidates if world.quality(n, world.primary) is not None]
    best = sorted(defined, key=lambda n: (world.quality(n, world.primary) or 0.0) * (1 if lower else -1))
    _write_evaluation(world, root, best[0], best[1])
    write_json(root / "reports/leakage.json", _leakage(world))
    notes = ["Images: CC BY-NC-SA 4.0; not part of this repository.", "Modules are *inferred* from <row order> | type."]
    group_name = "inferred module" if world.grouped else "image"
    write_dataset(Dataset(world.name, list(world.classes), world.grouped, world.grouped, group_name, notes), root / "data/dataset.json")
    for backbone, strategy, fold in world.runs:
        _write_run(world, root, Identity(backbone, strategy, fold))
    for backbone in world.backbones:
        seconds = 20.0 if backbone == "lite0" else 100.0
        write_json(root / f"costs/{backbone}/features.json", {"seconds": seconds, "images_seen": 2624, "images_per_second": 2624 / seconds})
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
    }  # fmt: skip
    write_json(root / "reports/metrics.json", metrics)
    board, contrasts, curves = [], [], []
    for name in world.names:
        control = name.split("/")[1] in CONTROLS
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
    return {"per_class": per_class, "confusion": confusion, "thresholds": [0.41, 0.38, 0.5, 0.44] if k == 2 else None}


def _fold_figures(world: World, name: str, scalars: list[str]) -> dict[str, dict[str, float | None]]:
    shifts = (-0.05, 0.02, 0.04, -0.01)
    own = 0.004 * (sum(map(ord, name)) % 5 - 2)
    values = {m: world.quality(name, m) for m in scalars}
    return {str(f): {m: None if v is None else round(v + s + own * (f - 1), 6) for m, v in values.items()} for f, s in enumerate(shifts)}


def _contrast(world: World, name: str, reference: str, metric: str) -> dict:
    a, b = world.quality(name, metric), world.quality(reference, metric)
    known = {"reference_backbone": "lite0", "reference": world.reference, "metric": metric, "n": 2624}
    if a is None or b is None:
        return known | dict.fromkeys(("diff", "lo", "hi", "p", "p_holm", "mde"))
    diff = round(a - b, 10)
    return known | {"diff": diff, "lo": diff - 0.017, "hi": diff + 0.018, "p": world.p / 15, "p_holm": world.p, "mde": 0.028}


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
        kind="finetune" if trained else "head", control=identity.strategy in CONTROLS, classes=list(world.classes),
        inputs={"libraries": {"torch": "2.15.0", "python": "3.12.1"}, "settings": {"start": start} if start else {}},
        groups=groups, history=history,
        metrics={"best_val_auc": 0.8} | ({"best_epoch": 3.0} if trained else {"C": 0.01}),
        trainable_parameters=3_372_001 if trained else 2562,
        preprocessing={"image_size": 96, "mean": [0.5, 0.5, 0.5], "interpolation": "bicubic", "crop": 0.875},
    )  # fmt: skip
    write_record(record, identity.folder(root / "runs"))
    write_cost(identity, {"seconds": seconds, "images_seen": 1312}, root / "costs")


@pytest.fixture(scope="module")
def elpv(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return build(World(), tmp_path_factory.mktemp("elpv"))


FIGURES = ["differences", "cost", "folds", "confusion", "curves", "training"]


def text_of(results: Results) -> str:
    """The Markdown alone: drawing takes seconds."""
    return report(results, "A title", FIGURES)


@pytest.fixture(scope="module")
def pictures(elpv: Results) -> dict[str, bytes]:
    return figures.draw(elpv)


def with_contrast(results: Results, name: str, metric: str, contrast: Contrast) -> Results:
    ranked = [replace(r, contrasts=r.contrasts | {metric: contrast}) if r.name == name else r for r in results.ranked]
    roles = {role: next(r for r in ranked if r.name == getattr(results, role).name) for role in ("winner", "reference")}
    return replace(results, ranked=ranked, **roles)


def addressed(pictures: dict[str, bytes]) -> dict[str, bytes]:
    return {f"figures/{name}.png": data for name, data in pictures.items()}


# --- the answer


def test_answer_names_winner_difference_cost_and_ways_on(elpv: Results) -> None:
    lines = answer_lines(elpv)
    assert lines == [
        "Best: lite0/lp_ft, ROC AUC 0.841 [0.806, 0.871] (95 % interval over 44 inferred modules).",
        "Difference: lite0/lp_ft beats lite0/linear_probe by 2.1 points of ROC AUC [0.4, 3.9], Holm p = 0.012.",
        "Cost: 126 s per model (median of 4 folds, 121 s to 131 s; its probe and the probe's features included) and 3,372,001 trainable "
        "parameters; 12 times the reference's 11 s (features included) and 1,316 times its 2,562 parameters.",
        "Report: reports/report.html (the same as text: reports/report.md)",
        "Runs: make ui opens them in MLflow",
    ]


def test_what_the_correction_takes_back_is_said_to_be_that(tmp_path: Path) -> None:
    results = build(World(p=0.6), tmp_path)
    assert answer_lines(results)[1] == (
        "Difference: no clear difference between lite0/lp_ft and lite0/linear_probe: 2.1 points of ROC AUC [0.4, 3.9] "
        "in favour of the first, Holm p = 0.600; alone it would count; after correction for 15 comparisons it does not."
    )
    text = text_of(results)
    assert "and for 15 neither is clear" in text
    assert "| `lite0/lp_ft` | alone it would count; after correction for 15 comparisons it does not | 2.1 [0.4, 3.9] |" in text
    assert "| `lite0/gradual` | no difference seen | 1.3 [−0.4, 3.1] | 0.600 | 2.8 |" in text


def test_no_difference_is_said_with_what_one_comparison_detects(tmp_path: Path) -> None:
    results = build(World(p=0.6, reference="full"), tmp_path)
    line = answer_lines(results)[1]
    assert line.endswith("0.3 points of ROC AUC [−1.4, 2.1] in favour of the first, Holm p = 0.600; "
                         "one comparison alone would have detected 2.8 points four times in five.")  # fmt: skip
    large = replace(results.winner.contrasts["roc_auc"], diff=0.03, lo=-0.001, hi=0.06)  # beyond the 2.8 points, and yet not clear
    assert difference_sentence(with_contrast(results, "lite0/lp_ft", "roc_auc", large)).endswith(
        "Holm p = 0.600; its interval reaches zero."
    )


def test_winner_that_is_the_reference(tmp_path: Path) -> None:
    results = build(World(reference="lp_ft"), tmp_path)
    lines = answer_lines(results)
    assert lines[1] == (
        "Difference: the reference itself is the best, nothing beats it. lite0/lp_ft beats lite0/full by "
        "0.3 points of ROC AUC [−1.5, 2.0], Holm p = 0.012."
    )
    assert "it is the reference, so this is the yardstick" in lines[2]
    assert "| `lite0/lp_ft` | 0.841 [0.806, 0.871] | reference |" in readme_table(results)
    assert "tested against each other" not in text_of(results)


def test_pretraining_is_judged_against_scratch(elpv: Results, tmp_path: Path) -> None:
    block = answer_block(elpv)
    assert [line.split(":")[0].strip("*") for line in block] == ["Best", "Difference", "Cost", "Pretraining", "Caution"]
    assert "random weights in 4 epochs, reaches 0.701 [0.666, 0.731]" in block[3]
    assert "It helped: `lite0/linear_probe` beats `lite0/scratch` by 11.9 points of ROC AUC [10.1, 13.6]" in block[3]
    assert block[3].endswith("Holm p = 0.012, and `lite0/lp_ft` stands higher still.")
    open_ = answer_block(build(World(p=0.5), tmp_path / "open"))[3]
    assert "The two were not tested against each other" in open_ and open_.endswith("are [0.666, 0.731] and [0.806, 0.871].")
    surprising = replace(elpv.ranked[0].contrasts["roc_auc"], diff=0.01, lo=0.001, hi=0.02)  # ahead of the reference, not of the best
    assert "The two were not tested" in answer_block(with_contrast(elpv, "lite0/scratch", "roc_auc", surprising))[3]
    unclear = answer_block(build(World(p=0.5, reference="lp_ft"), tmp_path / "unclear"))[3]
    assert "Whether pretraining helped cannot be told: no clear difference" in unclear
    turned = answer_block(build(World(reference="scratch"), tmp_path / "turned"))[3]
    assert "It helped: `lite0/lp_ft` beats `lite0/scratch` by 14.0 points of ROC AUC [12.3, 15.8]" in turned
    assert len(answer_block(build(World(trained=()), tmp_path / "none"))) == 4


def test_caution_is_two_sentences(elpv: Results, nasty: tuple[list[str], str]) -> None:
    caution = answer_block(elpv)[-1]
    assert "best of 16 candidates" in caution and "15 comparisons" in caution
    assert "one seed per fold" in caution and "validation images that other folds test" in caution
    assert len(re.findall(r"\. [A-Z]|\.$", caution)) == 2
    assert "one seed per fold" in nasty[1] and "default rates" not in nasty[1]


def test_losses_are_better_when_lower(tmp_path: Path) -> None:
    results = build(World(primary="log_loss"), tmp_path)
    lines = answer_lines(results)
    assert lines[0] == "Best: lite0/lp_ft, log loss 0.559 [0.524, 0.589] (95 % interval over 44 inferred modules)."
    assert lines[1] == "Difference: lite0/lp_ft beats lite0/linear_probe by 0.021 of log loss [0.003, 0.038], Holm p = 0.012."
    text = text_of(results)
    assert text.index("| `lite0/lp_ft` | 0.559") < text.index("| `lite0/scratch` | 0.699") < text.index("| `*/raw_pixels` (control)")
    assert "| `lite0/lp_ft` | better | −0.021 [−0.038, −0.003] |" in text
    assert "| `lite0/scratch` | worse | 0.119 [0.102, 0.137] |" in text


@pytest.mark.parametrize(
    ("diff", "p", "higher", "expected"),
    [
        (0.1, 0.04, True, "better"),
        (0.1, 0.04, False, "worse"),
        (-0.1, 0.04, False, "better"),
        (0.1, 0.06, True, "none"),
        (math.nan, 0.01, True, "unknown"),
    ],
)
def test_verdict(diff: float, p: float, higher: bool, expected: str) -> None:
    assert wording.verdict(wording.Measure("m", higher), diff, p, 0.95) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (wording.number(-0.0004), "0.000"),
        (wording.number(-1234.5, 1), "−1,234.5"),
        (wording.number(None), "—"),
        (wording.with_interval(0.99982, 0.99965, 0.99993, 3), "0.9998 [0.9997, 0.9999]"),
        (wording.with_interval(0.5, math.nan, math.nan, 3), "0.500"),
        (wording.duration(0.0123), "0.012 s"),
        (wording.duration(1234.5), "1,234 s"),
        (wording.p_value(0.0004), "Holm p < 0.001"),
        (wording.times(115.2, 1.0, "the reference's 1 s"), "115 times the reference's 1 s"),
        (wording.times(1.01, 1.0, "the reference's 1 s"), "about the reference's 1 s"),
        (wording.times(3.0, 0, "parameters"), ""),
        (wording.verdict_words("none", 0.1, 0.2, 9), "alone it would count; after correction for 9 comparisons it does not"),
        (wording.verdict_words("none", -0.1, 0.2, 9), "no difference seen"),
    ],
)
def test_numbers_in_words(text: str, expected: str) -> None:
    assert text == expected


# --- the report


def test_report_has_its_parts_in_order(elpv: Results) -> None:
    text = text_of(elpv)
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings == [
        "The answer", "Leaderboard", "Differences to the reference", "Quality against cost", "From fold to fold",
        "Where the best goes wrong", "Training curves", "Leak audit", "Tuning budget", "What was trained", "Data and how to reproduce this",
    ]  # fmt: skip
    assert "saw neither it nor any other of its inferred module." in text and "groups (" not in text
    assert "Of 15 strategies compared with `lite0/linear_probe` on the same images, 7 did better, 8 did worse" in text
    assert "in 4 of 4 folds" in text
    assert "how the images are split" not in text and "the audit above fixes k" in text
    assert "From pretrained weights; 3 epochs; 112 s" in text and "From random weights; 4 epochs" in text
    assert "From the linear probe of the same fold; 3 epochs; 126 s" in text
    assert "seconds per model, features included" in text and "detectable alone (80 %)" in text
    assert "not tested pair by pair" in text
    assert "Solid is the winner, dashed the reference, dash-dotted random weights, dotted guessing." in text
    assert "| `lite0/lp_ft` | 0.787 | 0.861 | 0.885 | 0.839 | 0.841 |" in text
    assert "| all, 3 epochs, cosine | backbone | 0.0005 | 0.01 | 2 | 2,562 |" in text
    assert "CC BY-NC-SA 4.0" in text and "torch 2.15.0" in text
    assert "0.497 [0.462, 0.527]: chance, as it should" in text


def test_controls_that_do_not_see_the_backbone_stand_once(elpv: Results) -> None:
    board = text_of(elpv).split("## Leaderboard")[1].split("## ")[0]
    assert board.count("raw_pixels` (control)") == 1
    assert board.count("linear_probe` |") == 2


def test_shuffled_labels_above_chance_are_pointed_out(elpv: Results) -> None:
    suspect = [
        replace(r, estimates=r.estimates | {"roc_auc": replace(r.estimate("roc_auc"), value=0.6, lo=0.57, hi=0.63)})
        if r.strategy == "shuffled_labels" else r for r in elpv.ranked
    ]  # fmt: skip
    assert "far above the 0.5 of chance. Look for a leak." in text_of(replace(elpv, ranked=suspect))


def test_shuffled_labels_below_chance_are_pointed_out(elpv: Results) -> None:
    low = [
        replace(r, estimates=r.estimates | {"roc_auc": replace(r.estimate("roc_auc"), value=0.4, lo=0.37, hi=0.43)})
        if r.strategy == "shuffled_labels" else r for r in elpv.ranked
    ]  # fmt: skip
    assert "0.400 [0.370, 0.430] (within folds it is 0.497 [0.462, 0.527]): far below the 0.5 of chance." in text_of(
        replace(elpv, ranked=low)
    )


def test_verdicts_that_rest_on_ranking_across_folds_are_named(elpv: Results, tmp_path: Path) -> None:
    assert "Judged by ROC AUC within folds, every verdict and every sign is the same." in text_of(elpv)
    text = text_of(build(World(within=(("lite0/full", -0.02),)), tmp_path))
    assert (
        "the verdict or the sign changes for `lite0/full` (better, 1.8 [0.1, 3.6] points over all folds → "
        "worse, −0.2 [−1.9, 1.6] points within folds)."
    ) in text
    weaker = replace(elpv.winner.contrasts["roc_auc_within"], p_holm=0.2)
    other = text_of(with_contrast(elpv, elpv.winner.name, "roc_auc_within", weaker))
    assert "changes for `lite0/lp_ft` (better, 2.1 [0.4, 3.9] points over all folds → not clear, 2.1" in other
    board = text.split("## Leaderboard")[1]
    assert "| strategy | ROC AUC | ROC AUC within folds | balanced accuracy |" in board and "offsets between the folds' models" in board


def test_another_primary_needs_no_second_auc(tmp_path: Path) -> None:
    assert "within folds" not in text_of(build(World(primary="pr_auc"), tmp_path))


def test_undefined_comparisons_are_counted_apart(tmp_path: Path) -> None:
    text = text_of(build(World(undefined=("lite0/full",)), tmp_path))
    assert "and for 0 neither is clear; for 1 the difference is undefined." in text


def test_seconds_hold_the_features_of_the_training_images(elpv: Results) -> None:
    """Half of the images train; all of them took 20 s at lite0 and 100 s at lite0_native."""
    seconds = {r.name: r.seconds[0] for r in elpv.ranked}
    assert seconds["lite0/linear_probe"] == pytest.approx(0.61 + 10)
    assert seconds["lite0_native/knn"] == pytest.approx(0.052 * 1.3 + 50)
    assert seconds["lite0/shuffled_labels"] == pytest.approx(0.3 + 10)
    assert seconds["lite0/majority"] == pytest.approx(0.3)
    assert seconds["lite0/lp_ft"] == pytest.approx(95 + 5 * 3 + 0.61 + 10)
    assert seconds["lite0/full"] == pytest.approx(95 + 4 * 3)


def test_many_classes_without_groups(tmp_path: Path) -> None:
    world = World(name="digits", classes=tuple("0123456789"), grouped=False, backbones=("lite0",), trained=("full",))
    results = build(world, tmp_path)
    text, drawn = text_of(results), figures.draw(results)
    assert "weighted accuracy" not in text
    assert "1,797 images of 10 classes, 4 folds. Every image is tested once, by a model that did not see it." in text
    assert "most probable class" in text
    assert "how the images are split" not in text
    assert list(drawn) == FIGURES
    assert answer_lines(results)[0].endswith("(95 % interval over 1,797 images).")


def test_undefined_figures_are_dashes(tmp_path: Path) -> None:
    text = text_of(build(World(undefined=("lite0/full", "lite0/majority")), tmp_path))
    assert re.search(r"\| `lite0/full` \| —( \| —){8} \| 112 s", text)
    assert "| `lite0/full` | undefined | — | — |" in text


def test_a_torn_split_is_said_at_once(elpv: Results) -> None:
    torn = replace(elpv, leakage=elpv.leakage | {"groups_torn": 3})
    assert "the split tears 3 inferred modules" in text_of(torn).split("## ")[0]


# --- names that are data


NASTY = ("<script>alert(1)</script>", "a|b \\| `$x$` ![p](http://e.org/p.png) 漢")


def cells_of(html: str) -> list[str]:
    return re.findall(r"<td[^>]*>(.*?)</td>", html, re.S)


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], str]:
    """Names of the figures, and the page, where nothing was fine-tuned."""
    results = build(World(classes=NASTY, trained=(), backbones=("lite0",)), tmp_path_factory.mktemp("nasty"))
    drawn = figures.draw(results)
    return list(drawn), page(report(results, "A title", list(drawn)), "<script>alert(2)</script>", addressed(drawn))


def test_class_names_stay_text(nasty: tuple[list[str], str]) -> None:
    names, html = nasty
    assert "<script" not in html.lower()
    assert "<title>&lt;script&gt;alert(2)&lt;/script&gt;</title>" in html
    cells = cells_of(html)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in cells
    assert "a|b \\| `$x$` ![p](http://e.org/p.png) 漢" in cells
    assert html.count("<img") == len(names)
    assert "Modules are *inferred* from &lt;row order&gt; | type." in html


def test_heads_alone(nasty: tuple[list[str], str]) -> None:
    names, html = nasty
    assert names == FIGURES[:-1] and "No network was trained" in html


def test_every_table_row_has_the_cells_of_its_header(nasty: tuple[list[str], str]) -> None:
    for body in re.findall(r"<table>(.*?)</table>", nasty[1], re.S):
        widths = {len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr>(.*?)</tr>", body, re.S)}
        assert len(widths) == 1


@pytest.mark.parametrize("name", ["a|b", "*x*", "<i>", "`c`", "[l](u)", "\\", "x\n\ny", "&lt;", "_e_", "$1$", "~~s~~", "\\|"])
def test_literal_shows_the_name_itself(name: str) -> None:
    html = page(table(["h"], [[literal(name)]]), "t", {})
    shown = " ".join(name.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert cells_of(html) == [shown]


def test_figures_spell_what_the_font_can() -> None:
    assert figures.drawable("Naïve $5", 1) == "Naïve $5"
    assert figures.drawable("漢", 1) == "class 1"
    assert figures.drawable("x" * 30, 1) == "x" * 17 + "…"


# --- the page


def test_page_needs_nothing_else(elpv: Results, pictures: dict[str, bytes]) -> None:
    html = page(text_of(elpv), "A title", addressed(pictures))
    assert "http://" not in html and "https://" not in html and "<script" not in html and "<link" not in html
    sources = re.findall(r'<img src="([^"]*)" alt="([^"]+)"', html)
    assert [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source, _ in sources] == list(pictures.values())
    regions = re.findall(r'<div class="scroll" tabindex="0" role="region" aria-label="([^"]+)"><table>', html)
    assert len(regions) == len(set(regions)) == html.count("</table></div>") == html.count("<table>")
    assert regions[0] == "Table 1: Leaderboard"
    found = dict(zip(FIGURES, (alt for _, alt in sources), strict=True))
    assert "7 did better" in found["differences"] and "lite0/lp_ft at 2.1 [0.4, 3.9] points" in found["differences"]
    for name, value in (("cost", "0.841"), ("folds", "0.787"), ("confusion", "75 %"), ("curves", "0.841"), ("training", "lite0/gradual")):
        assert value in found[name], found[name]


def test_figures_are_drawn_and_small(pictures: dict[str, bytes]) -> None:
    assert list(pictures) == FIGURES
    assert sum(map(len, pictures.values())) < 600_000
    for data in pictures.values():
        assert len(data) < 80_000
        with Image.open(BytesIO(data)) as picture:
            shades = np.asarray(picture.convert("L"))
            assert not picture.info  # neither date nor program
        assert (shades < 128).mean() > 0.002 and (shades > 240).mean() > 0.3


def test_confusion_shows_row_shares() -> None:
    shares = figures.row_shares(np.array([[3, 1], [0, 0]]))
    np.testing.assert_allclose(shares, [[0.75, 0.25], [0, 0]])


def test_mean_curve_of_straight_lines_is_straight() -> None:
    up = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    down = (np.array([1.0, 0.0]), np.array([0.0, 1.0]))  # written from right to left, as PR curves are
    x, y = figures.mean_curve([up, down])
    np.testing.assert_allclose(y, 0.5)
    np.testing.assert_allclose(x, np.linspace(0, 1, 201))


def test_labels_keep_apart_and_inside() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(400, 440, (8, 2)), rng.uniform(50, 900, (8, 2))])
    sizes = np.tile([120.0, 16.0], (16, 1))
    frame = np.array([0.0, 0.0, 1000.0, 1000.0])
    corners = figures.place_labels(points, sizes, frame)
    boxes = np.concatenate([corners, corners + sizes], axis=1)
    area = figures.overlaps(boxes, boxes)
    assert all(area[i, j] == 0 for i, j in combinations(range(16), 2))
    np.testing.assert_allclose(figures.overlaps(boxes, frame[None])[:, 0], 120 * 16)
    np.testing.assert_array_equal(figures.overlaps(boxes, np.concatenate([points - 4, points + 4], axis=1)), 0)


# --- reading


@pytest.mark.parametrize(
    "missing",
    ["reports/metrics.json", "reports/curves.csv", "runs/lite0/full/2/record.json", "costs/lite0/full/2.json", "costs/lite0/features.json"],
)
def test_missing_files_are_named(missing: str, tmp_path: Path) -> None:
    world = World(trained=("full",), backbones=("lite0",))
    build(world, tmp_path)
    (tmp_path / missing).unlink()
    stage = "features@lite0`" if missing.endswith("features.json") else ""
    with pytest.raises(InputError, match=f"{re.escape(missing)} is missing; run `dvc repro {stage}"):
        read_results(world.runs, ["scratch"], tmp_path)


def test_runs_that_were_not_evaluated_are_named(tmp_path: Path) -> None:
    build(World(trained=("full",), backbones=("lite0",)), tmp_path)
    with pytest.raises(InputError, match="has no lite0/norm_only"):
        read_results([("lite0", "norm_only", 0)], [], tmp_path)


def test_unknown_metric_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'roc_auc'"):
        wording.measure_of("roc_acu")


# --- the README's table


def test_readme_table_is_put_between_its_markers(elpv: Results, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# thaw\n\n{START}\nold\n{END}\n\nafter\n", encoding="utf-8")
    text = readme_table(elpv)
    assert not readme_is_current(readme, text)
    update_readme(readme, text)
    assert readme_is_current(readme, text)
    assert readme.read_text(encoding="utf-8") == f"# thaw\n\n{START}\n{text}\n{END}\n\nafter\n"
    assert "| seconds per model, features included |" in text
    assert "| `lite0/lp_ft` | 0.841 [0.806, 0.871] | 2.1 [0.4, 3.9] | 126 s |" in text
    assert "| `lite0/linear_probe` | 0.820 [0.785, 0.850] | reference | 11 s |" in text
    assert text.startswith("Best: `lite0/lp_ft`") and "beats `lite0/linear_probe`" in text.splitlines()[0]
    assert not any(control in text for control in CONTROLS)


@pytest.mark.parametrize("text", ["no markers\n", f"{END}\n{START}\n", f"{START}\n", f"{START}\n{START}\n{END}\n"])
def test_readme_without_markers_is_refused(text: str, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text, encoding="utf-8")
    for act in (update_readme, readme_is_current):
        with pytest.raises(InputError, match="once each and in this order"):
            act(readme, "new")
    assert readme.read_text(encoding="utf-8") == text


def test_the_answer_does_not_load_matplotlib() -> None:
    code = "import sys, thaw.reporting.readme, thaw.reporting.answer; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(PROJECT / "src")}, timeout=60)


# --- the stage


def test_stage_writes_the_same_bytes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = YAML(typ="safe", pure=True).load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    params["split"]["folds"], params["features"]["backbones"] = [0, 1, 2, 3], ["lite0"]
    params["finetune"]["backbones"], params["finetune"]["strategies"] = ["lite0"], ["full", "scratch"]
    (tmp_path / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    build(World(backbones=("lite0",), trained=("full", "scratch")), tmp_path)
    monkeypatch.chdir(tmp_path)

    def outputs() -> dict[str, bytes]:
        paths = [tmp_path / "reports/report.md", tmp_path / "reports/report.html", *(tmp_path / "reports/figures").iterdir()]
        return {path.name: path.read_bytes() for path in paths}

    stage.main()
    first = outputs()
    stage.main()
    assert outputs() == first and len(first) == 8
    assert str(tmp_path).encode() not in first["report.md"] + first["report.html"]
    assert first["report.md"].startswith(f"# {literal(params['report']['title'])}\n".encode())


# --- the tuning budget


def with_records(results: Results, name: str, **changed: Any) -> Results:
    ranked = [replace(r, records=[replace(record, **changed) for record in r.records]) if r.name == name else r for r in results.ranked]
    return replace(results, ranked=ranked)


def test_budget_counts_trials_and_names_edges(elpv: Results) -> None:
    grid = {"settings": {"C": [0.01, 0.1, 1.0], "keep": [0.2, 1.0], "metric": "auc"}}
    results = with_records(elpv, "lite0/head2toe", inputs=grid, metrics={"best_val_auc": 0.8, "C": 0.01, "keep": 0.2})
    trials = [{"score": 0.8, "rate": factor, "weight_decay": 1.0, "epochs": 1.0} for factor in (1.0, 0.5, 2.0)]
    results = with_records(results, "lite0/full", choices={"trials": trials, "chosen_trial": 2, "edges": ["rate"]})
    text = "\n\n".join(budget(results))
    assert "| `lite0/head2toe` | 6 | C 0.01, 0.01, 0.01, 0.01; keep 0.2, 0.2, 0.2, 0.2 | C in 4 folds |" in text
    assert "| `lite0/full` | 3 | rate × 2, 2, 2, 2; weight decay × 1, 1, 1, 1; epochs × 1, 1, 1, 1 | rate in 4 folds |" in text
    untuned = text.split("One trial")[1]
    assert "`lite0/lp_ft`" in untuned and "`lite0/full`" not in untuned and "head2toe" in untuned  # lite0_native's has no grid here
    assert trials_of(results.ranked[0].records[0]) == 1
