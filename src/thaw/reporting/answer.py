"""The answer in sentences. They are Markdown (names in backticks); the command line takes the backticks off."""

import re
from dataclasses import dataclass

from thaw.measures import difference_with_unit, measure_of, size, with_interval
from thaw.reporting.results import Contrast, Planned, Result, Results
from thaw.reporting.tables import literal
from thaw.reporting.wording import counted, duration, only_alone, p_value, percent, taken_back, times, uncorrected, verdict


@dataclass(frozen=True)
class Comparison:
    """A strategy against the reference, told from the side of the better of the two: ``gain`` is positive where ``ahead`` leads."""

    ahead: str
    behind: str
    gain: str  # with its interval and unit
    p: str
    clear: bool
    doubt: str  # why it is not clear, or what would have been


def answer_lines(results: Results) -> list[str]:
    """Five lines for the terminal: winner, difference, cost, where the report is, how to see the runs."""
    lines = [
        f"Best: {winner_sentence(results)}",
        f"Difference: {difference_sentence(results)}",
        f"Cost: {cost_sentence(results)}",
        "Report: reports/report.html (the same as text: reports/report.md)",
        "Runs: `make ui` opens them in MLflow",
    ]
    return [re.sub(r"\\(.)", r"\1", line.replace("`", "")) for line in lines]


def answer_block(results: Results) -> list[str]:
    """At most five Markdown sentences that open the report."""
    led = [
        ("Best", winner_sentence(results)),
        ("Difference", difference_sentence(results)),
        ("Cost", cost_sentence(results)),
        ("Pretraining", pretraining_sentence(results)),
        ("Caution", caution_sentence(results)),
    ]
    return [f"**{lead}:** {sentence}" for lead, sentence in led if sentence]


def winner_sentence(results: Results) -> str:
    return (
        f"`{results.winner.name}`, {measure_of(results.primary).name} {estimate_of(results.winner, results.primary)} "
        f"({percent(results.confidence)} interval over {results.groups:,} {literal(results.units)})."
    )


def difference_sentence(results: Results) -> str:
    """The winner against the reference; where they are one, the runner-up against it."""
    if results.winner is not results.reference:
        return _told(results, results.winner)
    if results.runner_up is None:
        return "the reference is the only strategy; there is nothing to compare it with."
    return f"the reference itself is the best, nothing beats it. {_upper(_told(results, results.runner_up))}"


def _told(results: Results, strategy: Result) -> str:
    contrast = strategy.contrasts.get(results.primary)
    if contrast is None or verdict(measure_of(results.primary), contrast.diff, contrast.p_holm, results.confidence) == "unknown":
        return f"`{strategy.name}` and `{results.reference.name}` could not be compared: {measure_of(results.primary).name} is undefined."
    told = compare(results, strategy, contrast)
    if told.clear:
        return f"`{told.ahead}` beats `{told.behind}` by {told.gain}, {told.p}."
    return f"no clear difference between `{told.ahead}` and `{told.behind}`: {told.gain} in favour of the first, {told.p}; {told.doubt}."


def compare(results: Results, strategy: Result, contrast: Contrast) -> Comparison:
    """Turn a contrast so that the leader comes first; lower is better for losses, so signs are turned there too."""
    measure = measure_of(results.primary)
    leads = contrast.diff == 0 or (contrast.diff > 0) == measure.higher_is_better
    ahead, behind = (strategy, results.reference) if leads else (results.reference, strategy)
    low, high = (contrast.lo, contrast.hi) if leads == measure.higher_is_better else (-contrast.hi, -contrast.lo)
    return Comparison(
        ahead=ahead.name,
        behind=behind.name,
        gain=difference_with_unit(measure, abs(contrast.diff), low, high),
        p=p_value(contrast.p_holm),
        clear=contrast.p_holm <= 1 - results.confidence,
        doubt=_doubt(results, contrast),
    )


def _doubt(results: Results, contrast: Contrast) -> str:
    """The detectable difference is that of one comparison alone, while the verdict is one of many: so it is told only where it explains."""
    measure = measure_of(results.primary)
    if only_alone(verdict(measure, contrast.diff, contrast.p_holm, results.confidence), contrast.lo, contrast.hi):
        return taken_back(results.comparisons)
    if not abs(contrast.diff) < contrast.mde:
        return "its interval reaches zero"
    return f"one comparison alone would have detected {size(measure, contrast.mde)} four times in five"


def cost_sentence(results: Results) -> str:
    best, reference = results.winner, results.reference
    seconds = f"{duration(best.typical_seconds)} per model ({spread_of_seconds(best)})"
    own = f"{seconds} and {counted(best.trainable, 'trainable parameter')}"
    if best is reference:
        return f"{own}; it is the reference, so this is the yardstick."
    return f"{own}; {_relative(best, reference)}."


def _relative(best: Result, reference: Result) -> str:
    included = f" ({reference.included})" if reference.included else ""
    seconds = times(best.typical_seconds, reference.typical_seconds, f"the reference's {duration(reference.typical_seconds)}{included}")
    parameters = times(best.trainable, reference.trainable, f"its {counted(reference.trainable, 'parameter')}")
    return " and ".join((seconds or "the reference took no time", parameters or "the reference trains no parameter"))


def pretraining_sentence(results: Results) -> str | None:
    """Random weights against a pretrained strategy of the same network; None where nothing starts from random weights."""
    if (pair := results.pretraining) is None:
        return None
    pretrained, scratch = results.named(pair.pretrained), results.named(pair.scratch)
    epochs = counted(max(len(record.history) for record in scratch.records), "epoch")
    return (
        f"`{scratch.name}`, from random weights in {epochs}, reaches {estimate_of(scratch, results.primary)}; "
        f"`{pretrained.name}`, the same network pretrained, {estimate_of(pretrained, results.primary)}. {_did_it_help(results, pair)}"
    )


def _did_it_help(results: Results, pair: Planned) -> str:
    measure = measure_of(results.primary)
    found = verdict(measure, pair.diff, pair.p, results.confidence)
    if found == "unknown":
        return f"The two cannot be compared: {measure.name} is undefined."
    behind = found == "worse"
    turned = measure.higher_is_better == behind
    gain = difference_with_unit(measure, *((-pair.diff, -pair.hi, -pair.lo) if turned else (pair.diff, pair.lo, pair.hi)))
    said = {"better": "Pretraining helped, by", "worse": "Pretraining did harm, by", "none": "Whether it helped is not clear:"}[found]
    doubt = f"; this design would have seen {size(measure, pair.mde)}" if found == "none" else ""
    return f"{said} {gain}, {uncorrected(pair.p)}{doubt}; a pair fixed beforehand, so nothing is corrected."


def caution_sentence(results: Results) -> str:
    rivals = len(results.candidates)
    rates = ", and the default rates were chosen on validation images that other folds test" if results.finetuned else ""
    return (
        f"the best of {rivals} candidates was picked on the same images that measured it, which flatters its figure and its lead; "
        f"Holm's p allows for the {counted(results.comparisons, 'comparison')}, the intervals do not. "
        f"Each cell was trained once, one seed per fold, so luck of training is in no interval{rates}."
    )


def estimate_of(result: Result, metric: str) -> str:
    estimate = result.estimate(metric)
    return with_interval(estimate.value, estimate.lo, estimate.hi, 3)


def spread_of_seconds(result: Result) -> str:
    low, high = duration(min(result.seconds)), duration(max(result.seconds))
    spread = "each about the same" if low == high else f"{low} to {high}"
    text = f"median of {counted(len(result.seconds), 'fold')}, {spread}"
    return f"{text}; {result.included}" if result.included else text


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
