"""Areas of resamples of groups against scikit-learn on the images of each, and against the plain ones to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from thaw import areas, metrics


@st.composite
def samples(draw):
    """(scores with ties, positive, group, counts (B, G)); a class may be missing, in the sample or in a resample, and groups be empty."""
    n, groups, b = draw(st.integers(1, 25)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    scores = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 5))) / 8
    positive, group = draw(hnp.arrays(np.bool_, n)), draw(hnp.arrays(np.int64, n, elements=st.integers(0, groups - 1)))
    return scores, positive, group, draw(hnp.arrays(np.int64, (b, groups), elements=st.integers(0, 3)))


@given(samples(), st.sampled_from([1, 2**14, 2**16]))
@settings(max_examples=100, deadline=None)
def test_areas_of_resampled_groups_are_scikit_learns(sample, at_once):
    scores, positive, group, counts = sample
    ranked = areas.ranking(scores, positive, group, counts.shape[1], at_once)  # in one block, or with 4 levels or 1 to each
    weights = counts.T.astype(np.float64)
    roc, pr = areas.both_areas(ranked, weights)
    np.testing.assert_array_equal(areas.roc_auc(ranked, weights), roc)
    for b, count in enumerate(counts):
        drawn = np.repeat(np.arange(len(scores)), count[group])
        p, y = scores[drawn], positive[drawn]
        assert roc[b] == pytest.approx(sk.roc_auc_score(y, p) if 0 < y.sum() < len(y) else np.nan, nan_ok=True)
        assert pr[b] == pytest.approx(sk.average_precision_score(y, p) if y.any() else np.nan, nan_ok=True)


@pytest.mark.parametrize("resamples", [3, areas.WIDE + 1])  # either way of adding up
@pytest.mark.parametrize("groups", [12, 300])  # of many images, and of one each
def test_areas_are_the_plain_ones(resamples, groups):
    rng = np.random.default_rng(0)
    scores, positive = rng.normal(size=300).round(1), rng.random(300) < 0.3
    group, counts = np.arange(300) % groups, rng.integers(0, 4, size=(resamples, groups)).astype(float)
    roc, pr = areas.both_areas(areas.ranking(scores, positive, group, groups, at_once=2**13), counts.T.copy())
    plain_roc, plain_pr = metrics.roc_and_pr_auc(scores, positive, counts[:, group])
    np.testing.assert_array_equal(roc, plain_roc)  # pairs of whole numbers are counted exactly, in any order
    np.testing.assert_allclose(pr, plain_pr, rtol=1e-13)


def test_weights_need_not_be_whole():
    rng = np.random.default_rng(1)
    scores, positive, weights = rng.normal(size=50).round(1), rng.random(50) < 0.4, rng.random((4, 50))
    found = areas.both_areas(areas.ranking(scores, positive, np.arange(50), 50, 4), weights.T.copy())
    np.testing.assert_allclose(found, metrics.roc_and_pr_auc(scores, positive, weights), rtol=1e-12)
