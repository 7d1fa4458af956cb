"""Logistic heads: folds x shares of the labels x strengths, by thaw's path and by a plain loop of scikit-learn's; and are they optimal?

    python -m bench.heads            # in a project where `dvc repro heads@lite0` has run; a few minutes

Writes the section `heads` of reports/bench.json.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from bench.processes import python_module
from bench.results import Row, Section, at_least, at_most, interleaved, ratio, write_section
from thaw.files import read_json
from thaw.fractions import Fraction
from thaw.head_runs import Prepared, prepare
from thaw.heads import Head, Part, fit_logistic, score, standardisation
from thaw.params import Params, read_params

BACKBONE = "lite0"
THAW, LOOP, STAGE, FITS = "thaw's path", "scikit-learn's loop", f"stage heads@{BACKBONE}", f"fits of heads@{BACKBONE}"
THAW_ONE, LOOP_ONE = (f"{name}, one BLAS thread" for name in (THAW, LOOP))
CLOSE = 1e-4
"""How far, relatively, an objective may lie from the optimum's."""
ABOUT = (
    "The grid of logistic heads on frozen features: every fold, share of the labels and C. thaw fits the strengths of a fold as one "
    "path; the loop standardises, fits scikit-learn's LogisticRegression anew for each C (its defaults, but for C, max_iter and the "
    "tolerance that is named) and keeps the best on validation, as thaw does. Objectives, w.w / 2 + C x the sum of log losses, are "
    "compared with those of a reference that is converged as far as floats go, every strength fitted alone. The stage runs in a "
    "process of its own, with every head and control; its fits are the seconds that it writes into costs. With BLAS's threads as they "
    "come, numpy's and scipy's idle threads wait on the cores that the other's need, which the loop pays for at each fit; with one "
    "thread each it is free of that."
)


@dataclass(frozen=True)
class Task:
    """One fold on one share of its labels."""

    name: str
    train: Part
    val: Part


@dataclass(frozen=True)
class Grid:
    tasks: list[Task]
    strengths: list[float]
    metric: str
    n_classes: int
    tol: float  # scikit-learn's, in the loop


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--folds", type=int, help="only so many")
    asked.add_argument("--percents", type=int, nargs="+", default=[25, 50, 100], help="of the labelled images")
    asked.add_argument("--tol", type=float, default=1e-4, help="of scikit-learn in the loop; its default is near enough to the optimum")
    dials = asked.parse_args()
    params = read_params()
    grid = grid_of(params, prepare(params, BACKBONE, ("linear_probe",)), dials.folds, dials.percents, dials.tol)
    write_section("heads", measure(grid, dials.rounds, Path.cwd()))


def grid_of(params: Params, prepared: Prepared, folds: int | None, percents: Sequence[int], tol: float) -> Grid:
    tasks = list(tasks_of(prepared, params.split.folds[:folds], percents))
    return Grid(tasks, list(params.heads.C), params.selection.metric, len(prepared.dataset.classes), tol)


def tasks_of(prepared: Prepared, folds: Sequence[int], percents: Sequence[int]) -> Iterator[Task]:
    X, labels = prepared.inputs["features"], prepared.labels
    for number in folds:
        whole = prepared.fold(number)
        for percent in percents:
            fold = whole if percent == 100 else prepared.part(whole, Fraction("images", percent))
            yield Task(f"fold {number}, {percent} %", *(Part(X[rows], labels[rows]) for rows in (fold.train, fold.val)))


def measure(grid: Grid, rounds: int, project: Path) -> Section:
    stages: list[float] = []

    def stage() -> float:
        whole, fits = stage_seconds(project)
        stages.append(whole)
        return fits

    ways: dict[str, Callable[[], float]] = {
        THAW: partial(seconds_of, lambda: [thaw_path(grid, task, grid.strengths) for task in grid.tasks]),
        LOOP: partial(seconds_of, lambda: [loop(grid, task) for task in grid.tasks]),
        THAW_ONE: partial(in_one_thread, lambda: [thaw_path(grid, task, grid.strengths) for task in grid.tasks]),
        LOOP_ONE: partial(in_one_thread, lambda: [loop(grid, task) for task in grid.tasks]),
        FITS: stage,
    }
    thaw_path(grid, grid.tasks[0], grid.strengths)  # what is imported on first use is nobody's work
    found = interleaved(ways, rounds)
    off = {name: max(distances(grid, fit)) for name, fit in ((THAW, alone), (LOOP, loop_alone))}
    fits = f"{len(grid.tasks) * len(grid.strengths)} fits"
    rows = [
        Row(name, found[name], note=fits, quality={"objective above the optimum, millionths": 1e6 * off[name]}) for name in (THAW, LOOP)
    ]
    rows += [Row(name, found[name], note=fits) for name in (THAW_ONE, LOOP_ONE)]
    rows += [Row(FITS, found[FITS], note="all heads and controls, all folds"), Row(STAGE, stages, note="the process, start-up included")]
    compared = ratio(rows, THAW, LOOP, "thaw's path against the loop")
    return Section(
        title="Heads on frozen features",
        about=ABOUT,
        rounds=rounds,
        rows=rows,
        ratios=[compared, ratio(rows, THAW_ONE, LOOP_ONE, "the same with one BLAS thread")],
        targets=[
            at_least(">= 10 times the loop", compared.median, 10.0),
            at_most("<= 15 s for the default grid (fits of the stage)", median(found[FITS]), 15.0),
            at_most("objectives equal to 1e-4", off[THAW], CLOSE),
        ],
        extra={"tasks": [task.name for task in grid.tasks], "strengths": grid.strengths, "tol": grid.tol},
    )


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_one_thread(work: Callable[[], object]) -> float:
    with threadpool_limits(1, user_api="blas"):
        return seconds_of(work)


