"""The stage on small synthetic runs: exact files and columns, equal bytes, figures against scikit-learn, lines for bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from sklearn import metrics as sk

from thaw import breakdown, contrasts, scoring
from thaw.errors import InputError
from thaw.index import Dataset, write_dataset, write_index
from thaw.params import CONTROLS, HEADS, read_params
from thaw.runs import Identity, Predictions, read_predictions, write_predictions
from thaw.stages import evaluate

ROOT = Path(__file__).parents[1]
SCALARS = {*scoring.SCALARS} - {"weighted_accuracy"}
FOLDS = [0, 1]
GOOD = Identity("lite0", "full", 1)


def write_params(folder, mistaken=False, trained=("full", "lp_ft"), **settings):
    yaml = YAML()
    tree = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    tree["split"]["folds"] = FOLDS
    tree["features"]["backbones"] = tree["finetune"]["backbones"] = ["lite0"]
    if mistaken:
        tree["features"]["backbones"] = ["lite0", "lite0_half"]
    tree["finetune"]["strategies"] = list(trained)
    tree["learning"] |= {"heads": [], "finetune": []}
    tree["evaluate"] |= {"bootstrap": 400, "reference": "linear_probe", "reference_backbone": "lite0", "primary": "roc_auc"} | settings
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(tree, file)


def write_data(folder, labels, classes, weighted):
    """Index, data set and splits: groups of six, folds by group, the first third of each training part is for validation."""
    n = len(labels)
    group = np.arange(n) // 6
    table = pd.DataFrame({"id": [f"im{i:03d}" for i in range(n)], "label": [classes[y] for y in labels]})
    table = table.assign(path="x.png", group=[f"m{g}" for g in group], domain="all", split="", width=8, height=8, channels=1, sha256="0")
    table["weight"] = np.where(np.arange(n) % 3 == 0, 1 / 3, 1.0)
    write_index(table, folder / "data/index.csv")
    write_dataset(Dataset("toy", classes, True, weighted, "toy module", []), folder / "data/dataset.json")
    splits = pd.DataFrame({"id": table["id"], "fold": group % 2})
    for k in FOLDS:
        rank = (splits["fold"] != k).cumsum()
        splits[f"role_{k}"] = np.where(splits["fold"] == k, "test", np.where(rank <= rank.max() / 3, "val", "train"))
    splits.to_csv(folder / "data/splits.csv", index=False)
    return splits


def write_runs(runs, splits, labels, k, signal):
    """Predictions in an order that is not the index's, with ``signal`` per strategy."""
    rng = np.random.default_rng(0)
    for backbone, strategy, fold in runs:
        role = splits[f"role_{fold}"].to_numpy()
        rows = rng.permutation(np.flatnonzero(role != "train"))
        logits = rng.normal(size=(len(rows), k)) + signal.get(strategy, 1.0) * np.eye(k)[labels[rows]]
        ids = splits["id"].to_numpy(dtype=str)[rows]
        write_predictions(Predictions(ids, role[rows], logits.astype(np.float32)), Identity(backbone, strategy, fold).folder())


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder in which the stage runs: 240 images of two classes in 40 groups, 2 folds, 10 strategies."""
    monkeypatch.chdir(tmp_path)
    labels = (np.random.default_rng(1).random(240) < 0.4).astype(int)
    splits = write_data(tmp_path, labels, ["sound", "defective"], weighted=True)
    write_params(tmp_path)
    signal = dict.fromkeys(CONTROLS, 0.0) | {"full": 3.0, "lp_ft": 2.0}
    write_runs(read_params().runs(), splits, labels, 2, signal)
    return tmp_path


def column(table, name) -> np.ndarray:
    return np.asarray(table[name])


def table(name) -> Any:
    return pd.read_csv(f"reports/{name}.csv")


def read_reports(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "reports").iterdir())}


def out_of_fold(strategy):
    """(labels, probabilities of the second class) pooled over folds by plain reading of the files, in the order of the index."""
    index = pd.read_csv("data/index.csv").set_index("id")
    parts = []
    for fold in FOLDS:
        found = read_predictions(Identity("lite0", strategy, fold).folder())
        odds = found.logits.astype(float)
        frame = pd.DataFrame({"p": 1 / (1 + np.exp(odds[:, 0] - odds[:, 1]))}, index=found.id)
        parts.append(frame[found.split == "test"])
    pooled = pd.concat(parts).loc[index.index]
    return (index["label"] == "defective").to_numpy(), pooled["p"].to_numpy(), index


def test_files_columns_and_rows(project, capsys):
    evaluate.main()
    assert capsys.readouterr().err == ""
    tables = ["contrasts.csv", "curves.csv", "groups.csv", "leaderboard.csv", "metrics.json", "operating.csv", "reliability.csv"]
    tables = sorted([*tables, "claims.json", "learning.csv", "mismatch.csv", "shift.csv", "summary.json"])
    assert list(read_reports(project)) == tables
    board, compared, curves = (pd.read_csv(f"reports/{name}.csv") for name in ("leaderboard", "contrasts", "curves"))
    assert list(board) == ["backbone", "strategy", "kind", "control", "metric", "value", "lo", "hi", "n", "groups"]
    assert list(compared) == contrasts.COLUMNS
    assert list(curves) == ["backbone", "strategy", "curve", "class", "x", "y"]
    assert len(board) == 11 * 15 and set(board["metric"]) == SCALARS | {"weighted_accuracy", "roc_auc_within"}
    assert set(board["n"]) == {240} and set(board["groups"]) == {40}
    assert set(board["strategy"][board["control"]]) == set(CONTROLS)
    assert set(board["strategy"][board["kind"] == "finetune"]) == {"full", "lp_ft"}
    assert np.all(column(board, "lo") <= column(board, "hi"))
    candidates = {*HEADS, "full", "lp_ft"}
    assert set(compared["strategy"]) == candidates - {"linear_probe"} and set(compared["reference"]) == {"linear_probe"}
    assert len(compared) == 6 * 15 and np.all(column(compared, "p_holm") >= column(compared, "p")) and np.all(column(compared, "mde") > 0)
    assert set(curves["strategy"]) == candidates and set(curves["class"]) == {"defective"} and set(curves["curve"]) == {"roc", "pr"}
    assert max(len(part) for _, part in curves.groupby(["strategy", "curve"])) <= 200
    assert curves[["x", "y"]].to_numpy().min() >= 0 and curves[["x", "y"]].to_numpy().max() <= 1
    primary = column(board, "value")[column(board, "metric") == "roc_auc"]
    assert np.all(np.diff(primary) <= 0) and column(board, "strategy")[0] == "full"


def test_tables_of_detail(project):
    evaluate.main()
    reliability, operating, groups = (table(name) for name in ("reliability", "operating", "groups"))
    candidates = {*HEADS, "full", "lp_ft"}
    for found, columns in ((reliability, breakdown.RELIABILITY), (operating, breakdown.OPERATING), (groups, breakdown.GROUPS)):
        assert list(found) == columns and set(found["strategy"]) == candidates
    assert set(reliability["stage"]) == {"raw", "scaled"} and (reliability.groupby(["strategy", "stage"])["n"].sum() == 240).all()
    assert len(operating) == 7 * 101 and len(groups) == 7 * 40 and set(groups["n"]) == {6}
    index = pd.read_csv("data/index.csv")
    full = groups[groups["strategy"] == "full"].set_index("group")
    for group in ("m0", "m7", "m39"):
        assert full.loc[group, "positives"] == np.sum((index["group"] == group) & (index["label"] == "defective"))


def test_images_without_groups_have_no_table_of_them_but_tests_of_their_own(project):
    write_dataset(Dataset("toy", ["sound", "defective"], False, True, "image", []), project / "data/dataset.json")
    index = pd.read_csv("data/index.csv", dtype=str)
    index.assign(group=index["id"]).to_csv("data/index.csv", index=False)
    evaluate.main()
    assert Path("reports/groups.csv").read_text() == ",".join(breakdown.GROUPS) + "\n"
    compared = table("contrasts")
    assert compared["p_delong"].notna().equals(compared["metric"] == "roc_auc")
    assert compared["p_mcnemar"].notna().equals(compared["metric"] == "accuracy")


def test_metrics_json(project):
    evaluate.main()
    found = json.loads(Path("reports/metrics.json").read_text())
    said = "dataset classes n samples undefined_classes groups grouped group_name primary confidence reference winner runner_up"
    assert set(found) == {*said.split(), "pretraining", "pooled", "folds"} and found["pretraining"] is None
    assert found["winner"] == {"backbone": "lite0", "strategy": "full"}
    assert found["runner_up"] == {"backbone": "lite0", "strategy": "lp_ft"}
    assert found["reference"] == {"backbone": "lite0", "strategy": "linear_probe"}
    assert (found["n"], found["samples"], found["groups"], found["group_name"]) == (240, 240, 40, "toy module")
    full = found["pooled"]["lite0/full"]
    assert set(full) == SCALARS | {"weighted_accuracy", "roc_auc_within", "per_class", "confusion", "thresholds", "calibration"}
    folds = [figures["roc_auc"] for figures in found["folds"]["lite0/full"].values()]
    assert full["roc_auc_within"] == pytest.approx(sum(folds) / len(folds), abs=1e-9)
    assert set(full["per_class"]["sound"]) == {"precision", "recall", "f1", "support"}
    assert set(found["folds"]["lite0/full"]) == {"0", "1"}
    assert set(found["folds"]["lite0/full"]["0"]) == SCALARS | {"weighted_accuracy"}


def test_pooled_figures_are_scikit_learns(project):
    evaluate.main()
    found = json.loads(Path("reports/metrics.json").read_text())["pooled"]["lite0/lp_ft"]
    labels, p, index = out_of_fold("lp_ft")
    fold = pd.read_csv("data/splits.csv")["fold"].to_numpy()
    predicted = p >= np.array(found["thresholds"])[fold]
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, p))
    assert found["pr_auc"] == pytest.approx(sk.average_precision_score(labels, p))
    assert found["log_loss"] == found["calibration"]["raw"]["log_loss"] == pytest.approx(sk.log_loss(labels, p))
    odds = np.log(p / (1 - p)) / np.array(found["calibration"]["temperatures"])[fold]
    scaled = 1 / (1 + np.exp(-odds))
    assert found["calibration"]["scaled"]["log_loss"] == pytest.approx(sk.log_loss(labels, scaled))
    assert found["calibration"]["scaled"]["brier"] == pytest.approx(sk.brier_score_loss(labels, scaled))
    assert found["brier"] == pytest.approx(sk.brier_score_loss(labels, p))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    assert found["weighted_accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted, sample_weight=index["weight"]))
    assert found["confusion"] == sk.confusion_matrix(labels, predicted).tolist()
    expected = np.array(sk.precision_recall_fscore_support(labels, predicted))
    for k, name in enumerate(["sound", "defective"]):
        assert [found["per_class"][name][key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(expected[:, k])


def test_threshold_and_temperature_come_from_validation_alone(project):
    def chosen(figures):
        return figures["thresholds"], figures["calibration"]["temperatures"]

    evaluate.main()
    before = chosen(json.loads(Path("reports/metrics.json").read_text())["pooled"]["lite0/full"])
    found = read_predictions(GOOD.folder())
    test = found.split == "test"
    write_predictions(Predictions(found.id, found.split, np.where(test[:, None], -found.logits, found.logits)), GOOD.folder())
    evaluate.main()
    after = json.loads(Path("reports/metrics.json").read_text())["pooled"]["lite0/full"]
    assert chosen(after) == before and after["roc_auc"] < 0.9
    write_predictions(Predictions(found.id, found.split, np.where(test[:, None], found.logits, found.logits[:, ::-1])), GOOD.folder())
    evaluate.main()
    now = chosen(json.loads(Path("reports/metrics.json").read_text())["pooled"]["lite0/full"])
    assert now[0] != before[0] and now[1] != before[1]


def test_second_run_in_another_process_gives_the_same_bytes(project):
    evaluate.main()
    first = read_reports(project)
    code = [sys.executable, "-m", "thaw.stages.evaluate"]
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    subprocess.run(code, cwd=project, check=True, env=os.environ | {"PYTHONPATH": path})
    assert read_reports(project) == first


def test_order_inside_a_predictions_file_changes_nothing(project):
    evaluate.main()
    first = read_reports(project)
    found = read_predictions(GOOD.folder())
    write_predictions(Predictions(found.id[::-1], found.split[::-1], found.logits[::-1]), GOOD.folder())
    evaluate.main()
    assert read_reports(project) == first


def test_the_same_predictions_under_two_names_differ_by_nothing(project):
    for fold in FOLDS:
        write_predictions(read_predictions(Identity("lite0", "linear_probe", fold).folder()), Identity("lite0", "ridge", fold).folder())
    evaluate.main()
    compared = table("contrasts")
    ridge = compared[compared["strategy"] == "ridge"]
    assert np.all(ridge[["diff", "lo", "hi"]] == 0) and np.all(ridge[["p", "p_holm", "p_permutation"]] == 1)
    full = compared[(compared["strategy"] == "full") & (compared["metric"] == "roc_auc")].iloc[0]
    assert full["lo"] > 0 and full["p_holm"] < 0.05 and full["sentence"].startswith("`lite0/full` beats `lite0/linear_probe` by")


def test_pretraining_is_judged_by_the_planned_pair(project):
    """Its figures are those of the family's row, had the first of the two been the reference; but for the sign, and without Holm."""
    splits = pd.read_csv("data/splits.csv", dtype={"id": str})
    labels = (pd.read_csv("data/index.csv")["label"] == "defective").to_numpy(dtype=int)
    write_params(project, trained=("scratch", "lp_ft", "full"), reference="full")
    write_runs(read_params().runs(), splits, labels, 2, {"full": 1.0, "lp_ft": 3.0, "scratch": 0.2})
    evaluate.main()
    found = json.loads(Path("reports/metrics.json").read_text())["pretraining"]
    assert (found["pretrained"]["strategy"], found["scratch"]["strategy"]) == ("full", "scratch")  # not lp_ft, which is better
    compared = table("contrasts")
    row = compared[(compared["strategy"] == "scratch") & (compared["metric"] == "roc_auc")].iloc[0]
    assert [found[name] for name in ("diff", "lo", "hi")] == pytest.approx([-row["diff"], -row["hi"], -row["lo"]], rel=1e-8)
    assert found["mde"] == pytest.approx(row["mde"], rel=1e-8) and found["diff"] > 0
    assert found["p"] == pytest.approx(max(row["p"], row["p_permutation"]), abs=0.01)  # swapped in another order: other draws


