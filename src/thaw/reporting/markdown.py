"""report.md: the answer first, then what it rests on, in the order in which a careful reader asks."""

import json
import math
from collections.abc import Callable, Collection
from statistics import stdev
from typing import Any

from thaw.reporting.answer import answer_block, estimate_of, spread_of_seconds
from thaw.reporting.results import Contrast, Result, Results
from thaw.reporting.tables import code, listed, literal, table
from thaw.reporting.wording import (
    NOTHING,
    counted,
    difference,
    duration,
    measure_of,
    number,
    percent,
    size,
    verdict,
    verdict_words,
)

FIGURES = "figures"  # beside report.md
LUCK = 0.05  # how far from chance one shuffle of the labels is let land without a remark
COLUMNS = ("balanced_accuracy", "accuracy", "weighted_accuracy", "f1_macro", "roc_auc", "pr_auc", "log_loss", "brier")


def report(results: Results, title: str, drawn: Collection[str]) -> str:
    """The whole report as Markdown. ``drawn``: names of the figures that exist."""
    sections: list[tuple[str, Callable[[Results, Collection[str]], list[str]]]] = [
        ("The answer", _answer),
        ("Leaderboard", _leaderboard),
        ("Differences to the reference", _differences),
        ("Quality against cost", _cost),
        ("From fold to fold", _folds),
        ("Where the best goes wrong", _errors),
        ("Training curves", _training),
        ("Leak audit", _leaks),
        ("What was trained", _trained),
        ("Data and how to reproduce this", _reproduce),
    ]
    blocks = [f"# {literal(title)}", _subject(results)]
    for heading, section in sections:
        blocks += [f"## {heading}", *section(results, drawn)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def figure_block(name: str, alt: str, caption: str, drawn: Collection[str]) -> str:
    """An image and, beneath, what to see in it; nothing where there is no such figure."""
    return f"![{literal(alt)}]({FIGURES}/{name}.png)\n\n*{caption}*" if name in drawn else ""


def _subject(results: Results) -> str:
    groups = f" in {results.groups:,} groups ({literal(results.group_name)})" if results.grouped else ""
    return (
        f"{literal(results.dataset)}: {results.images:,} images of {len(results.classes)} classes{groups}, "
        f"{counted(len(results.winner.records), 'fold')}. {_who_tests(results)}"
    )


def _who_tests(results: Results) -> str:
    if not results.grouped:
        return "Every image is tested once, by a model that did not see it."
    torn = results.leakage["groups_torn"]
    if torn == 0:
        return "Every image is tested once, by a model that saw neither it nor any other of its group."
    return f"Every image is tested once, but the split tears {counted(torn, 'group')}: models were tested beside what they had learnt from."


def _answer(results: Results, drawn: Collection[str]) -> list[str]:
    return [listed(answer_block(results))]


def _leaderboard(results: Results, drawn: Collection[str]) -> list[str]:
    unit = f"the {results.groups:,} groups ({literal(results.group_name)})" if results.grouped else f"the {results.images:,} images"
    points = "Scores are fractions of 1, higher is better; log loss and Brier score are losses, lower is better."
    intervals = (
        f"Brackets hold {percent(results.confidence)} intervals from resampling {unit}; "
        "those of the other columns are in `reports/leaderboard.csv`."
    )
    return [
        f"Best first by {measure_of(results.primary).name}. {points} {intervals}",
        _board(results),
        "Seconds are the median of the folds on the machine that ran them. A head is fitted on features that are computed once for "
        "each backbone and shared by all heads, so its seconds are those of the fit alone. A star stands for every backbone: "
        "a control that does not look through the backbone comes out alike with each.",
        _runner_up(results),
        _what_controls_say(results),
    ]


def _runner_up(results: Results) -> str:
    second = results.runner_up
    if second is None:
        return ""
    text = f"Second is {code(second.name)} with {estimate_of(second, results.primary)}."
    if results.reference is results.winner or results.reference is second:
        return text
    return f"{text} Winner and second were not tested against each other, only each against the reference."


def _board(results: Results) -> str:
    others = [m for m in COLUMNS if m != results.primary and any(m in r.pooled for r in results.ranked)]
    header = [
        "strategy",
        measure_of(results.primary).name,
        *(measure_of(m).name for m in others),
        "seconds per fold",
        "trainable parameters",
    ]
    rows = [
        [
            code(names) + (" (control)" if result.control else ""),
            estimate_of(result, results.primary),
            *(number(result.pooled.get(metric)) for metric in others),
            duration(result.typical_seconds),
            f"{result.trainable:,}",
        ]
        for names, result in _without_twins(results.ranked)
    ]
    return table(header, rows)


def _without_twins(ranked: list[Result]) -> list[tuple[str, Result]]:
    """Controls that do not look through the backbone come out alike with each: one row for all, named ``*/majority``."""
    rows: list[tuple[str, Result]] = []
    for result in ranked:
        twins = [r for r in ranked if r.control and r.strategy == result.strategy and r.pooled == result.pooled]
        if not result.control or len(twins) == 1:
            rows.append((result.name, result))
        elif twins[0] is result:
            rows.append((f"*/{result.strategy}", result))
    return rows


def _what_controls_say(results: Results) -> str:
    """What the controls set as the floor, and whether shuffled labels behave."""
    defined = [r for r in results.controls if not math.isnan(r.estimate(results.primary).value)]
    if not defined:
        return ""
    best = defined[0]
    floor = (
        f"Controls are what no one would use: the most frequent class, the place in the file, raw pixels, shuffled labels. "
        f"The best of them, {code(best.strategy)}, reaches {estimate_of(best, results.primary)}; "
        f"what does not rise above that has learnt nothing of use."
    )
    shuffled = next((r for r in results.controls if r.strategy == "shuffled_labels"), None)
    return floor if shuffled is None else f"{floor} {_shuffled(shuffled)}".rstrip()


def _shuffled(shuffled: Result) -> str:
    """A head fitted to noise still points somewhere, and its interval does not cover that luck: only a wide miss is a sign."""
    auc = shuffled.estimate("roc_auc")
    if math.isnan(auc.lo + auc.hi):
        return ""
    figure = f"Trained on shuffled labels, a head reaches a ROC AUC of {estimate_of(shuffled, 'roc_auc')}"
    if auc.lo <= 0.5 <= auc.hi:
        return f"{figure}: chance, as it should."
    if auc.lo <= 0.5 + LUCK:
        return f"{figure}: beside the 0.5 of chance, as a single shuffle may land."
    return f"{figure}: far above the 0.5 of chance. Look for a leak."


def _differences(results: Results, drawn: Collection[str]) -> list[str]:
    measure = measure_of(results.primary)
    rows = [(r, r.contrasts[results.primary]) for r in results.candidates if results.primary in r.contrasts]
    if not rows:
        return [f"There is no strategy beside the reference, {code(results.reference.name)}."]
    caption = (
        f"Difference in {measure.name} to {code(results.reference.name)}, the zero line, with {percent(results.confidence)} intervals; "
        "right is better. "
        "A full dot differs after Holm's correction, a hollow one does not. The gray band is what this design would usually miss: "
        f"a hollow dot in a wide band means “cannot tell”, not “equal”.{_colours(results)}"
    )
    return [
        _tally(results, rows),
        figure_block("differences", f"Forest plot of differences to {results.reference.name}", caption, drawn),
        _contrast_table(results, rows),
        _how_to_read(results),
    ]


def _colours(results: Results) -> str:
    winner = " Blue is the winner." if results.winner is not results.reference else ""
    return f"{winner} Orange starts from random weights." if results.from_scratch is not None else winner


def _tally(results: Results, rows: list[tuple[Result, Contrast]]) -> str:
    measure, reference = measure_of(results.primary), code(results.reference.name)
    found = [verdict(measure, c.diff, c.p_holm, results.confidence) for _, c in rows]
    return (
        f"Of {counted(len(rows), 'strategy', 'strategies')} compared with {reference} on the same images, "
        f"{found.count('better')} did better, {found.count('worse')} did worse, "
        f"and no difference was seen for {found.count('none') + found.count('unknown')}."
    )


def _contrast_table(results: Results, rows: list[tuple[Result, Contrast]]) -> str:
    measure = measure_of(results.primary)
    header = ["strategy", "verdict", f"difference, {'points' if measure.in_points else measure.name}", "Holm p", "smallest seen"]
    return table(header, [_contrast_row(results, result, contrast) for result, contrast in rows], text_columns=2)


def _contrast_row(results: Results, result: Result, contrast: Contrast) -> list[str]:
    measure = measure_of(results.primary)
    found = verdict(measure, contrast.diff, contrast.p_holm, results.confidence)
    p = "< 0.001" if contrast.p_holm < 0.001 else number(contrast.p_holm)
    shown = difference(measure, contrast.diff, contrast.lo, contrast.hi)
    return [
        code(result.name),
        verdict_words(found, contrast.lo, contrast.hi),
        shown,
        p,
        size(measure, contrast.mde).removesuffix(" points"),
    ]


def _how_to_read(results: Results) -> str:
    measure = measure_of(results.primary)
    unit = "One point is 0.01." if measure.in_points else f"Differences are in units of {measure.name}; below zero is better."
    return (
        f"{unit} The difference is strategy minus reference. “Holm p” is corrected for the number of comparisons; the intervals are not. "
        "“Smallest seen” is the true difference that a comparison with this many images and groups, made alone, finds four times in five. "
        "Intervals and p cover the choice of test images for the models as they were trained, not how they would vary if trained again."
    )


def _cost(results: Results, drawn: Collection[str]) -> list[str]:
    caption = (
        f"{measure_of(results.primary).name} against seconds of training per model. "
        "Squares train the network, circles fit a head on cached features. "
        "Up and to the left is what to want: a point with a better one to its left is not worth its price."
    )
    return [_bargain(results), figure_block("cost", "Quality against seconds of training", caption, drawn)]


def _bargain(results: Results) -> str:
    """The strategies that nothing beats in both respects, cheapest first."""
    front = cheapest_first(results.candidates, results.primary)
    told = "; ".join(f"{code(r.name)} {estimate_of(r, results.primary)} in {duration(r.typical_seconds)}" for r in front)
    return f"What more seconds buy, each step better than everything cheaper by its pooled figure, if not always clearly so: {told}."


def cheapest_first(candidates: list[Result], metric: str) -> list[Result]:
    """The Pareto front of figure and seconds: each better than all that are cheaper."""
    sign = 1 if measure_of(metric).higher_is_better else -1
    front: list[Result] = []
    for result in sorted(candidates, key=lambda r: (r.typical_seconds, -sign * r.estimate(metric).value)):
        value = result.estimate(metric).value
        if not math.isnan(value) and (not front or sign * value > sign * front[-1].estimate(metric).value):
            front.append(result)
    return front


def _folds(results: Results, drawn: Collection[str]) -> list[str]:
    caption = (
        "Each dot is one fold, the bar all folds pooled. Colours that keep their order from row to row mean that some folds are harder "
        "for everyone: that is why strategies are compared on the same images, and why one split proves little."
    )
    return [_spread(results), figure_block("folds", "Figures of single folds for every strategy", caption, drawn)]


def _spread(results: Results) -> str:
    name = measure_of(results.primary).name
    values = results.winner.fold_values(results.primary)
    if len(values) < 2:
        return f"The winner's {name} is defined in {counted(len(values), 'fold')} only, so nothing can be said about the spread."
    low, high = min(values.values()), max(values.values())
    text = (
        f"From fold to fold the {name} of {code(results.winner.name)} runs from {number(low)} to {number(high)} "
        f"(standard deviation {number(stdev(values.values()))})."
    )
    return f"{text} {_ahead_in(results, values)}".rstrip()


def _ahead_in(results: Results, values: dict[int, float]) -> str:
    """In how many folds the winner leads the reference."""
    rival = results.reference.fold_values(results.primary)
    shared = [fold for fold in values if fold in rival]
    if results.winner is results.reference or not shared:
        return ""
    sign = 1 if measure_of(results.primary).higher_is_better else -1
    ahead = sum(sign * (values[fold] - rival[fold]) > 0 for fold in shared)
    return f"It is ahead of the reference, {code(results.reference.name)}, in {ahead} of {counted(len(shared), 'fold')}."


def _errors(results: Results, drawn: Collection[str]) -> list[str]:
    caption = (
        f"Confusion matrix of {code(results.winner.name)}: how many images of each true class (row) were called what (column), "
        "and their share of the row."
    )
    return [
        _thresholds(results.winner),
        figure_block("confusion", f"Confusion matrix of {results.winner.name}", caption, drawn),
        _per_class(results),
        "These are counts from all folds together, without intervals; for the mean over the classes see the leaderboard.",
        figure_block("curves", "ROC and PR curves", _curves_caption(results), drawn),
    ]


def _thresholds(winner: Result) -> str:
    limits = winner.pooled.get("thresholds")
    if not limits:
        return "An image is called by its most probable class."
    told = ", ".join(number(x) for x in limits)
    return f"The probability from which an image is called positive was chosen on the validation part of each fold: {told}."


def _per_class(results: Results) -> str:
    figures = results.winner.pooled["per_class"]
    rows = [
        [literal(name), *(number(figures[name][key]) for key in ("precision", "recall", "f1")), f"{figures[name]['support']:,}"]
        for name in results.classes
    ]
    return table(["class", "precision", "recall", "F1", "images"], rows)


def _curves_caption(results: Results) -> str:
    what = (
        f"“{literal(results.classes[1])}” is the positive class"
        if len(results.classes) == 2
        else "means over the classes, each against the rest"
    )
    return (
        f"ROC and PR curves over all folds: {what}. Dotted: guessing. Curves that cross mean that the better one depends on the threshold."
    )


def _training(results: Results, drawn: Collection[str]) -> list[str]:
    if "training" not in drawn:
        return ["No network was trained: every strategy fits a head on frozen features."]
    caption = (
        "Validation AUC by epoch, one line for each fold; the dot is the epoch that was kept, dotted lines part the phases. "
        "Lines that still rise at the end would have liked more epochs."
    )
    return [figure_block("training", "Validation AUC by epoch", caption, drawn)]


def _leaks(results: Results, drawn: Collection[str]) -> list[str]:
    audit = results.leakage
    return [
        listed([literal(sentence) for sentence in audit["words"]]),
        _metadata(results),
        _metadata_table(audit["metadata_auc"]),
        _fold_table(results),
    ]


def _metadata(results: Results) -> str:
    control = next((r for r in results.controls if r.strategy == "metadata"), None)
    if control is None or math.isnan(control.estimate(results.primary).value):
        return ""
    return (
        f"A predictor that sees the place in the file and no pixel reaches a {measure_of(results.primary).name} of "
        f"{estimate_of(control, results.primary)} here, against {estimate_of(results.winner, results.primary)} of the winner."
    )


def _metadata_table(auc: dict[str, Any]) -> str:
    names = {"this_split": "this split", "stratified": "stratified by label alone", "grouped": "groups kept whole"}
    if all(auc.get(key) is None for key in names):
        return ""
    return table(["how the images are split", "ROC AUC of metadata alone"], [[name, number(auc.get(key))] for key, name in names.items()])


def _fold_table(results: Results) -> str:
    header = ["fold", "test images", "groups", *(literal(name) for name in results.classes), "validation images"]
    rows = [
        [
            str(fold["fold"]),
            f"{fold['images']:,}",
            f"{fold['groups']:,}",
            *(f"{fold['classes'].get(name, 0):,}" for name in results.classes),
            f"{fold['validation_images']:,}",
        ]
        for fold in results.leakage["folds"]
    ]
    return table(header, rows)


def _trained(results: Results, drawn: Collection[str]) -> list[str]:
    blocks = []
    for result in results.candidates:
        if result.finetuned:
            blocks += [f"### {code(result.name)}", _training_facts(result), _groups_table(result)]
    return [*blocks, "### Heads and controls", _choices(results), "### What the networks see", _preprocessing(results)]


def _training_facts(result: Result) -> str:
    start = "random weights" if result.scratch else "pretrained weights"
    epochs = counted(max(len(record.history) for record in result.records), "epoch")
    text = f"From {start}; {epochs}; {duration(result.typical_seconds)} ({spread_of_seconds(result)})."
    chosen = _chosen(result)
    return f"{text} Chosen on validation, fold by fold: {chosen}." if chosen else text


def _groups_table(result: Result) -> str:
    header = ["phase", "group", "peak rate", "weight decay", "tensors", "scalars"]
    rows = [
        [
            _phase(g),
            literal(str(g["group"])),
            f"{g['rate']:g}",
            f"{g['weight_decay']:g}",
            f"{g['tensors']:,}",
            f"{g['scalars']:,}",
        ]
        for g in result.records[0].groups
    ]
    return table(header, rows, text_columns=2) if rows else ""


def _phase(group: dict[str, Any]) -> str:
    """``top, 1 epoch, cosine``, as far as the record says."""
    length = counted(group["epochs"], "epoch") if "epochs" in group else ""
    return ", ".join(literal(part) for part in (str(group["phase"]), length, str(group.get("schedule", ""))) if part)


def _choices(results: Results) -> str:
    rows = [[code(name), _chosen(r) or NOTHING] for name, r in _without_twins(results.ranked) if not r.finetuned]
    return table(["strategy", "chosen on validation, fold by fold"], rows, text_columns=2)


def _chosen(result: Result) -> str:
    """What validation decided: every number of the records that is not itself a validation score."""
    keys = sorted({key for record in result.records for key in record.metrics if not key.startswith("best_val_")})
    return "; ".join(
        f"{literal(key.replace('_', ' '))} {', '.join(_short(record.metrics.get(key)) for record in result.records)}" for key in keys
    )


def _short(value: float | int | None) -> str:
    return NOTHING if value is None else f"{value:g}"


def _preprocessing(results: Results) -> str:
    seen = {r.backbone: r.records[0].preprocessing for r in reversed(results.ranked) if not r.control and r.records[0].preprocessing}
    keys = list(dict.fromkeys(key for settings in seen.values() for key in settings))
    rows = [[code(name), *(_setting(seen[name].get(key)) for key in keys)] for name in sorted(seen)]
    return table(["backbone", *(literal(key.replace("_", " ")) for key in keys)], rows) if rows else "The records name no preprocessing."


def _setting(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_setting(item) for item in value)
    return literal(value if isinstance(value, str) else json.dumps(value))


def _reproduce(results: Results, drawn: Collection[str]) -> list[str]:
    return [
        listed([literal(note) for note in results.notes]),
        _versions(results),
        "`make repro` (or `dvc repro`) rebuilds every figure on this page from the data. "
        "To try something else, edit `params.yaml` and run it again: only what the edit touched runs. `make ui` shows every run in MLflow.",
    ]


def _versions(results: Results) -> str:
    """Each library with every version that a record names: more than one is worth seeing."""
    found: dict[str, set[str]] = {}
    for record in (record for result in results.ranked for record in result.records):
        for name, version in record.inputs.get("libraries", {}).items():
            found.setdefault(name, set()).add(str(version))
    told = ", ".join(f"{literal(name)} {literal(' and '.join(sorted(versions)))}" for name, versions in sorted(found.items()))
    return f"Computed with {told}." if told else ""
