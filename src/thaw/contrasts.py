"""Every candidate against one reference, on the same images: intervals, three kinds of p, the chance of being better, a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int

from thaw import evidence, paired_tests, resampled, scoring
from thaw.leaderboard import Candidate, Scored, as_json
from thaw.measures import Measure, difference_with_unit, measure_of, size
from thaw.samples import Images

COLUMNS = ["backbone", "strategy", "reference_backbone", "reference", "metric", "diff", "lo", "hi", "p", "p_holm", "mde", "n"]
COLUMNS += ["p_permutation", "p_permutation_holm", "p_better", "p_mcnemar", "p_delong", "sentence"]


def table(ranked: Sequence[Scored], reference: Scored, images: Images, confidence: float, resamples: int, seed: int) -> pd.DataFrame:
    """Every candidate that is neither a control nor the reference, minus the reference; a family of Holm's is one metric.

    ``resamples``: of groups, for the chance of being better, and as many permutations of groups for their test.
    """
    others = [entry for entry in ranked if not entry.candidate.control and entry is not reference]
    [drawn, *each] = _drawn([reference, *others], images, resamples, seed)
    rows = []
    for entry, own in zip(others, each, strict=True):
        permuted = swapped(entry.candidate, reference.candidate, images, resamples, seed)
        rows += [
            _row(entry, reference, metric, images, confidence) | _resampled(metric, entry, reference, own, drawn, permuted)
            for metric in entry.pooled
        ]
    return _told(_corrected(pd.DataFrame(rows, columns=COLUMNS)), confidence)


def planned(
    one: Scored, other: Scored, metric: str, images: Images, confidence: float, permutations: int, seed: int
) -> dict[str, float | None]:
    """``one`` minus ``other`` in a figure, chosen before any was seen: a question of its own, so its p is of no family of Holm's.

    ``p``: the larger of Student's and the permutation test's.
    """
    series = (one.pooled[metric], other.pooled[metric], one.replicates[metric], other.replicates[metric])
    found = evidence.contrast(*series, confidence)
    permuted = swapped(one.candidate, other.candidate, images, permutations, seed)[metric]
    p = float(np.maximum(found.p, paired_tests.permutation_p(one.pooled[metric] - other.pooled[metric], permuted)))
    return as_json({"diff": found.diff, "lo": found.lo, "hi": found.hi, "p": p, "mde": found.mde})


def _drawn(entries: Sequence[Scored], images: Images, resamples: int, seed: int) -> list[evidence.Replicates]:
    """Figures of each in the same resamples of groups."""
    names, group = np.unique(np.asarray(images.groups), return_inverse=True)
    said = [_said(entry.candidate, images, group) for entry in entries]
    return evidence.bootstrap([resampled.statistic(one, scoring.ordered(images.classes)) for one in said], names.tolist(), resamples, seed)


def _said(who: Candidate, images: Images, group: Int[np.ndarray, " S"]) -> resampled.Said:
    p = who.probabilities
    return resampled.Said(images.labels, p, who.predicted, p, images.fold, p, group, images.confidence)


def swapped(one: Candidate, other: Candidate, images: Images, permutations: int, seed: int) -> evidence.Replicates:
    """Differences (B,) in every figure between two that swap whole groups of predictions (`thaw.paired_tests.permuted`)."""
    names = np.unique(np.asarray(images.groups)).tolist()
    return paired_tests.permuted(swappable(one, other, images), names, permutations, seed)


def swappable(one: Candidate, other: Candidate, images: Images) -> evidence.Statistic:
    """Figures (B,) from weights (B, 2 G) of the groups of both's predictions, by name and those of ``one`` first: what `permuted` swaps.

    Figures of order see ranks among the images (of a fold, where they stay within it) in place of scores, so that two strategies which
    order the images alike are alike, however they are calibrated (Bandos, Rockette & Gur 2005, Statistics in Medicine 24).
    """
    both = [one.probabilities, other.probabilities]
    names, group = np.unique(np.asarray(images.groups), return_inverse=True)
    said = resampled.Said(
        labels=np.tile(images.labels, 2),
        probabilities=np.concatenate(both),
        predicted=np.concatenate([one.predicted, other.predicted]),
        scores=np.concatenate([paired_tests.midranks(scores) for scores in both]),
        fold=np.tile(images.fold, 2),
        fold_scores=np.concatenate([_ranks_by_fold(scores, images) for scores in both]),
        group=np.concatenate([group, group + len(names)]),
        confidence=None if images.confidence is None else np.tile(images.confidence, 2),
    )
    return resampled.statistic(said, scoring.ordered(images.classes))


def _ranks_by_fold(scores: Float64[np.ndarray, "S K"], images: Images) -> Float64[np.ndarray, "S K"]:
    ranks = np.empty_like(scores)
    for fold in np.unique(images.fold):
        rows = images.fold == fold
        ranks[rows] = paired_tests.midranks(scores[rows])
    return ranks


def _row(entry: Scored, reference: Scored, metric: str, images: Images, confidence: float) -> dict[str, object]:
    one, other = entry.candidate, reference.candidate
    series = (entry.pooled[metric], reference.pooled[metric], entry.replicates[metric], reference.replicates[metric])
    found = evidence.contrast(*series, confidence)
    return {
        **one.identity(),
        "reference_backbone": other.backbone,
        "reference": other.strategy,
        "metric": metric,
        "diff": found.diff,
        "lo": found.lo,
        "hi": found.hi,
        "p": found.p,
        "mde": found.mde,
        "n": len(one.predicted),
        **_of_single_images(one, other, metric, images),
    }


def _of_single_images(one: Candidate, other: Candidate, metric: str, images: Images) -> dict[str, float]:
    """McNemar's p beside accuracy and DeLong's beside the ROC AUC of two classes, where no two images share a group; else nan."""
    found = {"p_mcnemar": np.nan, "p_delong": np.nan}
    if len(set(images.groups)) < len(images.labels):
        return found
    if metric == "accuracy":
        found["p_mcnemar"] = paired_tests.mcnemar(one.predicted == images.labels, other.predicted == images.labels)
    if metric == "roc_auc" and len(images.classes) == 2:
        found["p_delong"] = paired_tests.delong(one.probabilities[:, 1], other.probabilities[:, 1], images.labels == 1)
    return found


def _resampled(
    metric: str, entry: Scored, reference: Scored, own: evidence.Replicates, drawn: evidence.Replicates, permuted: evidence.Replicates
) -> dict[str, float]:
    diff = entry.pooled[metric] - reference.pooled[metric]
    return {
        "p_better": evidence.share_better(own[metric] - drawn[metric], metric in scoring.LOWER_IS_BETTER),
        "p_permutation": paired_tests.permutation_p(diff, permuted[metric]),
    }


def _corrected(contrasts: pd.DataFrame) -> pd.DataFrame:
    """With p corrected by Holm within each metric: that of the permutation test alone, and ``p_holm``, which decides.

    ``p_holm`` is of the larger of the two p: a difference counts where both tests find it. With a dozen groups either of them alone
    finds a false one more often than it should, both together do not (docs/evidence.md).
    """
    contrasts["p_both"] = np.maximum(contrasts["p"].to_numpy(dtype=np.float64), contrasts["p_permutation"].to_numpy(dtype=np.float64))
    for metric in contrasts["metric"].unique():
        family = contrasts["metric"] == metric
        for p, corrected in (("p_both", "p_holm"), ("p_permutation", "p_permutation_holm")):
            contrasts.loc[family, corrected] = evidence.holm(contrasts.loc[family, p].to_numpy(dtype=np.float64))
    return contrasts.drop(columns="p_both")


def _told(contrasts: pd.DataFrame, confidence: float) -> pd.DataFrame:
    family = contrasts.groupby("metric")["p_holm"].transform("count")
    told = [sentence(row, int(of), confidence) for row, of in zip(contrasts.to_dict("records"), family, strict=True)]
    return contrasts.assign(sentence=told)


def sentence(row: Mapping[str, Any], family: int, confidence: float) -> str:
    """A row of the table in plain words (Markdown), judged by ``p_holm``. ``family``: how many contrasts the correction allowed for."""
    measure = measure_of(row["metric"])
    one, other = f"`{row['backbone']}/{row['strategy']}`", f"`{row['reference_backbone']}/{row['reference']}`"
    if np.isnan(row["p_holm"]):
        return f"{one} and {other} cannot be compared: {measure.name} is undefined, or would be without one of the groups"
    if row["p_holm"] <= 1 - confidence:
        return _beats(measure, one, other, row["diff"], row["lo"], row["hi"])
    nothing = f"no difference seen between {one} and {other} in {measure.name}"
    if row["lo"] > 0 or row["hi"] < 0:
        alone = difference_with_unit(measure, row["diff"], row["lo"], row["hi"])
        return f"{nothing} by both tests with {family} comparisons allowed for; by its interval alone, {alone} would count"
    return f"{nothing}; this design would have seen {size(measure, row['mde'])}"


def _beats(measure: Measure, one: str, other: str, diff: float, lo: float, hi: float) -> str:
    """The better of the two comes first, and by how much is positive, whichever direction is the better one."""
    ahead = (diff > 0) == measure.higher_is_better
    gain = (diff, lo, hi) if diff > 0 else (-diff, -hi, -lo)
    first, second = (one, other) if ahead else (other, one)
    return f"{first} beats {second} by {difference_with_unit(measure, *gain)}"


def remarks(ranked: Sequence[Scored], contrasts: pd.DataFrame, images: Images, resamples: int, confidence: float) -> list[str]:
    """What a reader should know about the tables of figures and contrasts; one sentence each, [] where there is nothing."""
    without = {m for e in ranked for m, value in e.pooled.items() if not np.isnan(value) and np.isnan(e.replicates[m]).any()}
    said = [f"{m} has no interval: without one of the groups it is undefined" for m in ranked[0].pooled if m in without]
    family = int(contrasts["metric"].value_counts().max()) if len(contrasts) else 0
    groups = len(set(images.groups))
    least, wanted = paired_tests.smallest_p(resamples, groups, family), int(np.ceil(family / (1 - confidence)))
    if least > 1 - confidence:
        mend = f"use {wanted} or more" if resamples < wanted else f"{groups} groups swap in too few ways"
        said.append(f"evaluate.bootstrap: {resamples} permutations cannot bring p_holm of {family} contrasts below {least:.2g}; {mend}")
    return said