def test_predictions_of_a_mistaken_backbone_are_controls(project):
    write_params(project, mistaken=True)
    splits = pd.read_csv("data/splits.csv", dtype={"id": str})
    labels = (pd.read_csv("data/index.csv")["label"] == "defective").to_numpy(dtype=int)
    write_runs(read_params().runs(), splits, labels, 2, {"full": 3.0, "lp_ft": 2.0})
    evaluate.main()
    board, compared = table("leaderboard"), table("contrasts")
    assert board["control"][board["backbone"] == "lite0_half"].all()
    assert "lite0_half" not in set(compared["backbone"]) and not board["control"][board["strategy"] == "full"].any()


def test_lower_log_loss_wins_and_another_seed_moves_only_what_is_drawn(project):
    write_params(project, primary="log_loss")
    evaluate.main()
    first, drawn = table("leaderboard"), table("contrasts")["p_better"]
    shown = first[(first["metric"] == "log_loss") & ~first["control"]]
    assert np.all(np.diff(column(shown, "value")) >= 0)
    winner = json.loads(Path("reports/metrics.json").read_text())["winner"]["strategy"]
    assert winner == column(shown, "strategy")[0]
    write_params(project, primary="log_loss", seed=7)
    evaluate.main()
    second = table("leaderboard")
    assert not drawn.equals(table("contrasts")["p_better"])
    assert first.equals(second)


