"""A small run of bench/coverage.py: intervals cover and tests keep their level; and its simulation is what it says."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from thaw import evidence, metrics

BENCH = Path(__file__).parents[1] / "bench/coverage.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_coverage", BENCH)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_intervals_cover_and_tests_keep_their_level(bench):
    world = bench.World("as on the default data", (bench.PLAIN,) * 4)
    outcomes = [bench.simulate(world, 200, seed) for seed in range(250)]
    (name, _), *_ = bench.METHODS.items()
    for covered in (np.mean([o.auc[name] for o in outcomes]), np.mean([o.difference[name] for o in outcomes])):
        assert 0.91 <= covered <= 0.99  # 3 standard errors from 0.95; at 0.85 it would fail 99.6 % of the time
    for test in ("both (p_holm)", "t", "permutation (p_permutation_holm)"):
        assert np.mean([o.family[test] for o in outcomes]) <= 0.085  # 3 standard errors above 0.043


def test_scores_have_the_auc_that_they_should(bench):
    for make in (bench.PLAIN, bench.UNEVEN, bench.HIGH):
        sample = bench.draw(bench.World("many small groups", (make,), groups=6000, smallest=2, largest=4), seed=0)
        found = metrics.roc_and_pr_auc(sample.scores[0], sample.labels == 1, np.ones((1, len(sample.labels))))[0][0]
        assert found == pytest.approx(make.auc, abs=0.01)
        assert sample.labels.mean() == pytest.approx(0.3, abs=0.02)


def test_auc_from_pairs_of_groups_is_that_of_the_images(bench):
    sample = bench.draw(bench.World("small", (bench.PLAIN,) * 2, groups=9, smallest=4, largest=8), seed=1)
    scores = sample.scores[0].round(1)  # with ties
    counts = np.random.default_rng(0).integers(0, 3, size=(20, 9)).astype(float)
    found = bench.auc_of_groups(scores, sample.labels, sample.group, 9)(counts)["auc"]
    np.testing.assert_allclose(found, metrics.roc_and_pr_auc(scores, sample.labels == 1, counts[:, sample.group])[0], rtol=1e-12)


def test_the_chosen_interval_is_the_pipelines(bench):
    replicates = expit(np.random.default_rng(0).normal(1.5, 0.1, size=30))
    found = bench.Estimate(0.8, replicates, replicates).logit()
    limits = evidence.interval(0.8, replicates, bench.CONFIDENCE, "logit")
    assert expit(bench.chosen(found)) == pytest.approx((limits.lo, limits.hi))
