"""Stage gallery: the winner's worst errors, and near duplicates -> data/gallery/gallery.json and small pictures of them.

Beside each error lies a picture of where the best network that can say so finds what speaks for the wrong class. The pictures show images
of the data set, which may not be redistributed: DVC keeps them, git does not. Their files are numbered, since ids are data.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file

from thaw.backbones import Network, backbone_of
from thaw.errors import InputError
from thaw.explain import class_activation, enlarged
from thaw.files import read_json, write_json, write_with
from thaw.gallery import SIDE, Mistake, as_seen, mistakes, overlaid, png, ranked, whole, worst
from thaw.index import labels_of, read_index
from thaw.params import Backbone, read_params
from thaw.runs import Identity, Record, read_predictions, read_record
from thaw.splits import NOWHERE, TEST, read_splits
from thaw.stage_names import stage_of
from thaw.startup import run_stage
from thaw.views import Recipe, evaluation_view, normalise

GALLERY = Path("data/gallery")
ON_ENCODER = ("linear_probe", "ridge", "nearest_centroid")
"""Heads that, put on the encoder, make a network: linear in what it gives."""
BATCH = 8  # images explained at once: every layer's activations are held for the gradient


@dataclass(frozen=True)
class Data:
    """What the errors are errors on, row by row."""

    index: pd.DataFrame
    fold: list[int]  # where each image is tested, the first where domains are left out; NOWHERE where the data come with a split
    images: UInt8[np.ndarray, "N H W C"]  # mapped
    classes: list[str]

    def of(self, chosen: Iterable[Mistake]) -> UInt8[np.ndarray, "n H W C"]:
        return self.images[[mistake.row for mistake in chosen]]


def main() -> None:
    params = read_params()
    metrics = read_json(existing("reports/metrics.json", "evaluate"))
    leakage = read_json(existing("reports/leakage.json", "audit"))
    data = read_data(metrics["classes"], params.split.folds)
    winner = "{backbone}/{strategy}".format(**metrics["winner"])
    folds = dict(zip(params.split.folds, metrics["pooled"][winner]["thresholds"] or [None] * len(params.split.folds), strict=True))
    found = [mistake for fold, threshold in folds.items() for mistake in mistakes_of(identity(winner, fold), data, threshold)]
    errors = worst(found, params.report.gallery, len(data.classes))

    record = first_network([winner, *ranked(metrics["pooled"], metrics["primary"])], params.split.folds[0])
    heats = explained(errors, record, params.backbones[record.backbone], data) if record and errors else None

    shutil.rmtree(GALLERY, ignore_errors=True)
    recipe = recipe_of(record or read_run(identity(winner, params.split.folds[0])))
    gallery = {
        "winner": winner,
        "explained": name_of(record) if record and heats else None,
        "method": "Grad-CAM" if heats else None,
        "note": note(winner, record, len(errors), heats is not None),
        "errors": write_errors(errors, heats, recipe, data),
        "duplicates": write_duplicates(leakage.get("near_duplicates", {}).get("listed", []), data),
    }
    write_json(GALLERY / "gallery.json", gallery)


# ---- what is read


def existing(path: str | Path, stage: str) -> Path:
    """The path. Raises `InputError` where there is no such file, naming the stage that makes it."""
    if not Path(path).exists():
        raise InputError(f"{Path(path).as_posix()}: is missing; run `dvc repro {stage}`")
    return Path(path)


def read_data(classes: list[str], folds: list[int]) -> Data:
    index = read_index(existing("data/index.csv", "fetch"))
    splits = read_splits(existing("data/splits.csv", "split"))
    images = np.load(existing("data/images.npy", "prepare"), mmap_mode="r")
    tested = (splits[[f"role_{fold}" for fold in folds]] == TEST).to_numpy()
    fold = np.where(tested.any(axis=1), np.array(folds)[tested.argmax(axis=1)], NOWHERE)
    return Data(index, fold.tolist(), images, classes)


def identity(name: str, fold: int) -> Identity:
    """From a name in metrics.json, ``backbone/strategy``."""
    backbone, strategy = name.split("/")
    return Identity(backbone, strategy, fold)


def name_of(record: Record) -> str:
    return f"{record.backbone}/{record.strategy}"


def read_run(run: Identity) -> Record:
    return read_record(existing(run.folder() / "record.json", stage_of(run)).parent)


def recipe_of(record: Record) -> Recipe:
    """The preprocessing that the record says; JSON has no tuples."""
    said: dict[str, Any] = record.preprocessing | {name: tuple(record.preprocessing[name]) for name in ("mean", "std")}
    return Recipe(**said)


def mistakes_of(run: Identity, data: Data, threshold: float | None) -> list[Mistake]:
    """Raises `InputError` where the run was made on other images."""
    file = existing(run.folder() / "predictions.npz", stage_of(run))
    predictions = read_predictions(file.parent)
    test = predictions.split == TEST
    rows = pd.Index(data.index["id"]).get_indexer(pd.Index(predictions.id[test]))
    if (rows < 0).any():
        raise InputError(f"{file.as_posix()}: has images that data/index.csv does not list; run `dvc repro -f {stage_of(run)}`")
    labels = labels_of(data.index, data.classes)
    return mistakes(run.fold, rows, predictions.logits[test], labels, data.index["group"].tolist(), threshold)


# ---- what is explained


def first_network(names: Iterable[str], fold: int) -> Record | None:
    """Record of the first strategy that is a network with a linear head on the encoder's output, and no control; None where none is."""
    records = (read_run(identity(name, fold)) for name in names)
    return next((r for r in records if not r.control and (r.kind == "finetune" or r.strategy in ON_ENCODER)), None)


