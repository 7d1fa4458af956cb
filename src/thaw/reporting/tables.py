"""Markdown tables, and text that stays text whatever a class is called."""

import re
from collections.abc import Sequence

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>&|~$#!])")


def literal(text: str) -> str:
    """Markdown that shows ``text`` as it is, on one line: no tag, no table cell, no emphasis, no link, no formula."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def code(name: str) -> str:
    """For names of strategies and files, which hold no backtick and no bar."""
    return f"`{name}`"


def listed(lines: Sequence[str]) -> str:
    """A bullet list of Markdown lines."""
    return "\n".join(f"- {line}" for line in lines)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A pipe table; the first ``text_columns`` are aligned left, the rest, being numbers, right. Cells are Markdown already."""
    rule = [":--" if i < text_columns else "--:" for i in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))
