"""The report against a small synthetic world whose answer is known: the answer, the leaderboard, the differences, the README, the stage."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from test_reporting_world import World, build

from thaw import measures
from thaw.errors import InputError
from thaw.reporting import figures, wording
from thaw.reporting.answer import answer_block, answer_lines, difference_sentence
from thaw.reporting.document import SECTIONS, compose
from thaw.reporting.drawing.canvas import drawable
from thaw.reporting.drawing.confusion import row_shares
from thaw.reporting.drawing.curves import mean_curve
from thaw.reporting.drawing.labels import overlaps, place_labels
from thaw.reporting.front import pareto_front, seconds_of
from thaw.reporting.markdown import markdown
from thaw.reporting.readme import END, START, readme_is_current, readme_table, update_readme
from thaw.reporting.results import Contrast, Results, read_results
from thaw.reporting.sections.tuning import trials_of
from thaw.reporting.tables import literal
from thaw.runs import CONTROLS
from thaw.stages import report as stage

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def elpv(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return build(World(), tmp_path_factory.mktemp("elpv"))


TAKEN_BACK = "by its interval alone it would count; by both tests, corrected for 15 comparisons, it does not"
FIGURES = [name for name in figures.DRAWERS if name != "shift"]  # without a domain left out


def text_of(results: Results) -> str:
    """The Markdown alone: drawing takes seconds."""
    return markdown(compose(results, "A title", FIGURES))


def board_of(results: Results) -> str:
    """The leaderboard, without what is folded."""
    return text_of(results).split("## Leaderboard")[1].split("<details>")[0]


@pytest.fixture(scope="module")
def pictures(elpv: Results) -> dict[str, bytes]:
    return figures.draw(elpv)


def with_contrast(results: Results, name: str, metric: str, contrast: Contrast) -> Results:
    ranked = [replace(r, contrasts=r.contrasts | {metric: contrast}) if r.name == name else r for r in results.ranked]
    roles = {role: next(r for r in ranked if r.name == getattr(results, role).name) for role in ("winner", "reference")}
    return replace(results, ranked=ranked, **roles)


# --- the answer


def test_answer_names_winner_difference_cost_and_ways_on(elpv: Results) -> None:
    lines = answer_lines(elpv)
    assert lines == [
        "Best: lite0/lp_ft, ROC AUC 0.841 [0.806, 0.871] (95 % interval over 44 inferred modules).",
        "Difference: lite0/lp_ft beats lite0/linear_probe by 2.1 points of ROC AUC [0.4, 3.9], Holm p = 0.012.",
        "Cost: 126 s per model (median of 4 folds, 121 s to 131 s; its probe and the probe's features included) and 3,372,001 trainable "
        "parameters; 12 times the reference's 11 s (features included) and 1,316 times its 2,562 parameters.",
        "Report: reports/report.html (the same as text: reports/report.md)",
        "Runs: make ui opens them in MLflow",
    ]


def test_what_the_correction_takes_back_is_said_to_be_that(tmp_path: Path) -> None:
    results = build(World(p=0.6), tmp_path)
    assert answer_lines(results)[1] == (
        "Difference: no clear difference between lite0/lp_ft and lite0/linear_probe: 2.1 points of ROC AUC [0.4, 3.9] "
        f"in favour of the first, Holm p = 0.600; {TAKEN_BACK}."
    )
    text = text_of(results)
    assert "and for 15 neither is clear" in text
    assert f"| `lite0/lp_ft` | {TAKEN_BACK} | 2.1 [0.4, 3.9] |" in text
    assert "| `lite0/gradual` | no difference seen | 1.3 [−0.4, 3.1] | 0.600 | 2.8 |" in text


def test_no_difference_is_said_with_what_one_comparison_detects(tmp_path: Path) -> None:
    results = build(World(p=0.6, reference="full"), tmp_path)
    line = answer_lines(results)[1]
    assert line.endswith("0.3 points of ROC AUC [−1.4, 2.1] in favour of the first, Holm p = 0.600; "
                         "one comparison alone would have detected 2.8 points four times in five.")  # fmt: skip
    large = replace(results.winner.contrasts["roc_auc"], diff=0.03, lo=-0.001, hi=0.06)  # beyond the 2.8 points, and yet not clear
    assert difference_sentence(with_contrast(results, "lite0/lp_ft", "roc_auc", large)).endswith(
        "Holm p = 0.600; its interval reaches zero."
    )


def test_winner_that_is_the_reference(tmp_path: Path) -> None:
    results = build(World(reference="lp_ft"), tmp_path)
    lines = answer_lines(results)
    assert lines[1] == (
        "Difference: the reference itself is the best, nothing beats it. lite0/lp_ft beats lite0/full by "
        "0.3 points of ROC AUC [−1.5, 2.0], Holm p = 0.012."
    )
    assert "it is the reference, so this is the yardstick" in lines[2]
    assert "| `lite0/lp_ft` | 0.841 [0.806, 0.871] | reference |" in readme_table(results)


def test_pretraining_is_judged_by_a_pair_that_was_fixed_beforehand(elpv: Results, tmp_path: Path) -> None:
    block = answer_block(elpv)
    assert [line.split(":")[0].strip("*") for line in block] == ["Best", "Difference", "Cost", "Pretraining", "Caution"]
    assert "random weights in 4 epochs, reaches 0.701 [0.666, 0.731]; `lite0/full`, the same network pretrained, 0.838" in block[3]
    assert block[3].endswith(
        ". Pretraining helped, by 13.7 points of ROC AUC [12.0, 15.4], p = 0.012; a pair fixed beforehand, so nothing is corrected."
    )
    assert elpv.pretraining is not None
    harmed = replace(elpv.pretraining, diff=-0.02, lo=-0.03, hi=-0.01)
    assert "Pretraining did harm, by 2.0 points of ROC AUC [1.0, 3.0], p = 0.012" in answer_block(replace(elpv, pretraining=harmed))[3]
    open_ = replace(elpv.pretraining, diff=-0.01, lo=-0.03, hi=0.01, p=0.5)
    said = "Whether it helped is not clear: −1.0 points of ROC AUC [−3.0, 1.0], p = 0.500; this design would have seen 2.8 points; a pair"
    assert said in answer_block(replace(elpv, pretraining=open_))[3]
    undefined = replace(elpv.pretraining, diff=math.nan, p=math.nan)
    assert answer_block(replace(elpv, pretraining=undefined))[3].endswith("The two cannot be compared: ROC AUC is undefined.")
    losses = build(World(primary="log_loss"), tmp_path / "losses")
    assert losses.pretraining is not None and losses.pretraining.diff < 0
    assert "Pretraining helped, by 0.137 of log loss [0.120, 0.154]" in answer_block(losses)[3]
    assert len(answer_block(build(World(trained=()), tmp_path / "none"))) == 4


def test_caution_is_two_sentences(elpv: Results, tmp_path: Path) -> None:
    caution = answer_block(elpv)[-1]
    assert "best of 16 candidates" in caution and "15 comparisons" in caution
    assert "one seed per fold" in caution and "validation images that other folds test" in caution
    assert len(re.findall(r"\. [A-Z]|\.$", caution)) == 2
    heads = answer_block(build(World(trained=(), backbones=("lite0",)), tmp_path))[-1]
    assert "one seed per fold" in heads and "default rates" not in heads


def test_losses_are_better_when_lower(tmp_path: Path) -> None:
    results = build(World(primary="log_loss"), tmp_path)
    lines = answer_lines(results)
    assert lines[0] == "Best: lite0/lp_ft, log loss 0.559 [0.524, 0.589] (95 % interval over 44 inferred modules)."
    assert lines[1] == "Difference: lite0/lp_ft beats lite0/linear_probe by 0.021 of log loss [0.003, 0.038], Holm p = 0.012."
    text = text_of(results)
    assert text.index("| `lite0/lp_ft` | 0.559") < text.index("| `lite0/scratch` | 0.699") < text.index("| `*/raw_pixels` (control)")
    assert "| `lite0/lp_ft` | better | −0.021 [−0.038, −0.003] |" in text
    assert "| `lite0/scratch` | worse | 0.119 [0.102, 0.137] |" in text


@pytest.mark.parametrize(
    ("diff", "p", "higher", "expected"),
    [
        (0.1, 0.04, True, "better"),
        (0.1, 0.04, False, "worse"),
        (-0.1, 0.04, False, "better"),
        (0.1, 0.06, True, "none"),
        (math.nan, 0.01, True, "unknown"),
    ],
)
def test_verdict(diff: float, p: float, higher: bool, expected: str) -> None:
    assert wording.verdict(measures.Measure("m", higher), diff, p, 0.95) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (measures.number(-0.0004), "0.000"),
        (measures.number(-1234.5, 1), "−1,234.5"),
        (measures.number(None), "—"),
        (measures.with_interval(0.99982, 0.99965, 0.99993, 3), "0.9998 [0.9997, 0.9999]"),
        (measures.with_interval(0.5, math.nan, math.nan, 3), "0.500"),
        (wording.duration(0.0123), "0.012 s"),
        (wording.duration(1234.5), "1,234 s"),
        (wording.p_value(0.0004), "Holm p < 0.001"),
        (wording.times(115.2, 1.0, "the reference's 1 s"), "115 times the reference's 1 s"),
        (wording.times(1.01, 1.0, "the reference's 1 s"), "about the reference's 1 s"),
        (wording.times(3.0, 0, "parameters"), ""),
        (
            wording.verdict_words("none", 0.1, 0.2, 9),
            "by its interval alone it would count; by both tests, corrected for 9 comparisons, it does not",
        ),
        (wording.verdict_words("none", -0.1, 0.2, 9), "no difference seen"),
    ],
)
def test_numbers_in_words(text: str, expected: str) -> None:
    assert text == expected


# --- the report


def test_report_has_its_parts_in_order(elpv: Results) -> None:
    text = text_of(elpv)
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings == list(SECTIONS)
    assert headings[:4] == ["The answer", "Leaderboard", "Differences to the reference", "Quality against cost"]
    assert "saw neither it nor any other of its inferred module." in text and "groups (" not in text
    assert "Of 15 strategies compared with `lite0/linear_probe` on the same images, 7 did better, 8 did worse" in text
    assert "in 4 of 4 folds" in text
    assert "how the images are split" not in text and "the audit above fixes k" in text
    assert "From pretrained weights; 3 epochs; 112 s" in text and "From random weights; 4 epochs" in text
    assert "From the linear probe of the same fold; 3 epochs; 126 s" in text
    assert "| seconds per model |" in text and "features included" in text and "detectable alone (80 %)" in text
    assert "not tested pair by pair" in text
    assert "Solid is the winner, dashed the reference, dash-dotted random weights, dotted guessing." in text
    assert "| `lite0/lp_ft` | 0.787 | 0.861 | 0.885 | 0.839 | 0.841 |" in text
    assert "| all, 3 epochs, cosine | backbone | 0.0005 | 0.01 | 2 | 2,562 |" in text
    assert "CC BY-NC-SA 4.0" in text and "torch 2.15.0" in text
    assert "0.497 [0.462, 0.527]: chance, as it should" in text


def test_controls_that_do_not_see_the_backbone_stand_once(elpv: Results) -> None:
    board = board_of(elpv)
    assert board.count("raw_pixels` (control)") == 1 and "A star stands for every backbone" in board
    assert board.count("linear_probe` |") == 2


def test_shuffled_labels_above_chance_are_pointed_out(elpv: Results) -> None:
    suspect = [
        replace(r, estimates=r.estimates | {"roc_auc": replace(r.estimate("roc_auc"), value=0.6, lo=0.57, hi=0.63)})
        if r.strategy == "shuffled_labels" else r for r in elpv.ranked
    ]  # fmt: skip
    assert "far above the 0.5 of chance. Look for a leak." in text_of(replace(elpv, ranked=suspect))


def test_shuffled_labels_below_chance_are_pointed_out(elpv: Results) -> None:
    low = [
        replace(r, estimates=r.estimates | {"roc_auc": replace(r.estimate("roc_auc"), value=0.4, lo=0.37, hi=0.43)})
        if r.strategy == "shuffled_labels" else r for r in elpv.ranked
    ]  # fmt: skip
    assert "0.400 [0.370, 0.430] (within folds it is 0.497 [0.462, 0.527]): far below the 0.5 of chance." in text_of(
        replace(elpv, ranked=low)
    )


def test_verdicts_that_rest_on_ranking_across_folds_are_named(elpv: Results, tmp_path: Path) -> None:
    assert "Judged by ROC AUC within folds, every verdict and every sign is the same." in text_of(elpv)
    text = text_of(build(World(within=(("lite0/full", -0.02),)), tmp_path))
    assert (
        "the verdict or the sign changes for `lite0/full` (better, 1.8 [0.1, 3.6] points over all folds → "
        "worse, −0.2 [−1.9, 1.6] points within folds)."
    ) in text
    weaker = replace(elpv.winner.contrasts["roc_auc_within"], p_holm=0.2)
    other = text_of(with_contrast(elpv, elpv.winner.name, "roc_auc_within", weaker))
    assert "changes for `lite0/lp_ft` (better, 2.1 [0.4, 3.9] points over all folds → not clear, 2.1" in other
    board = board_of(elpv)
    assert "| trainable parameters | ROC AUC within folds | balanced accuracy | log loss |" in board
    assert "offsets between the folds' models" in board


def test_another_primary_needs_no_second_auc(tmp_path: Path) -> None:
    assert "within folds" not in board_of(build(World(primary="pr_auc"), tmp_path))


def test_undefined_comparisons_are_counted_apart(tmp_path: Path) -> None:
    text = text_of(build(World(undefined=("lite0/full",)), tmp_path))
    assert "and for 0 neither is clear; for 1 the difference is undefined." in text


def test_seconds_hold_the_features_of_the_training_images(elpv: Results) -> None:
    """Half of the images train; all of them took 20 s at lite0 and 100 s at lite0_native."""
    seconds = {r.name: r.seconds[0] for r in elpv.ranked}
    assert seconds["lite0/linear_probe"] == pytest.approx(0.61 + 10)
    assert seconds["lite0_native/knn"] == pytest.approx(0.052 * 1.3 + 50)
    assert seconds["lite0/shuffled_labels"] == pytest.approx(0.3 + 10)
    assert seconds["lite0/majority"] == pytest.approx(0.3)
    assert seconds["lite0/lp_ft"] == pytest.approx(95 + 5 * 3 + 0.61 + 10)
    assert seconds["lite0/full"] == pytest.approx(95 + 4 * 3)


def test_many_classes_without_groups(tmp_path: Path) -> None:
    world = World(name="digits", classes=tuple("0123456789"), grouped=False, backbones=("lite0",), trained=("full",))
    results = build(world, tmp_path)
    text, drawn = text_of(results), [name for name, drawer in figures.DRAWERS.items() if drawer(results) is not None]
    assert "weighted accuracy" not in text
    assert "1,797 images of 10 classes, 4 folds. Every image is tested once, by a model that did not see it." in text
    assert "most probable class" in text
    assert "how the images are split" not in text
    assert drawn == [name for name in FIGURES if name not in ("groups", "operating")]
    assert "From group to group" not in text and "Choosing a threshold" not in text and "A star stands" not in text
    assert answer_lines(results)[0].endswith("(95 % interval over 1,797 images).")


def test_undefined_figures_are_dashes(tmp_path: Path) -> None:
    text = text_of(build(World(undefined=("lite0/full", "lite0/majority")), tmp_path))
    assert "| `lite0/full` | — | — | 112 s | 3,372,001 | — | — | — |" in text
    assert "A dash is a figure that is undefined: accuracy for 2 strategies, " in text
    assert "| `lite0/full` | undefined | — | — |" in text


def test_a_torn_split_is_said_at_once(elpv: Results) -> None:
    torn = replace(elpv, leakage=elpv.leakage | {"groups_torn": 3})
    assert "the split tears 3 inferred modules" in text_of(torn).split("## ")[0]


# --- the figures


def test_figures_are_drawn_and_small(pictures: dict[str, bytes]) -> None:
    assert list(pictures) == FIGURES
    assert sum(map(len, pictures.values())) < 700_000
    for data in pictures.values():
        assert len(data) < 80_000
        with Image.open(BytesIO(data)) as picture:
            shades = np.asarray(picture.convert("L"))
            assert not picture.info  # neither date nor program
        assert (shades < 128).mean() > 0.002 and (shades > 240).mean() > 0.3


def test_confusion_shows_row_shares() -> None:
    shares = row_shares(np.array([[3, 1], [0, 0]]))
    np.testing.assert_allclose(shares, [[0.75, 0.25], [0, 0]])


def test_figures_spell_what_the_font_can() -> None:
    assert drawable("Naïve $5", "class 1") == "Naïve $5"
    assert drawable("漢", "class 1") == "class 1"
    assert drawable("x" * 30, "class 1") == "x" * 17 + "…"


def test_front_is_what_nothing_cheaper_beats(elpv: Results) -> None:
    """Against every pair: nobody on the front is beaten by anything that costs no more, everybody else is matched by such a one."""
    front = pareto_front(elpv.candidates, "roc_auc", seconds_of)
    quality = {r.name: r.estimate("roc_auc").value for r in elpv.candidates}
    for result in elpv.candidates:
        cheaper = [r for r in elpv.candidates if r is not result and r.typical_seconds <= result.typical_seconds]
        assert (result in front) == all(quality[r.name] < quality[result.name] for r in cheaper)
    assert [r.typical_seconds for r in front] == sorted(r.typical_seconds for r in front)
    dearer = replace(front[-1], strategy="dearer", costs=[cost + cost for cost in front[-1].costs])
    assert pareto_front([dearer, *elpv.candidates], "roc_auc", seconds_of) == front  # as good is no reason to pay more


def test_mean_curve_of_straight_lines_is_straight() -> None:
    up = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    down = (np.array([1.0, 0.0]), np.array([0.0, 1.0]))  # written from right to left, as PR curves are
    x, y = mean_curve([up, down])
    np.testing.assert_allclose(y, 0.5)
    np.testing.assert_allclose(x, np.linspace(0, 1, 201))


def test_labels_keep_apart_and_inside() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(400, 440, (8, 2)), rng.uniform(50, 900, (8, 2))])
    sizes = np.tile([120.0, 16.0], (16, 1))
    frame = np.array([0.0, 0.0, 1000.0, 1000.0])
    corners = place_labels(points, sizes, frame)
    boxes = np.concatenate([corners, corners + sizes], axis=1)
    area = overlaps(boxes, boxes)
    assert all(area[i, j] == 0 for i, j in combinations(range(16), 2))
    np.testing.assert_allclose(overlaps(boxes, frame[None])[:, 0], 120 * 16)
    np.testing.assert_array_equal(overlaps(boxes, np.concatenate([points - 4, points + 4], axis=1)), 0)


# --- reading


@pytest.mark.parametrize(
    "missing",
    ["reports/metrics.json", "reports/curves.csv", "runs/lite0/full/2/record.json", "costs/lite0/full/2.json", "costs/lite0/features.json"],
)
def test_missing_files_are_named(missing: str, tmp_path: Path) -> None:
    world = World(trained=("full",), backbones=("lite0",))
    build(world, tmp_path)
    (tmp_path / missing).unlink()
    stage = "features@lite0`" if missing.endswith("features.json") else ""
    with pytest.raises(InputError, match=f"{re.escape(missing)} is missing; run `dvc repro {stage}"):
        read_results(world.runs, ["scratch"], tmp_path)


def test_runs_that_were_not_evaluated_are_named(tmp_path: Path) -> None:
    build(World(trained=("full",), backbones=("lite0",)), tmp_path)
    with pytest.raises(InputError, match="has no lite0/norm_only"):
        read_results([("lite0", "norm_only", 0)], [], tmp_path)


def test_unknown_metric_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'roc_auc'"):
        measures.measure_of("roc_acu")


# --- the README's table


def test_readme_table_is_put_between_its_markers(elpv: Results, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# thaw\n\n{START}\nold\n{END}\n\nafter\n", encoding="utf-8")
    text = readme_table(elpv)
    assert not readme_is_current(readme, text)
    update_readme(readme, text)
    assert readme_is_current(readme, text)
    assert readme.read_text(encoding="utf-8") == f"# thaw\n\n{START}\n{text}\n{END}\n\nafter\n"
    assert "| seconds per model, features included |" in text
    assert "| `lite0/lp_ft` | 0.841 [0.806, 0.871] | 2.1 [0.4, 3.9] | 126 s |" in text
    assert "| `lite0/linear_probe` | 0.820 [0.785, 0.850] | reference | 11 s |" in text
    assert text.startswith("Best: `lite0/lp_ft`") and "beats `lite0/linear_probe`" in text.splitlines()[0]
    assert not any(control in text for control in CONTROLS)


@pytest.mark.parametrize("text", ["no markers\n", f"{END}\n{START}\n", f"{START}\n", f"{START}\n{START}\n{END}\n"])
def test_readme_without_markers_is_refused(text: str, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text, encoding="utf-8")
    for act in (update_readme, readme_is_current):
        with pytest.raises(InputError, match="once each and in this order"):
            act(readme, "new")
    assert readme.read_text(encoding="utf-8") == text


def test_the_answer_does_not_load_matplotlib() -> None:
    code = "import sys, thaw.reporting.readme, thaw.reporting.answer; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(PROJECT / "src")}, timeout=300)


# --- the stage


def test_stage_writes_the_same_bytes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = YAML(typ="safe", pure=True).load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    params["split"]["folds"], params["features"]["backbones"] = [0, 1, 2, 3], ["lite0"]
    params["finetune"]["backbones"], params["finetune"]["strategies"] = ["lite0"], ["full", "scratch"]
    params["learning"]["finetune"] = []
    (tmp_path / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    build(World(backbones=("lite0",), trained=("full", "scratch")), tmp_path)
    monkeypatch.chdir(tmp_path)

    def outputs() -> dict[str, bytes]:
        paths = [tmp_path / "reports/report.md", tmp_path / "reports/report.html", *(tmp_path / "reports/figures").iterdir()]
        return {path.name: path.read_bytes() for path in paths}

    stage.main()
    first = outputs()
    stage.main()
    assert outputs() == first and len(first) == 2 + len(FIGURES)
    assert str(tmp_path).encode() not in first["report.md"] + first["report.html"]
    assert first["report.md"].startswith(f"# {literal(params['report']['title'])}\n".encode())


# --- the tuning budget


def with_records(results: Results, name: str, **changed: Any) -> Results:
    ranked = [replace(r, records=[replace(record, **changed) for record in r.records]) if r.name == name else r for r in results.ranked]
    return replace(results, ranked=ranked)


def test_budget_counts_trials_and_names_edges(elpv: Results) -> None:
    grid = {"settings": {"C": [0.01, 0.1, 1.0], "keep": [0.2, 1.0], "metric": "auc"}}
    results = with_records(elpv, "lite0/head2toe", inputs=grid, metrics={"best_val_auc": 0.8, "C": 0.01, "keep": 0.2})
    trials = [{"score": 0.8, "rate": factor, "weight_decay": 1.0, "epochs": 1.0} for factor in (1.0, 0.5, 2.0)]
    results = with_records(results, "lite0/full", choices={"trials": trials, "chosen_trial": 2, "edges": ["rate"]})
    text = text_of(results).split("## Tuning budget")[1].split("\n## ")[0]
    assert "| `lite0/head2toe` | 6 | C 0.01, 0.01, 0.01, 0.01; keep 0.2, 0.2, 0.2, 0.2 | C in 4 folds |" in text
    assert "| `lite0/full` | 3 | rate × 2, 2, 2, 2; weight decay × 1, 1, 1, 1; epochs × 1, 1, 1, 1 | rate in 4 folds |" in text
    untuned = text.split("One trial")[1]
    assert "`lite0/lp_ft`" in untuned and "`lite0/full`" not in untuned and "head2toe" in untuned  # lite0_native's has no grid here
    assert trials_of(results.ranked[0].records[0]) == 1
