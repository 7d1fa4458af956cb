"""Stage evaluate: every run's predictions and the test labels -> reports/{metrics.json,leaderboard.csv,contrasts.csv,curves.csv}.

The only stage that sees test labels. It reads the runs that params.yaml asks for, never what happens to lie in runs/.
"""

import sys
from collections.abc import Collection
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from jaxtyping import Int

from thaw import leaderboard
from thaw.errors import InputError, exit_with_one_line
from thaw.files import write_json, write_with
from thaw.index import Dataset, labels_of, read_dataset, read_index
from thaw.leaderboard import Candidate, FoldPredictions, Images
from thaw.metrics import Criterion
from thaw.params import CONTROLS, HEADS, read_params
from thaw.runs import RUNS, Identity, Predictions, read_predictions
from thaw.splits import TEST, VAL, read_splits, rows_of

INDEX = Path("data/index.csv")
DATASET = Path("data/dataset.json")
SPLITS = Path("data/splits.csv")
REPORTS = Path("reports")


def main() -> None:
    params = read_params()
    dataset, index, splits = read_dataset(DATASET), read_index(INDEX), read_splits(SPLITS)
    check_splits(splits, index, params.split.folds)
    images = images_of(index, splits, dataset)
    asked = params.runs()
    warn_of_stale_folders({Identity(*run).folder() for run in asked})
    pairs = list(dict.fromkeys((backbone, strategy) for backbone, strategy, _ in asked))
    candidates = [
        read_candidate(backbone, strategy, params.split.folds, images, splits, params.evaluate.threshold) for backbone, strategy in pairs
    ]
    settings = params.evaluate
    scored = leaderboard.score(candidates, images, settings.bootstrap, settings.seed)
    reference = next(e for e in scored if e.candidate.name == f"{settings.reference_backbone}/{settings.reference}")
    ranked = leaderboard.rank(scored, settings.primary)
    contrasts = leaderboard.contrasts(ranked, reference, settings.confidence)
    write_table(leaderboard.leaderboard(ranked, images, settings.confidence), REPORTS / "leaderboard.csv")
    write_table(contrasts, REPORTS / "contrasts.csv")
    write_table(leaderboard.curves(ranked, images), REPORTS / "curves.csv")
    about = describe(dataset, images, settings.primary, settings.confidence)
    figures = leaderboard.figures_by_candidate(ranked, images)
    write_json(REPORTS / "metrics.json", about | leaderboard.podium(ranked, reference) | figures)
    for remark in leaderboard.remarks(ranked, contrasts, settings.bootstrap, settings.confidence):
        print(f"thaw: {remark}", file=sys.stderr)


def images_of(index: pd.DataFrame, splits: pd.DataFrame, dataset: Dataset) -> Images:
    """Raises `InputError` where all labels are the same: there is nothing to tell apart."""
    labels = labels_of(index, dataset.classes)
    if len(np.unique(labels)) < 2:
        raise InputError(f"{INDEX}: all images are of one class, {index['label'][0]!r}; check data.source and its labels")
    confidence = index["weight"].to_numpy(dtype=np.float64) if dataset.weighted else None
    return Images(labels, splits["fold"].to_numpy(dtype=np.int64), index["group"].tolist(), confidence, dataset.classes)


def check_splits(splits: pd.DataFrame, index: pd.DataFrame, folds: list[int]) -> None:
    """Raises `InputError` unless the rows are those of the index, each tested once: in its fold."""
    mend = "run `dvc repro -f split`"
    columns = [f"role_{fold}" for fold in folds]
    if missing := [c for c in ["id", "fold", *columns] if c not in splits]:
        raise InputError(f"{SPLITS}: has no column {missing[0]!r}; {mend}")
    if splits["id"].tolist() != index["id"].tolist():
        raise InputError(f"{SPLITS}: does not list the images of {INDEX} in their order; {mend}")
    tested = (splits[columns] == TEST).to_numpy()
    wrong = (tested != (splits["fold"].to_numpy()[:, None] == np.array(folds))).any(axis=1) | (tested.sum(axis=1) != 1)
    if wrong.any():
        name = splits["id"][int(np.argmax(wrong))]
        raise InputError(f"{SPLITS}: image {name!r} is not tested exactly once, in its own fold; {mend}")


