"""What papers say of these strategies, held against what came out here: estimates with intervals, and a verdict by a fixed rule.

Published sizes are of other data, networks and measures (mostly accuracy); here they give the direction and an order of magnitude.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float64

from thaw import evidence

INSIDE, OUTSIDE = "in-domain", "out of domain"
Series = tuple[float, Float64[np.ndarray, " J"]]
"""A figure where higher is better, and the same without each block of groups (`thaw.evidence.jackknife`)."""
Measured = Mapping[tuple[str, str], Series]
"""(strategy, where) -> figure. Where: ``INSIDE``, ``OUTSIDE``, or a percentage of the labels such as ``25 %``."""
MARGIN = 2.0  # points: what counts as no difference where a claim says that there is none


@dataclass(frozen=True)
class Claim:
    claim: str
    source: str
    published: str
    terms: tuple[tuple[int, str, str], ...] = ()  # sign, strategy, where: their sum is the effect, positive as claimed
    nothing: bool = False  # the claim, or what is expected of it in vision, is that there is no difference
    missing: str = ""  # why this pipeline cannot decide it, where it never can


@dataclass(frozen=True)
class Finding:
    """A row of reports/claims.json; estimate and limits in points of the primary figure, None where nothing could be computed."""

    claim: str
    source: str
    published: str
    here: str
    estimate: float | None
    lo: float | None
    hi: float | None
    verdict: str  # "reproduced" | "refuted" | "not decidable here"
    why: str


LPFT, TRANSFUSION, ULMFIT = "Kumar 2022, arXiv 2202.10054", "Raghu 2019, arXiv 1902.07208", "Howard 2018, arXiv 1801.06146"
CLAIMS = (
    Claim("LP-FT beats full fine-tuning in-domain", LPFT, "+1 point", ((1, "lp_ft", INSIDE), (-1, "full", INSIDE))),
    Claim("LP-FT beats full fine-tuning out of domain", LPFT, "+10 points", ((1, "lp_ft", OUTSIDE), (-1, "full", OUTSIDE))),
    Claim("Full fine-tuning beats the linear probe in-domain", LPFT, "+2 points", ((1, "full", INSIDE), (-1, "linear_probe", INSIDE))),
    Claim(
        "The linear probe beats full fine-tuning out of domain", LPFT, "+7 points", ((1, "linear_probe", OUTSIDE), (-1, "full", OUTSIDE))
    ),
    Claim("Pretraining helps on small medical images", TRANSFUSION, "+2.4 points", ((1, "full", INSIDE), (-1, "scratch", INSIDE))),
    Claim(
        "The lead of pretraining shrinks as labels grow",
        TRANSFUSION,
        "smaller with more data",
        ((1, "full", "25 %"), (-1, "scratch", "25 %"), (-1, "full", INSIDE), (1, "scratch", INSIDE)),
    ),
    Claim("Gradual unfreezing helps (in text)", ULMFIT, "expected in vision: none", ((1, "gradual", INSIDE), (-1, "full", INSIDE)), True),
    Claim(
        "Rates that fall towards the stem help (in text)",
        ULMFIT,
        "expected in vision: none",
        ((1, "layerwise", INSIDE), (-1, "full", INSIDE)),
        True,
    ),
    Claim(
        "Tuning the first block wins under corrupted images",
        "Lee 2023, arXiv 2210.11466",
        "+3 points",
        missing="no image here is corrupted",
    ),
    Claim(
        "Tuning alone lifts training from scratch",
        "Zhai 2019, arXiv 1910.04867",
        "42.1 to 59.2",
        missing="it needs the same strategy with and without tune.trials, and a run has one of the two",
    ),
    Claim(
        "Keeping what frozen blocks give saves time",
        "Liu 2021, arXiv 2102.01386",
        "up to 2.55 times faster",
        missing="seconds are no part of this evaluation; `make bench` measures it, docs/LOG.md has figures",
    ),
    Claim(
        "Better ImageNet networks transfer better",
        "Kornblith 2019, arXiv 1805.08974",
        "r = .96 to .99",
        missing="it needs several architectures, and the default compares one at two sizes",
    ),
)


def findings(measured: Measured, confidence: float, claims: Sequence[Claim] = CLAIMS) -> list[dict[str, object]]:
    """Rows of reports/claims.json, in the order of ``claims``."""
    return [asdict(_finding(claim, measured, confidence)) for claim in claims]


def _finding(claim: Claim, measured: Measured, confidence: float) -> Finding:
    said = (claim.claim, claim.source, claim.published)
    absent = [(strategy, where) for _, strategy, where in claim.terms if (strategy, where) not in measured]
    if claim.missing or absent:
        why = claim.missing or "not run: " + ", ".join(f"{strategy} {where}" for strategy, where in absent)
        return Finding(*said, "", None, None, None, "not decidable here", why)
    effect = float(sum(sign * 100 * measured[strategy, where][0] for sign, strategy, where in claim.terms))
    replicates = np.sum([sign * 100 * measured[strategy, where][1] for sign, strategy, where in claim.terms], axis=0)
    limits = evidence.interval(effect, replicates, confidence)
    here = " ".join(f"{'+' if sign > 0 else '−'} {strategy} ({where})" for sign, strategy, where in claim.terms).removeprefix("+ ")
    verdict, why = judged(limits.lo, limits.hi, claim.nothing)
    estimate, lo, hi = (_rounded(value) for value in (effect, limits.lo, limits.hi))
    return Finding(*said, here, estimate, lo, hi, verdict, why)


def judged(lo: float, hi: float, nothing: bool) -> tuple[str, str]:
    """The rule: a claimed effect is judged by the side of zero that its interval lies on, a claim of none by the margin around zero."""
    if np.isnan(lo) or np.isnan(hi):
        return "not decidable here", "the figure is undefined"
    if nothing:
        if lo >= -MARGIN and hi <= MARGIN:
            return "reproduced", f"the interval lies within {MARGIN:g} points of zero"
        if lo > 0 or hi < 0:
            return "refuted", f"the interval lies {'above' if lo > 0 else 'below'} zero"
        return "not decidable here", f"the interval holds zero and reaches beyond {MARGIN:g} points"
    if lo > 0:
        return "reproduced", "the interval lies on the claimed side of zero"
    if hi < 0:
        return "refuted", "the interval lies on the other side of zero"
    return "not decidable here", "the interval holds zero"


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.6g}")
