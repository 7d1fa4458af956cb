"""What DVC calls the stage that makes a run: for messages that say what to run again, and for MLflow's tags."""

from thaw.fractions import Fraction
from thaw.runs import CONTROLS, HEADS, Identity


def kind_of(strategy: str) -> str:
    """``head`` or ``finetune``: whether a strategy fits a head on features or trains the network."""
    return "head" if strategy in (*HEADS, *CONTROLS) else "finetune"


def stage_of(run: Identity, fraction: Fraction | None = None) -> str:
    """``fraction``: of the labelled images, where the run saw a share of them."""
    if kind_of(run.strategy) == "head":
        return f"{'learn' if fraction else 'heads'}@{run.backbone}"
    if fraction:
        return f"finetune_part@{run.backbone}-{run.strategy}-{fraction.percent}-{run.fold}"
    return f"finetune@{run.backbone}-{run.strategy}-{run.fold}"