# ---- the two ways


def thaw_path(grid: Grid, task: Task, strengths: Sequence[float]) -> Head:
    """The best of a path of strengths."""
    head = fit_logistic(task.train, task.val, strengths, grid.metric, grid.n_classes).head
    assert head is not None  # a logistic fit has one
    return head


def loop(grid: Grid, task: Task) -> float:
    """The strength that validation likes best, found as a script does: one fit after the other, each from nothing."""
    scaler = StandardScaler().fit(task.train.X)
    X, seen = scaler.transform(task.train.X), scaler.transform(task.val.X)  # features are float32, and stay so
    reached = {}
    for C in grid.strengths:
        logits = LogisticRegression(C=C, tol=grid.tol, max_iter=1000).fit(X, task.train.y).decision_function(seen)
        logits = np.stack([-logits, logits], axis=1) / 2 if logits.ndim == 1 else logits
        reached[C] = score(logits, task.val.y, grid.metric)
    return max(reached, key=reached.__getitem__)


# ---- objectives


@dataclass(frozen=True)
class Standardised:
    """A head on standardised features: one row of two classes, else one for each."""

    W: Float[np.ndarray, "R D"]
    b: Float[np.ndarray, " R"]


Fit = Callable[[Grid, Task, float], Standardised]


def distances(grid: Grid, fit: Fit) -> Iterator[float]:
    """How far, relatively, the objective of every fit lies from the reference's."""
    for task in grid.tasks:
        mean, scale = standardisation(task.train.X)
        X = (task.train.X - mean) / scale
        for C in grid.strengths:
            best = objective(reference(X, task.train.y, C), X, task.train.y, C)
            yield abs(objective(fit(grid, task, C), X, task.train.y, C) - best) / best


def alone(grid: Grid, task: Task, C: float) -> Standardised:
    """thaw's fit of one strength."""
    return standardised(thaw_path(grid, task, [C]), *standardisation(task.train.X))


def loop_alone(grid: Grid, task: Task, C: float) -> Standardised:
    """A fit of the loop."""
    model = LogisticRegression(C=C, tol=grid.tol, max_iter=1000).fit(StandardScaler().fit_transform(task.train.X), task.train.y)
    return Standardised(model.coef_.astype(np.float64), np.asarray(model.intercept_, dtype=np.float64))


def standardised(head: Head, mean: Float[np.ndarray, " D"], scale: Float[np.ndarray, " D"]) -> Standardised:
    """A head on raw features as one on standardised ones: x = mean + scale * z. Two rows, -z/2 and z/2, become scikit-learn's one."""
    W, b = head.W.astype(np.float64), head.b.astype(np.float64)
    if len(W) == 2:
        W, b = W[1:] - W[:1], b[1:] - b[:1]
    return Standardised(W * scale, b + W @ mean)


def objective(fit: Standardised, X: Float[np.ndarray, "n D"], y: Int[np.ndarray, " n"], C: float) -> float:
    """As scikit-learn defines it: half the squared norm of the weights, the intercept left out, plus C times the sum of log losses."""
    z = X @ fit.W.T + fit.b
    logits = np.concatenate([-z, z], axis=1) / 2 if z.shape[1] == 1 else z
    return float((fit.W**2).sum() / 2 - C * log_softmax(logits, axis=1)[np.arange(len(y)), y].sum())


def reference(X: Float[np.ndarray, "n D"], y: Int[np.ndarray, " n"], C: float) -> Standardised:
    """The optimum as near as floats come: Newton's steps for two classes; beyond them their matrix would be too large."""
    if len(np.unique(y)) == 2:
        model = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=200)
    else:
        model = LogisticRegression(C=C, solver="lbfgs", tol=1e-10, max_iter=20_000)
    model.fit(X, y)
    return Standardised(model.coef_, np.asarray(model.intercept_))


# ---- the stage


def stage_seconds(project: Path) -> tuple[float, float]:
    """Wall clock of the stage's process, and what its fits cost together, in a folder that borrows the project's data."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("data", "params.yaml", "src"):
            (folder / part).symlink_to(project / part)
        done = python_module(folder, "thaw.stages.heads", BACKBONE)
        costs = [read_json(path)["seconds"] for path in sorted((folder / "costs").rglob("*.json"))]
    return done.seconds, sum(costs)


if __name__ == "__main__":
    main()
