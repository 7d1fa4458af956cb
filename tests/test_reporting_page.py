"""The page: names stay text whatever they are, nothing is loaded, one script by its hash, tables and pictures that everybody can use."""

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import Markup
from test_reporting_world import World, build, thumbnail

from thaw.reporting import build as build_module
from thaw.reporting import gallery
from thaw.reporting.blocks import Document, Folded, OnPage, Picture, Section, Sketches, Table
from thaw.reporting.document import compose
from thaw.reporting.findings import Gallery, Mistake
from thaw.reporting.markdown import markdown
from thaw.reporting.page import page, slug
from thaw.reporting.results import Results
from thaw.reporting.script import SCRIPT
from thaw.reporting.sketches import MOST, Scale, interval_sketches, phase_ends, thinned, training_traces
from thaw.reporting.style import DARK, LIGHT
from thaw.reporting.tables import literal, unbroken

NASTY = ("<script>alert(1)</script>", "a|b \\| `$x$` ![p](http://e.org/p.png) \"'><img src=x onerror=alert(3)> 漢")
FIGURES = ("differences", "cost", "folds", "groups", "confusion", "curves", "operating", "calibration", "learning", "shift", "training")
VOID = {"meta", "img", "br", "wbr", "link"}


class Outline(HTMLParser):
    """Tags with their attributes in order; ``open`` is empty at the end if every tag was closed in turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def of(self, *names: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def page_of(results: Results, title: str = "A title") -> str:
    """With a stand-in for every figure: drawing takes seconds, and is tested elsewhere."""
    return page(compose(results, title, FIGURES), dict.fromkeys(FIGURES, thumbnail(0)))


@pytest.fixture(scope="module")
def elpv(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return build(World(shifted=True, mistaken=True), tmp_path_factory.mktemp("elpv"))


@pytest.fixture(scope="module")
def html(elpv: Results) -> str:
    return page_of(elpv)


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(build(World(classes=NASTY, backbones=("lite0",)), tmp_path_factory.mktemp("nasty")), "<script>alert(2)</script>")


def document(*blocks) -> Document:
    return Document("t", "about", [Section("Part one", blocks)])


def cells_of(html: str) -> list[str]:
    return re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", html, re.S)


# --- names that are data


def test_names_stay_text(nasty: str) -> None:
    outline = Outline(nasty)
    assert not outline.open
    assert len(outline.of("script")) == 1 and not outline.of("script")[0]
    assert "<title>&lt;script&gt;alert(2)&lt;/script&gt;</title>" in nasty
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in cells_of(nasty)
    assert not [name for _, attributes in outline.tags for name in attributes if name.startswith("on")]
    assert not [image for image in outline.of("img") if not image["src"].startswith("data:image/png;base64,")]
    assert "Modules are *inferred* from &lt;row order&gt; | type." in nasty


@pytest.mark.parametrize("name", ["a|b", "*x*", "<i>", "`c`", "[l](u)", "\\", "x\n\ny", "&lt;", "_e_", "$1$", "~~s~~", "\\|", *NASTY])
def test_literal_shows_the_name_itself(name: str) -> None:
    html = page(document(Table(["h"], [["x"]]), Table(["h", "k"], [["x", literal(name)]])), {})
    shown = " ".join(name.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    assert cells_of(html)[-1] == shown


def test_names_in_attributes_cannot_leave_them(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(thumbnail(0))
    mistake = Mistake('"><b>', NASTY[1], NASTY[0], 0.9, 0, "g", "0.png", "0.png")
    outline = Outline(page(document(*gallery.error_pictures(Gallery(tmp_path, "w", "w", "", "", [mistake]))), {}))
    assert not outline.open and not outline.of("b") and len(outline.of("script")) == 1
    assert outline.of("img")[0]["alt"] == f'"><b>, {NASTY[1]} taken for {NASTY[0]}'
    html = page(document(Picture("cost", '"><b>', "c"), Folded("<b>", ["x"])), {"cost": thumbnail(0)})
    assert not Outline(html).of("b") and Outline(html).of("img")[0]["alt"] == '"><b>'


# --- nothing from elsewhere, one script


def test_page_needs_nothing_else(html: str) -> None:
    outline = Outline(html)
    addresses = [value for _, attributes in outline.tags for name, value in attributes.items() if name in ("src", "href")]
    assert addresses and not [address for address in addresses if not address.startswith(("data:image/png;base64,", "#"))]
    assert "url(" not in html and "@import" not in html and not outline.of("link", "iframe", "object", "form")


def test_only_the_page_s_own_script_may_run(html: str) -> None:
    written = re.search(r"<script>(.*?)</script>", html, re.S)
    assert written is not None and written.group(1) == SCRIPT
    policy = next(meta["content"] for meta in Outline(html).of("meta") if "http-equiv" in meta)
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy
    assert "img-src data:" in policy and "unsafe-eval" not in policy and "'unsafe-inline'" not in policy.split("script-src")[1]


# --- for everybody


def test_structure(html: str) -> None:
    outline = Outline(html)
    assert not outline.open
    ids = Counter(attributes["id"] for _, attributes in outline.tags if "id" in attributes)
    assert ids.most_common(1)[0][1] == 1
    assert {link["href"][1:] for link in outline.of("a")} <= set(ids)
    assert [len(outline.of(tag)) for tag in ("main", "nav", "header", "h1")] == [1, 1, 1, 1]
    sections = outline.of("section")
    assert len(sections) == len(outline.of("h2")) == len(outline.of("a")) - 1 > 15  # the skip link
    assert all(section["aria-labelledby"] in ids for section in sections)
    assert outline.of("html")[0]["lang"] == "en"
    assert {attributes.get("tabindex") for _, attributes in outline.tags} <= {None, "0", "-1"}


def test_pictures_have_words(html: str) -> None:
    outline = Outline(html)
    assert len(outline.of("img")) > 20 and all(len(image["alt"]) > 10 for image in outline.of("img"))
    for drawing in outline.of("svg"):
        assert drawing.get("aria-hidden") == "true" or len(drawing["aria-label"]) > 40


def test_tables_have_names_headers_and_even_rows(html: str) -> None:
    names = re.findall(r'<div class="scroll" tabindex="0" role="region" aria-label="([^"]+)"><table', html)
    assert len(names) == len(set(names)) == html.count("<table") and names[0] == "Table 1: Leaderboard"
    assert all(name in (header.get("scope") for header in Outline(html).of("th")) for name in ("col", "row"))
    for body in re.findall(r"<table[^>]*>(.*?)</table>", html, re.S):
        widths = {len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr>(.*?)</tr>", body, re.S)}
        assert len(widths) == 1


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_colours_can_be_told_from_their_ground(colours: dict[str, str]) -> None:
    """Contrast as WCAG 2.2 has it: 4.5 for text, 3 for what is drawn."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, other: str) -> float:
        bright, dark = sorted((luminance(colours[one]), luminance(colours[other])), reverse=True)
        return (bright + 0.05) / (dark + 0.05)

    for ground in ("page", "card"):
        assert min(contrast(text, ground) for text in ("ink", "soft", "accent")) >= 4.5
    assert min(contrast(role, "page") for role in ("winner", "reference", "scratch", "other")) >= 3


