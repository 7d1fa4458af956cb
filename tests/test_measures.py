"""How differences are written."""

from math import nan

import pytest

from thaw import measures
from thaw.errors import InputError

AUC, LOSS = measures.MEASURES["roc_auc"], measures.MEASURES["log_loss"]


def test_differences_are_in_points_or_in_the_figures_own_unit():
    assert measures.difference_with_unit(AUC, 0.0214, 0.0041, 0.039) == "2.1 points of ROC AUC [0.4, 3.9]"
    assert measures.difference_with_unit(LOSS, -0.0312, -0.0405, -0.02) == "−0.031 of log loss [−0.041, −0.020]"
    assert measures.difference_with_unit(AUC, 0.02, nan, nan) == "2.0 points of ROC AUC"


def test_narrow_intervals_get_the_decimals_that_show_them():
    assert measures.difference(AUC, 0.0002, 0.0001, 0.0003) == "0.02 [0.01, 0.03]"
    assert measures.difference(AUC, 0.0, 0.0, 0.0) == "0.0 [0.0, 0.0]"


def test_sizes_have_no_sign():
    assert measures.size(AUC, -0.028) == "2.8 points"
    assert measures.size(LOSS, 0.0306) == "0.031"
    assert measures.size(AUC, nan) == measures.NOTHING


def test_an_unknown_metric_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match=r"no metric 'roc_acu'; did you mean 'roc_auc'\?"):
        measures.measure_of("roc_acu")
