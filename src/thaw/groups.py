"""Names + rules -> an exact partition of the parameters. Groups are sets of names; nothing falls through."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from thaw.errors import InputError, nearest

HEAD = "head"


@dataclass(frozen=True)
class Group:
    """Parameters that share a rate and a decay."""

    name: str  # the pattern, with ".no_decay" for its norm layers and biases
    rate: float  # peak, before the schedule
    weight_decay: float
    tensors: tuple[str, ...]


def select(train: str, blocks: Mapping[str, Sequence[str]], norm: frozenset[str], where: str) -> frozenset[str]:
    """Names of the tensors that ``train`` unfreezes: head | all | norm | last_<k> | a block's name.

    ``blocks``: ordered, stem first, the head last. ``norm``: tensors of norm layers. The head trains in every case:
    a new head that does not learn makes no prediction.
    """
    backbone = [name for name in blocks if name != HEAD]
    head = frozenset(blocks[HEAD])
    if train == "head":
        return head
    if train == "norm":
        return norm | head
    if train == "all":
        return _tensors(blocks, blocks)
    if found := re.fullmatch(r"last_(\d+)", train):
        k = int(found.group(1))
        if not 1 <= k <= len(backbone):
            raise InputError(f"{where}.train: last_{k}, but the backbone has {len(backbone)} blocks ({', '.join(backbone)})")
        return _tensors(blocks, backbone[-k:]) | head
    if train in blocks:
        return frozenset(blocks[train]) | head
    valid = ["head", "all", "norm", *(f"last_{k + 1}" for k in range(len(backbone))), *backbone]
    raise InputError(f"{where}.train: unknown {train!r}; {nearest(train, valid)}")


def partition(
    blocks: Mapping[str, Sequence[str]],
    trainable: frozenset[str],
    rates: Mapping[str, float],
    weight_decay: float,
    undecayed: frozenset[str],
    where: str,
) -> list[Group]:
    """Give every trainable tensor to the first rate whose pattern matches its block; rate 0 means frozen.

    Raises `InputError` for a pattern that gets nothing and for a trainable tensor that no pattern matches.
    """
    left = set(trainable)
    groups = []
    for pattern, rate in rates.items():
        members = {name for block, names in blocks.items() if _matches(pattern, block) for name in names} & left
        if not members:
            hint = nearest(pattern, [*blocks, "backbone", "*"])
            raise InputError(f"{where}.rates: {pattern!r} matches nothing that trains here; {hint}")
        left -= members
        if rate > 0:
            groups += _split_by_decay(pattern, rate, weight_decay, members, undecayed)
    if left:
        raise InputError(
            f"{where}.rates: no rate for {len(left)} trainable tensors, {min(left)} the first; add a pattern such as backbone or '*'"
        )
    if not groups:
        raise InputError(f"{where}.rates: every rate is 0, so nothing trains")
    return groups


def _split_by_decay(pattern: str, rate: float, decay: float, members: set[str], undecayed: frozenset[str]) -> list[Group]:
    """Norm layers and biases are not decayed: pulling them to zero changes the function without regularising it."""
    plain, exempt = sorted(members - undecayed), sorted(members & undecayed)
    groups = [Group(pattern, rate, decay, tuple(plain))] if plain else []
    return groups + ([Group(f"{pattern}.no_decay", rate, 0.0, tuple(exempt))] if exempt else [])


def _matches(pattern: str, block: str) -> bool:
    return block != HEAD if pattern == "backbone" else fnmatchcase(block, pattern)


def _tensors(blocks: Mapping[str, Sequence[str]], names: Sequence[str] | Mapping[str, Sequence[str]]) -> frozenset[str]:
    return frozenset(tensor for name in names for tensor in blocks[name])
