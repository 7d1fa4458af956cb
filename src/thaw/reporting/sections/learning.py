"""With fewer labels: who gains from more, and whether pretraining matters less once there are many."""

import math
from collections.abc import Sequence

from thaw.measures import NOTHING, difference, measure_of, size, with_interval
from thaw.reporting.blocks import Block, Table, figure
from thaw.reporting.findings import Share
from thaw.reporting.results import Results
from thaw.reporting.tables import code, literal

WHOLE = 100.0  # percent


def with_fewer_labels(results: Results, drawn: Sequence[str]) -> list[Block]:
    shares = shares_of(results)
    if not any(share.percent < WHOLE for share in shares):
        return ["No strategy was trained on a share of the labels: name some under `learning` in `params.yaml` to see who needs them most."]
    caption = (
        f"{measure_of(results.primary).name} against the share of the labelled images that was trained on; the right end is all of them. "
        "A line that still rises would gain from more labels. "
        f"{_by_caption(results, shares)}Whiskers are intervals; points are set a little apart so that they can be told from each other."
    )
    return [
        *(text for text in (_gains(results, shares), _gap(results, shares), _spread_or_whole(results, shares)) if text),
        *figure(drawn, "learning", _alt(results, shares), caption),
        *(_table(results, shares, by) for by in kinds(shares)),
    ]


def shares_of(results: Results) -> list[Share]:
    """Rows about the primary metric."""
    return [share for share in results.findings.learning if share.metric == results.primary and not math.isnan(share.value)]


def kinds(shares: Sequence[Share]) -> list[str]:
    """By what the labels were cut down: "images", "groups" or both, if anything was."""
    return [by for by in ("images", "groups") if any(s.by == by and s.percent < WHOLE for s in shares)]


def shared_percent(shares: Sequence[Share]) -> float:
    """The share, below the whole, on which most strategies were trained; of equals the smallest."""
    percents = [share.percent for share in shares if share.percent < WHOLE]
    return min(percents, key=lambda percent: (-percents.count(percent), percent))


def _by_caption(results: Results, shares: Sequence[Share]) -> str:
    if "groups" not in kinds(shares):
        return ""
    units = literal(results.units)
    return f"On the left images are left out one by one, on the right by whole {units}. "


def _gains(results: Results, shares: Sequence[Share]) -> str:
    """From the share that most have in common to the whole, greatest gain first."""
    rows = [share for share in shares if share.by == kinds(shares)[0]]
    percent = shared_percent(rows)
    measure = measure_of(results.primary)
    sign = 1 if measure.higher_is_better else -1
    whole = {share.name: share.value for share in rows if share.percent == WHOLE}
    gains = {share.name: sign * (whole[share.name] - share.value) for share in rows if share.percent == percent and share.name in whole}
    if not gains:
        return ""
    told = ", ".join(f"{code(name)} {_signed(results, gains[name])}" for name in sorted(gains, key=lambda name: -gains[name]))
    unit = f"points of {measure.name}" if measure.in_points else measure.name
    return f"What the rest of the labels is worth, from {percent:g} % of them to all, in {unit}: {told}."


def _signed(results: Results, gain: float) -> str:
    text = size(measure_of(results.primary), gain).removesuffix(" points")
    return f"+{text}" if gain >= 0 else f"−{text}"


def _gap(results: Results, shares: Sequence[Share]) -> str:
    """Random weights against the reference, with few labels and with all: a test of each, none of the change."""
    rows = [s for s in shares if s.by == "images" and results.from_scratch is not None and s.name == results.from_scratch.name]
    few = [s for s in rows if s.percent < WHOLE and not math.isnan(s.diff)]
    whole = next((s for s in rows if s.percent == WHOLE and not math.isnan(s.diff)), None)
    if not few or whole is None:
        return ""
    least = min(few, key=lambda share: share.percent)
    stands = f"Against the reference, {code(results.reference.name)}, {code(whole.name)} stands at {_told(results, least)}"
    return f"{stands} with {least.percent:g} % of the images and at {_told(results, whole)} with all: {_trend(least, whole)}."


def _told(results: Results, share: Share) -> str:
    measure = measure_of(results.primary)
    return f"{difference(measure, share.diff, share.diff_lo, share.diff_hi)}{' points' if measure.in_points else ''}"


def _trend(few: Share, whole: Share) -> str:
    shrinks = abs(whole.diff) < abs(few.diff)
    apart = few.diff_hi < whole.diff_lo or whole.diff_hi < few.diff_lo
    change = "the gap shrinks as labels grow" if shrinks else "the gap does not shrink"
    return f"{change}, and the intervals keep apart" if apart else f"{change}, but the intervals overlap, so this may be chance"


def _spread_or_whole(results: Results, shares: Sequence[Share]) -> str:
    """The same share of labels, spread over all groups or as whole groups, at the smallest share that both have."""
    if len(kinds(shares)) < 2:
        return ""
    name = results.reference.name
    found = {(s.by, s.percent): s for s in shares if s.name == name and s.percent < WHOLE}
    both = sorted(percent for by, percent in found if by == "images" and ("groups", percent) in found)
    if not both:
        return ""
    spread, whole = found["images", both[0]], found["groups", both[0]]
    return (
        f"How labels are spread matters too: with {both[0]:g} % of them, {code(name)} reaches {_estimate(spread)} if they come from all "
        f"{literal(results.units)}, and {_estimate(whole)} if they are whole {literal(results.units)}."
    )


def _estimate(share: Share) -> str:
    return with_interval(share.value, share.lo, share.hi, 3)


def _alt(results: Results, shares: Sequence[Share]) -> str:
    first = [s for s in shares if s.by == kinds(shares)[0] and s.name == results.reference.name]
    ends = sorted(first, key=lambda share: share.percent)
    told = f": {results.reference.name} from {ends[0].value:.3f} with {ends[0].percent:g} % to {ends[-1].value:.3f}" if ends else ""
    return f"{measure_of(results.primary).name} by share of the labelled images{told}"


def _table(results: Results, shares: Sequence[Share], by: str) -> Table:
    rows = [share for share in shares if share.by == by]
    percents = sorted({share.percent for share in rows})
    unit = literal(results.units) if by == "groups" else "images"
    names = [result.name for result in results.candidates if any(share.name == result.name for share in rows)]
    cells = {(share.name, share.percent): _estimate(share) for share in rows}
    header = [f"share of the {unit}", *(f"{percent:g} %{_amount(rows, percent, by)}" for percent in percents)]
    return Table(header, [[code(name), *(cells.get((name, percent), NOTHING) for percent in percents)] for name in names])


def _amount(rows: Sequence[Share], percent: float, by: str) -> str:
    """`` (310)``: how many images or groups a model was trained on, if it is known."""
    counts = [share.train_groups if by == "groups" else share.train_images for share in rows if share.percent == percent]
    known = [count for count in counts if not math.isnan(count)]
    return f" ({round(sum(known) / len(known)):,})" if known else ""
