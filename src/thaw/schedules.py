"""step, total -> factor on the peak rate. Pure; steps count from 0."""

import math


def factor(schedule: str, step: int, total: int, warmup: float) -> float:
    """Share of the peak rate at ``step`` of ``total`` (0 <= step < total).

    constant   linear warm-up from 1/w to 1 over w = warmup x total steps, then 1
    cosine     the same warm-up, then (1 + cos(pi t)) / 2 with t from 0 towards 1 over the remaining steps (Loshchilov 2017)
    one_cycle  half-cosine from 1/25 up to 1 over ``warmup`` of the steps, then half-cosine down to 1e-5 (fastai's fit_one_cycle)
    """
    if not 0 <= step < total:
        raise ValueError(f"step {step} is outside 0..{total - 1}")
    if schedule == "one_cycle":
        position = step / total
        if position < warmup:
            return _half_cosine(1 / 25, 1.0, position / warmup)
        return _half_cosine(1.0, 1e-5, (position - warmup) / (1 - warmup))
    rising = round(warmup * total)
    if step < rising:
        return (step + 1) / rising
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return _half_cosine(1.0, 0.0, (step - rising) / (total - rising))
    raise ValueError(f"unknown schedule {schedule!r}")


def _half_cosine(start: float, end: float, position: float) -> float:
    return start + (end - start) * (1 - math.cos(math.pi * position)) / 2
