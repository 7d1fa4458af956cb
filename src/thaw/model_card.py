"""MODEL_CARD.md: what the model is, how it was made, what is known of it and what is not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from thaw.deployed import About
from thaw.index import Dataset
from thaw.measures import MEASURES, number
from thaw.packaged import PACKAGED
from thaw.runs import Record

SHOWN = ("roc_auc", "pr_auc", "balanced_accuracy", "f1_macro", "log_loss", "ece")
"""Figures of the evidence, beside the primary one."""


@dataclass(frozen=True)
class Evidence:
    """What the comparison says of the strategy: the reports' tables."""

    leaderboard: pd.DataFrame
    contrasts: pd.DataFrame
    leakage: Mapping[str, Any]
    primary: str
    confidence: float


@dataclass(frozen=True)
class Refit:
    """How the model was made from the data."""

    reason: str  # why this strategy
    images: int
    validation: int  # of them, kept from training
    grouped: bool  # validation in whole groups
    checked: int  # images of the parity check
    tolerance: float  # see `thaw.export.check_parity`


def card(about: About, record: Record, dataset: Dataset, refit: Refit, evidence: Evidence) -> str:
    """Markdown. A function of its arguments: no date, no place."""
    parts = [
        f"# {about.dataset}: {about.backbone}/{about.strategy}",
        what_it_is(about),
        "## How it was trained",
        how(about, record, dataset, refit),
        "## Evidence",
        evidence_of(about, evidence),
        "## Leaks",
        leaks(evidence.leakage),
        "## Use",
        use(about, refit),
        "## Licences",
        licences(about, dataset),
        "## Limits",
        limits(about, refit),
    ]
    return "\n\n".join(parts) + "\n"


def what_it_is(about: About) -> str:
    reads = f"{about.columns} pooled features of all blocks" if about.blocks else "the encoder's output"
    size = about.preprocessing["image_size"]
    return (
        f"A classifier of images into {len(about.classes)} classes ({', '.join(f'`{name}`' for name in about.classes)}): the encoder "
        f"`{about.weights}` at {size} px with a linear head on {reads}. Made by thaw, record `{about.record_id}`."
    )


def how(about: About, record: Record, dataset: Dataset, refit: Refit) -> str:
    whole = f"whole groups ({dataset.group_name})" if refit.grouped and dataset.grouped else "images by class"
    figures = {name.removeprefix("best_val_"): value for name, value in record.metrics.items()}
    said = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items())
    train = refit.images - refit.validation
    return "\n".join(
        [
            f"- Strategy: `{about.strategy}` on `{about.backbone}`: {refit.reason}.",
            f"- Data: {refit.images:,} images of {about.dataset}, of every role that they had in the folds. {train:,} were trained on; "
            f"the other {refit.validation:,}, {whole}, chose the epoch or the strength of regularisation, "
            f"{'the temperature and the threshold' if about.threshold is not None else 'and the temperature'}.",
            f"- On these {refit.validation:,}: {said}. They chose the model, so this is no evidence of how good it is.",
            "- Temperature and threshold are this network's own; medians over the folds would belong to networks of other logits.",
            f"- {record.trainable_parameters:,} parameters were trained. Settings, seeds and versions: record.json.",
        ]
    )


def evidence_of(about: About, evidence: Evidence) -> str:
    """The table with intervals, and the sentences of the comparisons on the primary figure."""
    own = evidence.leaderboard[(evidence.leaderboard["backbone"] == about.backbone) & (evidence.leaderboard["strategy"] == about.strategy)]
    metrics = [name for name in dict.fromkeys((evidence.primary, *SHOWN)) if name in set(own["metric"])]
    rows = own.set_index("metric").loc[metrics]
    level = f"{100 * evidence.confidence:g} %"
    lines = [
        "This very network has seen every image that there is, so it cannot be tested on them. What was tested is the recipe: networks "
        f"of the same strategy, one for each fold ({', '.join(f'`{name}`' for name in about.runs)}), on images that they had not seen.",
        "",
        f"| figure | value | {level} interval | images | groups |",
        "|---|---|---|---|---|",
    ]
    for metric, row in zip(metrics, rows.to_dict("records"), strict=True):
        lo, hi = number(row["lo"]), number(row["hi"])
        lines.append(f"| {MEASURES[metric].name} | {number(row['value'])} | {lo} to {hi} | {row['n']} | {row['groups']} |")
    sentences = _sentences(about, evidence)
    return "\n".join([*lines, *(["", *(f"- {sentence}." for sentence in sentences)] if sentences else [])])


