"""What the literature claims and what this data says to it."""

import math
from collections.abc import Sequence

from thaw.measures import NOTHING, measure_of, with_interval
from thaw.reporting.blocks import Block, Table
from thaw.reporting.findings import Claim
from thaw.reporting.results import Results
from thaw.reporting.tables import literal
from thaw.reporting.wording import counted


def claims(results: Results, drawn: Sequence[str]) -> list[Block]:
    found = results.findings.claims
    if not found:
        return ["`reports/claims.json`, which `dvc repro evaluate` writes, would set published claims beside these figures; it holds none."]
    header = ["claim", "source", "published", f"here, {measure_of(results.primary).unit}", "verdict"]
    return [_tally(found), Table(header, [_row(claim) for claim in found], texts=len(header))]


def _tally(found: list[Claim]) -> str:
    verdicts = [claim.verdict for claim in found]
    told = ", ".join(f"{verdicts.count(name)} {literal(name)}" for name in dict.fromkeys(verdicts))
    return (
        f"Of {counted(len(found), 'published claim')}: {told}. One data set of this size can contradict a general rule for itself alone, "
        "and “not decidable here” is an answer too."
    )


def _row(claim: Claim) -> list[str]:
    estimate = NOTHING if math.isnan(claim.estimate) else with_interval(claim.estimate, claim.lo, claim.hi, 1)
    here = f"{estimate} for {literal(claim.here)}" if claim.here else estimate
    why = " ".join(claim.why.split()).replace("|", "\\|")  # Markdown of the evaluation's own
    return [*(literal(text) for text in (claim.claim, claim.source, claim.published)), here, f"**{literal(claim.verdict)}**: {why}"]
