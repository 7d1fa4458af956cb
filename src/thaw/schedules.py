"""step, total -> factor on the peak rate, and momentum beside it. Pure; steps count from 0."""

import math

SCHEDULES: tuple[str, ...] = ("constant", "cosine", "one_cycle", "fit_one_cycle", "slanted", "bit")

_BIT_SUPPORTS = {
    500: (100, 200, 300, 400, 500),
    10_000: (500, 3000, 6000, 9000, 10_000),
    20_000: (500, 6000, 12_000, 18_000, 20_000),
}


def factor(schedule: str, step: int, total: int, warmup: float, div: float | None = None) -> float:
    """Share of the peak rate, in [0, 1], at ``step`` of ``total`` (0 <= step < total); ``div`` >= 1 is peak over start.

    constant       linear warm-up from 1/w to 1 over w = warmup x total steps, then 1
    cosine         the same warm-up, then (1 + cos(pi t)) / 2 with t from 0 towards 1 over the remaining steps (Loshchilov 2017)
    one_cycle      half-cosines 1/div -> 1 -> 1e-4/div, peak at step warmup x total - 1, low at the last; div 25 (torch's OneCycleLR)
    fit_one_cycle  half-cosines 1/div -> 1 -> 1e-5, peak at step warmup x total, low just past the last; div 25 (fastai's fit_one_cycle)
    slanted        lines 1/div -> 1 -> 1/div, peak at step floor(warmup x total); div 32 (Howard & Ruder 2018, equation 3)
    bit            line from 0 to 1, then a tenth after each support; ``warmup`` is not read (big_transfer's bit_hyperrule.get_lr)
    """
    _check(schedule, step, total)
    if schedule in ("constant", "cosine"):
        return _warmed(schedule, step, total, round(warmup * total))
    if schedule == "bit":
        return _bit(step, total)
    usual = 32.0 if schedule == "slanted" else 25.0
    over = usual if div is None else div
    if not 1 <= over < math.inf:
        raise ValueError(f"div {over} is not a finite number >= 1")
    if schedule == "slanted":
        return _slanted(step, total, warmup, over)
    low = 1 / (over * 1e4) if schedule == "one_cycle" else 1e-5
    return _cycle(schedule, step, total, warmup, (1 / over, 1.0, low))


def momentum(schedule: str, step: int, total: int, warmup: float, high: float, low: float) -> float:
    """``high`` -> ``low`` at the peak rate -> ``high``, by the half-cosines of ``factor`` (one_cycle, fit_one_cycle; Smith 2018)."""
    _check(schedule, step, total)
    if schedule not in ("one_cycle", "fit_one_cycle"):
        raise ValueError(f"schedule {schedule!r} leaves momentum alone")
    return _cycle(schedule, step, total, warmup, (high, low, high))


def bit_steps(images: int) -> int:
    """Length of training by the number of training images (BiT-HyperRule; Kolesnikov 2020)."""
    return 500 if images < 20_000 else 10_000 if images < 500_000 else 20_000


def bit_mixup(images: int) -> float:
    """Mixup's alpha by the number of training images; 0 is none (BiT-HyperRule; Kolesnikov 2020)."""
    return 0.0 if images < 20_000 else 0.1


def _check(schedule: str, step: int, total: int) -> None:
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown schedule {schedule!r}")
    if not 0 <= step < total:
        raise ValueError(f"step {step} is outside 0..{total - 1}")


def _warmed(schedule: str, step: int, total: int, rising: int) -> float:
    if step < rising:
        return (step + 1) / rising
    if schedule == "constant":
        return 1.0
    return _half_cosine(1.0, 0.0, (step - rising) / (total - rising))


def _cycle(schedule: str, step: int, total: int, warmup: float, through: tuple[float, float, float]) -> float:
    """First, middle and last value joined by half-cosines. The two libraries differ only in where they put the middle and the end."""
    if schedule == "one_cycle":
        at, peak, end = float(step), warmup * total - 1, total - 1.0  # the peak may lie before step 0, as in torch
    else:
        at, peak, end = step / total, warmup, 1.0
    first, middle, last = through
    if at < peak:
        return _half_cosine(first, middle, at / peak)
    if at == peak:  # torch divides 0 by 0 where this is step 0
        return middle
    return _half_cosine(middle, last, (at - peak) / (end - peak))


def _slanted(step: int, total: int, warmup: float, ratio: float) -> float:
    cut = math.floor(total * warmup + 1e-9)  # 0.29 x 100 is 28.999... in floats
    if step < cut:
        share = step / cut
    else:
        falling = cut * (1 / warmup - 1) if cut else total  # no whole step of warm-up: fall from the first step on
        # The floor can make equation 3 go below its own start in the last steps; it stays at the start instead.
        share = max(0.0, 1 - (step - cut) / falling)
    return (1 + share * (ratio - 1)) / ratio


def _bit(step: int, total: int) -> float:
    if total not in _BIT_SUPPORTS:
        raise ValueError(f"bit has {' or '.join(map(str, _BIT_SUPPORTS))} steps, not {total}")
    rising, *supports = _BIT_SUPPORTS[total]
    return step / rising if step < rising else 1 / 10 ** sum(support < step for support in supports)


def _half_cosine(start: float, end: float, position: float) -> float:
    return start + (end - start) * (1 - math.cos(math.pi * position)) / 2
