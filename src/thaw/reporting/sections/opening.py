"""The answer: four figures at a glance on the page, the same and more in five sentences."""

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from thaw.measures import difference, measure_of
from thaw.reporting.answer import answer_block, estimate_of
from thaw.reporting.blocks import Block, OnPage
from thaw.reporting.results import Contrast, Result, Results
from thaw.reporting.tables import breakable, listed, literal, unbroken
from thaw.reporting.wording import counted, duration, p_value, percent, probability, times, verdict


def subject(results: Results) -> str:
    """What was compared on what, and who tests whom."""
    groups = f" in {results.groups:,} {literal(results.units)}" if results.grouped else ""
    images = "test images" if results.split_given else "images"
    return (
        f"{literal(results.dataset)}: {results.images:,} {images} of {len(results.classes)} classes{groups}, "
        f"{counted(len(results.winner.records), 'fold')}. {_who_tests(results)}"
    )


def _who_tests(results: Results) -> str:
    if results.domains_left_out:
        return "Each fold is trained on one domain alone and tested on the others."
    if results.split_given:
        return _who_was_given(results)
    if not results.grouped:
        return "Every image is tested once, by a model that did not see it."
    torn = results.leakage["groups_torn"]
    if torn == 0:
        return f"Every image is tested once, by a model that saw neither it nor any other of its {literal(results.group_name)}."
    groups = counted(torn, literal(results.group_name))
    return f"Every image is tested once, but the split tears {groups}: models were tested beside what they had learnt from."


def _who_was_given(results: Results) -> str:
    given = "The split is the one that the data come with: each strategy is trained once, and tested on the test part, which it did not see"
    torn = results.leakage["groups_torn"] if results.grouped else 0
    if not torn:
        return f"{given}."
    groups = counted(torn, literal(results.group_name))
    return f"{given}; but the given split tears {groups}: models were tested beside what they had learnt from."


def the_answer(results: Results, drawn: Sequence[str]) -> list[Block]:
    return [OnPage(_glance(results)), listed(answer_block(results))]


def _glance(results: Results) -> Markup:
    """The four parts of the question, each with its figure. Screen readers are spared it: the sentences below say the same."""
    tiles = [_which(results), _how_much(results), _how_sure(results), _what_cost(results)]
    card = Markup('<div class="tile"><p class="asked">{}</p><p class="figure">{}</p><p class="note">{}</p></div>')
    cards = Markup("").join(card.format(asked, figure, unbroken(note)) for asked, figure, note in tiles)
    return Markup('<div class="tiles" aria-hidden="true">{}</div>').format(cards)


Tile = tuple[str, str | Markup, str]


def _which(results: Results) -> Tile:
    return (
        "Which strategy?",
        breakable(escape(results.winner.name)),
        f"{measure_of(results.primary).name} {estimate_of(results.winner, results.primary)}",
    )


def _compared(results: Results) -> tuple[Result, Contrast] | None:
    """Whose difference to the reference the answer is about: the winner's, or the runner-up's where the reference wins."""
    told = results.winner if results.winner is not results.reference else results.runner_up
    contrast = None if told is None else told.contrasts.get(results.primary)
    if told is None or contrast is None or math.isnan(contrast.diff):
        return None
    return told, contrast


def _how_much(results: Results) -> Tile:
    found = _compared(results)
    if found is None:
        return "By how much?", "undefined", "there is nothing to compare it with"
    told, contrast = found
    measure = measure_of(results.primary)
    value, _, interval = difference(measure, contrast.diff, contrast.lo, contrast.hi).partition(" ")
    sign = "+" if contrast.diff > 0 else ""
    whose = "" if told is results.winner else f"{told.name}, the second, "
    limits = f", {percent(results.confidence)} interval {interval}" if interval else ""
    unit = " points" if measure.in_points else ""
    return "By how much?", f"{sign}{value}{unit}", f"{whose}of {measure.name} against {results.reference.name}{limits}"


def _how_sure(results: Results) -> Tile:
    found = _compared(results)
    if found is None:
        return "How sure?", "unknown", ""
    _, contrast = found
    said = verdict(measure_of(results.primary), contrast.diff, contrast.p_holm, results.confidence)
    clear = {"better": "clear", "worse": "clear", "none": "not clear", "unknown": "unknown"}[said]
    chance = f"; better in {probability(contrast.p_better)} of the resamples" if not math.isnan(contrast.p_better) else ""
    return "How sure?", clear, f"{p_value(contrast.p_holm)} over {counted(results.comparisons, 'comparison')}{chance}"


def _what_cost(results: Results) -> Tile:
    best, reference = results.winner, results.reference
    own = f"{counted(best.trainable, 'trainable parameter')}"
    if best is reference:
        return "At what cost?", f"{duration(best.typical_seconds)} per model", own
    ratio = times(best.typical_seconds, reference.typical_seconds, f"the reference's {duration(reference.typical_seconds)}")
    return "At what cost?", f"{duration(best.typical_seconds)} per model", "; ".join(part for part in (ratio, own) if part)