def test_three_classes_without_confidences(project):
    labels = np.random.default_rng(3).integers(0, 3, 240)
    splits = write_data(project, labels, ["a", "b", "c"], weighted=False)
    write_runs(read_params().runs(), splits, labels, 3, {"full": 3.0})
    evaluate.main()
    found = json.loads(Path("reports/metrics.json").read_text())["pooled"]["lite0/full"]
    assert found["thresholds"] is None and np.array(found["confusion"]).shape == (3, 3)
    assert set(pd.read_csv("reports/leaderboard.csv")["metric"]) == SCALARS | {"roc_auc_within"}
    assert set(pd.read_csv("reports/curves.csv")["class"]) == {"a", "b", "c"}
    assert len(table("operating")) == 0 and table("groups")["positives"].isna().all()


def test_ordered_classes_have_a_kappa_and_missing_ones_are_told(project):
    classes = ["p0", "p33", "p67", "p100"]
    labels = np.random.default_rng(4).integers(0, 3, 240)  # nothing is of the last class
    splits = write_data(project, labels, classes, weighted=False)
    write_runs(read_params().runs(), splits, labels, 4, {"full": 3.0})
    evaluate.main()
    found = json.loads(Path("reports/metrics.json").read_text())
    matrix = np.array(found["pooled"]["lite0/full"]["confusion"])
    called = np.repeat(np.tile(np.arange(4), 4), matrix.ravel())
    true = np.repeat(np.repeat(np.arange(4), 4), matrix.ravel())
    assert found["pooled"]["lite0/full"]["quadratic_kappa"] == pytest.approx(sk.cohen_kappa_score(true, called, weights="quadratic"))
    assert found["folds"]["lite0/full"]["1"]["quadratic_kappa"] > 0.3
    gone = {"count": 1, "names": ["p100"]}
    assert found["undefined_classes"] == {"pooled": gone, "folds": {"0": gone, "1": gone}}


