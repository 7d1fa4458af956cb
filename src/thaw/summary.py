"""The few figures by which two states of the project are compared: ``dvc metrics diff`` and ``dvc exp show`` read them."""

from collections.abc import Collection, Mapping
from typing import Any

BESIDE = ("balanced_accuracy", "log_loss")  # the primary metric: decisions at the chosen threshold, and probabilities


def summary(tree: Mapping[str, Any], controls: Collection[str]) -> dict[str, Any]:
    """The winner with its figures ("answer": DVC shows them first), then the primary metric, balanced accuracy and log loss of everyone.

    ``tree``: reports/metrics.json; ``controls``: names (<backbone>/<strategy>) that no one would use and that are left out, as are
    undefined figures.
    """
    pooled = {name: figures for name, figures in tree["pooled"].items() if name not in controls}
    metrics = dict.fromkeys((tree["primary"], *BESIDE))
    compared = {metric: _defined({name: figures.get(metric) for name, figures in pooled.items()}) for metric in metrics}
    return {"answer": _answer(tree["winner"], compared)} | compared


def _answer(winner: Mapping[str, str] | None, compared: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """{} where nobody won, since the primary metric is undefined."""
    if not winner:
        return {}
    name = f"{winner['backbone']}/{winner['strategy']}"
    return {"winner": name} | _defined({metric: figures.get(name) for metric, figures in compared.items()})


def _defined(figures: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if value is not None}