def explained(errors: list[Mistake], record: Record, settings: Backbone, data: Data) -> list[Float[np.ndarray, "side side"]] | None:
    """For each error where the network of its fold finds what speaks for the class that was predicted, from 0 to 1; None without maps."""
    backbone = backbone_of(settings)
    network = Network(backbone.encoder, backbone.dim, len(data.classes))
    recipe, heats = recipe_of(record), dict[Mistake, np.ndarray]()
    for fold in sorted({mistake.fold for mistake in errors}):
        load_fold(network, record, fold)
        here = [mistake for mistake in errors if mistake.fold == fold]
        for batch in (here[start : start + BATCH] for start in range(0, len(here), BATCH)):
            pixels = normalise(evaluation_view(data.of(batch), recipe), recipe)
            activation = class_activation(network, pixels, torch.tensor([mistake.predicted for mistake in batch]))
            if activation is None:
                return None
            heats |= zip(batch, enlarged(activation, SIDE).numpy(), strict=True)
    return [heats[mistake] for mistake in errors]


def load_fold(network: Network, record: Record, fold: int) -> None:
    """Put one fold's tensors into the network: all of a fine-tuned one, or the head on the encoder as it is."""
    run = replace(record.identity, fold=fold)
    if record.kind == "finetune":
        network.load_state_dict(load_file(existing(run.folder() / "model.safetensors", stage_of(run))))
    else:
        network.head.load_state_dict(load_file(existing(run.folder() / "head.safetensors", stage_of(run))))


def note(winner: str, record: Record | None, errors: int, mapped: bool) -> str:
    """One sentence on what the maps are, or why there are none."""
    if not errors:
        return "There are no errors to show."
    if record is None:
        return "No strategy here is a network with a linear head, so there are no maps."
    if not mapped:
        return f"The encoder of {record.backbone} has no output with places, so there are no maps."
    none = "a picture without any is one where it finds nothing"
    if name_of(record) == winner:
        return f"The bright places are where {winner} finds what speaks for the class that it predicted; {none}."
    return (
        f"{winner} has no such map, so the bright places are where {name_of(record)}, the best strategy that has one, "
        f"finds what speaks for the class that {winner} predicted; {none}."
    )


# ---- what is written


def write_errors(
    errors: list[Mistake], heats: list[Float[np.ndarray, "side side"]] | None, recipe: Recipe, data: Data
) -> list[dict[str, Any]]:
    """Pictures of the errors, and their rows of gallery.json."""
    pictures = as_seen(data.of(errors), recipe) if errors else []
    rows = []
    for number, (mistake, picture) in enumerate(zip(errors, pictures, strict=True)):
        rows.append(
            {
                "id": data.index["id"][mistake.row],
                "true": data.classes[mistake.true],
                "predicted": data.classes[mistake.predicted],
                "probability": round(mistake.probability, 6),
                "fold": mistake.fold,
                "group": mistake.group,
                "image": write_png(f"errors/{number:03d}.png", picture),
                "cam": write_png(f"errors/{number:03d}-cam.png", overlaid(picture, heats[number])) if heats else None,
            }
        )
    return rows


def write_duplicates(listed: list[dict[str, Any]], data: Data) -> list[dict[str, Any]]:
    """Pictures of the pairs that the audit lists, and their rows of gallery.json. Raises `InputError` for an image that is not there."""
    row_of = {name: row for row, name in enumerate(data.index["id"])}
    rows = []
    for number, pair in enumerate(listed):
        row = {measure: pair[measure] for measure in ("hash_distance", "cosine")}
        for side in ("a", "b"):
            if pair[side] not in row_of:
                raise InputError(f"reports/leakage.json: data/index.csv has no image {pair[side]!r}; run `dvc repro -f audit`")
            place = row_of[pair[side]]
            row |= {side: pair[side], f"label_{side}": data.index["label"][place], f"fold_{side}": data.fold[place]}
            row |= {f"image_{side}": write_png(f"duplicates/{number:03d}-{side}.png", whole(data.images[place]))}
        rows.append(row)
    return rows


def write_png(name: str, picture: UInt8[np.ndarray, "S S 3"]) -> str:
    """``name``, below data/gallery, which it is written to."""
    write_with(GALLERY / name, lambda path: path.write_bytes(png(picture)))
    return name


if __name__ == "__main__":
    run_stage(main)