def test_a_fold_without_a_class_has_no_auc(project):
    labels = (np.arange(240) // 6 % 2 == 0).astype(int)  # fold 0 is all defective
    splits = write_data(project, labels, ["sound", "defective"], weighted=True)
    write_runs(read_params().runs(), splits, labels, 2, {})
    evaluate.main()
    found = json.loads(Path("reports/metrics.json").read_text())
    assert found["folds"]["lite0/full"]["0"]["roc_auc"] is None
    assert found["pooled"]["lite0/full"]["roc_auc"] is not None
    assert found["pooled"]["lite0/full"]["thresholds"] == [0.5, 0.5]  # nothing to choose by in validation either
    assert found["undefined_classes"]["folds"]["0"] == {"count": 1, "names": ["defective"]}
    assert found["undefined_classes"]["pooled"] == {"count": 0, "names": []}


def test_stale_folders_are_named_and_not_read(project, capsys):
    evaluate.main()
    first = read_reports(project)
    for fold in (2, 3):
        write_predictions(read_predictions(GOOD.folder()), Identity("lite0", "full", fold).folder())
    evaluate.main()
    said = capsys.readouterr().err.splitlines()
    expected = "thaw: runs/lite0/full/2 and 1 more: not asked for by params.yaml, so not read; remove with `rm -r runs/lite0/full/2`"
    assert said == [expected]
    assert read_reports(project) == first


def test_too_few_resamples_are_remarked_on(project, capsys):
    write_params(project, bootstrap=200, confidence=0.99)
    evaluate.main()
    assert "200 permutations cannot bring p_holm of 6 contrasts below 0.03; use 600 or more" in capsys.readouterr().err


def change(run, **fields):
    found = read_predictions(run.folder())
    write_predictions(Predictions(**{"id": found.id, "split": found.split, "logits": found.logits} | fields), run.folder())


def drop_an_image():
    found = read_predictions(GOOD.folder())
    keep = np.arange(len(found.id)) != np.flatnonzero(found.split == "test")[0]
    change(GOOD, id=found.id[keep], split=found.split[keep], logits=found.logits[keep])


def name_a_stranger():
    found = read_predictions(GOOD.folder())
    names = found.id.astype("<U20")
    names[np.flatnonzero(found.split == "val")[0]] = "a stranger"
    change(GOOD, id=names)


def repeat_an_image():
    found = read_predictions(GOOD.folder())
    names, (first, second) = found.id.copy(), np.flatnonzero(found.split == "test")[:2]
    names[first] = names[second]
    change(GOOD, id=names)


def add_a_column():
    change(GOOD, logits=np.zeros((len(read_predictions(GOOD.folder()).id), 3), dtype=np.float32))


def make_nan():
    logits = read_predictions(GOOD.folder()).logits.copy()
    logits[0, 0] = np.nan
    change(GOOD, logits=logits)


def spoil_bytes():
    file = GOOD.folder() / "predictions.npz"
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 8] = bytes(255 - byte for byte in data[middle : middle + 8])
    file.write_bytes(data)


