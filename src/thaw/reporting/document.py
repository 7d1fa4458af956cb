"""The report as a document: the answer first, then what it rests on, in the order in which a careful reader asks."""

from collections.abc import Callable, Sequence

from thaw.reporting.blocks import Block, Document, Section
from thaw.reporting.results import Results
from thaw.reporting.sections.board import leaderboard
from thaw.reporting.sections.by_group import from_group_to_group
from thaw.reporting.sections.calibration import calibration
from thaw.reporting.sections.claims import claims
from thaw.reporting.sections.costs import quality_against_cost
from thaw.reporting.sections.differences import differences
from thaw.reporting.sections.folds import from_fold_to_fold
from thaw.reporting.sections.leaks import leak_audit
from thaw.reporting.sections.learning import with_fewer_labels
from thaw.reporting.sections.mismatch import preprocessing_mismatch
from thaw.reporting.sections.mistakes import where_the_best_goes_wrong
from thaw.reporting.sections.opening import subject, the_answer
from thaw.reporting.sections.operating import operating_curve
from thaw.reporting.sections.reproduce import data_and_how_to_reproduce_this
from thaw.reporting.sections.shift import domain_shift
from thaw.reporting.sections.trained import what_was_trained
from thaw.reporting.sections.training import training_curves
from thaw.reporting.sections.tuning import tuning_budget

SECTIONS: dict[str, Callable[[Results, Sequence[str]], Sequence[Block]]] = {
    "The answer": the_answer,
    "Leaderboard": leaderboard,
    "Differences to the reference": differences,
    "Quality against cost": quality_against_cost,
    "From fold to fold": from_fold_to_fold,
    "From group to group": from_group_to_group,
    "Where the best goes wrong": where_the_best_goes_wrong,
    "Choosing a threshold": operating_curve,
    "Calibration": calibration,
    "With fewer labels": with_fewer_labels,
    "On another domain": domain_shift,
    "With the wrong preprocessing": preprocessing_mismatch,
    "What the literature claims, and what we found": claims,
    "Training curves": training_curves,
    "Leak audit": leak_audit,
    "Tuning budget": tuning_budget,
    "What was trained": what_was_trained,
    "Data and how to reproduce this": data_and_how_to_reproduce_this,
}


def compose(results: Results, title: str, drawn: Sequence[str]) -> Document:
    """The whole report. ``drawn``: names of the figures that exist. A section with nothing to say is left out."""
    parts = {heading: [block for block in section(results, drawn) if block] for heading, section in SECTIONS.items()}
    return Document(title, subject(results), [Section(heading, blocks) for heading, blocks in parts.items() if blocks])
