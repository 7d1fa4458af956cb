"""What the report says beyond the main comparison: each section against a world that fills it, and one that does not."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from test_reporting_world import World, build

from thaw.files import write_json
from thaw.reporting.document import compose
from thaw.reporting.drawing.calibration import calibration as draw_calibration
from thaw.reporting.drawing.groups import NAMED
from thaw.reporting.drawing.groups import groups as draw_groups
from thaw.reporting.drawing.learning import learning as draw_learning
from thaw.reporting.drawing.operating import operating as draw_operating
from thaw.reporting.drawing.shift import shift as draw_shift
from thaw.reporting.figures import DRAWERS
from thaw.reporting.findings import OperatingPoint, Share, of
from thaw.reporting.markdown import markdown
from thaw.reporting.results import Results, read_results
from thaw.reporting.sections.learning import shared_percent
from thaw.reporting.sections.operating import point_for

DIGITS = World(name="digits", classes=tuple("0123456789"), grouped=False, backbones=("lite0",), trained=("full", "lp_ft", "scratch"))


@pytest.fixture(scope="module")
def elpv(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return build(World(shifted=True, mistaken=True), tmp_path_factory.mktemp("elpv"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return build(DIGITS, tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Evaluated as long ago: none of the further files."""
    return build(World(findings=False), tmp_path_factory.mktemp("bare"))


def section(results: Results, heading: str) -> str:
    text = markdown(compose(results, "A title", list(DRAWERS)))
    assert f"\n## {heading}\n" in text
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def with_findings(results: Results, **changed) -> Results:
    return replace(results, findings=replace(results.findings, **changed))


# --- where nothing was asked


def test_what_was_not_asked_says_in_a_sentence_how_it_would_be(bare: Results) -> None:
    for heading, words in {
        "Calibration": "`dvc repro evaluate` would say here",
        "Choosing a threshold": "`reports/operating.csv`",
        "With fewer labels": "name some under `learning` in `params.yaml`",
        "On another domain": "set `split.method: leave_domain_out`",
        "With the wrong preprocessing": "list a backbone that has `mismatch`",
        "What the literature claims, and what we found": "`reports/claims.json`",
    }.items():
        told = section(bare, heading).strip()
        assert words in told and "\n" not in told and "|" not in told
    assert "`dvc repro gallery` collects the errors" in section(bare, "Where the best goes wrong")
    assert "In a sentence" not in section(bare, "Differences to the reference")
    assert "From group to group" not in markdown(compose(bare, "A title", []))
    assert {name for name, drawer in DRAWERS.items() if name not in ("cost", "folds", "training") and drawer(bare) is not None} == {
        *("differences", "confusion", "curves"),
    }


# --- differences


def test_every_comparison_has_its_sentence_and_its_tests(elpv: Results, digits: Results) -> None:
    told = section(elpv, "Differences to the reference")
    assert "- `lite0/lp_ft` and `lite0/linear_probe` differ by +0.021 in roc_auc.\n" in told
    assert told.count(" differ by ") == 15
    assert "| strategy | chance of being better | Holm p, permutation |\n" in told and "McNemar" not in told
    assert "| `lite0/lp_ft` | 99 % | 0.021 |" in told
    alone = section(digits, "Differences to the reference")
    assert "| p, McNemar (accuracy) |" in alone and "DeLong" not in alone  # ten classes
    assert "| `lite0/lp_ft` | 99 % | 0.021 | 0.004 |" in alone and "take images for independent" in alone


# --- thresholds


def test_a_threshold_is_the_highest_that_finds_enough(elpv: Results) -> None:
    """In this world recall is 1 - t^2, at steps of 0.025."""
    points = of("lite0/lp_ft", elpv.findings.operating)
    for recall in (0.5, 0.8, 0.9, 0.95, 0.99):
        found = point_for(points, recall)
        assert found is not None and found.threshold == pytest.approx(math.floor(math.sqrt(1 - recall) / 0.025 + 1e-9) * 0.025)
    assert point_for([OperatingPoint("b", "s", 0.5, 1.0, 0.4, 1.0, 1.0, 1.0)], 0.5) is None
    told = section(elpv, "Choosing a threshold")
    assert "| 90 % | 0.30 | 0.910 | 0.495 | 0.548 | 0.420 | 0.729 |" in told and "“defective”" in told


