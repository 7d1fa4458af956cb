"""Groups partition what trains, exactly, or say why not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thaw.errors import InputError
from thaw.groups import partition, select, unroll

BLOCKS = {"stem": ["stem.w", "stem.n"], "b.0": ["b0.w", "b0.n"], "b.1": ["b1.w", "b1.bias"], "head": ["head.w", "head.b"]}
NORM = frozenset({"stem.n", "b0.n"})
ALL = frozenset(name for names in BLOCKS.values() for name in names)
UNDECAYED = frozenset({"stem.n", "b0.n", "b1.bias", "head.b"})


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ("bias", {"b1.bias", "head.w", "head.b"}),
        ("first_1", {"stem.w", "stem.n", "head.w", "head.b"}),
        ("first_3", ALL),
        ("head", {"head.w", "head.b"}),
        ("norm", {"stem.n", "b0.n", "head.w", "head.b"}),
        ("all", ALL),
        ("last_1", {"b1.w", "b1.bias", "head.w", "head.b"}),
        ("last_3", ALL),
        ("stem", {"stem.w", "stem.n", "head.w", "head.b"}),
    ],
)
def test_select(train: str, expected: set[str]) -> None:
    assert select(train, BLOCKS, NORM, "s.phases[0]") == expected


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("last_4", "has 3 blocks"),
        ("last_0", "has 3 blocks"),
        ("first_4", "has 3 blocks"),
        ("frist_1", "did you mean 'first_1'"),
        ("haed", "did you mean 'head'"),
        ("b.2", "did you mean"),
    ],
)
def test_select_says_what_is_wrong(train: str, said: str) -> None:
    with pytest.raises(InputError, match=rf"^s\.phases\[0\]\.train: .*{said}"):
        select(train, BLOCKS, NORM, "s.phases[0]")


def test_first_match_wins_and_decay_spares_norm_and_bias() -> None:
    groups = partition(BLOCKS, ALL, {"head": 1e-3, "b.1": 1e-4, "backbone": 1e-5}, 0.1, UNDECAYED, "s")
    assert {group.name: (group.rate, group.weight_decay, set(group.tensors)) for group in groups} == {
        "head": (1e-3, 0.1, {"head.w"}),
        "head.no_decay": (1e-3, 0.0, {"head.b"}),
        "b.1": (1e-4, 0.1, {"b1.w"}),
        "b.1.no_decay": (1e-4, 0.0, {"b1.bias"}),
        "backbone": (1e-5, 0.1, {"stem.w", "b0.w"}),
        "backbone.no_decay": (1e-5, 0.0, {"stem.n", "b0.n"}),
    }


def test_rate_zero_is_frozen() -> None:
    groups = partition(BLOCKS, ALL, {"head": 1e-3, "backbone": 0.0}, 0.1, UNDECAYED, "s")
    assert {name for group in groups for name in group.tensors} == {"head.w", "head.b"}


@pytest.mark.parametrize(
    ("trainable", "rates", "said"),
    [
        (ALL, {"head": 1.0}, "no rate for 6 trainable tensors, b0.n the first"),
        (ALL, {"*": 1.0, "head": 1.0}, "'head' matches nothing"),
        (ALL, {"b.7": 1.0, "*": 1.0}, "'b.7' matches nothing"),
        (frozenset(BLOCKS["head"]), {"head": 1.0, "backbone": 1.0}, "'backbone' matches nothing"),
        (ALL, {"*": 0.0}, "every rate is 0"),
    ],
)
def test_nothing_falls_through(trainable: frozenset[str], rates: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        partition(BLOCKS, trainable, rates, 0.1, UNDECAYED, "s")


names = st.text("abc.01", min_size=1, max_size=4)


@given(
    backbone=st.dictionaries(names, st.integers(1, 4), min_size=1, max_size=6),
    patterns=st.lists(st.sampled_from(["head", "backbone", "*", "a*", "b*", "?", "[ab]*"]) | names, min_size=1, max_size=5, unique=True),
    train=st.sampled_from(["head", "all", "norm", "bias", "each_block", "last_1", "last_2", "first_1", "first_2"]),
    decay=st.sampled_from([None, 0.5, 1.0]),
    rate=st.sampled_from([0.0, 1e-3]),
)
def test_any_rules_give_a_partition_or_a_clear_error(
    backbone: dict[str, int], patterns: list[str], train: str, rate: float, decay: float | None
) -> None:
    blocks = {block: [f"{block}/{i}" for i in range(count)] for block, count in backbone.items() if block != "head"} | {"head": ["w", "b"]}
    norm = frozenset(names[0] for block, names in blocks.items() if block != "head")
    rates = {pattern: rate if position == 0 else 1e-2 for position, pattern in enumerate(patterns)}
    for part in unroll(train, blocks):
        try:
            trainable = select(part, blocks, norm, "s")
            groups = partition(blocks, trainable, rates, 0.1, norm, "s", decay)
        except InputError as error:
            assert "\n" not in str(error)
            return
        members = [name for group in groups for name in group.tensors]
        assert len(members) == len(set(members))
        assert set(members) <= trainable
        if rate > 0:
            assert set(members) == trainable
        assert all((group.weight_decay == 0) == (set(group.tensors) <= norm) for group in groups)
        assert all(0 < group.rate <= 1e-2 for group in groups)


def test_each_block_is_a_phase_for_every_block_from_the_top() -> None:
    assert unroll("each_block", BLOCKS) == ["last_1", "last_2", "last_3"]
    assert unroll("all", BLOCKS) == ["all"]


def test_layer_decay_multiplies_once_for_each_block_above() -> None:
    groups = partition(BLOCKS, ALL, {"stem": 1.0, "*": 0.1}, 0.2, UNDECAYED, "s", 0.5)
    assert {group.name: group.rate for group in groups if group.weight_decay} == {
        "head": 0.1,
        "b.1": pytest.approx(0.05),
        "b.0": pytest.approx(0.025),
        "stem": 0.125,
    }
    assert {name for group in groups for name in group.tensors} == ALL
