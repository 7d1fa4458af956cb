"""Stage `report`: results -> reports/report.md, reports/report.html, reports/figures/."""

from thaw.errors import exit_with_one_line
from thaw.params import read_params
from thaw.reporting.build import build


def main() -> None:
    params = read_params()
    scratch = [name for name, strategy in params.strategies.items() if strategy.start == "random"]
    build(params.runs(), scratch, params.report.title)


if __name__ == "__main__":
    exit_with_one_line(main)