# --- blocks, told twice


def test_blocks_are_told_in_text_and_on_the_page() -> None:
    table = Table(["name", "n", "why"], [["`a_b/c_d`", "1", "*x*"]], notes=1, sketches=Sketches("seen", [Markup("<svg></svg>")]))
    made = document(
        "*Words*.", Folded("More & more", [table]), OnPage(Markup("<i>shown</i>"), ["told"]), Folded("Only", [OnPage(Markup("<u></u>"))])
    )
    text, html = markdown(made), page(made, {})
    assert text == (
        "# t\n\nabout\n\n## Part one\n\n*Words*.\n\n<details>\n<summary>More &amp; more</summary>\n\n"
        "| name | n | why |\n| :-- | --: | :-- |\n| `a_b/c_d` | 1 | *x* |\n\n</details>\n\ntold\n"
    )
    assert (
        "<p><em>Words</em>.</p>" in html and "<summary>More &amp; more</summary>" in html and "<i>shown</i>" in html and "told" not in html
    )
    assert '<th scope="row"><code>a_<wbr>b/<wbr>c_<wbr>d</code></th><td class="sketch"><svg></svg></td><td class="number">1</td>' in html
    assert '<td class="words"><em>x</em></td>' in html and '<th scope="col" class="sketch">seen</th>' in html


