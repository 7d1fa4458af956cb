"""From fold to fold: one split proves little."""

from collections.abc import Sequence
from statistics import stdev

from thaw.measures import measure_of, number
from thaw.reporting.blocks import Block, Table, figure
from thaw.reporting.results import Results
from thaw.reporting.tables import code
from thaw.reporting.wording import counted

ONE_SPLIT = (
    "The data come with one split, so nothing can be said about the spread from split to split, which the intervals do not hold; "
    "`split.method: grouped` or `stratified` would show it."
)


def from_fold_to_fold(results: Results, drawn: Sequence[str]) -> list[Block]:
    if results.split_given:
        return [ONE_SPLIT, _values(results)]
    caption = (
        "Each dot is one fold, the bar all folds pooled. Folds that keep their order from row to row are harder or easier "
        "for everyone: that is why strategies are compared on the same images, and why one split proves little."
    )
    return [_spread(results), *figure(drawn, "folds", _alt(results), caption), _values(results)]


def _alt(results: Results) -> str:
    values = results.winner.fold_values(results.primary).values()
    found = f"{results.winner.name} runs from {number(min(values))} to {number(max(values))}" if values else "the winner has none"
    return f"{measure_of(results.primary).name} of single folds for every strategy: {found}"


def _values(results: Results) -> Table:
    """What the figure shows, in numbers."""
    folds = sorted(results.winner.folds)
    rows = [
        [code(r.name), *(number(r.fold_values(results.primary).get(fold)) for fold in folds), number(r.estimate(results.primary).value)]
        for r in results.candidates
    ]
    return Table([measure_of(results.primary).name, *(f"fold {fold}" for fold in folds), "pooled"], rows)


def _spread(results: Results) -> str:
    name = measure_of(results.primary).name
    values = results.winner.fold_values(results.primary)
    if len(values) < 2:
        return f"The winner's {name} is defined in {counted(len(values), 'fold')} only, so nothing can be said about the spread."
    low, high = min(values.values()), max(values.values())
    text = (
        f"From fold to fold the {name} of {code(results.winner.name)} runs from {number(low)} to {number(high)} "
        f"(standard deviation {number(stdev(values.values()))})."
    )
    return f"{text} {_ahead_in(results, values)}".rstrip()


def _ahead_in(results: Results, values: dict[int, float]) -> str:
    """In how many folds the winner leads the reference."""
    rival = results.reference.fold_values(results.primary)
    shared = [fold for fold in values if fold in rival]
    if results.winner is results.reference or not shared:
        return ""
    sign = 1 if measure_of(results.primary).higher_is_better else -1
    ahead = sum(sign * (values[fold] - rival[fold]) > 0 for fold in shared)
    return f"It is ahead of the reference, {code(results.reference.name)}, in {ahead} of {counted(len(shared), 'fold')}."
