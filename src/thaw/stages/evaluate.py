"""Stage evaluate: every run's predictions and the test labels -> the figures of the answer and their tables, in reports/.

The only stage that measures on test labels (`gallery` shows errors afterwards). It reads the runs that params.yaml asks for, never what
happens to lie in runs/.
"""

import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from thaw import breakdown, claims, contrasts, leaderboard, learning, mismatch, questions, shift, summary
from thaw.files import write_json, write_with
from thaw.index import Dataset
from thaw.leaderboard import Candidate, Scored
from thaw.metrics import Criterion
from thaw.params import Params, read_params
from thaw.runs import CONTROLS, RUNS, Identity
from thaw.samples import Design, Images, read_design, read_fold, samples
from thaw.stage_names import kind_of, stage_of
from thaw.startup import run_stage

REPORTS = Path("reports")


def main() -> None:
    params = read_params()
    design = read_design(params.split.folds)
    images = samples(design)
    asked = params.runs()
    warn_of_stale_folders({Identity(*run).folder() for run in asked})
    for_control = {name for name, backbone in params.backbones.items() if backbone.control}
    settings = params.evaluate
    pairs = list(dict.fromkeys((backbone, strategy) for backbone, strategy, _ in asked))
    candidates = [read_candidate(b, s, s in CONTROLS or b in for_control, design, images, settings.threshold) for b, s in pairs]
    scored = leaderboard.score(candidates, images, settings.seed)
    reference = next(e for e in scored if e.candidate.name == f"{settings.reference_backbone}/{settings.reference}")
    ranked = leaderboard.rank(scored, settings.primary)
    compared = contrasts.table(ranked, reference, images, settings.confidence, settings.bootstrap, settings.seed)
    write_table(leaderboard.leaderboard(ranked, images, settings.confidence), REPORTS / "leaderboard.csv")
    write_table(compared, REPORTS / "contrasts.csv")
    write_table(breakdown.curves(ranked, images), REPORTS / "curves.csv")
    write_table(breakdown.reliability(ranked, images), REPORTS / "reliability.csv")
    write_table(breakdown.operating(ranked, images), REPORTS / "operating.csv")
    write_table(breakdown.by_group(ranked if design.dataset.grouped else [], images), REPORTS / "groups.csv")
    about = describe(design.dataset, images, settings.primary, settings.confidence)
    figures = leaderboard.figures_by_candidate(ranked, images)
    everything = about | leaderboard.podium(ranked, reference) | {"pretraining": pretraining(params, scored, images)} | figures
    write_json(REPORTS / "metrics.json", everything)
    write_json(REPORTS / "summary.json", summary.summary(everything, {e.candidate.name for e in ranked if e.candidate.control}))
    write_answers(params, design, images, ranked, reference)
    for remark in contrasts.remarks(ranked, compared, images, settings.bootstrap, settings.confidence):
        print(f"thaw: {remark}", file=sys.stderr)


def write_answers(params: Params, design: Design, images: Images, ranked: list[Scored], reference: Scored) -> None:
    """Tables of what else the runs can tell; of questions that params.yaml does not ask, the header alone."""
    settings, grouped = params.evaluate, design.dataset.grouped
    shares = params.learning_runs(grouped)
    points = learning.points(design, images, shares, ranked, settings.threshold, settings.seed, params.finetune.seed)
    sides = questions.both_domains(design, images, ranked, settings.threshold, settings.seed)
    twins = questions.twins(params.backbones, params.features.backbones)
    asked = questions.measured(settings.primary, settings.reference_backbone, ranked, points, sides)
    write_table(learning.table(points, reference.candidate.name, settings.confidence), REPORTS / "learning.csv")
    write_table(shift.table(sides, settings.confidence), REPORTS / "shift.csv")
    write_table(mismatch.table(ranked, twins, settings.confidence), REPORTS / "mismatch.csv")
    write_json(REPORTS / "claims.json", claims.findings(asked, settings.confidence))


def pretraining(params: Params, scored: list[Scored], images: Images) -> Mapping[str, object] | None:
    """The part of metrics.json that says whether pretraining helped."""
    pair = questions.pretraining_pair(params)
    if pair is None:
        return None
    found = {entry.candidate.name: entry for entry in scored}
    pretrained, scratch = (found[name] for name in pair)
    who = {"pretrained": pretrained.candidate.identity(), "scratch": scratch.candidate.identity()}
    settings = params.evaluate
    dials = (settings.primary, images, settings.confidence, settings.bootstrap, settings.seed)
    return who | contrasts.planned(pretrained, scratch, *dials)


def read_candidate(backbone: str, strategy: str, control: bool, design: Design, images: Images, criterion: Criterion) -> Candidate:
    runs = [Identity(backbone, strategy, fold) for fold in design.folds]
    folds = [read_fold(design, run.folder(), run.fold, f"run `dvc repro -f {stage_of(run)}`") for run in runs]
    return Candidate(backbone, strategy, kind_of(strategy), control, leaderboard.pool(folds, images, criterion))


def warn_of_stale_folders(asked: Collection[Path]) -> None:
    """Runs of params that are no longer stay on disk; say so, so that nobody takes them for part of the answer."""
    stale = sorted(path for path in RUNS.glob("*/*/*") if path.is_dir() and path not in asked)
    if stale:
        others = f" and {len(stale) - 1} more" if len(stale) > 1 else ""
        first = stale[0].as_posix()
        print(f"thaw: {first}{others}: not asked for by params.yaml, so not read; remove with `rm -r {first}`", file=sys.stderr)


def describe(dataset: Dataset, images: Images, primary: str, confidence: float) -> dict[str, object]:
    """The part of metrics.json that says what was compared. ``samples`` are more than ``n`` where images are tested by several models."""
    return {
        "dataset": dataset.name,
        "classes": dataset.classes,
        "n": len(set(images.row.tolist())),
        "samples": len(images.labels),
        "groups": len(set(images.groups)),
        "grouped": dataset.grouped,
        "group_name": dataset.group_name,
        "primary": primary,
        "confidence": confidence,
        "undefined_classes": leaderboard.undefined_classes(images),
    }


def write_table(table: pd.DataFrame, path: Path) -> None:
    write_with(path, lambda p: table.to_csv(p, index=False, lineterminator="\n", float_format="%.10g"))


if __name__ == "__main__":
    run_stage(main)
