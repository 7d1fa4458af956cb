"""Markdown tables, and text that stays text whatever a class is called."""

import re
from collections.abc import Sequence

from markupsafe import Markup

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>&|~$#!])")


def literal(text: str) -> str:
    """Markdown that shows ``text`` as it is, on one line: no tag, no table cell, no emphasis, no link, no formula."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def unbroken(text: str) -> str:
    """Intervals, and numbers with their unit, stay on one line."""
    return re.sub(r"(?<=\d) (?=(?:s|points)\b|%)", "\u00a0", re.sub(r"(\[[−\d.,]+,) (?=[−\d.,]+\])", "\\1\u00a0", text))


def breakable(html: Markup) -> Markup:
    """A name may go on in another line after a slash or an underscore, where the style sheet allows it."""
    return Markup(re.sub(r"(?<=\w[/_])(?=\w)", "<wbr>", html))


def code(name: str) -> str:
    """For names of strategies and files, which hold no backtick and no bar."""
    return f"`{name}`"


def listed(lines: Sequence[str]) -> str:
    """A bullet list of Markdown lines."""
    return "\n".join(f"- {line}" for line in lines)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1, notes: int = 0) -> str:
    """A pipe table of cells in Markdown; the first ``texts`` and the last ``notes`` columns stand left, the rest, being numbers, right."""
    rule = [":--" if i < texts or i >= len(header) - notes else "--:" for i in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))
