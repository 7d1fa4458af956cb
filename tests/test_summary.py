"""The summary: the winner, and a few figures of everyone who might be chosen."""

import json
from typing import Any

import pytest

from thaw.runs import CONTROLS, HEADS
from thaw.summary import summary

NAMES = [f"{backbone}/{strategy}" for backbone in ("lite0", "lite0_native") for strategy in (*HEADS, *CONTROLS)]
NAMES += [f"lite0/{strategy}" for strategy in ("full", "grouped", "layerwise", "lp_ft", "gradual", "scratch")]
CONTROL_NAMES = [name for name in NAMES if name.split("/")[1] in CONTROLS]


def tree(primary: str = "roc_auc", winner: str | None = "lite0/full") -> dict[str, Any]:
    """metrics.json as far as it matters: figures that tell who and which they are."""
    metrics = ("roc_auc", "pr_auc", "balanced_accuracy", "log_loss", "brier")
    pooled = {name: {metric: i + k / 10 for k, metric in enumerate(metrics)} | {"confusion": [[1]]} for i, name in enumerate(NAMES)}
    won = None if winner is None else dict(zip(("backbone", "strategy"), winner.split("/"), strict=True))
    return {"primary": primary, "winner": won, "pooled": pooled, "n": 12}


def numbers(value: Any) -> int:
    return sum(map(numbers, value.values())) if isinstance(value, dict) else isinstance(value, float)


def test_figures_are_those_of_the_pooled_folds() -> None:
    found, pooled = summary(tree(), CONTROL_NAMES), tree()["pooled"]
    candidates = [name for name in NAMES if name not in CONTROL_NAMES]
    assert found.keys() == {"answer", "roc_auc", "balanced_accuracy", "log_loss"}
    for metric in ("roc_auc", "balanced_accuracy", "log_loss"):
        assert found[metric] == {name: pooled[name][metric] for name in candidates}
    full = pooled["lite0/full"]
    assert found["answer"] == {"winner": "lite0/full"} | {m: full[m] for m in ("roc_auc", "balanced_accuracy", "log_loss")}
    assert numbers(found) == 3 * 16 + 3 < 60  # the default comparison: few enough to read


def test_dvc_shows_the_answer_first() -> None:
    assert next(iter(json.loads(json.dumps(summary(tree("roc_auc"), []), sort_keys=True)))) == "answer"


@pytest.mark.parametrize("primary", ["balanced_accuracy", "log_loss"])
def test_a_primary_metric_that_is_shown_anyway_stands_once(primary: str) -> None:
    found = summary(tree(primary), CONTROL_NAMES)
    assert found.keys() == {"answer", "balanced_accuracy", "log_loss"} and found["answer"].keys() == {
        "winner",
        "balanced_accuracy",
        "log_loss",
    }


def test_what_is_undefined_is_left_out() -> None:
    undefined = tree(winner=None)
    for figures in undefined["pooled"].values():
        figures["roc_auc"] = None
    found = summary(undefined, CONTROL_NAMES)
    assert found["answer"] == {} == found["roc_auc"] and len(found["log_loss"]) == 16
    json.dumps(found, allow_nan=False)
