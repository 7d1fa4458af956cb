"""What a report is made of: written once, told as Markdown (`thaw.reporting.markdown`) and as a page (`thaw.reporting.page`)."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Table:
    """Cells are Markdown. The first ``texts`` columns and the last ``notes`` are words, the rest are numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    notes: int = 0
    sketches: "Sketches | None" = None

    def numeric(self, column: int) -> bool:
        return self.texts <= column < len(self.header) - self.notes


@dataclass(frozen=True)
class Sketches:
    """A column of small drawings, one for each row of a table, that only the page has; they repeat what numbers beside them say."""

    header: str
    cells: Sequence[Markup]


@dataclass(frozen=True)
class Picture:
    """A figure by name; ``alt`` is plain text for those who cannot see it, ``caption`` Markdown that says what to see."""

    name: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Folded:
    """Blocks behind a click, for those who want to know."""

    summary: str  # plain text
    blocks: "Sequence[Block]"


@dataclass(frozen=True)
class OnPage:
    """What only a page can show; ``otherwise`` stands in its place in the text."""

    html: Markup
    otherwise: "Sequence[Block]" = ()


Block = str | Table | Picture | Folded | OnPage
"""A string is a paragraph or a list, in Markdown; an empty one is nothing."""


@dataclass(frozen=True)
class Section:
    heading: str  # Markdown
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """``opening``: what it is about, in a paragraph of Markdown, before the first section."""

    title: str  # plain text
    opening: str
    sections: Sequence[Section]


def figure(drawn: Sequence[str], name: str, alt: str, caption: str) -> list[Block]:
    """A picture, if it was drawn."""
    return [Picture(name, alt, caption)] if name in drawn else []
