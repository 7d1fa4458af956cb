"""reports/bench.json -> docs/benchmarks.md and a figure for each section, and what was measured on a GPU on a page of its own.

Every figure and verdict on a page comes from its file.

python -m bench.page
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.results import GPU_RESULTS, MACHINE, RESULTS, VERSIONS, Ratio, Row, Section, Target, read_section
from thaw.files import read_json, write_text, write_with
from thaw.reporting.drawing.canvas import BLUE, EDGE, FOLD_COLOURS, FOLD_MARKERS, GRAY, PALE, STYLE, blank, name_rows, png

PAGES = {RESULTS: Path("docs/benchmarks.md"), GPU_RESULTS: Path("docs/benchmarks-gpu.md")}
"""Results -> their page; its figures lie in a folder of its name."""
ORDER = ("extraction", "training", "heads", "comparison", "overhead", "growth", "frozen_prefix")
"""Sections on the page; others come after them, by name."""


def main() -> None:
    for results in PAGES:
        if results.exists():
            write_page(results)


def write_page(results: Path) -> None:
    sections, held, path = read_sections(results), read_json(results), PAGES[results]
    figures = path.with_suffix("")
    drawn = {name: png(figure) for name, section in sections.items() if (figure := DRAWINGS.get(name, drawing)(section.rows)) is not None}
    for stale in figures.glob("*.png"):
        stale.unlink()
    for name, picture in drawn.items():
        write_with(figures / f"{name}.png", lambda file, picture=picture: file.write_bytes(picture))
    pictures = {name: f"{figures.name}/{name}.png" for name in drawn}
    write_text(path, page(results, held[MACHINE], held[VERSIONS], sections, pictures))
    print(f"{path}: {', '.join(sections)}")


def read_sections(path: Path) -> dict[str, Section]:
    """Those that were measured, in the page's order."""
    names = set(read_json(path)) - {MACHINE, VERSIONS}
    ordered = [name for name in ORDER if name in names] + sorted(names - set(ORDER))
    return {name: read_section(name, path) for name in ordered}


# ---- words


def page(
    results: Path, machine: Mapping[str, Any], versions: Mapping[str, str], sections: Mapping[str, Section], pictures: Mapping[str, str]
) -> str:
    """``pictures``: section -> its figure, seen from the page."""
    gpu = "gpu" in machine
    parts = ["# Benchmarks on a GPU" if gpu else "# Benchmarks", introduction(results, sections, gpu), summary(sections)]
    for name, section in sections.items():
        parts += section_parts(name, section, pictures.get(name))
    parts += ["## The machine", machine_words(machine), versions_words(versions), "## Run it again", rerun_words(sections)]
    return "\n\n".join(part for part in parts if part) + "\n"


def introduction(results: Path, sections: Mapping[str, Section], gpu: bool) -> str:
    met = [target.met for section in sections.values() for target in section.targets]
    return (
        f"Written by `python -m bench.page` from `{results}`. Ways are measured in turns, so that what else the machine does meets "
        "all alike. A ratio is taken within a round and says how many times as fast the first is as the second: above 1 it is faster. "
        "Figures are medians of the rounds, with the least and the largest in brackets. "
        f"{sum(met)} of {len(met)} targets are met.{elsewhere(gpu)}"
    )


def elsewhere(gpu: bool) -> str:
    """What either page says of the other kind of machine."""
    if gpu:
        return " They were set for a CPU of two cores, and stand here for comparison."
    if GPU_RESULTS.exists():
        return ""
    return " Nothing was measured beside other tools on a GPU yet; run there, the same modules write a page of their own."


def summary(sections: Mapping[str, Section]) -> str:
    """All targets in one table, or nothing where there is none."""
    rows = [
        [f"[{section.title}](#{anchor(section.title)})", *target_cells(one)] for section in sections.values() for one in section.targets
    ]
    return table(["section", "target", "measured", "wanted", ""], rows, "llrrl") if rows else ""


