"""The benchmark's arithmetic, file and page; how fast anything is, is not tested."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # bench/ is no part of the package

from bench import extraction, page, plain, results, training  # noqa: E402
from bench.results import Row, Section, at_least, at_most, interleaved, ratio, read_section, write_section  # noqa: E402


def a_section(title: str = "A title", **changes: Any) -> Section:
    rows = [Row("thaw", [1.0, 2.0], 100, "ours", {"auc": 0.8}), Row("other", [4.0, 4.0], 100, "theirs")]
    compared = ratio(rows, "thaw", "other", "thaw to other")
    parts = {"ratios": [compared], "targets": [at_least("twice as fast", compared.median, 2.0)], "extra": {}} | changes
    return Section(title, "About it.", 2, rows, **parts)


def test_a_section_is_put_beside_the_others(tmp_path: Path) -> None:
    file = tmp_path / "reports/bench.json"
    write_section("one", a_section(), file)
    write_section("two", a_section("Two", extra={"limit": "x"}), file)
    write_section("one", a_section("One again"), file)
    assert read_section("one", file).title == "One again" and read_section("two", file).extra == {"limit": "x"}
    held = results.read_json(file)
    assert set(held) == {"machine", "versions", "one", "two"} and "extra" not in held["one"]
    assert held["machine"]["cores"] >= 1 and held["versions"]["torch"]
    assert [path.name for path in file.parent.iterdir()] == ["bench.json"]


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    write_section("one", a_section(), tmp_path / "bench.json")
    assert read_section("one", tmp_path / "bench.json") == a_section()


def test_a_section_that_cannot_be_written_leaves_the_file(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    write_section("one", a_section(), file)
    before = file.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_section("two", a_section(extra={"x": float("nan")}), file)
    assert file.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_sections_of_another_machine_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bench.json"
    with monkeypatch.context() as patch:
        patch.setattr(results, "machine", lambda: {"cpu": "Another", "cores": 64, "flags": []})
        write_section("one", a_section(), file)
    write_section("two", a_section(), file)
    assert "one" not in results.read_json(file)


def test_rounds_alternate() -> None:
    seen: list[str] = []
    found = interleaved({name: lambda name=name: seen.append(name) or len(seen) for name in "abc"}, 3)
    assert "".join(seen) == "abccbaabc"
    assert found == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_ratios_are_taken_within_a_round() -> None:
    found = ratio([Row("fast", [1.0, 2.0, 1.0]), Row("slow", [3.0, 2.0, 8.0])], "fast", "slow", "x")
    assert found.values == [3.0, 1.0, 8.0] and (found.median, found.lo, found.hi) == (3.0, 1.0, 8.0)


def test_ratios_are_per_image_where_both_rows_count_images() -> None:
    rows = [Row("all", [2.0], 200), Row("half", [2.0], 100), Row("uncounted", [1.0])]
    assert ratio(rows, "all", "half", "x").values == [2.0]
    assert ratio(rows, "all", "uncounted", "x").values == [0.5]


def test_targets() -> None:
    assert at_least("x", 2.0, 2.0).met and not at_least("x", 1.9, 2.0).met
    assert at_most("x", 0.2, 0.2).met and not at_most("x", 0.21, 0.2).met


def bare(name: str, seconds: float, cosine: float, auc: float) -> Row:
    return Row(name, [seconds], 100, "", {"smallest_cosine": cosine, "probe_auc": auc})


def test_the_limit_is_the_fastest_engine_that_agrees() -> None:
    reference, slow = bare("eager", 4.0, 1.0, 0.800), bare("slow", 3.0, 0.9999, 0.801)
    far, worse = bare("far", 1.0, 0.99, 0.800), bare("worse", 2.0, 0.9999, 0.790)
    assert extraction.fastest_agreeing([reference, slow, far, worse], "eager") == "slow"
    assert extraction.fastest_agreeing([reference, far], "eager") == "eager"


def test_smallest_cosine() -> None:
    X = np.array([[1.0, 0.0], [3.0, 4.0]], np.float32)
    assert extraction.smallest_cosine(X, np.array([[2.0, 0.0], [3.0, 0.0]], np.float32)) == pytest.approx(0.6)


def test_the_section_of_extraction_names_what_is_absent() -> None:
    names = (extraction.THAW, extraction.PROCESS, extraction.PLAIN, extraction.EAGER, extraction.ORT)
    rows = [bare(name, seconds, 1.0, 0.8) for name, seconds in zip(names, (2.0, 5.0, 14.0, 3.0, 1.5), strict=True)]
    section = extraction.section_of(rows, 1, "lite0", 96)
    assert section.extra == {"limit": extraction.ORT} and "OpenVINO is not installed" in section.about
    assert [(round(target.value, 6), target.met) for target in section.targets] == [(7.0, True), (0.75, False), (0.0, True)]


def test_the_section_of_training_has_targets_for_the_peers_that_are_there() -> None:
    rows = [Row(name, [seconds], 100) for name, seconds in ((training.THAW, 1.0), (training.TUTORIAL, 3.0), (training.BARE, 0.9))]
    ratios = [ratio(rows, training.THAW, row.name, "x") for row in rows[1:]]
    assert [(round(target.value, 2), target.met) for target in training.targets_of(ratios)] == [(3.0, True), (0.9, True)]
    assert "missing: fastai, lightning" in training.about(1, {row.name for row in rows})


def test_an_epochs_seconds_are_the_mean_and_each_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((Path(__file__).parents[1] / "params.yaml").read_bytes())
    took = {
        name: [training.Trained([first, 1.0], 100, 0.5, 0.8) for first in firsts]
        for name, firsts in ((training.THAW, (9.0, 11.0, 10.0)), (training.THAW_32, (2.0, 4.0, 3.0)), (training.TUTORIAL, (1.0, 1.0, 1.0)))
    }
    rows = [training.row_of(name, found) for name, found in took.items()]
    assert rows[0].seconds == [5.0, 6.0, 5.5] and training.between([1.0, 2.5, 3.0, 7.0]) == [1.5, 4.0]
    twice = training.section_of(rows, argparse.Namespace(rounds=3, epochs=2), took).extra
    assert twice["seconds_of_each_epoch"] == {training.THAW: [10.0, 1.0], training.THAW_32: [3.0, 1.0], training.TUTORIAL: [1.0, 1.0]}
    assert "seconds_of_each_epoch" not in training.section_of(rows, argparse.Namespace(rounds=3, epochs=1), took).extra


def test_images_are_spread_over_all_rows() -> None:
    rows = np.arange(10, 110)
    found = plain.spread(rows, 4)
    assert found.tolist() == [10, 43, 76, 109]
    assert plain.spread(rows, None) is rows and plain.spread(rows, 500) is rows


def test_a_way_in_a_process_gives_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "speaks.py").write_text("print('loading')\nprint('{\"seconds\": 2}')\n")
    (tmp_path / "fails.py").write_text("raise SystemExit('no such engine')\n")
    monkeypatch.chdir(tmp_path)
    assert results.in_a_process("speaks") == {"seconds": 2}
    with pytest.raises(RuntimeError, match="no such engine"):
        results.in_a_process("fails")


def test_the_page_says_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write_section("training", a_section("An epoch, of 96 px"))
    write_section("new", a_section("Something | new", targets=[at_least("a | hundred times", 1.0, 100.0)], extra={"tol": 1e-4}))
    (tmp_path / "docs/benchmarks").mkdir(parents=True)
    (tmp_path / "docs/benchmarks/heads.png").touch()
    page.main()
    text = Path("docs/benchmarks.md").read_text()
    assert "| thaw | 66.7 | 1.50 [1.00, 2.00] | 0.8000 | ours |" in text
    assert "| thaw to other | 3.00 [2.00, 4.00] | 4.00, 2.00 |" in text
    assert "[An epoch, of 96 px](#an-epoch-of-96-px) | twice as fast | 3.00 | 2.00 | met |" in text
    assert "a \\| hundred times | 1.00 | 100 | **not met** |" in text and "1 of 2 targets are met" in text
    assert "- tol: 0.000100" in text and "python -m bench.training" in text
    assert "bench.extraction" not in text and "heads" not in text
    assert "Nothing was measured beside other tools on a GPU yet" in text
    assert sorted(path.name for path in Path("docs/benchmarks").iterdir()) == ["new.png", "training.png"]
    assert text.index("An epoch") < text.index("Something")


def test_what_was_measured_on_a_gpu_has_a_file_and_a_page_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_section("training", a_section("On two cores"))
    with monkeypatch.context() as patch:
        for module in (results, extraction):
            patch.setattr(module, "find_device", lambda: torch.device("cuda"))
        patch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
        write_section("training", a_section("With many"))
        write_section("extraction", a_section("And more"))
        assert extraction.ways() == [extraction.THAW, extraction.PROCESS, extraction.PLAIN, extraction.EAGER]
    page.main()
    ours, theirs = (Path(f"docs/{name}.md").read_text() for name in ("benchmarks", "benchmarks-gpu"))
    assert "# Benchmarks\n" in ours and "With many" not in ours and "A GPU" not in ours
    assert theirs.startswith("# Benchmarks on a GPU\n") and "On two cores" not in theirs and "\nA GPU; " in theirs
    assert "`reports/bench-gpu.json`" in theirs and "They were set for a CPU" in theirs and "They were set" not in ours
    assert "on a GPU yet" not in ours + theirs
    assert "](benchmarks-gpu/training.png)" in theirs and Path("docs/benchmarks-gpu/training.png").exists()


def test_figures_are_the_same_bytes_every_time() -> None:
    drawn = partial(page.drawing, a_section().rows)
    first, second = drawn(), drawn()
    assert first is not None and second is not None and page.png(first) == page.png(second)
    assert page.drawing(a_section().rows[:1]) is None


def test_growth_is_drawn_over_images_with_a_line_per_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        Row(f"{stage}, {images:,} images", [images / 500], images, quality={"peak_memory_mb": 100.0 + images / 10})
        for images in (1000, 4000)
        for stage in ("fetch", "heads")
    ]
    shown = page.growth_drawing([*found, Row("finetune, 1,000 images", [9.0], 1000, quality={"peak_memory_mb": 900.0})])
    assert shown is not None
    for axes, heights in zip(shown.axes, ([2.0, 8.0], [200.0, 500.0]), strict=True):
        assert [(line.get_label(), np.asarray(line.get_ydata()).tolist()) for line in axes.lines[:2]] == [
            ("fetch", heights),
            ("heads", heights),
        ]
        assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines] == [[1000, 4000], [1000, 4000], [1000]]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1,000", "4,000"]
    assert page.growth_drawing(found[:2]) is None
    monkeypatch.chdir(tmp_path)
    write_section("growth", Section("Growth", "", 1, found, [], []))
    page.main()
    again = page.growth_drawing(found)
    assert again is not None and Path("docs/benchmarks/growth.png").read_bytes() == page.png(again)


def test_figures_of_several_things_are_a_table() -> None:
    extra = {"exponents": {"heads": {"memory": 0.5, "seconds_last": 1.25}, "fetch": {"memory": 0.25}}, "tol": 0.1, "none": {}}
    first, second = page.extra_parts(extra)
    assert first.splitlines() == [
        "| exponents | memory | seconds last |",
        "| :-- | --: | --: |",
        "| heads | 0.500 | 1.25 |",
        "| fetch | 0.250 |  |",
    ]
    assert second == "- tol: 0.100\n- none: " and list(page.extra_parts({})) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.4, "1,234"),
        (56.72, "56.7"),
        (3.0, "3.00"),
        (0.01234, "0.0123"),
        (0.0, "0"),
        (-0.5, "-0.500"),
        (99.97, "100"),
        (0.9996, "1.00"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert page.number(value) == text
