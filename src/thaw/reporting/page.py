"""report.html: the Markdown report as one file that needs nothing else, on a phone, on paper, by day and by night."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{ title }}</title>
<style>
:root { --ink: #1c1e21; --soft: #5a5f68; --line: #dcdfe4; --page: #ffffff; --card: #eef4f9; --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ec; --soft: #a4abb6; --line: #3a3f47; --page: #16181c; --card: #1d2731; --accent: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 46rem; color: var(--ink); background: var(--page);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: .5rem 0 1rem; }
h2 { font-size: 1.3rem; margin: 2.8rem 0 .7rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.8rem 0 .4rem; }
h1 + p { color: var(--soft); }
h2:first-of-type { border: 0; margin-top: 1.2rem; padding-top: 0; }
h2:first-of-type + ul { margin: 0; padding: 1rem 1.2rem; list-style: none; background: var(--card);
  border-left: 4px solid var(--accent); border-radius: 0 6px 6px 0; }
h2:first-of-type + ul li + li { margin-top: .6rem; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.scroll { overflow-x: auto; margin: 1rem 0; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
td { white-space: nowrap; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--page); padding-left: 0; }
td:nth-child(2)[style*="left"] { white-space: normal; min-width: 12rem; }
img { display: block; max-width: 100%; height: auto; margin: 1.2rem auto .4rem; background: #ffffff; border-radius: 4px; }
p:has(> img) + p { margin-top: 0; font-size: .88rem; line-height: 1.45; color: var(--soft); }
p:has(> img) + p > em { font-style: normal; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; color: #000; background: #fff; }
  h2, h3 { break-after: avoid; }
  tr, img { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding: .2rem .3rem; }
  th:first-child, td:first-child { position: static; }
}
</style>
</head>
<body>
<main>
{{ body }}</main>
</body>
</html>
"""


def page(text: str, title: str, images: Mapping[str, bytes]) -> str:
    """HTML of the Markdown ``text``; ``images`` holds the PNG of every address that it shows."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    for token in tokens:
        _inline(token.children or [], images)
    body = _scrolling(markdown.renderer.render(tokens, markdown.options, {}), list(_table_names(tokens)))
    environment = Environment(undefined=StrictUndefined, autoescape=True, keep_trailing_newline=True)
    return environment.from_string(TEMPLATE).render(title=title, body=Markup(body))


def _inline(tokens: list[Token], images: Mapping[str, bytes]) -> None:
    """Put the picture itself where its address stands."""
    for token in tokens:
        if token.type == "image":
            picture = images[str(token.attrs["src"])]
            token.attrs["src"] = f"data:image/png;base64,{base64.b64encode(picture).decode('ascii')}"
            token.attrs["width"] = str(png_width(picture) * 2 // 3)  # drawn at 150 dots an inch: the same letters in every figure


def png_width(picture: bytes) -> int:
    """Pixels, from the header chunk that opens every PNG."""
    return int.from_bytes(picture[16:20], "big")


def _table_names(tokens: Sequence[Token]) -> Iterator[str]:
    """``Table 2: Leaderboard``, after the heading above it, for those who cannot see where it stands."""
    heading, number = "", 0
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is not None and before.type == "heading_open":
            heading = "".join(child.content for child in token.children or [])
        if token.type == "table_open":
            number += 1
            yield f"Table {number}: {heading}" if heading else f"Table {number}"


def _scrolling(body: str, names: Sequence[str]) -> str:
    """Wide tables scroll by themselves, by keyboard too, instead of stretching the page. Text cannot hold these tags: it is escaped."""
    labels = iter(names)
    opened = re.sub(
        "<table>", lambda _: f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(next(labels))}"><table>', body
    )
    return opened.replace("</table>", "</table></div>")
