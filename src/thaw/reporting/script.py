"""The page's only script: sorts tables, marks where the reader is, unfolds before printing. Without it the page reads as well."""

SCRIPT = """\
"use strict";
(() => {
  // "0.841 [0.772, 0.895]" counts as 0.841, "< 0.001" as a little less than that, a dash as nothing.
  const numberOf = (text) => {
    const found = text.replaceAll(",", "").replaceAll("\\u2212", "-").match(/-?\\d+(\\.\\d+)?(e[-+]?\\d+)?/i);
    return found ? Number(found[0]) - (text.trim().startsWith("<") ? 1e-9 : 0) : NaN;
  };
  const comparing = (numeric, sign) => (a, b) => {
    if (!numeric) return sign * a.text.localeCompare(b.text, "en", { numeric: true });
    if (isNaN(a.number) || isNaN(b.number)) return isNaN(a.number) - isNaN(b.number);
    return sign * (a.number - b.number);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0], original = [...body.rows];
    const headers = [...table.tHead.rows[0].cells].filter((cell) => !cell.classList.contains("sketch"));
    for (const header of headers) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      const numeric = header.classList.contains("number");
      button.addEventListener("click", () => {
        const turns = numeric ? ["descending", "ascending"] : ["ascending", "descending"];
        const turn = turns[turns.indexOf(header.getAttribute("aria-sort")) + 1];
        for (const other of headers) other.removeAttribute("aria-sort");
        if (turn) header.setAttribute("aria-sort", turn);
        const keyed = original.map((row) => {
          const text = row.cells[header.cellIndex].textContent;
          return { row, text, number: numberOf(text) };
        });
        if (turn) keyed.sort(comparing(numeric, turn === "ascending" ? 1 : -1));
        body.append(...keyed.map((entry) => entry.row));
      });
    }
  }
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const here = (id) => {
    for (const [other, link] of links) other === id ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
  };
  const watcher = new IntersectionObserver(
    (entries) => { for (const entry of entries) if (entry.isIntersecting) here(entry.target.id); },
    { rootMargin: "-15% 0px -75% 0px" },
  );
  for (const section of document.querySelectorAll("main > section")) watcher.observe(section);
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const folded of opened) folded.open = true;
  });
  addEventListener("afterprint", () => { for (const folded of opened) folded.open = false; });
})();
"""
