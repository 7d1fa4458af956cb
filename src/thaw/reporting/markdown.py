"""report.md: the answer first, then what it rests on, in the order in which a careful reader asks."""

import json
import math
from collections.abc import Callable, Collection
from statistics import mean, stdev
from typing import Any

from thaw.reporting.answer import answer_block, estimate_of, spread_of_seconds
from thaw.reporting.budget import budget
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

SHORT = {"better": "better", "worse": "worse", "none": "not clear", "unknown": "undefined"}
FIGURES = "figures"  # beside report.md
WITHIN = "roc_auc_within"
SECONDS = (
    "Seconds are those of one model, features included: a head's hold the fit and the extraction of features from its training images "
    "(done once for each backbone and shared by all heads); those of a strategy that starts from the linear probe hold the probe's too."
)
LUCK = 0.05  # how far from chance one shuffle of the labels is let land without a remark
COLUMNS = ("roc_auc_within", "balanced_accuracy", "accuracy", "weighted_accuracy", "f1_macro", "roc_auc", "pr_auc", "log_loss", "brier")


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
        ("Tuning budget", lambda results, drawn: budget(results)),
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
    groups = f" in {results.groups:,} {literal(results.units)}" if results.grouped else ""
    return (
        f"{literal(results.dataset)}: {results.images:,} images of {len(results.classes)} classes{groups}, "
        f"{counted(len(results.winner.records), 'fold')}. {_who_tests(results)}"
    )


def _who_tests(results: Results) -> str:
    if not results.grouped:
        return "Every image is tested once, by a model that did not see it."
    torn = results.leakage["groups_torn"]
    if torn == 0:
        return f"Every image is tested once, by a model that saw neither it nor any other of its {literal(results.group_name)}."
    groups = counted(torn, literal(results.group_name))
    return f"Every image is tested once, but the split tears {groups}: models were tested beside what they had learnt from."


def _answer(results: Results, drawn: Collection[str]) -> list[str]:
    return [listed(answer_block(results))]


def _leaderboard(results: Results, drawn: Collection[str]) -> list[str]:
    points = "Scores are fractions of 1, higher is better; log loss and Brier score are losses, lower is better."
    intervals = (
        f"Brackets hold {percent(results.confidence)} intervals from resampling the {results.groups:,} {literal(results.units)}; "
        "those of the other columns are in `reports/leaderboard.csv`."
    )
    return [
        f"Best first by {measure_of(results.primary).name}. {points} {intervals}",
        _board(results),
        _pooling(results),
        f"{SECONDS} They are the median of the folds on the machine that ran them. A star stands for every backbone: "
        "a control that does not look through the backbone comes out alike with each.",
        _runner_up(results),
        _what_controls_say(results),
    ]


def _pooling(results: Results) -> str:
    """Why there are two columns of ROC AUC."""
    if not _two_aucs(results):
        return ""
    return (
        "ROC AUC ranks the images of all folds together, so offsets between the folds' models count as errors "
        "(a control that is at 0.5 in every fold can come out below it); "
        "ROC AUC within folds is the mean of the folds' own figures, which such offsets leave alone."
    )


def _two_aucs(results: Results) -> bool:
    return results.primary == "roc_auc" and any(WITHIN in r.pooled for r in results.ranked)


def _runner_up(results: Results) -> str:
    second = results.runner_up
    if second is None:
        return ""
    text = f"Second is {code(second.name)} with {estimate_of(second, results.primary)}."
    if results.reference is results.winner or results.reference is second:
        return text
    return f"{text} Winner and second were not tested against each other, only each against the reference."


