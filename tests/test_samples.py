"""Who is measured on what, where an image is tested once, several times, or held out inside its domain."""

import numpy as np
import pandas as pd
import pytest

from thaw import samples
from thaw.errors import InputError
from thaw.folding import given_split, leave_domains_out, make_splits
from thaw.index import Dataset
from thaw.runs import Predictions, write_predictions
from thaw.samples import Design


def design_of(domains, weighted=False):
    """90 images in 18 groups of the named domains; fold k trains on domain k."""
    n = 90
    rng = np.random.default_rng(0)
    labels, group = (rng.random(n) < 0.5).astype(int), np.arange(n) // 5
    domain = np.array(domains)[group % len(domains)]
    ids = [f"im{i:02d}" for i in range(n)]
    splits = leave_domains_out(labels, np.array([f"g{g:02d}" for g in group]), domain, ids, len(domains), 0.25, 0.25, seed=0)
    index = pd.DataFrame({"id": ids, "group": [f"g{g:02d}" for g in group], "domain": domain, "weight": np.linspace(0.1, 1, n)})
    dataset = Dataset("toy", ["sound", "defective"], True, weighted, "module", [])
    return Design(dataset, index, splits, labels, list(range(len(domains))))


def write(design, folder, fold, roles, drop=None):
    """Logits that name the row: (row, fold)."""
    role = design.splits[f"role_{fold}"].to_numpy(dtype=str)
    rows = np.random.default_rng(fold).permutation(np.flatnonzero(np.isin(role, roles)))
    rows = rows if drop is None else rows[role[rows] != drop]
    logits = np.stack([rows, np.full(len(rows), fold)], axis=1).astype(np.float32)
    write_predictions(Predictions(design.splits["id"].to_numpy(dtype=str)[rows], role[rows], logits), folder)


def test_with_two_domains_every_image_is_a_sample_once_by_the_model_of_the_other():
    design = design_of(["mono", "poly"], weighted=True)
    found = samples.samples(design)
    assert found.row.tolist() == list(range(90))
    assert all((fold == 1) == (domain == "mono") for fold, domain in zip(found.fold, found.domains, strict=True))
    np.testing.assert_array_equal(found.labels, design.labels)
    np.testing.assert_array_equal(found.confidence, design.index["weight"])


def test_with_three_domains_every_image_is_a_sample_twice_and_inside_ones_are_apart():
    design = design_of(["a", "b", "c"])
    found = samples.samples(design)
    assert np.bincount(found.row).tolist() == [2] * 90 and found.confidence is None
    assert np.array_equal(found.labels, design.labels[found.row])
    inside = samples.samples(design, ["inside"])
    assert 0 < len(inside.row) < 60
    assert [inside.domains[i] for i in range(len(inside.row))] == [["a", "b", "c"][fold] for fold in inside.fold]
    both = samples.samples(design, ["test", "inside"])
    assert len(both.row) == len(found.row) + len(inside.row)


@pytest.mark.parametrize("roles", [["test"], ["inside"], ["inside", "test"]])
def test_predictions_are_matched_to_their_images(tmp_path, roles):
    design = design_of(["a", "b", "c"])
    write(design, tmp_path, 1, ["val", "test", "inside"])
    found = samples.read_fold(design, tmp_path, 1, "mend", roles)
    np.testing.assert_array_equal(found.logits[:, 0], found.rows)
    assert set(found.rows) == set(np.flatnonzero(design.splits["role_1"].isin(roles)))
    val = np.flatnonzero(design.splits["role_1"] == "val")
    np.testing.assert_array_equal(found.val_logits[:, 0], val)
    np.testing.assert_array_equal(found.val_labels, design.labels[val])


def test_where_labels_are_few_the_validation_images_are_those_that_were_kept(tmp_path):
    design = design_of(["a", "b"])
    val = np.flatnonzero(design.splits["role_0"] == "val")
    dropped = design.splits["id"].iloc[val[::2]].tolist()
    whole = design.splits.copy()
    design.splits.loc[val[::2], "role_0"] = "train"
    write(design, tmp_path, 0, ["val", "test"])
    asked = Design(design.dataset, design.index, whole, design.labels, design.folds)
    found = samples.read_fold(asked, tmp_path, 0, "mend", whole_validation=False)
    np.testing.assert_array_equal(found.val_logits[:, 0], val[1::2])
    with pytest.raises(InputError, match=f"val images are not those of data/splits.csv in fold 0, for example '{dropped[0]}'; mend"):
        samples.read_fold(asked, tmp_path, 0, "mend")


