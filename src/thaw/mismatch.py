"""What wrong preprocessing costs: heads on features of a mistaken backbone against the same heads on those of its right twin."""

from collections.abc import Mapping, Sequence

import pandas as pd

from thaw import evidence
from thaw.leaderboard import Scored
from thaw.runs import HEADS

COLUMNS = ["backbone", "twin", "mismatch", "strategy", "metric", "diff", "lo", "hi", "p"]


def table(scored: Sequence[Scored], mistakes: Mapping[str, tuple[str, str]], confidence: float) -> pd.DataFrame:
    """A row for each mistaken backbone, head and figure. ``mistakes``: backbone -> (its right twin, what is wrong)."""
    by_name = {entry.candidate.name: entry for entry in scored}
    rows = []
    for backbone, (twin, mismatch) in mistakes.items():
        for head in HEADS:
            wrong, right = by_name.get(f"{backbone}/{head}"), by_name.get(f"{twin}/{head}")
            if wrong is None or right is None:
                continue
            for metric, value in wrong.pooled.items():
                found = evidence.contrast(value, right.pooled[metric], wrong.replicates[metric], right.replicates[metric], confidence)
                rows.append((backbone, twin, mismatch, head, metric, found.diff, found.lo, found.hi, found.p))
    return pd.DataFrame(rows, columns=COLUMNS)
