"""k-NN on the place in the file, against the full matrix of distances."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from thaw.position import position_logits


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), k=st.integers(1, 12))
def test_position_neighbours_are_the_nearest(seed: int, k: int) -> None:
    """The distances of the k nearest are the same multiset, so are the shares without ties."""
    rng = np.random.default_rng(seed)
    everything = rng.permutation(40)
    position, asked = np.sort(everything[:25]).astype(float), np.sort(everything[25:]) + 0.25  # no ties in distance
    labels = rng.integers(0, 3, 25)
    nearest = np.argsort(np.abs(asked[:, None] - position[None, :]), axis=1)[:, :k]
    shares = np.stack([(labels[nearest] == c).mean(axis=1) for c in range(3)], axis=1)
    found = np.exp(position_logits(position, labels, asked, k, 3)) * (k + 1) - 1 / 3
    np.testing.assert_allclose(found / k, shares, atol=1e-5)