def test_a_stranger_among_few_validation_images_is_named(tmp_path):
    design = design_of(["a", "b"])
    train = int(np.flatnonzero(design.splits["role_0"] == "train")[0])
    whole = design.splits.copy()
    design.splits.loc[train, "role_0"] = "val"
    write(design, tmp_path, 0, ["val", "test"])
    asked = Design(design.dataset, design.index, whole, design.labels, design.folds)
    with pytest.raises(InputError, match=f"for example 'im{train:02d}'"):
        samples.read_fold(asked, tmp_path, 0, "mend", whole_validation=False)


def test_missing_inside_predictions_are_told(tmp_path):
    design = design_of(["a", "b"])
    write(design, tmp_path, 0, ["val", "test"])
    assert len(samples.read_fold(design, tmp_path, 0, "mend").rows)
    with pytest.raises(InputError, match="inside images are not those"):
        samples.read_fold(design, tmp_path, 0, "mend", ["inside"])


@pytest.mark.parametrize("domains", [["a", "b"], ["a", "b", "c"]])
def test_a_split_that_leaves_domains_out_is_accepted_and_an_uneven_one_is_not(domains):
    design = design_of(domains)
    samples.check_splits(design.splits, design.index, design.folds)
    times = len(domains) - 1
    spoilt = design.splits.assign(role_0="inside")
    first = design.splits["id"][int(np.argmax((design.splits["role_0"] == "test").to_numpy()))]
    said = f"image '{first}' is not tested {times} times, as often as the first image; run `dvc repro -f split`"
    with pytest.raises(InputError, match=said):
        samples.check_splits(spoilt, design.index, design.folds)
    with pytest.raises(InputError, match="image 'im00' is not tested 1 times"):
        samples.check_splits(design.splits.assign(**{f"role_{k}": "inside" for k in design.folds}), design.index, design.folds)


def given_design():
    """20 images to learn from, 10 to choose on, 10 tested."""
    given = np.repeat(["train", "val", "test"], [20, 10, 10])
    ids = [f"im{i:02d}" for i in range(40)]
    index = pd.DataFrame({"id": ids, "group": ids, "domain": "all", "weight": 1.0, "split": given})
    labels = np.arange(40) % 2
    splits = given_split(labels, np.array(ids), given, ids, 0.25, 0)
    return Design(Dataset("toy", ["sound", "defective"], False, False, "image", []), index, splits, labels, [0])


def test_of_a_given_split_only_the_test_part_is_measured(tmp_path):
    design = given_design()
    samples.check_splits(design.splits, design.index, [0])
    assert samples.samples(design).row.tolist() == list(range(30, 40))
    write(design, tmp_path, 0, ["val", "test"])
    assert samples.read_fold(design, tmp_path, 0, "mend").rows.tolist() == list(range(30, 40))


def test_images_that_were_given_to_train_on_are_never_tested():
    design = given_design()
    spoilt = design.splits.copy()
    spoilt.loc[3, ["role_0", "fold"]] = ["test", 0]
    with pytest.raises(InputError, match="tests image 'im03', which was given to train on; run `dvc repro -f split`"):
        samples.check_splits(spoilt, design.index, [0])
    with pytest.raises(InputError, match="image 'im30' is not tested where its fold says so"):
        samples.check_splits(design.splits.assign(fold=-1), design.index, [0])
    with pytest.raises(InputError, match="tests no image"):
        samples.check_splits(design.splits.assign(fold=-1, role_0="train"), design.index, [0])


def test_an_image_that_no_fold_tests_is_wrong_where_there_are_several():
    design = given_design()
    splits = make_splits(design.labels, np.array(design.index["group"]), design.splits["id"].tolist(), "stratified", 2, 0.25, 0)
    samples.check_splits(splits, design.index, [0, 1])
    splits.loc[5, ["fold", "role_0", "role_1"]] = [-1, "train", "train"]
    with pytest.raises(InputError, match="image 'im05' is not tested exactly once"):
        samples.check_splits(splits, design.index, [0, 1])
