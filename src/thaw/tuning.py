"""A fair budget: every strategy gets the same trials over its nuisance dials, in a space of the same width, judged on validation alone.

A trial multiplies a strategy's own rates, decay and lengths by three factors. Strategies keep their shape (the ratio between groups, the
order of phases), and one that was written down badly gets the same chance to recover as one that was written down well (VTAB, Zhai 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thaw.params import Phase, Tune

DIALS = ("rate", "weight_decay", "epochs")


@dataclass(frozen=True)
class Trial:
    """Factors on what params.yaml says; epochs stands for steps too."""

    rate: float
    weight_decay: float
    epochs: float


def trials(tune: Tune) -> list[Trial]:
    """The first is params.yaml as it stands; the others a scrambled Halton sequence (Owen 2017), uniform in each factor's logarithm."""
    if tune.trials == 0:
        return []
    from scipy.stats import qmc  # a second to import

    points = qmc.Halton(len(DIALS), rng=tune.seed).random(tune.trials - 1)
    spans = np.log([tune.rate, tune.weight_decay, tune.epochs])
    factors = np.exp(spans[:, 0] + points * (spans[:, 1] - spans[:, 0]))
    return [Trial(1.0, 1.0, 1.0), *(Trial(*(float(f"{value:.4g}") for value in row)) for row in factors)]


def scaled(phase: Phase, trial: Trial) -> Phase:
    """The phase with the trial's factors; lengths are rounded and never 0, BiT's rule keeps its own length."""
    length = {name: max(1, round(value * trial.epochs)) for name in ("epochs", "steps") if isinstance(value := getattr(phase, name), int)}
    rates = {pattern: rate * trial.rate for pattern, rate in phase.rates.items()}
    return phase.model_copy(update={"rates": rates, "weight_decay": phase.weight_decay * trial.weight_decay, **length})


def edges(tried: Sequence[Trial], chosen: Trial) -> list[str]:
    """Dials whose chosen factor is the smallest or largest tried: the optimum may lie outside. Fewer than three trials have no middle."""
    if len(tried) < 3:
        return []
    spans = {dial: [getattr(trial, dial) for trial in tried] for dial in DIALS}
    return [dial for dial, values in spans.items() if getattr(chosen, dial) in (min(values), max(values)) and min(values) < max(values)]
