"""What is measured: samples, each an image and the fold whose model is tested on it, and what the models said of them.

Where every image is tested once, the samples are the images in the order of the index. Where folds leave domains out, an image may be
tested by several models, and images of the domain that a model was trained on are held out beside them (the role "inside"). Where the data
come with a split, only the images of its test part are samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64, Int

from thaw.errors import InputError
from thaw.index import Dataset, labels_of, read_dataset, read_index
from thaw.runs import Predictions, read_predictions
from thaw.splits import INSIDE, NOWHERE, TEST, TRAIN, VAL, read_splits, rows_of

INDEX = Path("data/index.csv")
DATASET = Path("data/dataset.json")
SPLITS = Path("data/splits.csv")


@dataclass(frozen=True)
class Design:
    """All N images with their labels, and the role of each in every fold."""

    dataset: Dataset
    index: pd.DataFrame
    splits: pd.DataFrame
    labels: Int[np.ndarray, " N"]
    folds: list[int]


@dataclass(frozen=True)
class Images:
    """S samples, by row of the index and then by fold."""

    row: Int[np.ndarray, " S"]  # of the index
    fold: Int[np.ndarray, " S"]  # whose model is measured
    labels: Int[np.ndarray, " S"]
    groups: list[str]
    domains: list[str]
    confidence: Float64[np.ndarray, " S"] | None  # in the label; None where all are equally sure
    classes: list[str]


@dataclass(frozen=True)
class FoldPredictions:
    """What the model of one fold said of its validation images, and of the images that it is measured on."""

    fold: int
    val_labels: Int[np.ndarray, " V"]
    val_logits: Float[np.ndarray, "V K"]
    rows: Int[np.ndarray, " R"]  # of the index
    logits: Float[np.ndarray, "R K"]


def read_design(folds: list[int]) -> Design:
    """Index, data set and split. Raises `InputError` where they do not fit together, or hold one class only: nothing to tell apart."""
    dataset, index, splits = read_dataset(DATASET), read_index(INDEX), read_splits(SPLITS)
    check_splits(splits, index, folds)
    labels = labels_of(index, dataset.classes)
    if len(np.unique(labels)) < 2:
        raise InputError(f"{INDEX}: all images are of one class, {index['label'][0]!r}; check data.source and its labels")
    return Design(dataset, index, splits, labels, folds)


def check_splits(splits: pd.DataFrame, index: pd.DataFrame, folds: list[int]) -> None:
    """Raises `InputError` unless the rows are those of the index, each tested once, in its fold.

    Where domains are left out, each must be tested equally often, at least once. Where the data come with a split, which is one fold, some
    must be tested, and none that was given to train on.
    """
    mend = "run `dvc repro -f split`"
    columns = [f"role_{fold}" for fold in folds]
    if missing := [c for c in ["id", "fold", *columns] if c not in splits]:
        raise InputError(f"{SPLITS}: has no column {missing[0]!r}; {mend}")
    if splits["id"].tolist() != index["id"].tolist():
        raise InputError(f"{SPLITS}: does not list the images of {INDEX} in their order; {mend}")
    tested = (splits[columns] == TEST).to_numpy()
    if (splits[columns] == INSIDE).to_numpy().any():
        times = tested.sum(axis=1)
        wrong, expected = times != max(1, times[0]), f"{max(1, times[0])} times, as often as the first image"
    elif len(folds) == 1:
        tests = tested[:, 0]
        wrong, expected = tests != (splits["fold"] != NOWHERE).to_numpy(), "where its fold says so"
        if not tests.any():
            raise InputError(f"{SPLITS}: tests no image; {mend}")
        if (learnt := tests & (index["split"] == TRAIN).to_numpy()).any():
            raise InputError(f"{SPLITS}: tests image {splits['id'][int(np.argmax(learnt))]!r}, which was given to train on; {mend}")
    else:
        wrong = (tested != (splits["fold"].to_numpy()[:, None] == np.array(folds))).any(axis=1) | (tested.sum(axis=1) != 1)
        expected = "exactly once, in its own fold"
    if wrong.any():
        name = splits["id"][int(np.argmax(wrong))]
        raise InputError(f"{SPLITS}: image {name!r} is not tested {expected}; {mend}")


def samples(design: Design, roles: Sequence[str] = (TEST,)) -> Images:
    """The images that have one of the ``roles`` in a fold, with that fold."""
    wanted = design.splits[[f"role_{fold}" for fold in design.folds]].isin(list(roles)).to_numpy()
    row, column = np.nonzero(wanted)
    index = design.index.iloc[row]
    return Images(
        row=row,
        fold=np.array(design.folds)[column],
        labels=design.labels[row],
        groups=index["group"].tolist(),
        domains=index["domain"].tolist(),
        confidence=index["weight"].to_numpy(dtype=np.float64) if design.dataset.weighted else None,
        classes=design.dataset.classes,
    )


def read_fold(
    design: Design, folder: Path, fold: int, mend: str, roles: Sequence[str] = (TEST,), whole_validation: bool = True
) -> FoldPredictions:
    """A run's logits by row of the index, of its validation images and of those that have one of the ``roles``.

    Raises `InputError` where they are not those of the split's images; ``mend`` says what to do then. ``whole_validation``: all of
    the fold's validation images; if not, as where labels are few, those that the run kept of them.
    """
    predictions = _read(folder, len(design.dataset.classes), mend)
    splits, file = design.splits, folder / "predictions.npz"
    val = rows_of(splits, fold, VAL)
    if not whole_validation:
        val = val[np.isin(_ids(splits, val), predictions.id[predictions.split == VAL])]
    rows = {role: val if role == VAL else rows_of(splits, fold, role) for role in (VAL, *roles)}
    places = {role: _places(predictions, _ids(splits, rows[role]), role, f"{file}: {role} images", fold, mend) for role in rows}
    return FoldPredictions(
        fold=fold,
        val_labels=design.labels[val],
        val_logits=predictions.logits[places[VAL]],
        rows=np.concatenate([rows[role] for role in roles]),
        logits=predictions.logits[np.concatenate([places[role] for role in roles])],
    )


def _read(folder: Path, classes: int, mend: str) -> Predictions:
    file = folder / "predictions.npz"
    try:
        predictions = read_predictions(folder)
    except FileNotFoundError:
        raise InputError(f"{file}: is missing; {mend}") from None
    except (BadZipFile, EOFError, KeyError, OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({' '.join(str(error).split())}); {mend}") from None
    if predictions.logits.ndim != 2 or predictions.logits.shape[1] != classes or not np.isfinite(predictions.logits).all():
        raise InputError(f"{file}: logits are not finite numbers of shape (images, {classes}), got {predictions.logits.shape}; {mend}")
    return predictions


def _ids(splits: pd.DataFrame, rows: Int[np.ndarray, " n"]) -> np.ndarray:
    return splits["id"].iloc[rows].to_numpy(dtype=str)


def _places(predictions: Predictions, wanted: np.ndarray, role: str, whose: str, fold: int, mend: str) -> Int[np.ndarray, " n"]:
    """Where in the predictions the ``wanted`` images of a role stand, in their order."""
    mine = np.flatnonzero(predictions.split == role)
    found = predictions.id[mine]
    if len(found) != len(wanted) or not np.array_equal(np.sort(found), np.sort(wanted)):
        odd = sorted(set(found.tolist()) ^ set(wanted.tolist()))
        example = f", for example {odd[0]!r}" if odd else ", some stand twice"
        raise InputError(f"{whose} are not those of {SPLITS} in fold {fold}{example}; {mend}")
    return mine[np.argsort(found)[np.argsort(np.argsort(wanted))]]
