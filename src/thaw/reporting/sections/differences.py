"""Differences to the reference: a forest plot, a verdict for each strategy, and how sure by every test that was made."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thaw.measures import difference, measure_of, size
from thaw.reporting.blocks import Block, Folded, Table, figure
from thaw.reporting.results import Contrast, Result, Results
from thaw.reporting.sections.board import WITHIN, two_aucs
from thaw.reporting.tables import code, listed, literal
from thaw.reporting.wording import counted, percent, probability, short_p, verdict, verdict_words


@dataclass(frozen=True)
class FurtherTest:
    """Another look at the same difference. ``column`` of `Contrast`, on the row of ``metric`` (None: the primary one)."""

    name: str
    column: str
    metric: str | None
    show: Callable[[float], str]
    meaning: str

    def p(self, results: Results, result: Result) -> float:
        contrast = result.contrasts.get(self.metric or results.primary)
        return math.nan if contrast is None else getattr(contrast, self.column)


TESTS = (
    FurtherTest(
        "chance of being better",
        "p_better",
        None,
        probability,
        "The chance of being better is the share of bootstrap resamples in which the strategy beats the reference.",
    ),
    FurtherTest(
        "Holm p, permutation",
        "p_permutation_holm",
        None,
        short_p,
        "The permutation test lets the two swap their predictions at random, whole groups at a time; here it is corrected by itself.",
    ),
    FurtherTest("p, McNemar (accuracy)", "p_mcnemar", "accuracy", short_p, "McNemar's test looks at images on which only one is right."),
    FurtherTest("p, DeLong (ROC AUC)", "p_delong", "roc_auc", short_p, "DeLong's looks at the ROC AUC."),
)
"""McNemar's and DeLong's take images for independent, so they are made where every image stands for itself, and are not corrected."""
SHORT = {"better": "better", "worse": "worse", "none": "not clear", "unknown": "undefined"}
Row = tuple[Result, Contrast]


def differences(results: Results, drawn: Sequence[str]) -> list[Block]:
    rows = [(r, r.contrasts[results.primary]) for r in results.candidates if results.primary in r.contrasts]
    if not rows:
        return [f"There is no strategy beside the reference, {code(results.reference.name)}."]
    return [
        f"Of {counted(len(rows), 'strategy', 'strategies')} compared with {code(results.reference.name)} on the same images, "
        f"{_tally(results, rows)}.",
        _within_folds(results, rows),
        *figure(drawn, "differences", _alt(results, rows), _caption(results)),
        _contrast_table(results, rows),
        _how_to_read(results),
        *_in_sentences(rows),
        *_further_tests(results, rows),
    ]


def _caption(results: Results) -> str:
    return (
        f"Difference in {measure_of(results.primary).name} to {code(results.reference.name)}, the zero line, "
        f"with {percent(results.confidence)} intervals; right is better. "
        "A full dot differs after Holm's correction, a hollow one does not. The gray band: differences this small may well be missed, "
        f"so a hollow dot in a wide band means “cannot tell”, not “equal”.{_colours(results)}"
    )


def _colours(results: Results) -> str:
    winner = " Blue is the winner." if results.winner is not results.reference else ""
    return f"{winner} Orange starts from random weights." if results.from_scratch is not None else winner


def _tally(results: Results, rows: list[Row]) -> str:
    found = [verdict(measure_of(results.primary), c.diff, c.p_holm, results.confidence) for _, c in rows]
    text = f"{found.count('better')} did better, {found.count('worse')} did worse, and for {found.count('none')} neither is clear"
    return f"{text}; for {found.count('unknown')} the difference is undefined" if "unknown" in found else text


def _alt(results: Results, rows: list[Row]) -> str:
    result, contrast = rows[0]
    measure = measure_of(results.primary)
    first = f"{result.name} at {difference(measure, contrast.diff, contrast.lo, contrast.hi)}{' points' if measure.in_points else ''}"
    return f"Forest plot of differences to {results.reference.name}: {_tally(results, rows)}; the best of them is {first}"


def _within_folds(results: Results, rows: list[Row]) -> str:
    """Whose verdict rests on comparing images across folds."""
    pairs = [(result, contrast, result.contrasts[WITHIN]) for result, contrast in rows if WITHIN in result.contrasts]
    if not two_aucs(results) or not pairs:
        return ""
    turned = [_turn(results, *pair) for pair in pairs if _reading(results, pair[1]) != _reading(results, pair[2])]
    if not turned:
        return "Judged by ROC AUC within folds, every verdict and every sign is the same."
    return f"Judged by ROC AUC within folds instead, the verdict or the sign changes for {'; '.join(turned)}."


def _reading(results: Results, contrast: Contrast) -> tuple[str, bool, bool]:
    """Verdict and sign. The two measures are both better when higher."""
    return verdict(measure_of(WITHIN), contrast.diff, contrast.p_holm, results.confidence), contrast.diff > 0, contrast.diff < 0


def _turn(results: Results, result: Result, pooled: Contrast, within: Contrast) -> str:
    told = [
        f"{SHORT[_reading(results, c)[0]]}, {difference(measure_of(WITHIN), c.diff, c.lo, c.hi)} points {where}"
        for c, where in ((pooled, "over all folds"), (within, "within folds"))
    ]
    return f"{code(result.name)} ({' → '.join(told)})"


def _contrast_table(results: Results, rows: list[Row]) -> Table:
    measure = measure_of(results.primary)
    header = ["strategy", "verdict", f"difference, {'points' if measure.in_points else measure.name}", "Holm p", "detectable alone (80 %)"]
    return Table(header, [_contrast_row(results, result, contrast) for result, contrast in rows], texts=2)


def _contrast_row(results: Results, result: Result, contrast: Contrast) -> list[str]:
    measure = measure_of(results.primary)
    found = verdict(measure, contrast.diff, contrast.p_holm, results.confidence)
    return [
        code(result.name),
        verdict_words(found, contrast.lo, contrast.hi, results.comparisons),
        difference(measure, contrast.diff, contrast.lo, contrast.hi),
        short_p(contrast.p_holm),
        size(measure, contrast.mde).removesuffix(" points"),
    ]


def _how_to_read(results: Results) -> str:
    measure = measure_of(results.primary)
    unit = "One point is 0.01." if measure.in_points else f"Differences are in units of {measure.name}; below zero is better."
    return (
        f"{unit} The difference is strategy minus reference. “Holm p” is that of the less sure of two tests, Student's t and "
        f"swapping whole {literal(results.units)}, corrected for the number of comparisons; the intervals are not. "
        f"“Detectable alone” is the true difference that a comparison with this many {literal(results.units)}, made alone, "
        "finds four times in five. "
        "Intervals and p cover the choice of test images for the models as they were trained, not how they would vary if trained again."
    )


def _in_sentences(rows: list[Row]) -> list[Block]:
    """As the evaluation told them, in Markdown."""
    told = [f"{contrast.sentence.rstrip('.')}." for _, contrast in rows if contrast.sentence]
    return [Folded("Each comparison in a sentence", [listed([line[0].upper() + line[1:] for line in told])])] if told else []


def _further_tests(results: Results, rows: list[Row]) -> list[Block]:
    """Only the tests that were made; a column without a number is left out."""
    made = [test for test in TESTS if any(not math.isnan(test.p(results, result)) for result, _ in rows)]
    if not made:
        return []
    cells = [[code(result.name), *(test.show(test.p(results, result)) for test in made)] for result, _ in rows]
    uncorrected = any(test.metric for test in made)
    told = [test.meaning for test in made] + (["These two take images for independent and are not corrected."] if uncorrected else [])
    return [Folded("How sure, by other tests", [" ".join(told), Table(["strategy", *(test.name for test in made)], cells)])]