def _board(results: Results) -> str:
    shown = [m for m in COLUMNS if m != WITHIN or _two_aucs(results)]
    others = [m for m in shown if m != results.primary and any(m in r.pooled for r in results.ranked)]
    header = [
        "strategy",
        measure_of(results.primary).name,
        *(measure_of(m).name for m in others),
        "seconds per model, features included",
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
        f"what does not rise above that gains nothing over it (not tested pair by pair)."
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
    if auc.lo <= 0.5 + LUCK and auc.hi >= 0.5 - LUCK:
        return f"{figure}: beside the 0.5 of chance, as a single shuffle may land."
    if auc.lo > 0.5:
        return f"{figure}: far above the 0.5 of chance. Look for a leak."
    within = f" (within folds it is {estimate_of(shuffled, WITHIN)})" if WITHIN in shuffled.estimates else ""
    return f"{figure}{within}: far below the 0.5 of chance. Look for a mistake, or for offsets between the folds' models."


def _differences(results: Results, drawn: Collection[str]) -> list[str]:
    measure = measure_of(results.primary)
    rows = [(r, r.contrasts[results.primary]) for r in results.candidates if results.primary in r.contrasts]
    if not rows:
        return [f"There is no strategy beside the reference, {code(results.reference.name)}."]
    caption = (
        f"Difference in {measure.name} to {code(results.reference.name)}, the zero line, with {percent(results.confidence)} intervals; "
        "right is better. "
        "A full dot differs after Holm's correction, a hollow one does not. The gray band: differences this small may well be missed, "
        f"so a hollow dot in a wide band means “cannot tell”, not “equal”.{_colours(results)}"
    )
    return [
        f"Of {counted(len(rows), 'strategy', 'strategies')} compared with {code(results.reference.name)} on the same images, "
        f"{_tally(results, rows)}.",
        _within_folds(results, rows),
        figure_block("differences", _differences_alt(results, rows), caption, drawn),
        _contrast_table(results, rows),
        _how_to_read(results),
    ]


def _colours(results: Results) -> str:
    winner = " Blue is the winner." if results.winner is not results.reference else ""
    return f"{winner} Orange starts from random weights." if results.from_scratch is not None else winner


def _tally(results: Results, rows: list[tuple[Result, Contrast]]) -> str:
    found = [verdict(measure_of(results.primary), c.diff, c.p_holm, results.confidence) for _, c in rows]
    text = f"{found.count('better')} did better, {found.count('worse')} did worse, and for {found.count('none')} neither is clear"
    return f"{text}; for {found.count('unknown')} the difference is undefined" if "unknown" in found else text


def _differences_alt(results: Results, rows: list[tuple[Result, Contrast]]) -> str:
    result, contrast = rows[0]
    measure = measure_of(results.primary)
    first = f"{result.name} at {difference(measure, contrast.diff, contrast.lo, contrast.hi)}{' points' if measure.in_points else ''}"
    return f"Forest plot of differences to {results.reference.name}: {_tally(results, rows)}; the best of them is {first}"


def _within_folds(results: Results, rows: list[tuple[Result, Contrast]]) -> str:
    """Whose verdict rests on comparing images across folds."""
    pairs = [(result, contrast, result.contrasts[WITHIN]) for result, contrast in rows if WITHIN in result.contrasts]
    if not _two_aucs(results) or not pairs:
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


def _contrast_table(results: Results, rows: list[tuple[Result, Contrast]]) -> str:
    measure = measure_of(results.primary)
    header = ["strategy", "verdict", f"difference, {'points' if measure.in_points else measure.name}", "Holm p", "detectable alone (80 %)"]
    return table(header, [_contrast_row(results, result, contrast) for result, contrast in rows], text_columns=2)


def _contrast_row(results: Results, result: Result, contrast: Contrast) -> list[str]:
    measure = measure_of(results.primary)
    found = verdict(measure, contrast.diff, contrast.p_holm, results.confidence)
    p = "< 0.001" if contrast.p_holm < 0.001 else number(contrast.p_holm)
    shown = difference(measure, contrast.diff, contrast.lo, contrast.hi)
    return [
        code(result.name),
        verdict_words(found, contrast.lo, contrast.hi, results.comparisons),
        shown,
        p,
        size(measure, contrast.mde).removesuffix(" points"),
    ]


def _how_to_read(results: Results) -> str:
    measure = measure_of(results.primary)
    unit = "One point is 0.01." if measure.in_points else f"Differences are in units of {measure.name}; below zero is better."
    return (
        f"{unit} The difference is strategy minus reference. “Holm p” is corrected for the number of comparisons; the intervals are not. "
        f"“Detectable alone” is the true difference that a comparison with this many {literal(results.units)}, made alone, "
        "finds four times in five. "
        "Intervals and p cover the choice of test images for the models as they were trained, not how they would vary if trained again."
    )


def _cost(results: Results, drawn: Collection[str]) -> list[str]:
    caption = (
        f"{measure_of(results.primary).name} against seconds per model, features included. "
        "Squares train the network, circles fit a head on features. "
        "Up and to the left is what to want: a point with a better one to its left is not worth its price."
    )
    return [_bargain(results), figure_block("cost", _cost_alt(results), caption, drawn)]


def _cost_alt(results: Results) -> str:
    ends = dict.fromkeys(r.name for r in (results.winner, min(results.candidates, key=lambda r: r.typical_seconds)))
    told = [r for r in results.candidates if r.name in ends]
    places = ", ".join(f"{r.name} {number(r.estimate(results.primary).value)} in {duration(r.typical_seconds)}" for r in told)
    return f"{measure_of(results.primary).name} against seconds per model, features included; the best and the cheapest: {places}"


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
        "Each dot is one fold, the bar all folds pooled. Folds that keep their order from row to row are harder or easier "
        "for everyone: that is why strategies are compared on the same images, and why one split proves little."
    )
    return [_spread(results), figure_block("folds", _folds_alt(results), caption, drawn), _values_by_fold(results)]


