"""Verdicts follow from intervals by the stated rule, and from nothing else."""

import numpy as np
import pytest

from thaw.claims import CLAIMS, INSIDE, OUTSIDE, Measured, findings, judged


def measured(**values: float) -> Measured:
    """Figures with a standard error of half a point; ``full_25``: at 25 % of the labels, ``full_out``: out of domain."""
    rng = np.random.default_rng(0)
    where = {"25": "25 %", "out": OUTSIDE}
    found = {}
    for name, value in values.items():
        strategy, _, place = name.rpartition("_") if name.rpartition("_")[2] in where else (name, "", "")
        found[strategy, where.get(place, INSIDE)] = (value, value + 0.005 * deviations(rng))
    return found


def deviations(rng: np.random.Generator, blocks: int = 100) -> np.ndarray:
    """Of a figure without each block, such that its jackknife standard error is 1."""
    found = rng.uniform(-1, 1, blocks)
    found -= found.mean()
    return found / np.sqrt((blocks - 1) / blocks * (found**2).sum())


def row(rows: list[dict[str, object]], start: str) -> dict[str, object]:
    return next(row for row in rows if str(row["claim"]).startswith(start))


@pytest.mark.parametrize(
    ("lo", "hi", "nothing", "verdict"),
    [
        (0.1, 3.0, False, "reproduced"),
        (-3.0, -0.1, False, "refuted"),
        (-1.0, 3.0, False, "not decidable here"),
        (-1.0, 1.9, True, "reproduced"),
        (0.1, 1.9, True, "reproduced"),  # small, whichever its sign
        (0.5, 4.0, True, "refuted"),
        (-9.0, -3.0, True, "refuted"),
        (-3.0, 1.0, True, "not decidable here"),
        (float("nan"), 1.0, False, "not decidable here"),
    ],
)
def test_the_rule(lo: float, hi: float, nothing: bool, verdict: str) -> None:
    assert judged(lo, hi, nothing)[0] == verdict


def test_estimates_are_differences_in_points_with_their_sign() -> None:
    rows = findings(measured(full=0.85, lp_ft=0.80, scratch=0.70, full_25=0.80, scratch_25=0.55), 0.95)
    lp_ft, helps, shrinks = (row(rows, start) for start in ("LP-FT beats full fine-tuning in-domain", "Pretraining helps", "The lead"))
    assert (lp_ft["estimate"], lp_ft["verdict"], lp_ft["here"]) == (-5.0, "refuted", "lp_ft (in-domain) − full (in-domain)")
    assert helps["estimate"] == 15.0 and helps["verdict"] == "reproduced"
    assert shrinks["estimate"] == 10.0 and shrinks["verdict"] == "reproduced"  # 25 points become 15
    assert isinstance(helps["lo"], float) and isinstance(helps["hi"], float)
    assert helps["hi"] - helps["lo"] == pytest.approx(2 * 1.984 * 0.5 * 2**0.5, rel=0.2)  # t of 99 degrees of freedom


def test_what_was_not_run_is_said_and_nothing_is_left_out() -> None:
    rows = findings({}, 0.95)
    assert [r["claim"] for r in rows] == [claim.claim for claim in CLAIMS]
    assert {r["verdict"] for r in rows} == {"not decidable here"} and all(r["why"] for r in rows)
    assert row(rows, "LP-FT beats full fine-tuning out")["why"] == "not run: lp_ft out of domain, full out of domain"
