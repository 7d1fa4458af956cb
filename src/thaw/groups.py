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


EACH_BLOCK = "each_block"


def unroll(train: str, blocks: Mapping[str, Sequence[str]]) -> list[str]:
    """``each_block`` -> last_1, last_2, ... down to the stem: one phase for each block, from the top (Howard 2018). Others: themselves."""
    return [f"last_{k + 1}" for k in range(len(blocks) - 1)] if train == EACH_BLOCK else [train]


def select(train: str, blocks: Mapping[str, Sequence[str]], norm: frozenset[str], where: str) -> frozenset[str]:
    """Names of the tensors that ``train`` unfreezes: head | all | norm | bias | last_<k> | first_<k> | a block's name.

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
    if train == "bias":  # BitFit (Ben Zaken 2022); in a convolutional network these are mostly the shifts of its norm layers
        return frozenset(name for name in _tensors(blocks, backbone) if name.rpartition(".")[2] == "bias") | head
    if found := re.fullmatch(r"(last|first)_(\d+)", train):
        k = int(found.group(2))
        if not 1 <= k <= len(backbone):
            raise InputError(f"{where}.train: {train}, but the backbone has {len(backbone)} blocks ({', '.join(backbone)})")
        return _tensors(blocks, backbone[-k:] if found.group(1) == "last" else backbone[:k]) | head
    if train in blocks:
        return frozenset(blocks[train]) | head
    counts = range(1, len(backbone) + 1)
    valid = ["head", "all", "norm", "bias", EACH_BLOCK, *(f"last_{k}" for k in counts), *(f"first_{k}" for k in counts), *backbone]
    raise InputError(f"{where}.train: unknown {train!r}; {nearest(train, valid)}")


def partition(
    blocks: Mapping[str, Sequence[str]],
    trainable: frozenset[str],
    rates: Mapping[str, float],
    weight_decay: float,
    undecayed: frozenset[str],
    where: str,
    layer_decay: float | None = None,
) -> list[Group]:
    """Give every trainable tensor to the first rate whose pattern matches its block; rate 0 means frozen.

    With ``layer_decay`` d, a block's rate is that rate times d^(blocks above it, the head counted): layer-wise decay (Clark 2020), with
    d = 1 / 2.6 the discriminative rates of ULMFiT (Howard 2018). Groups are then blocks.

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
            for name, scale, part in _by_depth(pattern, members, blocks, layer_decay):
                groups += _split_by_decay(name, rate * scale, weight_decay, part, undecayed)
    if left:
        raise InputError(
            f"{where}.rates: no rate for {len(left)} trainable tensors, {min(left)} the first; add a pattern such as backbone or '*'"
        )
    if not groups:
        raise InputError(f"{where}.rates: every rate is 0, so nothing trains")
    return groups


def _by_depth(
    pattern: str, members: set[str], blocks: Mapping[str, Sequence[str]], layer_decay: float | None
) -> list[tuple[str, float, set[str]]]:
    """(group's name, factor on its rate, its tensors), the top first; one group under its pattern's name without ``layer_decay``."""
    if layer_decay is None:
        return [(pattern, 1.0, members)]
    parts = [(block, layer_decay**above, members & set(blocks[block])) for above, block in enumerate(reversed(list(blocks)))]
    return [part for part in parts if part[2]]


def _split_by_decay(pattern: str, rate: float, decay: float, members: set[str], undecayed: frozenset[str]) -> list[Group]:
    """Norm layers and biases are not decayed: pulling them to zero changes the function without regularising it."""
    plain, exempt = sorted(members - undecayed), sorted(members & undecayed)
    groups = [Group(pattern, rate, decay, tuple(plain))] if plain else []
    return groups + ([Group(f"{pattern}.no_decay", rate, 0.0, tuple(exempt))] if exempt else [])


def _matches(pattern: str, block: str) -> bool:
    return block != HEAD if pattern == "backbone" else fnmatchcase(block, pattern)


def _tensors(blocks: Mapping[str, Sequence[str]], names: Sequence[str] | Mapping[str, Sequence[str]]) -> frozenset[str]:
    return frozenset(tensor for name in names for tensor in blocks[name])
