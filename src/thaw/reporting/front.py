"""The Pareto front of quality and cost: whoever is on it is better than everything cheaper."""

import math
from collections.abc import Callable, Sequence

from thaw.measures import measure_of
from thaw.reporting.results import Result


def pareto_front(candidates: Sequence[Result], metric: str, cost: Callable[[Result], float]) -> list[Result]:
    """Cheapest first; each is better, by its pooled figure, than all that cost no more. Undefined figures are left out."""
    sign = 1 if measure_of(metric).higher_is_better else -1
    front: list[Result] = []
    for result in sorted(candidates, key=lambda r: (cost(r), -sign * r.estimate(metric).value)):
        value = result.estimate(metric).value
        if not math.isnan(value) and (not front or sign * value > sign * front[-1].estimate(metric).value):
            front.append(result)
    return front


def seconds_of(result: Result) -> float:
    return result.typical_seconds


def images_of(result: Result) -> float:
    return float(result.typical_images)
