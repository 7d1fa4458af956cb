"""Quality against cost: what more seconds buy, and who is not worth the price."""

from collections.abc import Sequence

from thaw.measures import measure_of, number
from thaw.reporting.answer import estimate_of
from thaw.reporting.blocks import Block, Folded, Table, figure
from thaw.reporting.front import images_of, pareto_front, seconds_of
from thaw.reporting.results import Result, Results
from thaw.reporting.tables import code
from thaw.reporting.wording import duration


def quality_against_cost(results: Results, drawn: Sequence[str]) -> list[Block]:
    caption = (
        f"{measure_of(results.primary).name} against seconds per model, features included. "
        "Squares train the network, circles fit a head on features; the larger, the more parameters are trained. "
        "The stepped line is the front: nothing cheaper is better. What lies below it is not worth its price."
    )
    return [
        _bargain(results),
        *figure(drawn, "cost", _alt(results), caption),
        _by_images(results),
        Folded("What each costs", _table(results)),
    ]


def _alt(results: Results) -> str:
    ends = dict.fromkeys(r.name for r in (results.winner, min(results.candidates, key=seconds_of)))
    told = [r for r in results.candidates if r.name in ends]
    places = ", ".join(f"{r.name} {number(r.estimate(results.primary).value)} in {duration(r.typical_seconds)}" for r in told)
    return f"{measure_of(results.primary).name} against seconds per model, features included; the best and the cheapest: {places}"


def _bargain(results: Results) -> str:
    front = pareto_front(results.candidates, results.primary, seconds_of)
    told = "; ".join(f"{code(r.name)} {estimate_of(r, results.primary)} in {duration(r.typical_seconds)}" for r in front)
    return f"What more seconds buy, each step better than everything cheaper by its pooled figure, if not always clearly so: {told}."


def _by_images(results: Results) -> str:
    """Seconds are one machine's; images through the network are not."""
    front = [r.name for r in pareto_front(results.candidates, results.primary, images_of)]
    told = ", ".join(code(name) for name in front)
    return (
        "Seconds depend on the machine, images through the network do not: a frozen network sees every training image once, "
        f"a trained one once in every epoch, there and back. By that count the front is {told}."
    )


def _table(results: Results) -> list[Block]:
    fronts = [{r.name for r in pareto_front(results.candidates, results.primary, cost)} for cost in (seconds_of, images_of)]
    header = [
        "strategy",
        measure_of(results.primary).name,
        "seconds per model",
        "images through the network",
        "trainable parameters",
        "on the front of",
    ]
    return [Table(header, [_row(results, result, *fronts) for result in results.candidates], notes=1)]


def _row(results: Results, result: Result, by_seconds: set[str], by_images: set[str]) -> list[str]:
    fronts = [name for name, front in (("seconds", by_seconds), ("images", by_images)) if result.name in front]
    return [
        code(result.name),
        number(result.estimate(results.primary).value),
        duration(result.typical_seconds),
        f"{result.typical_images:,}",
        f"{result.trainable:,}",
        " and ".join(fronts) or "neither",
    ]
