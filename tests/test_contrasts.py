"""Against the reference: Holm's families, both p, the tests of single images, and the sentences."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from thaw import contrasts, evidence, leaderboard, paired_tests
from thaw.leaderboard import Candidate, Pooled, Scored
from thaw.samples import Images


def candidate(name, probabilities, control=False):
    return Candidate("b", name, "head", control, Pooled(probabilities, probabilities.argmax(axis=1), None, probabilities, [1.0]))


def images_of(labels, groups, folds=2):
    n = len(labels)
    return Images(np.arange(n), np.arange(n) % folds, labels, groups, ["all"] * n, None, ["sound", "defective"])


@pytest.fixture
def world():
    """(candidates by name, images): 120 images in 12 groups; "good" is better than the reference, "equal" is like it, "same" is it."""
    rng = np.random.default_rng(0)
    labels = (rng.random(120) < 0.5).astype(int)

    def noisy(signal):
        z = rng.normal(size=120) + signal * labels
        return np.stack([1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))], axis=1)

    weak = noisy(0.5)
    said = {"reference": weak, "same": weak.copy(), "good": noisy(4.0), "equal": noisy(0.5), "chance": noisy(0.0)}
    who = {name: candidate(name, p, control=name == "chance") for name, p in said.items()}
    return who, images_of(labels, [f"g{i // 10:02d}" for i in range(120)])


def compare(who, images, resamples=300, seed=0) -> tuple[Any, dict[str, Scored]]:
    scored = {e.candidate.strategy: e for e in leaderboard.score(list(who.values()), images, seed)}
    return contrasts.table(list(scored.values()), scored["reference"], images, 0.95, resamples, seed), scored


def test_rows_are_candidates_against_the_reference_and_families_are_metrics(world):
    table, scored = compare(*world)
    assert list(table) == contrasts.COLUMNS
    assert table["strategy"].unique().tolist() == ["same", "good", "equal"]  # neither the control nor the reference itself
    assert table.groupby("strategy")["metric"].agg(list).map(lambda names: names == list(scored["good"].pooled)).all()
    for _, family in table.groupby("metric"):
        both = family[["p", "p_permutation"]].max(axis=1)
        for corrected, p in (("p_holm", both), ("p_permutation_holm", family["p_permutation"])):
            np.testing.assert_array_equal(family[corrected], evidence.holm(p.to_numpy()))


def test_one_test_alone_decides_nothing():
    rows = pd.DataFrame({"metric": "roc_auc", "p": [0.001, 0.3, 0.002], "p_permutation": [0.2, 0.001, 0.003]})
    assert contrasts._corrected(rows)["p_holm"].tolist() == pytest.approx([0.4, 0.4, 0.009])


def test_what_is_better_is_found_and_what_is_the_same_is_not(world):
    table, _ = compare(*world)
    auc = table[table["metric"] == "roc_auc"].set_index("strategy")
    assert auc.loc["good", "p"] < 0.001 and auc.loc["good", "p_holm"] == 3 / 301 and auc.loc["good", "p_better"] > 0.99
    assert auc.loc["good", "p_permutation"] == 1 / 301
    same = table[table["strategy"] == "same"]
    assert (same[["p", "p_holm", "p_permutation", "p_permutation_holm"]] == 1).all(axis=None)
    assert (same[["diff", "lo", "hi"]] == 0).all(axis=None) and (same["p_better"] == 0.5).all()
    loss = table[(table["metric"] == "log_loss") & (table["strategy"] == "good")].iloc[0]
    assert loss["diff"] < 0 and loss["p_better"] > 0.9  # lower is better


def test_swapped_figures_are_those_of_swapped_predictions(world):
    who, images = world
    images = images_of(images.labels, [f"i{i:03d}" for i in range(120)])
    one, other = who["good"], who["reference"]
    own = np.random.default_rng(1).integers(0, 2, 120).astype(float)
    found = contrasts.swappable(one, other, images)(np.concatenate([own, 1 - own])[None])
    mixed = candidate("mixed", np.where(own[:, None] == 1, one.probabilities, other.probabilities))
    expected = mixed.pooled_figures(np.ones((1, 120)), images)
    for name in ("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "brier", "ece"):
        assert found[name][0] == pytest.approx(expected[name][0]), name
    whole = contrasts.swappable(one, other, images)(np.concatenate([np.ones(120), np.zeros(120)])[None])
    assert {name: value[0] for name, value in whole.items()} == pytest.approx(
        {name: value[0] for name, value in one.pooled_figures(np.ones((1, 120)), images).items()}
    )


def test_what_is_drawn_and_swapped_by_group_is_what_the_images_would_be(world):
    who, images = world
    scored = leaderboard.score([who["good"], who["reference"]], images, 0)
    for found, entry in zip(contrasts._drawn(scored, images, 40, seed=5), scored, strict=True):
        [expected] = evidence.bootstrap([partial(entry.candidate.pooled_figures, images=images)], images.groups, 40, seed=5)
        assert set(found) == set(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-12, err_msg=name)
    alone = contrasts.swappable(who["good"], who["reference"], images_of(images.labels, [f"i{i:03d}" for i in range(120)]))
    expected = paired_tests.permuted(alone, images.groups, 40, seed=6)  # weights of images, in the same hands
    for name, values in contrasts.swapped(who["good"], who["reference"], images, 40, seed=6).items():
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-12, err_msg=name)


def test_figures_of_order_do_not_see_how_a_strategy_is_calibrated(world):
    who, images = world
    sure = who["equal"].probabilities ** 9
    sure /= sure.sum(axis=1, keepdims=True)
    tables = [compare(who | {"equal": candidate("equal", p)}, images)[0] for p in (who["equal"].probabilities, sure)]
    plain, tempered = (table[table["strategy"] == "equal"].set_index("metric")["p_permutation"] for table in tables)
    for metric in ("roc_auc", "roc_auc_within", "pr_auc", "accuracy"):
        assert plain[metric] == tempered[metric], metric
    assert plain["log_loss"] != tempered["log_loss"]


def test_single_images_have_mcnemar_and_delong_and_groups_do_not(world):
    who, images = world
    grouped, _ = compare(who, images, resamples=200)
    assert grouped[["p_mcnemar", "p_delong"]].isna().all(axis=None)
    alone = images_of(images.labels, [f"i{i}" for i in range(120)])
    table, _ = compare(who, alone, resamples=200)
    equal = table[table["strategy"] == "equal"].set_index("metric")
    one, other, labels = who["equal"], who["reference"], images.labels
    assert equal.loc["roc_auc", "p_delong"] == paired_tests.delong(one.probabilities[:, 1], other.probabilities[:, 1], labels == 1)
    assert equal.loc["accuracy", "p_mcnemar"] == paired_tests.mcnemar(one.predicted == labels, other.predicted == labels)
    assert equal["p_delong"].count() == equal["p_mcnemar"].count() == 1
    assert equal.loc["roc_auc", "p_delong"] == pytest.approx(equal.loc["roc_auc", "p"], abs=0.05)  # independent images: much the same


def test_the_seed_moves_what_is_drawn_and_nothing_else(world):
    first, second = (compare(*world, seed=seed)[0] for seed in (0, 1))
    drawn = ["p_permutation", "p_permutation_holm", "p_holm", "p_better", "sentence"]
    assert first.drop(columns=drawn).equals(second.drop(columns=drawn))
    assert not first["p_better"].equals(second["p_better"])


ROW = {"backbone": "lite0", "strategy": "lp_ft", "reference_backbone": "lite0", "reference": "full"}


@pytest.mark.parametrize(
    "metric, diff, lo, hi, p_holm, said",
    [
        ("roc_auc", 0.021, 0.004, 0.039, 0.04, "`lite0/lp_ft` beats `lite0/full` by 2.1 points of ROC AUC [0.4, 3.9]"),
        ("roc_auc", -0.021, -0.039, -0.004, 0.04, "`lite0/full` beats `lite0/lp_ft` by 2.1 points of ROC AUC [0.4, 3.9]"),
        ("log_loss", -0.05, -0.08, -0.02, 0.01, "`lite0/lp_ft` beats `lite0/full` by 0.050 of log loss [0.020, 0.080]"),
        ("log_loss", 0.05, 0.02, 0.08, 0.01, "`lite0/full` beats `lite0/lp_ft` by 0.050 of log loss [0.020, 0.080]"),
        (
            *("roc_auc", 0.01, -0.01, 0.03, 0.4),
            "no difference seen between `lite0/lp_ft` and `lite0/full` in ROC AUC; this design would have seen 2.8 points",
        ),
        (
            *("roc_auc", 0.03, 0.01, 0.05, 0.4),
            "no difference seen between `lite0/lp_ft` and `lite0/full` in ROC AUC by both tests with 15 comparisons allowed for; "
            "by its interval alone, 3.0 points of ROC AUC [1.0, 5.0] would count",
        ),
        (
            *("roc_auc", np.nan, np.nan, np.nan, np.nan),
            "`lite0/lp_ft` and `lite0/full` cannot be compared: ROC AUC is undefined, or would be without one of the groups",
        ),
    ],
)
def test_sentences(metric, diff, lo, hi, p_holm, said):
    row = ROW | {"metric": metric, "diff": diff, "lo": lo, "hi": hi, "p_holm": p_holm, "mde": 0.028}
    assert contrasts.sentence(row, family=15, confidence=0.95) == said


def test_the_table_tells_each_row(world):
    table, _ = compare(*world)
    row = table[(table["metric"] == "roc_auc") & (table["strategy"] == "good")].to_dict("records")[0]
    assert row["sentence"] == contrasts.sentence(row, 3, 0.95) and row["sentence"].startswith("`b/good` beats `b/reference` by")


def test_remarks_say_what_the_resamples_and_groups_cannot(world):
    who, images = world
    table, scored = compare(who, images, resamples=30)
    ranked = list(scored.values())
    coarse = "evaluate.bootstrap: 30 permutations cannot bring p_holm of 3 contrasts below 0.097; use 60 or more"
    assert contrasts.remarks(ranked, table, images, 30, 0.95) == [coarse]
    assert contrasts.remarks(ranked, table, images, 300, 0.95) == []
    few = images_of(images.labels, [f"g{i // 30}" for i in range(120)])
    [said] = contrasts.remarks(ranked, table, few, 300, 0.95)
    assert said.endswith("of 3 contrasts below 0.38; 4 groups swap in too few ways")
    gap = Scored(ranked[0].candidate, ranked[0].pooled, {**ranked[0].replicates, "roc_auc": np.array([0.5, np.nan])})
    assert contrasts.remarks([gap], table, images, 300, 0.95) == ["roc_auc has no interval: without one of the groups it is undefined"]
