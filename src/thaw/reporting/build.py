"""From what lies below a root folder to report.md, report.html and figures/."""

from pathlib import Path

from thaw.files import write_text, write_with
from thaw.reporting.document import compose
from thaw.reporting.figures import draw
from thaw.reporting.markdown import FIGURES, markdown
from thaw.reporting.page import page
from thaw.reporting.results import read_results


def build(runs: list[tuple[str, str, int]], scratch: list[str], title: str, root: Path = Path(), out: Path = Path("reports")) -> None:
    """Read ``root``/{reports,data,runs,costs}; write below ``out``. Equal inputs give equal bytes, wherever the two folders lie.

    ``runs``: (backbone, strategy, fold) that count; ``scratch``: strategies that start from random weights.
    Raises `InputError` where a file that every report needs is missing.
    """
    results = read_results(runs, scratch, root)
    pictures = draw(results)
    document = compose(results, title, list(pictures))
    text, html = markdown(document), page(document, pictures)
    for stale in set((out / FIGURES).glob("*.png")) - {out / FIGURES / f"{name}.png" for name in pictures}:
        stale.unlink()
    for name, data in pictures.items():
        write_with(out / FIGURES / f"{name}.png", lambda path, data=data: path.write_bytes(data))
    write_text(out / "report.md", text)
    write_text(out / "report.html", html)
