"""report.html: the document as one file that needs nothing else. Nothing in it is code but one script, which is named by its hash."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from thaw.reporting.blocks import Block, Document, Folded, OnPage, Picture, Section, Table
from thaw.reporting.script import SCRIPT
from thaw.reporting.style import STYLE
from thaw.reporting.tables import breakable, unbroken

TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<title>{{ title }}</title>
<style>
{{ style }}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the report</a>
<header>
<h1>{{ title }}</h1>
{{ opening }}</header>
<nav aria-label="Contents">
<ol>
{% for section in sections %}<li><a href="#{{ section.id }}">{{ section.heading }}</a></li>
{% endfor %}</ol>
</nav>
<main id="content" tabindex="-1">
{% for section in sections %}<section id="{{ section.id }}" aria-labelledby="{{ section.id }}-heading">
<h2 id="{{ section.id }}-heading">{{ section.heading }}</h2>
{{ section.body }}</section>
{% endfor %}</main>
<script>{{ script }}</script>
</body>
</html>
"""
NARROW = 360  # px: a figure that a phone shows as it is; of a wider one it shows a part, so that letters stay readable
SORTABLE = 3  # rows from which on sorting is of use
MARKDOWN = MarkdownIt("commonmark", {"html": False})


def page(document: Document, pictures: Mapping[str, bytes]) -> str:
    """HTML of the document; ``pictures`` holds the PNG of every `Picture` in it."""
    writer = Writer(pictures)
    sections = [writer.section(section) for section in document.sections]
    environment = Environment(undefined=StrictUndefined, autoescape=True, keep_trailing_newline=True)
    return environment.from_string(TEMPLATE).render(
        title=document.title,
        policy=policy(SCRIPT),
        style=Markup(STYLE),
        script=Markup(SCRIPT),
        opening=prose(document.opening),
        sections=sections,
    )


def policy(script: str) -> str:
    """Nothing is loaded from anywhere, and no script runs but this one."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def prose(text: str) -> Markup:
    return Markup(MARKDOWN.render(unbroken(text)))


def phrase(text: str) -> Markup:
    """Markdown of one line, without a paragraph around it."""
    return Markup(MARKDOWN.renderInline(text))


class Writer:
    """Blocks -> HTML. Counts the tables, so that each has a name for those who cannot see where it stands."""

    def __init__(self, pictures: Mapping[str, bytes]) -> None:
        self.pictures = pictures
        self.tables = 0

    def section(self, section: Section) -> dict[str, Markup | str]:
        return {"id": slug(section.heading), "heading": phrase(section.heading), "body": self.blocks(section.blocks, section.heading)}

    def blocks(self, blocks: Sequence[Block], heading: str) -> Markup:
        return Markup("").join(self.block(block, heading) for block in blocks)

    def block(self, block: Block, heading: str) -> Markup:
        match block:
            case str():
                return prose(block)
            case Table():
                self.tables += 1
                return table_html(block, f"Table {self.tables}: {heading}")
            case Picture():
                return picture_html(block, self.pictures[block.name])
            case Folded():
                inside = self.blocks(block.blocks, block.summary)
                return Markup("<details>\n<summary>{}</summary>\n{}</details>\n").format(block.summary, inside)
            case OnPage():
                return block.html + Markup("\n")


def slug(heading: str) -> str:
    """Address of a section: ``what-was-trained``."""
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def picture_html(picture: Picture, png: bytes) -> Markup:
    """Drawn at 150 dots an inch, shown at 100: the same letters in every figure."""
    width, height = (size * 2 // 3 for size in png_size(png))
    source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    image = Markup('<img src="{}" alt="{}" width="{}" height="{}">').format(source, picture.alt, width, height)
    if width > NARROW:
        image = Markup('<div class="scroll wide" tabindex="0" role="region" aria-label="Figure: {}">{}</div>').format(picture.name, image)
    return Markup("<figure>\n{}\n<figcaption>{}</figcaption>\n</figure>\n").format(image, phrase(picture.caption))


def png_size(picture: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header chunk that opens every PNG."""
    return int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")


def table_html(table: Table, name: str) -> Markup:
    """Wide tables scroll by themselves, by keyboard too, instead of stretching the page."""
    head = [Markup('<th scope="col"{}>{}</th>').format(_class(table, i), phrase(text)) for i, text in enumerate(table.header)]
    rows = [
        [
            Markup('<th scope="row">{}</th>').format(breakable(phrase(cells[0])) if cells[0].startswith("`") else phrase(cells[0])),
            *(Markup("<td{}>{}</td>").format(_class(table, i), phrase(text)) for i, text in enumerate(cells[1:], 1)),
        ]
        for cells in table.rows
    ]
    if table.sketches is not None:
        head.insert(table.texts, Markup('<th scope="col" class="sketch">{}</th>').format(table.sketches.header))
        for cells, sketch in zip(rows, table.sketches.cells, strict=True):
            cells.insert(table.texts, Markup('<td class="sketch">{}</td>').format(sketch))
    body = Markup("").join(Markup("<tr>{}</tr>\n").format(Markup("").join(cells)) for cells in rows)
    kind = Markup(' class="sortable"') if len(rows) >= SORTABLE else Markup("")
    inside = Markup("<table{}>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table>").format(kind, Markup("").join(head), body)
    return Markup('<div class="scroll" tabindex="0" role="region" aria-label="{}">{}</div>\n').format(name, inside)


def _class(table: Table, column: int) -> Markup:
    if table.numeric(column):
        return Markup(' class="number"')
    return Markup(' class="words"') if column else Markup("")
