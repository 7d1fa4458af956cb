"""report.md: the document as Markdown that reads well as plain text and on any forge."""

from collections.abc import Iterator, Sequence

from markupsafe import escape

from thaw.reporting.blocks import Block, Document, Folded, OnPage, Picture, Table
from thaw.reporting.tables import literal, table

FIGURES = "figures"  # beside report.md


def markdown(document: Document) -> str:
    parts = [f"# {literal(document.title)}", document.opening]
    for section in document.sections:
        parts += [f"## {section.heading}", *_told(section.blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _told(blocks: Sequence[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case str():
                yield block
            case Table():
                yield table(block.header, block.rows, block.texts, block.notes)
            case Picture():
                yield f"![{literal(block.alt)}]({FIGURES}/{block.name}.png)\n\n*{block.caption}*"
            case Folded():
                yield from _folded(block)
            case OnPage():
                yield from _told(block.otherwise)


def _folded(block: Folded) -> Iterator[str]:
    """Forges fold it; as plain text it is read as it stands. Nothing where only the page has something to show."""
    inside = [part for part in _told(block.blocks) if part]
    if inside:
        yield f"<details>\n<summary>{escape(block.summary)}</summary>"
        yield from inside
        yield "</details>"