def write_something_else():
    (GOOD.folder() / "predictions.npz").write_bytes(b"version https://git-lfs.github.com/spec/v1")


def leave_out_an_array():
    np.savez(GOOD.folder() / "predictions.npz", id=np.array(["im000"]))


def lose_a_head():
    (Identity("lite0", "knn", 0).folder() / "predictions.npz").unlink()


BROKEN = [
    (
        drop_an_image,
        r"runs/lite0/full/1/predictions.npz: test images are not those of .*for example 'im\d+'; run `dvc repro -f finetune@lite0",
    ),
    (name_a_stranger, r"full/1/predictions.npz: val images are not .*for example 'a stranger'; run `dvc repro -f finetune@lite0-full-1`"),
    (repeat_an_image, r"full/1/predictions.npz: test images are not those"),
    (add_a_column, r"full/1/predictions.npz: logits are not finite numbers of shape \(images, 2\), got \(\d+, 3\); run `dvc repro -f fine"),
    (make_nan, r"full/1/predictions.npz: logits are not finite"),
    (spoil_bytes, r"full/1/predictions.npz: cannot be read \(.*\); run `dvc repro -f finetune@lite0-full-1`"),
    (write_something_else, r"full/1/predictions.npz: cannot be read \(.*\); run `dvc repro -f finetune@lite0-full-1`"),
    (leave_out_an_array, r"full/1/predictions.npz: cannot be read \(.*\); run `dvc repro"),
    (lose_a_head, r"runs/lite0/knn/0/predictions.npz: is missing; run `dvc repro -f heads@lite0`"),
]


