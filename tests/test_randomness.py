"""Randomness is a function of (seed, epoch, id), and behaves as if it were random."""

import numpy as np
from scipy.stats import chisquare

from thaw.randomness import derive_seed, draw, id_numbers

IDS = [f"cell{row}" for row in range(4000)]


def test_one_image_draws_the_same_whatever_its_company() -> None:
    numbers = id_numbers(IDS)
    alone = np.concatenate([draw(numbers[row : row + 1], 7, 3) for row in range(50)])
    assert (alone == draw(numbers, 7, 3)[:50]).all()


def test_seed_and_epoch_both_matter() -> None:
    numbers = id_numbers(IDS)
    base = draw(numbers, 0, 1)
    for other in (draw(numbers, 0, 2), draw(numbers, 1, 1), draw(numbers, 1, 0)):
        assert (base != other).all()


def test_codes_are_uniform_and_epochs_independent() -> None:
    numbers = id_numbers(IDS)
    first, second = (draw(numbers, 0, epoch) % np.uint64(8) for epoch in (1, 2))
    assert chisquare(np.bincount(first.astype(int), minlength=8)).pvalue > 1e-3
    joint = np.bincount((first * np.uint64(8) + second).astype(int), minlength=64)
    assert chisquare(joint).pvalue > 1e-3


def test_the_stream_never_changes() -> None:
    """Splitmix64's published first output for seed 0 pins the mixing; a stored value pins the rest."""
    from thaw.randomness import _mix

    with np.errstate(over="ignore"):
        assert int(_mix(np.uint64(0))) == 0xE220A8397B1DCDAF
    assert derive_seed(0, "init") == derive_seed(0, "init") != derive_seed(0, "order")
    assert 0 <= derive_seed("anything") < 2**31