def section_parts(name: str, section: Section, picture: str | None) -> Iterator[str]:
    yield f"## {section.title}"
    yield section.about
    yield f"Rounds: {section.rounds}. Again: `python -m bench.{name}`."
    yield table(*row_table(section.rows))
    if picture:
        yield f"![{section.title}]({picture})"
    if section.ratios:
        yield table(["ratio of speeds", "median [least, largest]", "rounds"], [ratio_cells(one) for one in section.ratios], "lrr")
    if section.targets:
        yield table(["target", "measured", "wanted", ""], [target_cells(one) for one in section.targets], "lrrl")
    yield from extra_parts(section.extra)


def extra_parts(extra: Mapping[str, Any]) -> Iterator[str]:
    """A table for each value that holds figures of several things, and a line for each of the others."""
    lines = list[str]()
    for key, value in extra.items():
        if isinstance(value, dict) and value and all(isinstance(one, dict) for one in value.values()):
            columns = list(dict.fromkeys(column for one in value.values() for column in one))
            cells = [[name, *(plainly(one[column]) if column in one else "" for column in columns)] for name, one in value.items()]
            yield table([words(key), *map(words, columns)], cells, "l" + "r" * len(columns))
        else:
            lines.append(f"- {words(key)}: {plainly(value)}")
    if lines:
        yield "\n".join(lines)


def words(key: str) -> str:
    return key.replace("_", " ")


def row_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]], str]:
    """Header, cells and alignment; a column for images per second and one for each kind of quality where any row has them."""
    kinds = list(dict.fromkeys(kind for row in rows for kind in row.quality))
    counted = any(row.images for row in rows)
    header = ["way", *(["images/s"] if counted else []), "seconds", *map(words, kinds), "what it is"]
    cells = [
        [
            row.name,
            *([number(row.images / median(row.seconds)) if row.images else ""] if counted else []),
            spread(row.seconds),
            *(figure(row.quality[kind]) if kind in row.quality else "" for kind in kinds),
            row.note,
        ]
        for row in rows
    ]
    return header, cells, "l" + "r" * (len(header) - 2) + "l"


def ratio_cells(one: Ratio) -> list[str]:
    return [one.name, f"{number(one.median)} [{number(one.lo)}, {number(one.hi)}]", ", ".join(map(number, one.values))]


def target_cells(one: Target) -> list[str]:
    return [one.text, number(one.value), number(one.wanted), "met" if one.met else "**not met**"]


def machine_words(machine: Mapping[str, Any]) -> str:
    flags = f" with {', '.join(machine['flags'])}" if machine["flags"] else ""
    gpu = f"{machine['gpu']}; " if "gpu" in machine else ""
    threads = ", ".join(f"{name} {value}" for name, value in machine["threads"].items())
    return (
        f"{gpu}{machine['cpu']}, {machine['cores']} cores{flags}; {machine['memory_gb']:g} GB of memory; {machine['os']}; "
        f"Python {machine['python']}; threads: {threads}."
    )


def versions_words(versions: Mapping[str, str]) -> str:
    return "Versions: " + ", ".join(f"{name} {value}" for name, value in versions.items()) + "."


def rerun_words(sections: Mapping[str, Section]) -> str:
    modules = ", ".join(f"`python -m bench.{name}`" for name in sections)
    return f"`make bench` measures everything and writes this page. One section alone: {modules}; then `python -m bench.page`."


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Markdown; ``align``: l or r for each column."""
    rule = [":--" if side == "l" else "--:" for side in align]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (header, rule, *rows))


def anchor(title: str) -> str:
    """GitHub's: letters, digits and hyphens, in lower case."""
    return "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")


def spread(values: Sequence[float]) -> str:
    middle = number(median(values))
    return middle if len(values) == 1 else f"{middle} [{number(min(values))}, {number(max(values))}]"