@pytest.mark.parametrize("spoil, line", BROKEN, ids=[spoil.__name__ for spoil, _ in BROKEN])
def test_broken_runs_are_named_with_the_command_that_mends_them(project, spoil, line):
    spoil()
    with pytest.raises(InputError, match=line) as caught:
        evaluate.main()
    assert "\n" not in str(caught.value)
    assert not Path("reports").exists()


@pytest.mark.parametrize(
    "spoil, line",
    [
        (lambda s: s.assign(role_0="test"), "image 'im006' is not tested exactly once, in its own fold; run `dvc repro -f split`"),
        (lambda s: s.assign(role_0="train"), "image 'im000' is not tested exactly once"),
        (lambda s: s.assign(fold=1 - s["fold"]), "image 'im000' is not tested exactly once"),
        (lambda s: s.drop(columns="role_1"), "has no column 'role_1'; run"),
        (lambda s: s.iloc[1:], "does not list the images of data/index.csv in their order"),
    ],
)
def test_broken_splits_are_refused(project, spoil, line):
    spoil(pd.read_csv("data/splits.csv")).to_csv("data/splits.csv", index=False)
    with pytest.raises(InputError, match=f"data/splits.csv: {line}"):
        evaluate.main()


def test_domains_that_are_left_out_are_tested_by_the_others_models_and_inside_images_do_not_count(project):
    splits, index = pd.read_csv("data/splits.csv", dtype={"id": str}), pd.read_csv("data/index.csv")
    own = index["group"].str[1:].astype(int).to_numpy() % 2  # the domain of fold k is k
    third = np.arange(240) // 12 % 3
    for k in FOLDS:
        splits[f"role_{k}"] = np.where(own != k, "test", np.array(["train", "val", "inside"])[third])
    splits.assign(fold=own).to_csv("data/splits.csv", index=False)
    index.assign(domain=np.where(own == 0, "mono", "poly")).to_csv("data/index.csv", index=False)
    labels = (index["label"] == "defective").to_numpy(dtype=int)
    write_runs(read_params().runs(), splits, labels, 2, {"full": 3.0})
    evaluate.main()
    found = json.loads(Path("reports/metrics.json").read_text())
    assert found["n"] == found["samples"] == np.sum(found["pooled"]["lite0/full"]["confusion"]) == 240
    assert set(pd.read_csv("reports/shift.csv")["trained_on"]) == {"all", "mono", "poly"}
    change(GOOD, logits=np.where(read_predictions(GOOD.folder()).split[:, None] == "inside", 9, read_predictions(GOOD.folder()).logits))
    evaluate.main()
    assert json.loads(Path("reports/metrics.json").read_text()) == found