def test_sorting_is_offered_where_there_is_something_to_sort() -> None:
    html = page(document(Table(["a"], [["1"]] * 3), Table(["a"], [["1"]] * 2)), {})
    assert html.count('<table class="sortable">') == 1 and html.count("<table>") == 1


def test_slugs_are_addresses() -> None:
    assert slug("What the literature claims, and what we found") == "what-the-literature-claims-and-what-we-found"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.8 [0.1, 0.9] in 12 s", "0.8 [0.1,\u00a00.9] in 12\u00a0s"),
        ("95 % of 3 strategies", "95\u00a0% of 3 strategies"),
        ("−2.1 points [−3, 1]", "−2.1\u00a0points [−3,\u00a01]"),
        ("[a, b] and 2 so", "[a, b] and 2 so"),
    ],
)
def test_numbers_keep_to_their_units(text: str, expected: str) -> None:
    assert unbroken(text) == expected


# --- small drawings


def test_scale_maps_ends_to_ends() -> None:
    place = Scale(0.5, 1.0, 10, 110)
    assert [place(0.5), place(0.75), place(1.0)] == ["10", "60", "110"]
    assert Scale(0.5, 1.0, 110, 10)(0.75) == "60" and Scale(2.0, 2.0, 0, 10)(2.0) == "5"


def test_intervals_stand_where_their_numbers_say(elpv: Results, tmp_path: Path) -> None:
    rows = [elpv.winner, elpv.reference, elpv.controls[-1]]
    best, reference, control = (str(cell) for cell in interval_sketches(elpv, rows))
    x = [float(re.search(r'cx="([\d.]+)"', cell).group(1)) for cell in (best, reference)]  # type: ignore[union-attr]
    assert x[0] > x[1] and 'class="interval winner"' in best and 'class="interval reference"' in reference
    assert "circle" not in control and 'class="arrow"' in control  # far off the candidates' scale
    turned = build(World(primary="log_loss"), tmp_path)
    best, reference = (str(cell) for cell in interval_sketches(turned, [turned.winner, turned.reference]))
    x = [float(re.search(r'cx="([\d.]+)"', cell).group(1)) for cell in (best, reference)]  # type: ignore[union-attr]
    assert x[0] > x[1]  # right is better, of losses too


def test_traces_show_every_fold_with_words(elpv: Results) -> None:
    result = next(r for r in elpv.candidates if r.strategy == "gradual")
    outline = Outline(str(training_traces(result)))
    assert not outline.open and len(outline.of("svg")) == len(outline.of("figure")) == 4
    assert outline.of("svg")[0]["aria-label"] == (
        "Fold 0: training loss from 0.600 to 0.150, validation AUC from 0.683 to 0.826 in 4 epochs; epoch 3 was kept"
    )
    assert len([path for path in outline.of("path") if path["class"] == "phase"]) == 4 * 2  # head, top, all, all
    lines = [line["points"].split() for line in outline.of("polyline")]
    assert len(lines) == 8 and all(len(points) == 4 for points in lines)
    assert lines[0][0].split(",") == ["40", "4"] and lines[0][-1].split(",") == ["214", "62"]  # the highest loss on top, the lowest below