def read_candidate(backbone: str, strategy: str, folds: list[int], images: Images, splits: pd.DataFrame, criterion: Criterion) -> Candidate:
    runs = [read_fold(Identity(backbone, strategy, fold), splits, len(images.classes)) for fold in folds]
    probabilities, predicted, thresholds = leaderboard.pool(runs, images, criterion)
    return Candidate(backbone, strategy, kind_of(strategy), strategy in CONTROLS, probabilities, predicted, thresholds)


def kind_of(strategy: str) -> str:
    return "head" if strategy in (*HEADS, *CONTROLS) else "finetune"


def read_fold(run: Identity, splits: pd.DataFrame, classes: int) -> FoldPredictions:
    """One run's logits by row of the index. Raises `InputError` where they are not those of the split's validation and test images."""
    file, mend = run.folder() / "predictions.npz", f"run `dvc repro -f {stage_of(run)}`"
    try:
        predictions = read_predictions(run.folder())
    except FileNotFoundError:
        raise InputError(f"{file}: is missing; {mend}") from None
    except (BadZipFile, EOFError, KeyError, OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({' '.join(str(error).split())}); {mend}") from None
    if predictions.logits.ndim != 2 or predictions.logits.shape[1] != classes or not np.isfinite(predictions.logits).all():
        raise InputError(f"{file}: logits are not finite numbers of shape (images, {classes}), got {predictions.logits.shape}; {mend}")
    val, test = (_places(predictions, splits, run.fold, role, file, mend) for role in (VAL, TEST))
    val_rows, test_rows = (rows_of(splits, run.fold, role) for role in (VAL, TEST))
    return FoldPredictions(val_rows, predictions.logits[val], test_rows, predictions.logits[test])


def _places(predictions: Predictions, splits: pd.DataFrame, fold: int, role: str, file: Path, mend: str) -> Int[np.ndarray, " n"]:
    """Where in the predictions the images of a role stand, in the order of the split."""
    mine = np.flatnonzero(predictions.split == role)
    wanted = splits["id"].iloc[rows_of(splits, fold, role)].to_numpy(dtype=str)
    found = predictions.id[mine]
    if len(found) != len(wanted) or not np.array_equal(np.sort(found), np.sort(wanted)):
        odd = sorted(set(found.tolist()) ^ set(wanted.tolist()))
        example = f", for example {odd[0]!r}" if odd else ", some stand twice"
        raise InputError(f"{file}: {role} images are not those of {SPLITS} in fold {fold}{example}; {mend}")
    return mine[np.argsort(found)[np.argsort(np.argsort(wanted))]]


def stage_of(run: Identity) -> str:
    """The DVC stage that makes a run."""
    return f"heads@{run.backbone}" if kind_of(run.strategy) == "head" else f"finetune@{run.backbone}-{run.strategy}-{run.fold}"


def warn_of_stale_folders(asked: Collection[Path]) -> None:
    """Runs of params that are no longer stay on disk; say so, so that nobody takes them for part of the answer."""
    stale = sorted(path for path in RUNS.glob("*/*/*") if path.is_dir() and path not in asked)
    if stale:
        others = f" and {len(stale) - 1} more" if len(stale) > 1 else ""
        first = stale[0].as_posix()
        print(f"thaw: {first}{others}: not asked for by params.yaml, so not read; remove with `rm -r {first}`", file=sys.stderr)


def describe(dataset: Dataset, images: Images, primary: str, confidence: float) -> dict[str, object]:
    """The part of metrics.json that says what was compared."""
    return {
        "dataset": dataset.name,
        "classes": dataset.classes,
        "n": len(images.labels),
        "groups": len(set(images.groups)),
        "grouped": dataset.grouped,
        "group_name": dataset.group_name,
        "primary": primary,
        "confidence": confidence,
    }


def write_table(table: pd.DataFrame, path: Path) -> None:
    write_with(path, lambda p: table.to_csv(p, index=False, lineterminator="\n", float_format="%.10g"))


if __name__ == "__main__":
    exit_with_one_line(main)