# --- calibration


def test_calibration_before_and_after(elpv: Results) -> None:
    told = section(elpv, "Calibration")
    assert "scaling helps: log loss goes from 0.471 to 0.448, calibration error from 0.060 to 0.020." in told
    assert "| `lite0/lp_ft` | 0.471 | 0.448 | 0.060 | 0.020 | 1.31, 0.94, 1.10, 1.02 |" in told
    worse = replace(elpv.winner, pooled=elpv.winner.pooled | {"calibration": {"raw": {"log_loss": 0.4}, "scaled": {"log_loss": 0.5}}})
    assert "scaling does harm" in section(replace(elpv, winner=worse), "Calibration")
    same = replace(elpv.winner, pooled=elpv.winner.pooled | {"calibration": {"raw": {"log_loss": 0.4}, "scaled": {"log_loss": 0.401}}})
    assert "scaling changes little" in section(replace(elpv, winner=same), "Calibration")


# --- groups


def test_groups_are_sorted_and_the_lead_is_counted(elpv: Results) -> None:
    told = section(elpv, "From group to group")
    names = ("lite0/lp_ft", "lite0/linear_probe")
    best, reference = ({row.group: row.accuracy for row in of(name, elpv.findings.groups)} for name in names)
    ahead, behind = sum(best[g] > reference[g] for g in best), sum(best[g] < reference[g] for g in best)
    assert f"ahead in {ahead} of 44 inferred modules, behind in {behind}, level in {44 - ahead - behind}" in told
    hardest = min(best, key=lambda group: best[group])
    assert f"runs from {best[hardest]:.2f} ({hardest})" in told and f"\n| {hardest} | " in told
    rows = re.findall(r"^\| module \d\d \| \w+ \| \d+ \| 20 \| ([\d.]+) \|", told, re.M)
    assert len(rows) == 8 and rows == sorted(rows)
    assert "By domain its accuracy is: mono " in told


def test_many_groups_are_drawn_without_names(elpv: Results) -> None:
    row = elpv.findings.groups[0]
    many = [replace(row, backbone="lite0", strategy="lp_ft", group=f"g{i}") for i in range(NAMED + 1)]
    figure = draw_groups(with_findings(elpv, groups=many))
    assert figure is not None and not figure.axes[0].get_xticks().size


# --- fewer labels


def test_gains_and_gaps_are_told_with_their_doubt(elpv: Results, digits: Results) -> None:
    """Random weights lose 6 points of AUC per e-fold of labels, the rest 3: by a quarter of the labels, 8.3 and 4.2 points."""
    told = section(elpv, "With fewer labels")
    assert "from 25 % of them to all, in points of ROC AUC: `lite0/scratch` +8.3, " in told and "`lite0/full` +4.2" in told
    assert "`lite0/scratch` stands at −16.1 [−18.1, −14.1] points with 25 % of the images and at −11.9" in told
    assert "the gap shrinks as labels grow, and the intervals keep apart." in told
    assert "with 5 % of them, `lite0/linear_probe` reaches 0.730 [0.700, 0.760] if they come from all inferred modules, and 0.700" in told
    assert "| share of the images | 5 % (77) | 10 % (154) | 25 % (386) | 50 % (772) | 100 % (1,544) |" in told
    assert "| `lite0/scratch` | — | — | 0.618 [0.588, 0.648] | — | 0.701 [0.671, 0.731] |" in told
    wide = [replace(share, diff_lo=share.diff - 0.1, diff_hi=share.diff + 0.1) for share in elpv.findings.learning]
    assert "but the intervals overlap, so this may be chance." in section(with_findings(elpv, learning=wide), "With fewer labels")
    assert "whole" not in section(digits, "With fewer labels")  # there are no groups


def test_the_share_that_most_have_in_common() -> None:
    def share(strategy: str, percent: float) -> Share:
        return Share("b", strategy, "images", percent, "m", *[0.5] * 3, *[0.0] * 6)

    assert shared_percent([share("a", 5.0), share("a", 25.0), share("b", 25.0), share("b", 100.0), share("a", 100.0)]) == 25.0
    assert shared_percent([share("a", 10.0), share("a", 5.0)]) == 5.0