def _folds_alt(results: Results) -> str:
    values = results.winner.fold_values(results.primary).values()
    found = f"{results.winner.name} runs from {number(min(values))} to {number(max(values))}" if values else "the winner has none"
    return f"{measure_of(results.primary).name} of single folds for every strategy: {found}"


def _values_by_fold(results: Results) -> str:
    """What the figure shows, in numbers."""
    folds = sorted(results.winner.folds)
    rows = [
        [code(r.name), *(number(r.fold_values(results.primary).get(fold)) for fold in folds), number(r.estimate(results.primary).value)]
        for r in results.candidates
    ]
    return table([measure_of(results.primary).name, *(f"fold {fold}" for fold in folds), "pooled"], rows)


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
        figure_block("confusion", _confusion_alt(results), caption, drawn),
        _per_class(results),
        "These are counts from all folds together, without intervals; for the mean over the classes see the leaderboard.",
        figure_block("curves", _curves_alt(results), _curves_caption(results), drawn),
    ]


def _confusion_alt(results: Results) -> str:
    recalls = {name: figures["recall"] for name, figures in results.winner.pooled["per_class"].items() if figures["recall"] is not None}
    worst = min(recalls, key=lambda name: recalls[name], default="")
    found = f": of class {worst}, the hardest, {number(100 * recalls[worst], 0)} % are found" if recalls else ""
    return f"Confusion matrix of {results.winner.name}{found}"


def _curves_alt(results: Results) -> str:
    names = dict.fromkeys(r.name for r in (results.winner, results.reference, results.from_scratch) if r is not None)
    told = [
        f"{r.name} ROC AUC {number(r.estimate('roc_auc').value)}, PR AUC {number(r.estimate('pr_auc').value)}"
        for r in results.ranked
        if r.name in names
    ]
    return f"ROC and PR curves: {'; '.join(told)}"


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
    told = f"ROC and PR curves over all folds: {what}. {', '.join(_styles(results))}."
    return f"{told} Curves that cross mean that the better one depends on the threshold."


def _styles(results: Results) -> list[str]:
    """Which line is whose, for those who cannot tell the colours."""
    others = [r for r in (results.reference, results.from_scratch) if r is not None and r is not results.winner]
    dashes = {results.reference.name: "dashed the reference"}
    return ["Solid is the winner", *dict.fromkeys(dashes.get(r.name, "dash-dotted random weights") for r in others), "dotted guessing"]


def _training(results: Results, drawn: Collection[str]) -> list[str]:
    if "training" not in drawn:
        return ["No network was trained: every strategy fits a head on frozen features."]
    caption = (
        "Validation AUC by epoch, one line for each fold; the dot is the epoch that was kept, dotted lines part the phases. "
        "Lines that still rise at the end would have liked more epochs."
    )
    return [figure_block("training", _training_alt(results), caption, drawn)]


def _training_alt(results: Results) -> str:
    peaks = {r.name: _peak(r) for r in results.candidates if any(record.history for record in r.records)}
    peaks = {name: peak for name, peak in peaks.items() if not math.isnan(peak)}
    best = max(peaks, key=lambda name: peaks[name], default="")
    found = f": highest is {best}, whose best epochs reach {number(peaks[best])} in the mean of the folds" if peaks else ""
    return f"Validation AUC by epoch{found}"


def _peak(result: Result) -> float:
    """Mean over the folds of the highest validation AUC."""
    tops = [
        max((row["val/auc"] for row in record.history if row.get("val/auc") is not None), default=math.nan) for record in result.records
    ]
    return mean(tops)


def _leaks(results: Results, drawn: Collection[str]) -> list[str]:
    audit = results.leakage
    return [
        listed([literal(sentence) for sentence in audit["words"]]),
        _metadata(results),
        _fold_table(results),
    ]


def _metadata(results: Results) -> str:
    control = next((r for r in results.controls if r.strategy == "metadata"), None)
    if control is None or math.isnan(control.estimate(results.primary).value):
        return ""
    return (
        f"A predictor that sees the place in the file and no pixel reaches a {measure_of(results.primary).name} of "
        f"{estimate_of(control, results.primary)} as a control, against {estimate_of(results.winner, results.primary)} of the winner; "
        "the control chooses its k on validation and trains without it, the audit above fixes k and trains on both, so the two differ."
    )


def _fold_table(results: Results) -> str:
    header = [
        "fold",
        "test images",
        literal(results.units) if results.grouped else "groups",
        *(literal(name) for name in results.classes),
        "validation images",
    ]
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
    start = {"random": "random weights", "linear_probe": "the linear probe of the same fold"}.get(result.start or "", "pretrained weights")
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
    return ", ".join(literal(str(group[key])) for key in ("phase", "length", "schedule") if key in group)


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
