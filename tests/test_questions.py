"""Fewer labels, another domain, wrong preprocessing: tables of planted worlds say what was planted."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thaw import claims, learning, mismatch, questions, shift
from thaw.errors import InputError
from thaw.fractions import FINETUNE, Fraction, share
from thaw.index import Dataset
from thaw.leaderboard import Candidate, pool, score
from thaw.params import Backbone, read_params
from thaw.randomness import derive_seed
from thaw.runs import Identity, Predictions, write_predictions
from thaw.samples import Design, read_fold, samples
from thaw.splits import INSIDE, TEST, TRAIN, VAL, rows_of

N, FOLDS = 480, [0, 1]
CLASSES = ["sound", "defective"]


@pytest.mark.parametrize(
    ("trained", "pair"),
    [
        (["scratch", "lp_ft", "full"], ("lite0/full", "lite0/scratch")),
        (["gradual", "scratch", "lp_ft"], ("lite0/gradual", "lite0/scratch")),
        (["scratch"], ("lite0/linear_probe", "lite0/scratch")),
        (["full", "lp_ft"], None),
        ([], None),
    ],
)
def test_the_pair_that_judges_pretraining_is_fixed_by_params(trained: list[str], pair: tuple[str, str] | None) -> None:
    params = read_params(Path(__file__).parents[1] / "params.yaml")
    listed = params.finetune.model_copy(update={"strategies": trained})
    assert questions.pretraining_pair(params.model_copy(update={"finetune": listed})) == pair


def design_of(left_out: bool) -> Design:
    """Groups of twelve; two folds by group, or two domains, each of which one fold trains on."""
    rng = np.random.default_rng(0)
    group = np.arange(N) // 12
    labels = rng.integers(0, 2, N)
    domain = np.where(group % 2 == 0, "mono", "poly")
    index = pd.DataFrame({"id": [f"im{i}" for i in range(N)], "label": [CLASSES[y] for y in labels], "group": [f"m{g:02d}" for g in group]})
    index = index.assign(domain=domain if left_out else "all", weight=1.0)
    splits = pd.DataFrame({"id": index["id"], "fold": group % 2})
    for k in FOLDS:
        own, part = (group % 2 == k) if left_out else (group % 2 != k), group // 2 % 4
        role = np.where(own, np.where(part == 0, VAL, TRAIN), TEST).astype(object)
        if left_out:
            role[own & (part == 1)] = INSIDE
        splits[f"role_{k}"] = role
    return Design(Dataset("toy", CLASSES, True, False, "toy module", []), index, splits, labels, FOLDS)


def write_run(folder: Path, design: Design, fold: int, signals: dict[str, float], seed: int, kept: np.ndarray | None = None) -> None:
    """Predictions whose signal differs by role; ``kept``: which validation images there are."""
    rng = np.random.default_rng(seed)
    role = design.splits[f"role_{fold}"].to_numpy()
    rows = np.flatnonzero((role != TRAIN) & ((role != VAL) | np.isin(np.arange(N), np.arange(N) if kept is None else kept)))
    strength = np.array([signals.get(r, signals[TEST]) for r in role[rows]])
    logits = rng.normal(size=(len(rows), 2)) + strength[:, None] * np.eye(2)[design.labels[rows]]
    ids = design.index["id"].to_numpy(dtype=str)[rows]
    write_predictions(Predictions(ids, role[rows].astype(str), logits.astype(np.float32)), folder)


def scored_of(design: Design, names: dict[str, float]):
    """Candidates lite0/<name> with so much signal on test images, and 2 on held-out images of their own domain."""
    images, found = samples(design), []
    for number, (name, signal) in enumerate(names.items()):
        backbone, _, strategy = name.rpartition("/")
        run = [Identity(backbone or "lite0", strategy, fold) for fold in FOLDS]
        for identity in run:
            write_run(identity.folder(), design, identity.fold, {TEST: signal, INSIDE: 2.0}, 10 * number + identity.fold)
        folds = [read_fold(design, identity.folder(), identity.fold, "mend") for identity in run]
        kind = "head" if strategy == "linear_probe" else "finetune"
        found.append(Candidate(backbone or "lite0", strategy, kind, False, pool(folds, images, "balanced_accuracy")))
    return images, score(found, images, 0)


def test_learning_curve_rises_with_what_was_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    design = design_of(left_out=False)
    images, whole = scored_of(design, {"full": 2.0, "linear_probe": 1.5})
    runs = []
    for root, strategy, signal in (("learning/finetune", "full", 0.2), ("learning/heads", "linear_probe", 1.0)):
        for fold in FOLDS:
            folder = Path(root, "lite0", strategy, "images-25", str(fold))
            ids, groups = design.index["id"].to_numpy(dtype=str), design.index["group"].to_numpy()
            seed = derive_seed(7, "finetune", fold)
            kept = share(rows_of(design.splits, fold, VAL), design.labels, groups, ids, Fraction("images", 25), seed)
            write_run(folder, design, fold, {TEST: signal}, fold + 50, kept)
            runs.append((root, "lite0", strategy, "images-25", fold))
    found = learning.points(design, images, runs, whole, "balanced_accuracy", 0, 7)
    table = learning.table(found, "lite0/linear_probe", 0.95)
    assert list(table) == learning.COLUMNS
    auc = table[table["metric"] == "roc_auc"].set_index(["strategy", "percent"])
    assert auc.loc[("full", 25), "value"] < 0.65 < auc.loc[("full", 100), "value"]
    assert auc.loc[("full", 100), "value"] == pytest.approx(whole[0].pooled["roc_auc"])
    gap = auc.loc[("full", 25), "value"] - auc.loc[("linear_probe", 25), "value"]
    assert auc.loc[("full", 25), "diff"] == pytest.approx(gap) and auc.loc[("full", 25), "diff_hi"] < 0
    assert np.isnan(auc.loc[("linear_probe", 25), "diff"])
    trained = [len(rows_of(design.splits, fold, TRAIN)) for fold in FOLDS]
    assert auc.loc[("full", 100), "train_images"] == np.median(trained)
    assert np.median(trained) / 4 <= auc.loc[("full", 25), "train_images"] <= np.median(trained) / 4 + 2
    asked = questions.measured("roc_auc", "lite0", whole, found, [])
    assert asked["full", "25 %"][0] == pytest.approx(auc.loc[("full", 25), "value"])
    assert asked["full", claims.INSIDE][0] == pytest.approx(whole[0].pooled["roc_auc"])


def test_a_missing_share_names_its_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    design = design_of(left_out=False)
    images, whole = scored_of(design, {"full": 2.0})
    with pytest.raises(InputError, match=r"images-25/0/predictions.npz: is missing; run `dvc repro finetune_part@lite0-full-25-0`"):
        learning.points(design, images, [(str(FINETUNE), "lite0", "full", "images-25", 0)], whole, "f1", 0, 7)


def test_domains_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """lp_ft keeps its signal out of domain, full loses half of it; both have 2 inside."""
    monkeypatch.chdir(tmp_path)
    design = design_of(left_out=True)
    outside, scored = scored_of(design, {"lp_ft": 2.0, "full": 0.5})
    sides = questions.both_domains(design, outside, scored, "balanced_accuracy", 0)
    table = shift.table(sides, 0.95)
    assert list(table) == shift.COLUMNS and set(table["trained_on"]) == {"all", "mono", "poly"}
    auc = table[table["metric"] == "roc_auc"].set_index(["strategy", "trained_on"])
    whole = auc.xs("all", level="trained_on")
    assert whole.loc["full", "drop"] == pytest.approx(whole.loc["full", "outside"] - whole.loc["full", "inside"])
    assert whole.loc["full", "drop_hi"] < 0 and whole.loc["lp_ft", "drop_lo"] < 0 < whole.loc["lp_ft", "drop_hi"]
    assert whole.loc["full", "outside"] == pytest.approx(scored[1].pooled["roc_auc"])
    assert (whole.loc["full", "n_inside"], whole.loc["full", "n_outside"]) == ((design.splits == INSIDE).to_numpy().sum(), N)
    trained_on_mono = rows_of(design.splits, 0, TEST)
    assert auc.loc[("full", "mono"), "n_outside"] == len(trained_on_mono)
    rows = {str(row["claim"]): row for row in claims.findings(questions.measured("roc_auc", "lite0", scored, [], sides), 0.95)}
    assert rows["LP-FT beats full fine-tuning out of domain"]["verdict"] == "reproduced"
    inside = rows["LP-FT beats full fine-tuning in-domain"]
    assert inside["estimate"] == pytest.approx(100 * (whole.loc["lp_ft", "inside"] - whole.loc["full", "inside"]), rel=1e-4)


def test_without_domains_left_out_there_is_nothing_to_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    design = design_of(left_out=False)
    outside, scored = scored_of(design, {"full": 2.0})
    assert questions.both_domains(design, outside, scored, "f1", 0) == [] and len(shift.table([], 0.95)) == 0


def test_a_mistake_costs_what_was_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, scored = scored_of(design_of(left_out=False), {"lite0/linear_probe": 2.0, "wrong/linear_probe": 0.5, "lite0/full": 2.0})
    table = mismatch.table(scored, {"wrong": ("lite0", "size")}, 0.95)
    assert list(table) == mismatch.COLUMNS and set(table["strategy"]) == {"linear_probe"}
    auc = table[table["metric"] == "roc_auc"].iloc[0]
    assert auc["diff"] == pytest.approx(scored[1].pooled["roc_auc"] - scored[0].pooled["roc_auc"]) and auc["hi"] < 0


def test_twins_share_weights_and_size() -> None:
    backbones = {
        "small": Backbone(weights="lite0", image_size=96),
        "wrong": Backbone(weights="lite0", image_size=96, mismatch="size"),
        "alone": Backbone(weights="lite0", image_size=128, mismatch="interpolation"),
        "large": Backbone(weights="lite0", image_size=224),
    }
    assert questions.twins(backbones, list(backbones)) == {"wrong": ("small", "size")}
    assert questions.twins(backbones, ["wrong", "large"]) == {}
