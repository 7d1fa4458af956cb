"""Further questions to the runs that are there: fewer labels, another domain, wrong preprocessing, and what papers claim."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from thaw import claims, learning, shift
from thaw.leaderboard import Scored, pool
from thaw.measures import measure_of
from thaw.metrics import Criterion
from thaw.params import Backbone, Params
from thaw.runs import RUNS
from thaw.samples import Design, Images, read_fold, samples
from thaw.splits import INSIDE

LEAST_LABELS = 25
"""% of the labels that claims on the amount of data look at, beside all of them."""


def both_domains(design: Design, outside: Images, scored: Sequence[Scored], criterion: Criterion, seed: int) -> list[shift.Measured]:
    """Candidates that are no controls, on held-out images of their training domain beside those of the others.

    Empty where no fold leaves a domain out. Raises `InputError` where predictions are missing.
    """
    inside = samples(design, (INSIDE,))
    if not len(inside.labels):
        return []
    wanted = [entry.candidate for entry in scored if not entry.candidate.control]
    pairs = []
    for who in wanted:
        folds = [
            read_fold(design, Path(RUNS, who.backbone, who.strategy, str(fold)), fold, "run `dvc repro`", (INSIDE,))
            for fold in design.folds
        ]
        held = replace(who, said=pool(folds, inside, criterion))
        pairs.append(shift.Pair(_side(held, inside, design), _side(who, outside, design)))
    return shift.measure(pairs, seed)


def _side(who: shift.Candidate, images: Images, design: Design) -> shift.Side:
    """Fold k trains on the k-th domain by name (`thaw.folding.leave_domains_out`)."""
    domains = np.unique(design.index["domain"].to_numpy().astype(str))
    return shift.Side(who, images, domains[images.fold].tolist())


def twins(backbones: Mapping[str, Backbone], listed: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Mistaken backbone -> (the right one of the same weights and size, what is wrong); of those in ``listed``."""
    right = {(b.weights, b.image_size): name for name, b in list(backbones.items())[::-1] if b.mismatch is None and name in listed}
    wrong = [(name, backbones[name]) for name in listed if backbones[name].mismatch is not None]
    return {name: (right[key], b.mismatch or "") for name, b in wrong if (key := (b.weights, b.image_size)) in right}


def pretraining_pair(params: Params) -> tuple[str, str] | None:
    """What shows whether pretraining helps: (pretrained, from random weights), each as backbone/strategy; None without those.

    By the order of params.yaml, never by what came out. The pretrained one is ``full`` where that is trained, else the first that is
    trained at all, else the linear probe.
    """
    starts = {name: params.strategies[name].start for name in params.finetune.strategies}
    random = [name for name, start in starts.items() if start == "random"]
    backbones = params.finetune.backbones
    if not (random and backbones):
        return None
    pretrained = sorted((name for name, start in starts.items() if start != "random"), key=lambda name: name != "full")
    backbone = params.evaluate.reference_backbone if params.evaluate.reference_backbone in backbones else backbones[0]
    return f"{backbone}/{[*pretrained, 'linear_probe'][0]}", f"{backbone}/{random[0]}"


def measured(
    primary: str, backbone: str, whole: Sequence[Scored], points: Sequence[learning.Point], sides: Sequence[shift.Measured]
) -> claims.Measured:
    """What `thaw.claims` asks of one backbone. Where folds leave domains out, the main result is the one out of domain."""
    sign = 1.0 if measure_of(primary).higher_is_better else -1.0
    found: dict[tuple[str, str], claims.Series] = {}

    def add(strategy: str, where: str, value: float, replicates: np.ndarray) -> None:
        found[strategy, where] = (sign * value, sign * replicates)

    for entry in (e for e in whole if e.candidate.backbone == backbone):
        add(entry.candidate.strategy, claims.OUTSIDE if sides else claims.INSIDE, entry.pooled[primary], entry.replicates[primary])
    for side in (s for s in sides if s.pair.inside.candidate.backbone == backbone):
        add(side.pair.inside.candidate.strategy, claims.INSIDE, *side.series("inside", primary))
    for point in (p for p in points if p.scored.candidate.backbone == backbone and not sides):
        if point.fraction == learning.Fraction("images", LEAST_LABELS):
            scored = point.scored
            add(scored.candidate.strategy, f"{LEAST_LABELS} %", scored.pooled[primary], scored.replicates[primary])
    return found
