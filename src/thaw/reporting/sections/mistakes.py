"""Where the best goes wrong: confusion, classes, curves, and the errors themselves."""

from collections.abc import Sequence

from markupsafe import Markup

from thaw.measures import number
from thaw.reporting.blocks import Block, Folded, OnPage, Table, figure
from thaw.reporting.findings import Gallery
from thaw.reporting.gallery import error_pictures
from thaw.reporting.results import Result, Results
from thaw.reporting.tables import code, literal
from thaw.reporting.wording import counted

PAIRS = 3  # of classes


def where_the_best_goes_wrong(results: Results, drawn: Sequence[str]) -> list[Block]:
    caption = (
        f"Confusion matrix of {code(results.winner.name)}: how many images of each true class (row) were called what (column), "
        "and their share of the row."
    )
    return [
        _thresholds(results.winner),
        *figure(drawn, "confusion", _confusion_alt(results), caption),
        _confused(results),
        _per_class(results),
        "These are counts from all folds together, without intervals; for the mean over the classes see the leaderboard.",
        *figure(drawn, "curves", _curves_alt(results), _curves_caption(results)),
        *_worst(results),
    ]


def _thresholds(winner: Result) -> str:
    limits = winner.pooled.get("thresholds")
    if not limits:
        return "An image is called by its most probable class."
    told = ", ".join(number(x) for x in limits)
    return f"The probability from which an image is called positive was chosen on the validation part of each fold: {told}."


def _confusion_alt(results: Results) -> str:
    recalls = {name: figures["recall"] for name, figures in results.winner.pooled["per_class"].items() if figures["recall"] is not None}
    worst = min(recalls, key=lambda name: recalls[name], default="")
    found = f": of class {worst}, the hardest, {number(100 * recalls[worst], 0)} % are found" if recalls else ""
    return f"Confusion matrix of {results.winner.name}{found}"


def _confused(results: Results) -> str:
    """The pairs of classes that are taken for each other most often, where there are more than two."""
    counts = results.winner.pooled["confusion"]
    if len(results.classes) == 2:
        return ""
    pairs = sorted((-counts[i][j], i, j) for i in range(len(counts)) for j in range(len(counts)) if i != j and counts[i][j])[:PAIRS]
    told = [
        f"“{literal(results.classes[i])}” for “{literal(results.classes[j])}” ({counted(-count, 'image')} of {sum(counts[i]):,})"
        for count, i, j in pairs
    ]
    return f"Most often it takes {', '.join(told)}." if told else "It takes no image for one of another class."


def _per_class(results: Results) -> Table:
    figures = results.winner.pooled["per_class"]
    rows = [
        [literal(name), *(number(figures[name][key]) for key in ("precision", "recall", "f1")), f"{figures[name]['support']:,}"]
        for name in results.classes
    ]
    return Table(["class", "precision", "recall", "F1", "images"], rows)


def _curves_alt(results: Results) -> str:
    names = dict.fromkeys(r.name for r in (results.winner, results.reference, results.from_scratch) if r is not None)
    told = [
        f"{r.name} ROC AUC {number(r.estimate('roc_auc').value)}, PR AUC {number(r.estimate('pr_auc').value)}"
        for r in results.ranked
        if r.name in names
    ]
    return f"ROC and PR curves: {'; '.join(told)}"


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


def _worst(results: Results) -> list[Block]:
    """The errors that the model was surest of: with pictures on the page, by name in the text, which holds no image of the data."""
    gallery = results.findings.gallery
    if gallery is None or not gallery.errors:
        return (
            ["`dvc repro gallery` collects the errors that the winner was surest of; there are none here yet."] if gallery is None else []
        )
    shown = counted(len(gallery.errors), "error")
    of = code(gallery.winner) if gallery.winner else "the winner"
    return [
        f"### The {shown} that {of} was surest of",
        literal(gallery.note),
        *error_pictures(gallery),
        OnPage(Markup(""), [Folded("The errors by name; the page has their pictures", [_by_name(results, gallery)])]),
    ]


def _by_name(results: Results, gallery: Gallery) -> Table:
    groups = [literal(results.group_name)] if results.grouped else []
    rows = [
        [
            *(literal(text) for text in (e.id, e.true, e.predicted)),
            *([literal(e.group)] if results.grouped else []),
            number(e.probability),
            str(e.fold),
        ]
        for e in gallery.errors
    ]
    return Table(["image", "true", "predicted", *groups, "probability", "fold"], rows, texts=3 + len(groups))
