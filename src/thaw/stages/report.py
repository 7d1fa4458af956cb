"""Stage `report`: results -> reports/report.md, reports/report.html, reports/figures/."""

from pathlib import Path

from thaw.errors import exit_with_one_line
from thaw.files import write_text, write_with
from thaw.params import read_params
from thaw.reporting.figures import draw
from thaw.reporting.markdown import FIGURES, report
from thaw.reporting.page import page
from thaw.reporting.results import read_results

REPORTS = Path("reports")


def main() -> None:
    params = read_params()
    scratch = [name for name, strategy in params.strategies.items() if strategy.start == "random"]
    results = read_results(params.runs(), scratch)
    images = {f"{FIGURES}/{name}.png": data for name, data in draw(results).items()}
    text = report(results, params.report.title, [Path(address).stem for address in images])
    for address, data in images.items():
        write_with(REPORTS / address, lambda path, data=data: path.write_bytes(data))
    write_text(REPORTS / "report.md", text)
    write_text(REPORTS / "report.html", page(text, params.report.title, images))


if __name__ == "__main__":
    exit_with_one_line(main)
