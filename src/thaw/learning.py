"""The learning curve: what every strategy reaches on nested shares of the labelled images, beside the reference on the same share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from thaw import evidence
from thaw.fractions import Fraction, share
from thaw.leaderboard import Candidate, Scored, interval, pool, score
from thaw.metrics import Criterion
from thaw.randomness import derive_seed
from thaw.runs import Identity
from thaw.samples import Design, Images, read_fold
from thaw.splits import TRAIN, rows_of
from thaw.stage_names import stage_of

COLUMNS = ["backbone", "strategy", "by", "percent", "metric", "value", "lo", "hi", "diff", "diff_lo", "diff_hi", "p"]
COLUMNS += ["train_images", "train_groups", "n"]
Key = tuple[str, str, str, str]  # root, backbone, strategy, <by>-<percent>


@dataclass(frozen=True)
class Point:
    """One strategy on one share. Test images are those of the whole comparison, and so are the groups left out in turn."""

    fraction: Fraction  # percent 100: the main result
    scored: Scored
    train_images: int  # that a fold trained on: the median over the folds
    train_groups: int


def points(
    design: Design,
    images: Images,
    runs: Sequence[tuple[str, str, str, str, int]],
    whole: Sequence[Scored],
    criterion: Criterion,
    jackknife_seed: int,
    finetune_seed: int,
) -> list[Point]:
    """Every run on a share, and the main result of the same strategies as 100 %. Raises `InputError` where predictions are missing.

    ``runs``: (root, backbone, strategy, <by>-<percent>, fold). ``finetune_seed``: decides which images are in a share.
    """
    main = {entry.candidate.name: entry for entry in whole}
    keys = list(dict.fromkeys(run[:4] for run in runs))
    candidates = [_candidate(design, images, key, main[f"{key[1]}/{key[2]}"].candidate, criterion) for key in keys]
    scored = score(candidates, images, jackknife_seed)
    found = [_point(design, fraction_of(key[3]), entry, finetune_seed) for key, entry in zip(keys, scored, strict=True)]
    wholes = dict.fromkeys((f"{key[1]}/{key[2]}", replace(fraction_of(key[3]), percent=100)) for key in keys)
    return found + [_point(design, fraction, main[name], finetune_seed) for name, fraction in wholes]


def fraction_of(name: str) -> Fraction:
    """``images-25`` -> 25 % by images."""
    by, _, percent = name.partition("-")
    return Fraction("groups" if by == "groups" else "images", int(percent))


def _candidate(design: Design, images: Images, key: Key, main: Candidate, criterion: Criterion) -> Candidate:
    root, backbone, strategy, name = key
    folds = []
    for fold in design.folds:
        run, fraction = Identity(backbone, strategy, fold), fraction_of(name)
        mend = f"run `dvc repro {stage_of(run, fraction)}`"
        folds.append(read_fold(design, fraction.folder(run, Path(root)), fold, mend, whole_validation=False))
    return replace(main, said=pool(folds, images, criterion))


def _point(design: Design, fraction: Fraction, scored: Scored, finetune_seed: int) -> Point:
    groups, ids = design.index["group"].to_numpy(), design.index["id"].to_numpy().astype(str)
    parts = [
        share(rows_of(design.splits, fold, TRAIN), design.labels, groups, ids, fraction, derive_seed(finetune_seed, "finetune", fold))
        for fold in design.folds  # the seed is that of `thaw.cells` and `thaw.head_runs`
    ]
    sizes = [(len(rows), len(np.unique(groups[rows]))) for rows in parts]
    return Point(fraction, scored, *(round(median(column)) for column in zip(*sizes, strict=True)))


def table(found: Sequence[Point], reference: str, confidence: float) -> pd.DataFrame:
    """A row for each point and figure. ``reference``: name of the strategy that differences are to, at the same share."""
    references = {point.fraction: point for point in found if point.scored.candidate.name == reference}
    rows = [row for point in found for row in _rows(point, references.get(point.fraction), confidence)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(point: Point, reference: Point | None, confidence: float) -> list[tuple[object, ...]]:
    who, rows = point.scored.candidate, []
    sizes = (point.train_images, point.train_groups, len(who.predicted))
    for metric, value in point.scored.pooled.items():
        limits = interval(metric, value, point.scored.replicates[metric], confidence)
        name = (who.backbone, who.strategy, point.fraction.by, point.fraction.percent, metric)
        rows.append((*name, value, limits.lo, limits.hi, *_difference(point, reference, metric, confidence), *sizes))
    return rows


def _difference(point: Point, reference: Point | None, metric: str, confidence: float) -> tuple[float, float, float, float]:
    if reference is None or reference is point:
        return (np.nan, np.nan, np.nan, np.nan)
    one, other = point.scored, reference.scored
    found = evidence.contrast(one.pooled[metric], other.pooled[metric], one.replicates[metric], other.replicates[metric], confidence)
    return found.diff, found.lo, found.hi, found.p
