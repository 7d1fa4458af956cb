"""Which errors are shown, and what their pictures show."""

import io
from collections import Counter
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from thaw.gallery import COLOURS, OPACITY, PER_GROUP, SIDE, Mistake, as_seen, mistakes, overlaid, png, ranked, whole, worst
from thaw.views import Recipe

RECIPE = Recipe(64, 224, 0.875, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def mistake(row: int, true: int = 0, probability: float = 0.9, group: str | None = None, fold: int = 0) -> Mistake:
    return Mistake(row, fold, true, 1 - true, probability, group or f"g{row}")


# ---- which


def test_mistakes_are_those_of_the_threshold() -> None:
    """A probability of 0.2 for class 1 is above a threshold of 0.1; what is told is the probability of the predicted class."""
    logits = np.log(np.array([[0.8, 0.2], [0.95, 0.05], [0.3, 0.7], [0.8, 0.2]]))
    labels, groups = np.array([1, 0, 1, 0, 0, 1]), list("aabbcc")
    rows = np.array([3, 5, 1, 0])  # labels 0, 1, 0, 1
    found = mistakes(2, rows, logits, labels, groups, 0.1)
    assert [(m.row, m.fold, m.true, m.predicted, m.group) for m in found] == [(3, 2, 0, 1, "b"), (5, 2, 1, 0, "c"), (1, 2, 0, 1, "a")]
    np.testing.assert_allclose([m.probability for m in found], [0.2, 0.95, 0.7])
    assert [m.row for m in mistakes(2, rows, logits, labels, groups, 0.5)] == [5, 1, 0]


def test_mistakes_beyond_two_classes_are_of_the_likeliest() -> None:
    logits = np.log(np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]))
    (found,) = mistakes(0, np.array([0, 1]), logits, np.array([0, 1]), ["a", "b"], None)
    assert (found.row, found.true, found.predicted) == (1, 1, 2) and found.probability == pytest.approx(0.7)


def test_the_most_confident_come_first_and_no_class_or_group_fills_the_gallery() -> None:
    found = [mistake(row, true=0, probability=0.99 - row / 1000) for row in range(30)]
    found += [mistake(100 + row, true=1, probability=0.8 - row / 1000, group="one") for row in range(30)]
    chosen = worst(found, 12, 2)
    assert [m.row for m in chosen] == [0, 1, 2, 3, 4, 5, 100, 101, 102]


def test_classes_with_few_errors_leave_their_places_to_others_up_to_half() -> None:
    found = [mistake(row, true=0, probability=0.9) for row in range(30)] + [mistake(100 + row, true=1, probability=0.8) for row in range(5)]
    chosen = Counter(m.true for m in worst(found, 12, 4))
    assert chosen == {0: 6, 1: 5}
    found += [mistake(200 + row, true=k, probability=0.7) for k in (2, 3) for row in range(10 * k, 10 * k + 3)]
    assert Counter(m.true for m in worst(found, 12, 4)) == {0: 3, 1: 3, 2: 3, 3: 3}


def test_an_image_that_two_models_get_wrong_is_shown_once() -> None:
    found = [mistake(7, probability=0.8, fold=0), mistake(7, probability=0.9, fold=1), mistake(8, probability=0.7)]
    assert [(m.row, m.fold) for m in worst(found, 4, 2)] == [(7, 1), (8, 0)]


def test_nothing_to_show() -> None:
    assert worst([], 24, 2) == worst([mistake(0)], 0, 2) == []


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.5, 0.6, 0.7, 0.8]), st.integers(0, 5)), max_size=40),
    st.integers(0, 12),
    st.randoms(use_true_random=False),
)
def test_limits_hold_and_only_limits_keep_an_error_out(rows: list[tuple[int, float, int]], limit: int, random: Any) -> None:
    found = [Mistake(row, 0, true, (true + 1) % 3, p, f"g{group}") for row, (true, p, group) in enumerate(rows)]
    chosen = worst(found, limit, 3)
    groups, classes = Counter(m.group for m in chosen), Counter(m.true for m in chosen)
    half = -(-limit // 2)
    assert len(chosen) <= limit and all(n <= PER_GROUP for n in groups.values()) and all(n <= half for n in classes.values())
    assert [m.probability for m in chosen] == sorted((m.probability for m in chosen), reverse=True)
    full = max(classes.values(), default=0)
    for left_out in set(found) - set(chosen):
        better = [m for m in chosen if m.probability >= left_out.probability]
        barred = Counter(m.group for m in better)[left_out.group] == PER_GROUP or Counter(m.true for m in better)[left_out.true] == full
        assert len(chosen) == limit or barred
    random.shuffle(found)
    assert worst(found, limit, 3) == chosen


def test_ranked_by_the_primary_figure() -> None:
    pooled = {"b/x": {"roc_auc": 0.8, "log_loss": 0.4}, "a/x": {"roc_auc": 0.8, "log_loss": 0.3}, "c/x": {"roc_auc": 0.9, "log_loss": 0.5}}
    pooled["d/x"] = {"roc_auc": None, "log_loss": None}  # type: ignore[dict-item]  # undefined
    assert ranked(pooled, "roc_auc") == ["c/x", "a/x", "b/x", "d/x"]
    assert ranked(pooled, "log_loss") == ["a/x", "b/x", "c/x", "d/x"]


# ---- how they are drawn


def spotted(top: int, left: int, side: int = 300, channels: int = 1) -> np.ndarray:
    image = np.full((side, side, channels), 40, np.uint8)
    image[top : top + 30, left : left + 30] = 220
    return image


@pytest.mark.parametrize("channels", [1, 3])
def test_as_seen_keeps_the_field_of_view(channels: int) -> None:
    """crop 0.875 of 300 px: px 19 to 281 are seen, so that the spot's first px 100 stands at (100 - 19) / 262 of the picture."""
    (picture,) = as_seen(spotted(100, 190, channels=channels)[None], RECIPE)
    assert picture.shape == (SIDE, SIDE, 3)
    rows, columns = np.nonzero(picture[..., 0] > 130)
    edges = [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]
    expected = [(px - 300 * 0.0625) / (300 * 0.875) * SIDE for px in (100, 130, 190, 220)]
    np.testing.assert_allclose(edges, expected, atol=1.0)


def test_the_whole_image_is_not_cropped() -> None:
    picture = whole(spotted(0, 270))
    assert picture.shape == (SIDE, SIDE, 3) and picture[2, SIDE - 3].tolist() == [220] * 3 and picture[SIDE - 3, 2].tolist() == [40] * 3


def test_overlay_is_a_share_of_colours_over_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    heat = np.linspace(0, 1, 36).reshape(6, 6)
    found = overlaid(picture, heat)
    colour = np.array(matplotlib.colormaps["viridis"](float(heat[2, 3]))[:3]) * 255
    np.testing.assert_allclose(found[2, 3], (1 - OPACITY) * picture[2, 3] + OPACITY * colour, atol=0.5 + 1e-9)


def test_a_png_is_small_plain_and_the_same_every_time() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    picture = np.repeat(noise[..., None], 3, axis=2)
    data = png(picture)
    opened = Image.open(io.BytesIO(data))
    found = np.asarray(opened.convert("RGB")).astype(int)
    assert data == png(picture) and opened.info == {} and len(opened.convert("RGB").getcolors() or []) <= COLOURS
    assert np.abs(found - picture).max() <= 8 and len(data) < 25_000
