"""The page's style sheet: on a wide screen, on a phone, on paper, by day and by night."""

LIGHT = {
    "ink": "#1c1e21", "soft": "#565b64", "line": "#dcdfe4", "page": "#ffffff", "card": "#eef4f9", "accent": "#005f96",
    "winner": "#0072b2", "reference": "#222222", "scratch": "#c75300", "other": "#6f747d",
}  # fmt: skip
DARK = {
    "ink": "#e6e8ec", "soft": "#a9b0bb", "line": "#3a3f47", "page": "#171717", "card": "#1e2a35", "accent": "#6cbdf0",
    "winner": "#56b4e9", "reference": "#f2f2f2", "scratch": "#f0843c", "other": "#98a0ab",
}  # fmt: skip


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


STYLE = (
    f"""\
:root {{ color-scheme: light dark; {_variables(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}
"""
    + """\
* { box-sizing: border-box; }
html { scroll-padding-top: 3.5rem; }
body { margin: 0; color: var(--ink); background: var(--page); overflow-wrap: break-word;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; padding: .5rem 1rem; background: var(--page); z-index: 3; }
.skip:focus { left: .5rem; top: .5rem; }
header, main { max-width: 62rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.5rem; }
main { padding-bottom: 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: .5rem 0 .6rem; text-wrap: balance; }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 0 0 .8rem; }
h3 { font-size: 1rem; margin: 1.8rem 0 .4rem; }
h3 code { font-weight: 650; }
header p { color: var(--soft); margin: 0 0 1rem; }
header p, section > p, section > ul, details > p, details > ul { max-width: 46rem; }
section { border-top: 1px solid var(--line); padding-top: 1.6rem; margin-top: 2.6rem; }
section:first-of-type { border: 0; margin-top: .6rem; padding-top: 0; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }

nav { position: sticky; top: 0; z-index: 2; background: var(--page); border-bottom: 1px solid var(--line); font-size: .85rem; }
nav ol { display: flex; gap: 1.1rem; list-style: none; margin: 0; padding: .55rem 1rem; overflow-x: auto; white-space: nowrap;
  scrollbar-width: none; }
nav a { color: var(--soft); text-decoration: none; }
nav a:hover { text-decoration: underline; }
nav a[aria-current] { color: var(--accent); font-weight: 600; }

.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: .8rem; margin: 0 0 1rem; }
.tile { background: var(--card); border-radius: 8px; padding: .9rem 1rem; }
.tile p { margin: 0; }
.tile .asked { font-size: .8rem; color: var(--soft); }
.tile .figure { font-size: 1.25rem; line-height: 1.3; font-weight: 650; color: var(--accent); margin: .15rem 0; overflow-wrap: anywhere; }
.tile wbr { display: inline; }
.tile .note { font-size: .84rem; line-height: 1.4; }
section:first-of-type > ul { list-style: none; margin: 0; padding: 0; }
section:first-of-type > ul > li + li { margin-top: .6rem; }

.scroll { overflow-x: auto; margin: 1.1rem 0; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .5rem; border-bottom: 1px solid var(--line); vertical-align: top; text-align: left; }
thead th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
tbody th { font-weight: 400; }
tbody th code { white-space: nowrap; }
wbr { display: none; }
tbody tr:hover > * { background: color-mix(in srgb, var(--card) 60%, var(--page)); }
.number { text-align: right; white-space: nowrap; }
thead .number { white-space: normal; min-width: 4.2rem; }
th:first-child { position: sticky; left: 0; z-index: 1; background: var(--page); padding-left: 0; max-width: 17rem; }
.words + th, tbody th:has(+ .words) { min-width: 8rem; }
.words { min-width: 9rem; max-width: 24rem; }
th button { position: relative; margin: 0; padding: 0; border: 0; background: none; color: inherit; font: inherit; text-align: inherit;
  cursor: pointer; }
th button:hover { color: var(--accent); }
th button::after { content: "\\2195" / ""; opacity: .35; position: absolute; left: 100%; bottom: 0; font-weight: 400; }
th[aria-sort] button { color: var(--accent); }
th[aria-sort="ascending"] button::after { content: "\\2191" / ""; opacity: 1; }
th[aria-sort="descending"] button::after { content: "\\2193" / ""; opacity: 1; }

.winner { --role: var(--winner); } .reference { --role: var(--reference); } .scratch { --role: var(--scratch); }
.other, .control { --role: var(--other); }
td.sketch { width: 122px; padding-block: .3rem; vertical-align: middle; }
.interval { width: 110px; height: 18px; display: block; }
.interval path { stroke: var(--role); stroke-width: 1.6; }
.interval circle { fill: var(--role); }
.interval.control circle { fill: var(--page); stroke: var(--role); stroke-width: 1.4; }
.interval .arrow { fill: var(--role); stroke: none; }
.interval .rule { stroke: var(--other); stroke-width: 1; stroke-dasharray: 2 2; }

figure { margin: 1.3rem 0; }
figure > img, .wide > img { display: block; max-width: 100%; height: auto; border-radius: 4px; background: #fff; }
figure .scroll { margin: 0; }
figcaption { font-size: .87rem; line-height: 1.45; color: var(--soft); max-width: 46rem; margin-top: .45rem; }
@media screen and (prefers-color-scheme: dark) { figure > img, .wide > img { filter: invert(.91) hue-rotate(180deg); } }

details { margin: 1rem 0; border: 1px solid var(--line); border-radius: 6px; padding: 0 .9rem; }
details + details { margin-top: -.4rem; }
summary { cursor: pointer; padding: .5rem 0; font-size: .92rem; color: var(--accent); }
details[open] { padding-bottom: .4rem; }

.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: 1rem 1.2rem; margin: 1.1rem 0; }
.gallery figure { margin: 0; }
.gallery figcaption { margin-top: .3rem; }
.pair { display: flex; gap: 3px; }
.pair img { width: 50%; max-width: 12rem; height: auto; border-radius: 3px; display: block; }
.traces { display: flex; flex-wrap: wrap; gap: .4rem 1.2rem; }
.traces figure { margin: .3rem 0; width: min(220px, 100%); }
.traces figcaption { margin: 0 0 0 2.5rem; }
.traces svg { display: block; width: 100%; }
.traces text { font: 10px system-ui, sans-serif; fill: var(--soft); }
.traces .end { text-anchor: end; }
.traces polyline { fill: none; stroke-width: 1.6; stroke: var(--winner); }
.traces .loss { stroke: var(--scratch); }
.traces .frame { fill: none; stroke: var(--line); }
.traces .phase { stroke: var(--other); stroke-dasharray: 1 3; }
.traces .kept { fill: var(--winner); }

@media (min-width: 80rem) {
  body { display: grid; grid-template-columns: 16rem minmax(0, 68rem); justify-content: center; column-gap: 2rem; }
  header, main { max-width: none; width: 100%; margin: 0; }
  header { grid-column: 2; }
  nav { grid-column: 1; grid-row: 1 / 3; align-self: start; max-height: 100vh; overflow-y: auto; border: 0; }
  nav ol { display: block; white-space: normal; padding: 2.2rem 0 2rem 1rem; }
  nav li { margin: .42rem 0; line-height: 1.35; }
  main { grid-column: 2; }
  html { scroll-padding-top: 1rem; }
}
@media (max-width: 36rem) {
  body { font-size: .95rem; }
  h1 { font-size: 1.55rem; }
  tbody th code { white-space: normal; }
  wbr { display: inline; }
  th:first-child { min-width: 7.5rem; max-width: 7.5rem; overflow-wrap: anywhere; }
  .tiles { grid-template-columns: 1fr 1fr; gap: .5rem; }
  .tile { padding: .7rem .75rem; }
  .tile .figure { font-size: 1.1rem; }
  .words { min-width: 6rem; max-width: 15rem; }
  .wide > img { max-width: none; width: 36rem; }
}
@media print {
  body { display: block; font-size: 10pt; color: #000; background: #fff; }
  header, main { max-width: none; padding: 0; }
  nav, .skip, th button::after { display: none; }
  h2, h3, summary { break-after: avoid; }
  tr, figure, .tile { break-inside: avoid; }
  .scroll { overflow: visible; }
  figure > img, .wide > img { width: auto; max-width: min(100%, 13cm); }
  table { font-size: 7pt; }
  th, td { padding: .15rem .3rem; }
  th:first-child { position: static; }
  details { border: 0; padding: 0; }
}
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
"""
)