def _sentences(about: About, evidence: Evidence) -> list[str]:
    table = evidence.contrasts
    own = table[(table["backbone"] == about.backbone) & (table["strategy"] == about.strategy) & (table["metric"] == evidence.primary)]
    return own["sentence"].tolist()


def leaks(leakage: Mapping[str, Any]) -> str:
    verdict = leakage["verdict"]
    return "\n".join(
        [f"The audit's verdict: **{verdict['level']}**.", "", *(f"- {sentence}" for sentence in verdict["sentences"])]
    ).rstrip()


def use(about: About, refit: Refit) -> str:
    recipe, square = about.preprocessing, f"{about.stored_side} x {about.stored_side} px, {'gray' if about.channels == 1 else 'RGB'}"
    resize = about.recipe.resize
    decision = (
        f"`{about.classes[1]}` where its probability is at least {about.threshold:.4f}, else `{about.classes[0]}`"
        if about.threshold is not None
        else "the likeliest class"
    )
    return "\n".join(
        [
            "- `thaw predict FOLDER --csv predictions.csv` reads image files and does all of this.",
            f"- Images: decoded to {square} (shorter side resized, centre cropped), resized to {resize} px "
            f"({recipe['interpolation']}, antialiased), centre {recipe['image_size']} px.",
            f"- `model.onnx` takes these as uint8 `pixels` (N, {about.channels}, {recipe['image_size']}, {recipe['image_size']}), "
            f"normalises them itself, and gives `logits` and `probabilities` at temperature {about.temperature:.4f}. On {refit.checked} "
            f"images its logits and PyTorch's were within {refit.tolerance:g} of each other, relative to the largest.",
            f"- Prediction: {decision}.",
        ]
    )


def licences(about: About, dataset: Dataset) -> str:
    notes = [f"- Data: {note}" for note in dataset.notes] or ["- Data: no licence is known to thaw; ask where the images come from."]
    return "\n".join([*notes, f"- Weights: {weights_licence(about)}"])


def weights_licence(about: About) -> str:
    """What timm's registry says of them, which is all that is known here."""
    import timm

    weights = about.weights
    plain = weights.removesuffix(":random")
    if about.weights_sha256 == "random":
        return f"`{weights}` starts from random numbers, which nobody owns."
    name = PACKAGED[plain].timm_name if plain in PACKAGED else plain.removeprefix("timm/")
    registered = timm.get_pretrained_cfg(name) if plain in PACKAGED or plain.startswith("timm/") else None
    licence = registered.to_dict().get("license") if registered is not None else None
    if licence:
        return f"`{weights}` ({name}): {licence}, as timm's registry says; images that they were pretrained on have terms of their own."
    return f"`{weights}`: no licence is known to thaw; ask where the weights come from."


def limits(about: About, refit: Refit) -> str:
    said = [
        f"It knows {len(about.classes)} classes and answers with one of them whatever the picture shows.",
        "The evidence is about images like those of the data set. Other cameras, places or times were not tested unless the data set's "
        "groups or domains hold them.",
        f"Temperature{' and threshold' if about.threshold is not None else ''} rest on {refit.validation:,} images that also chose the "
        "model: probabilities may be a little too sure. Choose a threshold of your own where mistakes cost differently.",
        "Pretraining leaves its mark: what the encoder learnt from its own images, biases included, is still in it.",
    ]
    if about.weights_sha256 == "random":
        said.pop()
    return "\n".join(f"- {sentence}" for sentence in said)