# --- another domain


def test_inside_and_outside_stand_side_by_side(elpv: Results) -> None:
    told = section(elpv, "On another domain")
    assert "`lite0/lp_ft` stands best, at 0.791 [0.751, 0.831], against 0.841 [0.821, 0.861] inside: " in told
    assert "inside: a change of −5.0 [−10.0, 0.0] points." in told
    assert "| `lite0/full` | each in turn | 0.838 [0.818, 0.858] | 0.738 [0.698, 0.778] | −10.0 [−15.0, −5.0] |" in told
    assert "| `lite0/full` | poly | 0.838 [0.818, 0.858] | 0.768 [0.728, 0.808] | −7.0 [−12.0, −2.0] |" in told
    single = [replace(row, outside=0.99) if row.strategy == "knn" and row.trained_on != "all" else row for row in elpv.findings.shift]
    assert "best outside is lite0/lp" in section(with_findings(elpv, shift=single), "On another domain")  # as in the sentence and the panel
    rows = [replace(row, outside=0.9, drop=-0.4) if row.strategy == "knn" else row for row in elpv.findings.shift]
    assert "`lite0/lp_ft` loses least: −5.0 [−10.0, 0.0] points." in section(with_findings(elpv, shift=rows), "On another domain")
    left_out = replace(elpv, leakage=elpv.leakage | {"method": "leave_domain_out"})
    text = markdown(compose(left_out, "A title", []))
    assert "Each fold is trained on one domain alone and tested on the others." in text and "Every image is tested once" not in text
    assert "Every figure here is of other domains" in text and "Every figure here is of other domains" not in section(elpv, "Leaderboard")


def test_a_split_that_the_data_come_with_is_said(elpv: Results) -> None:
    given = replace(elpv, leakage=elpv.leakage | {"method": "given", "groups_torn": 0})
    text = markdown(compose(given, "A title", []))
    assert "test images of 2 classes" in text and "The split is the one that the data come with" in text
    assert "Every image is tested once" not in text and "Each dot is one fold" not in text
    assert "nothing can be said about the spread from split to split" in section(given, "From fold to fold")
    torn = replace(elpv, leakage=elpv.leakage | {"method": "given", "groups_torn": 3})
    assert "but the given split tears 3 inferred modules: models were tested" in markdown(compose(torn, "A title", []))
    assert "test images of" not in markdown(compose(elpv, "A title", [])).splitlines()[2]


# --- mistakes in preprocessing


def test_the_costliest_mistake_is_named(elpv: Results) -> None:
    told = section(elpv, "With the wrong preprocessing")
    assert "What costs most is no normalisation: −6.0 [−5.0, −0.1] points of ROC AUC for `head2toe` on `lite0`." in told
    assert "| no normalisation | `lite0_unnormalised` | `lite0` | `linear_probe` | −2.0 [−5.0, −0.1] | 0.004 |" in told
    board = section(elpv, "Leaderboard")
    assert "lite0_unnormalised" not in board and "The best of them, `raw_pixels`" in board
    assert "| `lite0_unnormalised` | 0.875 |" in section(elpv, "What was trained")


def test_a_random_network_is_a_control_of_the_board(elpv: Results) -> None:
    one = next(r for r in elpv.ranked if r.name == "lite0_native/ridge")
    records = [replace(record, control=True, inputs=record.inputs | {"weights_sha256": "random"}) for record in one.records]
    board = section(replace(elpv, ranked=[replace(r, records=records) if r is one else r for r in elpv.ranked]), "Leaderboard")
    assert "| `lite0_native/ridge` (control) |" in board  # not among those whose preprocessing is wrong
    assert "shuffled labels, a network that was never trained. The best of them, `lite0_native/ridge`, reaches" in board


# --- claims


def test_claims_stand_beside_what_was_found(elpv: Results) -> None:
    told = section(elpv, "What the literature claims, and what we found")
    assert "Of 3 published claims: 2 not decidable here, 1 reproduced." in told
    assert (
        "| Pretraining helps | Raghu 2019 | +2.4 points | 13.7 [11.0, 16.1] for full − scratch | **reproduced**: the interval lies" in told
    )
    assert "| Better networks \\| transfer better | Kornblith 2019 | r = .96 | — | **not decidable here**: it needs" in told