def number(value: float) -> str:
    """Three digits, no exponent: 1,234; 56.7; 0.0123."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    mantissa, _, decade = f"{value:.2e}".partition("e")  # rounds first: 99.97 is 100
    return f"{float(mantissa) * 10.0 ** int(decade):.{max(0, 2 - int(decade))}f}"


def figure(value: float) -> str:
    """Of quality: four decimals, six where those would make a 1 of what is less, three digits where it is large."""
    if abs(value) >= 10:
        return number(value)
    return f"{value:.6f}" if 0.9999 < value < 1 else f"{value:.4f}"


def plainly(value: Any) -> str:
    """A recorded value as one line."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list) and all(isinstance(one, int | float | str) for one in value):
        return ", ".join(map(plainly, value))
    if isinstance(value, dict):
        return "; ".join(f"{key} {plainly(one)}" for key, one in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# ---- figures


def drawing(rows: Sequence[Row]) -> Figure | None:
    """A point per way with the range of its rounds; images per second where every row counts images, else seconds. None for one row."""
    if len(rows) < 2:
        return None
    with matplotlib.style.context(["default", STYLE]):  # whatever a user's matplotlibrc says
        shown = blank(0.7 + 0.3 * len(rows))
        axes = shown.subplots()
        name_rows(axes, [row.name for row in rows])
        counted = all(row.images for row in rows)
        for place, row in enumerate(rows):
            values = [row.images / one if counted and row.images else one for one in row.seconds]
            _point(axes, values, place, BLUE if row.name.startswith("thaw") else GRAY)
        _axis(axes, "images per second (more is better)" if counted else "seconds (fewer are better)")
        return shown


def _point(axes: Axes, values: Sequence[float], place: int, colour: str) -> None:
    axes.plot([min(values), max(values)], [place, place], color=colour, linewidth=1.4)
    axes.plot(median(values), place, "o", color=colour, markersize=6)


def _axis(axes: Axes, label: str) -> None:
    axes.set_xscale("log")
    axes.margins(x=0.08)
    _logarithmic(axes.xaxis, axes.get_xlim())
    axes.set_axisbelow(True)
    axes.set_xlabel(label + ", logarithmic")


def _logarithmic(axis: Axis, limits: tuple[float, float]) -> None:
    """Since what counts are ratios."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if limits[1] < 1000 * limits[0] else (1,)))  # more would not fit side by side
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    axis.set_minor_locator(NullLocator())
    axis.grid(color=PALE)


def growth_drawing(rows: Sequence[Row]) -> Figure | None:
    """Seconds and peak memory over images, a line per stage: "stage, so many images" is a row's name. None where no stage has two sizes."""
    stages: dict[str, list[Row]] = {}
    for row in rows:
        stages.setdefault(row.name.partition(",")[0], []).append(row)
    if max((len(own) for own in stages.values()), default=0) < 2:
        return None
    with matplotlib.style.context(["default", STYLE]):
        shown = blank(4.0)
        panels = shown.subplots(1, 2)
        for (stage, own), colour, marker in zip(stages.items(), FOLD_COLOURS, FOLD_MARKERS, strict=False):
            images = [row.images for row in own]
            values = [median(row.seconds) for row in own], [row.quality["peak_memory_mb"] for row in own]
            for axes, heights in zip(panels, values, strict=True):
                axes.plot(images, heights, color=colour, marker=marker, linewidth=1.4, label=stage, **EDGE)
        for axes, label in zip(panels, ("seconds", "peak memory, MB"), strict=True):
            _axis(axes, "images")
            axes.set_xticks(sorted({row.images for row in rows if row.images}))
            axes.set_yscale("log")
            axes.margins(y=0.08)
            _logarithmic(axes.yaxis, axes.get_ylim())
            axes.set_ylabel(label + ", logarithmic")
        shown.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(stages))
        return shown


DRAWINGS: dict[str, Callable[[Sequence[Row]], Figure | None]] = {"growth": growth_drawing}
"""Section -> its own kind of figure, where it has one."""


if __name__ == "__main__":
    main()
