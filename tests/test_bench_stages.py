"""What the benchmarks of stages, heads and growth compute from what they measure; nothing here depends on how fast a machine is."""

import sys
from pathlib import Path
from subprocess import TimeoutExpired

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from thaw.heads import Head, Part, fit_logistic, standardisation

sys.path.insert(0, str(Path(__file__).parents[1]))  # bench/ is no part of the package

from bench import comparison, growth, heads, overhead
from bench.processes import Line, Repro, stage_seconds, watched

LOG = (
    (0.5, "'data/own.dvc' didn't change, skipping"),
    (1.0, "Running stage 'fetch':"),
    (1.1, "> python -m thaw.stages.fetch"),
    (2.0, "elpv: 2624 images, 1,000 images/s checked"),
    (4.0, "Updating lock file 'dvc.lock'"),
    (4.5, ""),
    (5.0, "Stage 'prepare' didn't change, skipping"),
    (6.0, "Stage 'split' is cached - skipping run, checking out outputs"),
    (7.0, "Running stage 'finetune@lite0-full-0':"),
    (9.0, "epoch 1 (all): said of a Running stage 'x' within a line"),
    (17.0, "Running stage 'finetune@lite0-lp_ft-0':"),
    (29.0, "final: 6,297 images seen in 2.5 s"),
    (30.0, "Use `dvc push` to send your updates to remote storage."),
)


def ran() -> comparison.Ran:
    stages = stage_seconds([Line(*line) for line in LOG], 32.0)
    costs = {"lite0/full/0": 8.0, "lite0/lp_ft/0": 11.0, "lite0/linear_probe/0": 0.5, "lite0/features": 1.0}
    return comparison.Ran(Repro(32.0, stages, tuple(text for _, text in LOG)), costs)


def test_stages_last_from_one_announcement_to_the_next() -> None:
    assert ran().whole.stages == {"fetch": 4.0, "finetune@lite0-full-0": 10.0, "finetune@lite0-lp_ft-0": 15.0}
    assert stage_seconds([], 3.0) == {}


def test_what_cells_do_besides_training_and_what_scripts_do_as_well() -> None:
    assert ran().outside() == {"finetune@lite0-full-0": 2.0, "finetune@lite0-lp_ft-0": 4.0}
    assert comparison.same(ran()) == 4.0 + 25.0 + 0.5
    assert comparison.by_stage(ran()) == {"fetch": 4.0, "finetune": 25.0, "DVC itself": 3.0}
    assert ran().inside() == {"cells": 19.0, "heads": 0.5, "features": 1.0, "final": 2.5}


def test_the_section_of_the_comparison_says_what_was_measured_and_what_multiplied() -> None:
    peer = {"strategies full": comparison.Cost(6.0, 60.0, "one cell"), "features lite0": comparison.Cost(1.0, 4.0, "512 images")}
    found = comparison.section(ran(), [3.0, 5.0, 4.0], peer, "about {dials} {steps}")
    assert {target.text: (target.value, target.met) for target in found.targets} == {
        "<= 20 minutes": (32 / 60, True),
        ">= 80 % inside training or extraction": (100 * 23 / 32, False),
        "start-up of a training cell <= 4 s": (4.0, True),
    }
    assert [one.median for one in found.ratios] == [64 / 32, 64 / 29.5]
    alone = comparison.section(None, [], peer, "")
    assert [row.seconds for row in alone.rows] == [[64.0], [60.0], [4.0]] and not alone.targets and not alone.ratios


def test_words_of_the_comparison_are_all_filled() -> None:
    found = comparison.described(
        comparison.section(None, [], {}, comparison.ABOUT), {"dials": "the dials", "steps": "whole", "precision": "float32"}
    )
    assert "the dials" in found.about and "{" not in found.about


def test_cells_of_a_strategy_are_told_from_others() -> None:
    assert overhead.is_cell("finetune@lite0-lp_ft-1", "lp_ft")
    assert not any(overhead.is_cell(stage, "full") for stage in ("finetune@lite0-lp_ft-1", "finetune_part@lite0-full-25-0", "report"))


def test_edited_files_are_put_back_however_it_ends(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"a: 1\r\n")
    with pytest.raises(KeyError), overhead.put_back(tmp_path, [Path("params.yaml")]):
        (tmp_path / "params.yaml").write_text("a: 2")
        raise KeyError
    assert (tmp_path / "params.yaml").read_bytes() == b"a: 1\r\n"


