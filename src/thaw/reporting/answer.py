"""The answer in sentences. They are Markdown (names in backticks); the command line takes the backticks off."""

from dataclasses import dataclass

from thaw.reporting.results import Contrast, Result, Results
from thaw.reporting.wording import (
    counted,
    difference,
    duration,
    measure_of,
    p_value,
    percent,
    size,
    times,
    verdict,
    with_interval,
)


@dataclass(frozen=True)
class Comparison:
    """A strategy against the reference, told from the side of the better of the two: ``gain`` is positive where ``ahead`` leads."""

    ahead: str
    behind: str
    gain: str  # with its interval and unit
    p: str
    clear: bool
    floor: str  # the smallest difference that the design would have seen


def answer_lines(results: Results) -> list[str]:
    """Five lines for the terminal: winner, difference, cost, where the report is, how to see the runs."""
    lines = [
        f"Best: {winner_sentence(results)}",
        f"Difference: {difference_sentence(results)}",
        f"Cost: {cost_sentence(results)}",
        "Report: reports/report.html (the same as text: reports/report.md)",
        "Runs: `make ui` opens them in MLflow",
    ]
    return [line.replace("`", "") for line in lines]


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
    unit = "groups" if results.grouped else "images"
    return (
        f"`{results.winner.name}`, {measure_of(results.primary).name} {estimate_of(results.winner, results.primary)} "
        f"({percent(results.confidence)} interval over {results.groups:,} {unit})."
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
    return (
        f"no difference seen between `{told.ahead}` and `{told.behind}`: {told.gain} in favour of the first, {told.p}; "
        f"this design would have seen {told.floor}."
    )


def compare(results: Results, strategy: Result, contrast: Contrast) -> Comparison:
    """Turn a contrast so that the leader comes first; lower is better for losses, so signs are turned there too."""
    measure = measure_of(results.primary)
    leads = contrast.diff == 0 or (contrast.diff > 0) == measure.higher_is_better
    ahead, behind = (strategy, results.reference) if leads else (results.reference, strategy)
    low, high = (contrast.lo, contrast.hi) if leads == measure.higher_is_better else (-contrast.hi, -contrast.lo)
    return Comparison(
        ahead=ahead.name,
        behind=behind.name,
        gain=_with_unit(results.primary, difference(measure, abs(contrast.diff), low, high)),
        p=p_value(contrast.p_holm),
        clear=contrast.p_holm <= 1 - results.confidence,
        floor=size(measure, contrast.mde) if contrast.mde == contrast.mde else "a difference of unknown size",
    )


def _with_unit(metric: str, text: str) -> str:
    """``2.1 points of ROC AUC [0.4, 3.9]``: the unit stands between the number and its interval."""
    value, _, interval = text.partition(" ")
    return f"{value} {measure_of(metric).unit} {interval}".rstrip()


def cost_sentence(results: Results) -> str:
    best, reference = results.winner, results.reference
    seconds = f"{duration(best.typical_seconds)} of training per model ({spread_of_seconds(best)})"
    own = f"{seconds} and {counted(best.trainable, 'trainable parameter')}"
    if best is reference:
        return f"{own}; it is the reference, so this is the yardstick."
    return f"{own}; {_relative(best, reference)}."


def _relative(best: Result, reference: Result) -> str:
    yardstick = f"the reference takes {duration(reference.typical_seconds)} and {counted(reference.trainable, 'parameter')}"
    seconds = times(best.typical_seconds, reference.typical_seconds, "seconds")
    parameters = times(best.trainable, reference.trainable, "parameters")
    told = " and ".join(ratio for ratio in (seconds, parameters) if ratio)
    return f"{yardstick}: {told}" if told else yardstick


def pretraining_sentence(results: Results) -> str | None:
    """Random weights against the best pretrained strategy; None where nothing starts from random weights."""
    scratch, pretrained = results.from_scratch, results.best_pretrained
    if scratch is None or pretrained is None:
        return None
    epochs = counted(max(len(record.history) for record in scratch.records), "epoch")
    figures = (
        f"`{scratch.name}`, from random weights in {epochs}, reaches {estimate_of(scratch, results.primary)}; "
        f"the best pretrained, `{pretrained.name}`, {estimate_of(pretrained, results.primary)}"
    )
    return f"{figures}. {_upper(_did_it_help(results, scratch, pretrained))}"


def _did_it_help(results: Results, scratch: Result, pretrained: Result) -> str:
    """The verdict rests on the one pair that was compared on the same images and holds the reference."""
    compared = pretrained if results.reference.scratch else scratch
    contrast = compared.contrasts.get(results.primary)
    if contrast is None or results.reference.control:
        return "the two were not compared on the same images, so take the intervals as a guide only."
    found = verdict(measure_of(results.primary), contrast.diff, contrast.p_holm, results.confidence)
    words = {"none": "whether pretraining helped cannot be told", "unknown": "whether pretraining helped cannot be told"}
    helped = "better" if compared is pretrained else "worse"
    return f"{words.get(found, 'it helped' if found == helped else 'it did not help')}: {_told(results, compared)}"


def caution_sentence(results: Results) -> str:
    rivals = len(results.candidates)
    return (
        f"the best of {rivals} candidates was picked on the same images that measured it, which flatters its figure and its lead; "
        f"Holm's p allows for the {counted(max(rivals - 1, 0), 'comparison')}, the intervals do not."
    )


def estimate_of(result: Result, metric: str) -> str:
    estimate = result.estimate(metric)
    return with_interval(estimate.value, estimate.lo, estimate.hi, 3)


def spread_of_seconds(result: Result) -> str:
    low, high = duration(min(result.seconds)), duration(max(result.seconds))
    folds = counted(len(result.seconds), "fold")
    return f"median of {folds}, each about the same" if low == high else f"median of {folds}, {low} to {high}"


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
