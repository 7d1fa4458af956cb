"""The page in a real browser: nothing is loaded, nothing planted runs, tables sort, a phone shows it without scrolling sideways."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from test_reporting_world import World, build, thumbnail

from thaw.reporting.document import compose
from thaw.reporting.page import page

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium, chromium-browser or google-chrome here")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=3000", "--window-size=1400,900", "--dump-dom",
)  # fmt: skip
FIGURES = ("differences", "cost", "folds", "groups", "confusion", "curves", "operating", "calibration", "learning", "shift", "training")
ALERTS = "window.alerts = 0; window.alert = () => { window.alerts += 1; };"
TELL = "const told = document.createElement('pre'); told.id = 'told'; told.textContent = JSON.stringify(%s); document.body.append(told);"

# Clicks once on every header of every sortable table and tells the column; of the leaderboard's seconds, all three clicks.
CLICKS = """
const texts = (table, column) => [...table.tBodies[0].rows].map((row) => row.cells[column].textContent);
const columns = [], closed = [...document.querySelectorAll("details")];
for (const details of closed) details.open = true;
for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = header.querySelector("button");
    if (!button) continue;
    button.focus();
    const focused = document.activeElement === button;
    button.click();
    columns.push({ numeric: header.classList.contains("number"), focused, sort: header.getAttribute("aria-sort"),
      sorted: table.querySelectorAll("[aria-sort]").length, texts: texts(table, header.cellIndex) });
  }
}
const board = document.querySelector("table.sortable");
const seconds = [...board.tHead.rows[0].cells].find((cell) => cell.textContent.startsWith("seconds"));
seconds.querySelector("button").click();
const turns = [1, 2, 3].map(() => {
  const turn = { sort: seconds.getAttribute("aria-sort"), names: texts(board, 0), seconds: texts(board, seconds.cellIndex) };
  seconds.querySelector("button").click();
  return turn;
});
for (const details of closed) details.open = false;
const folded = () => document.querySelectorAll("details:not([open])").length;
const before = folded();
dispatchEvent(new Event("beforeprint"));
const printed = folded();
dispatchEvent(new Event("afterprint"));
const all = { columns, turns, alerts: window.alerts, folds: [before, printed, folded()], wide: document.documentElement.scrollWidth,
  alone: document.querySelectorAll("script").length };
"""


@dataclass(frozen=True)
class Visit:
    told: Any  # what the probe told; None without one
    console: list[str]


@dataclass(frozen=True)
class Server:
    """Of our own, to see what a page asks for."""

    address: str
    asked: list[str]  # paths, as they come


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            """Keeps quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield Server(f"http://127.0.0.1:{listening.server_port}", asked)
        listening.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def html(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a world whose classes are a script and a picture from elsewhere."""
    classes = ("<script>alert(1)</script>", f"<img src={server.address}/planted.png onerror=alert(2)>")
    results = build(World(classes=classes, shifted=True, mistaken=True), tmp_path_factory.mktemp("world"))
    return page(compose(results, "A title", FIGURES), dict.fromkeys(FIGURES, thumbnail(0)))


def visit(html: str, folder: Path) -> Visit:
    file = folder / "page.html"
    file.write_text(html, encoding="utf-8")
    command = [CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    told = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.S)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert done.stdout.startswith("<!DOCTYPE html>"), done.stderr
    return Visit(json.loads(unescape(told.group(1))) if told else None, console)


def probed(html: str, acts: str, result: str) -> str:
    """The page with two scripts more, that its policy is told of: one counts alerts from the start, one acts and tells at the end."""
    last = acts + TELL % result
    allowed = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in (ALERTS, last))
    html = html.replace("script-src ", f"script-src {allowed} ", 1)
    return html.replace("<style>", f"<script>{ALERTS}</script><style>", 1).replace("</body>", f"<script>{last}</script></body>")


@pytest.fixture(scope="module")
def clicked(html: str, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    return visit(probed(html, CLICKS, "all"), tmp_path_factory.mktemp("clicked"))


def number_in(text: str) -> float | None:
    found = re.search(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text.replace("−", "-").replace(",", ""))
    return float(found.group()) if found else None


def test_the_page_as_it_is_says_nothing_and_asks_for_nothing(html: str, server: Server, tmp_path: Path) -> None:
    assert visit(html, tmp_path).console == [] and server.asked == []


def test_clicks_sort_numbers_as_numbers(clicked: Visit) -> None:
    numeric = [column for column in clicked.told["columns"] if column["numeric"]]
    assert len(numeric) > 40
    for column in numeric:
        values = [number_in(text) for text in column["texts"]]
        known = [value for value in values if value is not None]
        assert known == sorted(known, reverse=True), column["texts"]
        assert None not in values[: len(known)]  # what is no number stands last
        assert column["sort"] == "descending"
    words = [column for column in clicked.told["columns"] if not column["numeric"]]
    assert len(words) > 15 and all(column["sort"] == "ascending" for column in words)
    assert all(column["focused"] and column["sorted"] == 1 for column in clicked.told["columns"])


def test_a_third_click_restores_the_order(clicked: Visit) -> None:
    down, up, none = clicked.told["turns"]
    assert (down["sort"], up["sort"], none["sort"]) == ("descending", "ascending", None)
    assert [number_in(text) for text in up["seconds"]] == sorted(number_in(text) or 0.0 for text in down["seconds"])
    assert none["names"][0] == "lite0/lp_ft" and none["names"] != down["names"] != up["names"]


def test_paper_gets_what_is_folded(clicked: Visit) -> None:
    before, printed, after = clicked.told["folds"]
    assert before == after > 10 and printed == 0


def test_nothing_planted_runs(clicked: Visit, server: Server) -> None:
    assert clicked.console == [] and clicked.told["alerts"] == 0 and clicked.told["alone"] == 3  # the page's and the two probes
    assert server.asked == []


def test_a_name_that_escaped_would_still_not_run(html: str, server: Server, tmp_path: Path) -> None:
    """The policy is a second wall; and without both, this test's own eyes see what runs and what is asked for."""
    escaped = probed(unescape(html), "", "{ alerts: window.alerts }")
    walled = visit(escaped, tmp_path)
    assert walled.told["alerts"] == 0 and server.asked == [] and any("Content Security Policy" in line for line in walled.console)
    without = visit(re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", escaped), tmp_path)
    assert without.told["alerts"] > 0 and "/planted.png" in server.asked
    server.asked.clear()


WIDTHS = """
for (const details of document.querySelectorAll("details")) details.open = true;
const found = { needed: document.documentElement.scrollWidth, inner: innerWidth, phone: matchMedia("(max-width: 36rem)").matches };
parent.postMessage(found, "*");
"""


def test_a_phone_need_not_scroll_sideways(html: str, tmp_path: Path) -> None:
    """Frames may be narrower than headless windows. Only tables and figures scroll, each by itself, whatever is unfolded."""
    (tmp_path / "inner.html").write_text(probed(html, WIDTHS, "0"), encoding="utf-8")
    listen = "addEventListener('message', (event) => { " + TELL % "event.data" + " });"
    frame = '<iframe src="inner.html" width="380" height="800" style="border:0"></iframe>'
    seen = visit(f"<!doctype html><body><script>{listen}</script>{frame}</body>", tmp_path).told
    assert seen["inner"] == 380 and seen["phone"] and seen["needed"] <= 380