def test_long_curves_are_thinned() -> None:
    values = [float(i) for i in range(2000)]
    kept = thinned(values)
    assert len(kept) == MOST and kept[0] == (1, 0.0) and kept[-1] == (2000, 1999.0)
    assert all(values[place - 1] == value for place, value in kept)
    assert thinned([0.5]) == [(1, 0.5)] and phase_ends(["a", "a", "b", "c"]) == [2, 3]


# --- the gallery


def test_gallery_is_inside_the_page(html: str, elpv: Results) -> None:
    found = elpv.findings.gallery
    assert found is not None
    images = Outline(html).of("img")
    errors = [image for image in images if "taken for" in image["alt"]]
    assert [base64.b64decode(image["src"].split(",")[1]) for image in errors] == [
        (found.folder / e.image).read_bytes() for e in found.errors
    ]
    assert len([image for image in images if image["alt"].startswith("Where lite0/lp_ft looked in")]) == 5  # one error has no map
    assert "<strong>functional</strong> taken for <strong>defective</strong>, 0.97" in html and "cell0000.png · fold 0 · module 00" in html
    assert "cell0001.png and cell&lt;2&gt;.png · hash distance 3 · cosine 0.991" in html


def test_gallery_keeps_to_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(5):
        (tmp_path / f"{i}.png").write_bytes(thumbnail(i))
    errors = [Mistake(f"id{i}", "a", "b", 0.9, 0, "", f"{i}.png", "") for i in range(5)]
    monkeypatch.setattr(gallery, "FIRST", 2)
    html = page(document(*gallery.error_pictures(Gallery(tmp_path, "w", "", "", "", errors))), {})
    assert html.count("<img") == 5 and html.split("<summary>3 more errors</summary>")[1].count("<img") == 3
    monkeypatch.setattr(gallery, "ROOM", html.index("id3") - html.index('<div class="gallery">'))
    html = page(document(*gallery.error_pictures(Gallery(tmp_path, "w", "", "", "", errors))), {})
    assert html.count("<img") == 3 and "2 errors more lie in <code>data/gallery</code>." in html


def test_what_is_no_picture_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_text("<svg onload=alert(1)>", encoding="utf-8")
    assert gallery.picture(tmp_path, "0.png", "x") == gallery.picture(tmp_path, "gone.png", "x") == ""


def test_text_holds_no_picture_of_the_data(elpv: Results) -> None:
    text = markdown(compose(elpv, "A title", FIGURES))
    assert re.findall(r"!\[.*?\]\((.*?)\)", text) == [f"figures/{name}.png" for name in FIGURES]
    assert "base64" not in text and "<svg" not in text and "| cell0000.png | functional | defective | module 00 | 0.970 | 0 |" in text


# --- the whole


def test_equal_inputs_give_equal_bytes_wherever_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures, which take seconds, are compared in the stage's own test."""
    monkeypatch.setattr(build_module, "draw", lambda results: {"cost": thumbnail(0)})
    world = World(backbones=("lite0",), trained=("full",))
    written = []
    for place in ("one", "another/deeper"):
        build(world, tmp_path / place)
        out = tmp_path / place / "out"
        (out / "figures").mkdir(parents=True)
        (out / "figures/stale.png").write_bytes(thumbnail(0))
        build_module.build(world.runs, [], "T", tmp_path / place, out)
        written.append({str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()})
    assert written[0] == written[1] and list(written[0]) == ["figures/cost.png", "report.html", "report.md"]


def test_page_stays_small_however_large_the_gallery(tmp_path: Path) -> None:
    """Its share for figures is left out here: they come to a third of a megabyte."""
    results = build(World(), tmp_path)
    found = results.findings.gallery
    assert found is not None
    for path in found.folder.rglob("*.png"):
        path.write_bytes(thumbnail(0) + bytes(100_000))
    large = replace(found, errors=found.errors * 4, duplicates=found.duplicates * 24)
    html = page_of(replace(results, findings=replace(results.findings, gallery=large)))
    assert 2_000_000 < len(html) < 2_600_000
    assert "errors more lie in" in html and "pairs more lie in" in html