def test_of_a_split_that_the_data_come_with_the_test_part_alone_counts(project):
    """One fold; what the model learnt from is no sample, however good it is there."""
    part = np.array(["train", "val", "test"])[np.arange(240) // 80]
    index = pd.read_csv("data/index.csv").assign(split=part)
    index.to_csv("data/index.csv", index=False)
    splits = pd.DataFrame({"id": index["id"], "fold": np.where(part == "test", 0, -1), "role_0": part})
    splits.to_csv("data/splits.csv", index=False)
    yaml = YAML()
    tree = yaml.load(Path("params.yaml").read_text(encoding="utf-8"))
    tree["split"] |= {"method": "given", "folds": [0]}
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(tree, file)
    labels = (index["label"] == "defective").to_numpy(dtype=int)
    write_runs(read_params().runs(), splits, labels, 2, {"full": 3.0})
    evaluate.main()
    found = json.loads(Path("reports/metrics.json").read_text())
    assert found["n"] == found["samples"] == np.sum(found["pooled"]["lite0/full"]["confusion"]) == 80
    assert list(found["folds"]["lite0/full"]) == ["0"] and found["groups"] == len(set(index["group"].to_numpy()[part == "test"]))
    said = read_predictions(Identity("lite0", "full", 0).folder())
    tested = said.split == "test"
    odds = said.logits[tested, 1].astype(float) - said.logits[tested, 0]
    truth = labels[pd.Index(index["id"]).get_indexer(pd.Index(said.id[tested]))]
    assert found["pooled"]["lite0/full"]["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, odds))
    splits.assign(fold=np.where(np.arange(240) == 3, 0, splits["fold"]), role_0=np.where(np.arange(240) == 3, "test", part)).to_csv(
        "data/splits.csv", index=False
    )
    with pytest.raises(InputError, match="tests image 'im003', which was given to train on"):
        evaluate.main()


def test_one_class_alone_is_refused(project):
    write_data(project, np.zeros(240, dtype=int), ["sound", "defective"], weighted=False)
    with pytest.raises(InputError, match="all images are of one class, 'sound'"):
        evaluate.main()
