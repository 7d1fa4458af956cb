"""Stage `report`: results -> reports/report.md, reports/report.html, reports/figures/."""

from thaw.params import read_params
from thaw.startup import run_stage


def main() -> None:
    from thaw.reporting.build import build  # with matplotlib, which may register a folder of its own to be removed at the end

    params = read_params()
    scratch = [name for name, strategy in params.strategies.items() if strategy.start == "random"]
    build(params.runs(), scratch, params.report.title)


if __name__ == "__main__":
    run_stage(main)
