"""Curves, reliability, operating points and groups of one candidate, against scikit-learn and by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from thaw import breakdown, metrics
from thaw.leaderboard import Candidate, Pooled, Scored
from thaw.samples import Images


def world(k, n=400):
    """(ranked, images): one candidate and one control, n images in 20 groups of two domains."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, k, n)
    probabilities = metrics.probabilities_of(rng.normal(size=(n, k)) + np.eye(k)[labels])
    cold = metrics.probabilities_of(2 * np.log(probabilities))
    said = Pooled(probabilities, probabilities.argmax(axis=1), [0.5] if k == 2 else None, cold, [0.5])
    group = np.arange(n) % 20
    images = Images(
        row=np.arange(n),
        fold=np.zeros(n, dtype=np.int64),
        labels=labels,
        groups=[f"g{g:02d}" for g in group],
        domains=["mono" if g < 5 else "poly" for g in group],
        confidence=None,
        classes=[f"class{c}" for c in range(k)],
    )
    who, control = (Candidate("b", name, "head", name == "majority", said) for name in ("good", "majority"))
    return [Scored(who, {}, {}), Scored(control, {}, {})], images, said


def test_operating_points_are_scikit_learns():
    ranked, images, said = world(2)
    table = breakdown.operating(ranked, images)
    assert list(table) == breakdown.OPERATING and len(table) == 101 and set(table["strategy"]) == {"good"}
    for row in table.iloc[[0, 13, 50, 77, 100]].to_dict("records"):
        called = said.probabilities[:, 1] >= row["threshold"]
        found = sk.precision_recall_fscore_support(images.labels, called, average="binary", zero_division=0)[:3]  # type: ignore[arg-type]  # its stubs want a word
        assert [row["precision"], row["recall"], row["f1"]] == pytest.approx(list(found))
        assert row["specificity"] == pytest.approx(sk.recall_score(images.labels, called, pos_label=0))
        assert row["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(images.labels, called))


@pytest.mark.parametrize("k", [2, 3])
def test_groups_are_measured_alone(k):
    ranked, images, said = world(k)
    table = breakdown.by_group(ranked, images).set_index("group")
    assert list(table.reset_index()[breakdown.GROUPS]) == breakdown.GROUPS and len(table) == 20 and set(table["strategy"]) == {"good"}
    rows = np.array([g == "g07" for g in images.groups])
    row = table.loc["g07"]
    assert (row["n"], row["domain"]) == (20, "poly")
    assert row["accuracy"] == pytest.approx(np.mean(said.predicted[rows] == images.labels[rows]))
    assert row["log_loss"] == pytest.approx(sk.log_loss(images.labels[rows], said.probabilities[rows], labels=list(range(k))))
    assert row["positives"] == (images.labels[rows] == 1).sum() if k == 2 else np.isnan(row["positives"])


def test_reliability_has_both_stages_of_candidates_alone():
    ranked, images, said = world(3)
    table = breakdown.reliability(ranked, images)
    assert list(table) == breakdown.RELIABILITY and set(table["strategy"]) == {"good"}
    assert all(table["n"][table["stage"] == stage].sum() == 400 for stage in ("raw", "scaled"))
    scaled = table[table["stage"] == "scaled"]
    assert np.average(scaled["confidence"], weights=scaled["n"]) == pytest.approx(said.scaled.max(axis=1).mean())
    assert np.average(scaled["share"], weights=scaled["n"]) == pytest.approx(np.mean(said.scaled.argmax(axis=1) == images.labels))


def test_what_does_not_exist_has_a_header():
    ranked, images, _ = world(3)
    assert breakdown.operating(ranked, images).empty and list(breakdown.operating(ranked, images)) == breakdown.OPERATING
    for table, columns in ((breakdown.curves, breakdown.CURVES), (breakdown.by_group, breakdown.GROUPS)):
        pd.testing.assert_frame_equal(table([], images), pd.DataFrame(columns=columns))


def test_thinned_curve_keeps_ends_and_shape():
    rng = np.random.default_rng(0)
    positive = rng.random(3000) < 0.3
    x, y = metrics.roc_curve(rng.normal(size=3000) + positive, positive)
    few_x, few_y = breakdown.thin(x, y)
    assert 150 < len(few_x) <= breakdown.CURVE_POINTS
    assert (few_x[0], few_y[0], few_x[-1], few_y[-1]) == (0, 0, 1, 1)
    assert set(zip(few_x, few_y, strict=True)) <= set(zip(x, y, strict=True))
    assert np.trapezoid(few_y, few_x) == pytest.approx(np.trapezoid(y, x), abs=1e-3)
    assert breakdown.thin(x[:5], y[:5])[0] is not None and len(breakdown.thin(x[:5], y[:5])[0]) == 5
