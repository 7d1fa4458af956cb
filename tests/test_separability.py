"""Groups told apart by features: certain, at chance, undefined; and the probe."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from thaw import separability
from thaw.separability import by_probe, group_recognition, halves

GROUPS = np.array([f"g{row}" for row in np.repeat(np.arange(20), 10)])


def test_halves_are_random_halves_of_each_group() -> None:
    number = np.random.default_rng(0).integers(0, 7, 100)
    chosen = halves(number, 0)
    np.testing.assert_array_equal(np.bincount(number[chosen], minlength=7), np.bincount(number) // 2)
    assert (chosen != halves(number, 1)).any() and (chosen == halves(number, 0)).all()


@pytest.mark.parametrize("block", [3, 128])
def test_groups_that_cluster_are_recognised_and_others_are_not(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(separability, "BLOCK", block)
    rng = np.random.default_rng(0)
    noise, own = rng.normal(size=(200, 16)).astype(np.float32), np.repeat(rng.normal(size=(20, 16)), 10, axis=0).astype(np.float32)
    assert group_recognition(own + 0.01 * noise, GROUPS, 0) == {"accuracy": 1.0, "chance": 0.05, "groups": 20}
    found = group_recognition(noise, GROUPS, 0)
    assert found is not None and found["accuracy"] < 0.15


def test_chance_is_how_often_a_random_image_is_of_the_same_group() -> None:
    groups = np.array(["a"] * 40 + ["b"] * 10 + ["alone"])
    noise = np.random.default_rng(0).normal(size=(51, 16)).astype(np.float32)
    found = group_recognition(noise, groups, 0)
    assert found is not None and found["groups"] == 2
    assert found["chance"] == pytest.approx(0.8 * 0.8 + 0.2 * 0.2)


def test_images_without_groups_have_none_to_recognise() -> None:
    assert group_recognition(np.zeros((5, 3), np.float32), np.array(list("abcde")), 0) is None


def test_the_probe_is_logistic_regression_on_standardised_features() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 120)
    X = (np.eye(3)[labels] @ rng.normal(size=(3, 8)) + rng.normal(size=(120, 8))).astype(np.float32)
    seen, asked = np.arange(80), np.arange(80, 120)
    logits = by_probe(X, labels, 0.1, "auc")(seen, asked)
    wanted = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-6, max_iter=2000)).fit(X[seen], labels[seen])
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), wanted.predict_proba(X[asked]), atol=2e-3)
