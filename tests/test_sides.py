"""Both sides of a fold, where domains are left out too."""

import numpy as np
import pandas as pd

from thaw.sides import crosses, folds_by_number, folds_of, sides
from thaw.splits import INSIDE, TEST, TRAIN, VAL

SPLITS = pd.DataFrame(
    {"id": list("abcde"), "fold": 0, "role_0": [TRAIN, VAL, INSIDE, TEST, TEST], "role_1": [TEST, TEST, TEST, TRAIN, VAL]}
)


def test_images_are_seen_or_tested() -> None:
    np.testing.assert_array_equal(sides(SPLITS), [[1, -1], [1, -1], [-1, -1], [-1, 1], [-1, 1]])


def test_a_pair_crosses_where_one_is_seen_and_the_other_tested() -> None:
    side = sides(SPLITS)
    crossing = [[bool(crosses(side[[a]], side[[b]])[0]) for b in range(5)] for a in range(5)]
    assert crossing[0] == [False, False, True, True, True]  # training and validation lie on one side
    assert crossing[2] == [True, True, False, True, True]  # held out of the domain that is trained on
    assert np.array_equal(crossing, np.transpose(crossing))


def test_folds_learn_from_one_side_and_test_what_lies_outside() -> None:
    (seen, tested), (seen_1, tested_1) = folds_of(SPLITS)
    assert (seen.tolist(), tested.tolist()) == ([0, 1], [3, 4])
    assert (seen_1.tolist(), tested_1.tolist()) == ([3, 4], [0, 1, 2])
    by_number = folds_by_number(np.array([1, 0, 1, 2]))
    assert [(seen.tolist(), tested.tolist()) for seen, tested in by_number] == [([0, 2, 3], [1]), ([1, 3], [0, 2]), ([0, 1, 2], [3])]