def test_lines_come_with_their_time_and_what_takes_too_long_is_stopped(tmp_path: Path) -> None:
    done = watched([sys.executable, "-c", "print('one'); print('{\"two\": 2}')"], tmp_path, {})
    assert [line.text for line in done.lines] == ["one", '{"two": 2}'] and done.last_json() == {"two": 2}
    assert 0 < done.lines[0].at <= done.lines[1].at <= done.seconds
    with pytest.raises(RuntimeError, match="ended with status 3:\nbecause"):
        watched([sys.executable, "-c", "print('because'); raise SystemExit(3)"], tmp_path, {})
    with pytest.raises(TimeoutExpired):
        watched([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, {}, limit=0.2)


# ---- heads


def blobs(classes: int) -> Part:
    """Classes whose means differ, in features of unlike scale."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % classes
    means = rng.normal(size=(classes, 8))
    return Part(((means[y] + rng.normal(size=(120, 8))) * np.geomspace(0.1, 10, 8) + 3).astype(np.float32), y)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_objective_of_a_head_is_that_of_the_fit_that_it_is_made_from(classes: int) -> None:
    part, C = blobs(classes), 0.3
    fitted = fit_logistic(part, part, [C], "auc", classes).head
    assert fitted is not None
    mean, scale = standardisation(part.X)
    X = (part.X - mean) / scale
    model = LogisticRegression(C=C, tol=1e-10, max_iter=20_000).fit(X, part.y)
    loss = -np.log(model.predict_proba(X)[np.arange(120), part.y]).sum()
    expected = (model.coef_**2).sum() / 2 + C * loss
    assert heads.objective(heads.Standardised(model.coef_, model.intercept_), X, part.y, C) == pytest.approx(expected, rel=1e-12)
    assert heads.objective(heads.reference(X, part.y, C), X, part.y, C) == pytest.approx(expected, rel=1e-9)
    assert heads.objective(heads.standardised(fitted, mean, scale), X, part.y, C) == pytest.approx(expected, rel=1e-4)


def test_a_head_that_is_no_optimum_is_found_out() -> None:
    part = blobs(2)
    grid = heads.Grid([heads.Task("all", part, part)], [0.01, 0.3], "auc", 2, 1e-4)
    assert max(heads.distances(grid, heads.alone)) < 1e-4 > max(heads.distances(grid, heads.loop_alone))
    nothing = heads.Standardised(np.zeros((1, 8)), np.zeros(1))
    assert min(heads.distances(grid, lambda *_: nothing)) > 0.01


def test_the_loop_and_the_path_choose_the_same_strength() -> None:
    part, other = blobs(3), blobs(3)
    grid = heads.Grid([], [0.001, 0.03, 1.0], "log_loss", 3, 1e-4)
    assert heads.loop(grid, heads.Task("all", part, other)) == fit_logistic(part, other, grid.strengths, "log_loss", 3).chosen["C"]


def test_standardised_rows_give_the_heads_logits() -> None:
    rng = np.random.default_rng(1)
    head, X = Head(rng.normal(size=(3, 8)).astype(np.float32), rng.normal(size=3).astype(np.float32)), blobs(3).X
    mean, scale = standardisation(X)
    found = heads.standardised(head, mean, scale)
    np.testing.assert_allclose(((X - mean) / scale) @ found.W.T + found.b, head.logits(X), rtol=1e-4, atol=1e-4)


# ---- growth


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 2.0])
def test_an_exponent_is_the_power_that_values_grow_with(slope: float) -> None:
    sizes = [1000, 4000, 16_000, 64_000]
    assert growth.exponent(sizes, [3.0 * size**slope for size in sizes]) == pytest.approx(slope, abs=1e-12)


def test_an_exponent_needs_two_sizes() -> None:
    assert np.isnan(growth.exponent([1000], [3.0]))


def test_growth_leaves_out_what_was_not_measured_and_takes_the_worse_of_the_steady_stages() -> None:
    measured = [
        growth.Measured(stage, images, [images / 100], [memory * images**power])
        for stage, memory, power in (("prepare", 100.0, 0.0), ("features", 300.0, 0.25))
        for images in (1000, 8000)
    ]
    found = growth.section([*measured, growth.Measured("heads", 1000, [9.0], [50.0])], {"heads, 8,000 images": "stopped after 1 s"}, 1)
    assert found.extra["exponents"] == {
        "prepare": {"seconds": 1.0, "seconds_last": 1.0, "memory": 0.0},
        "features": {"seconds": 1.0, "seconds_last": 1.0, "memory": 0.25},
    }
    (target,) = found.targets
    assert target.value == 0.25 and not target.met
    assert found.extra["not_measured"] == {"heads, 8,000 images": "stopped after 1 s"}
    assert "not_measured" not in growth.section(measured, {}, 1).extra


def test_made_up_images_are_gray_in_whole_groups_and_of_two_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for group in range(3):
        growth.write_group(tmp_path, group, growth.GROUP, rng)
    names = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.png"))
    assert len(names) == 3 * growth.GROUP and {name.parts[0] for name in names} == set(growth.CLASSES)
    spotted, sound = (growth.picture(110.0, each, np.random.default_rng(1)) for each in (True, False))
    assert spotted.shape == (growth.SIDE, growth.SIDE) and spotted.mean() > sound.mean()