# --- leaks


def test_audit_opens_with_its_verdict(elpv: Results, bare: Results) -> None:
    told = section(elpv, "Leak audit")
    assert told.strip().startswith("**Verdict: caution.**\n\n- Groups can be told apart.\n- Keep them \\<whole\\>.\n\nWhat was looked at:")
    assert "| AUC of labels from the size of the file, no picture | 0.61 [0.52, 0.69] | 0.50 |" in told
    assert "| AUC of labels from width and height, no picture | — | 0.50 |" in told
    assert "| share of images whose inferred module is told from their features | 0.71 | 0.02 |" in told
    assert "both sides | 0.893 | 0.50 |" in told and "| the difference, points | 7.2 [4.1, 10.4] | — |" in told
    assert "| pairs of images that look nearly alike | 2 | — |\n| ... across folds | 1 | — |\n| ... of unequal labels | 1 | — |" in told
    assert "| cell0001.png | cell\\<2\\>.png | yes | no | no | 3 | 0.991 |" in told
    old = section(bare, "Leak audit")
    assert "Nothing torn." in old and "**" not in old and "look nearly alike" not in old


# --- ten classes


def test_ten_classes_read_as_well_as_two(digits: Results, tmp_path: Path) -> None:
    text = markdown(compose(digits, "A title", list(DRAWERS)))
    assert "most probable class" in text and "Most often it takes “0” for “1” (7 images of 370), " in text
    assert "inferred module" not in text and "| image | true | predicted | probability | fold |" in text
    assert "leaves out 2 classes that no image has, or every image: “8”, “\\<9\\>”." in section(
        build(replace(DIGITS, absent=("8", "<9>")), tmp_path), "Leaderboard"
    )


# --- figures


@pytest.mark.parametrize("draw", [draw_calibration, draw_groups, draw_learning, draw_operating, draw_shift])
def test_figures_of_findings_show_the_winner(draw, elpv: Results) -> None:
    figure = draw(elpv)
    assert isinstance(figure, Figure)
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    assert any(line.get_color() == "#0072B2" and np.size(line.get_xdata()) for line in lines)


def test_shift_is_drawn_with_better_to_the_right(elpv: Results) -> None:
    figure = draw_shift(elpv)
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["each domain in turn", "trained on mono", "trained on poly"]
    assert figure.axes[0].get_yticklabels()[0].get_text() == "lite0/lp_ft"
    left, right = figure.axes[0].get_xlim()
    assert left < right


def test_losses_run_the_other_way(tmp_path: Path) -> None:
    world = World(primary="log_loss", backbones=("lite0",), trained=("full", "scratch"), shifted=True)
    results = build(world, tmp_path)
    shift, learning = draw_shift(results), draw_learning(results)
    assert shift is not None and shift.axes[0].get_xlim()[0] > shift.axes[0].get_xlim()[1]
    assert learning is not None and learning.axes[0].get_ylim()[0] > learning.axes[0].get_ylim()[1]


def test_half_filled_files_do_no_harm(tmp_path: Path) -> None:
    """Undefined figures, groups of one strategy only, a gallery without errors, an audit with nulls."""
    world = World(backbones=("lite0",), trained=("full",))
    build(world, tmp_path)
    gallery = {"winner": "lite0/full", "explained": None, "method": None, "note": "", "errors": []}
    write_json(tmp_path / "data/gallery/gallery.json", gallery)
    for name, emptied in {"reliability": "share", "operating": "precision", "groups": "accuracy", "learning": "diff"}.items():
        table = pd.read_csv(tmp_path / f"reports/{name}.csv")
        table[table["strategy"] == "full"].assign(**{emptied: None}).to_csv(tmp_path / f"reports/{name}.csv", index=False)
    results = read_results(world.runs, [], tmp_path)
    assert "| `lite0/full` |" in markdown(compose(results, "A title", list(DRAWERS)))
    for draw in (draw_calibration, draw_groups, draw_learning, draw_operating, draw_shift):
        draw(results)
