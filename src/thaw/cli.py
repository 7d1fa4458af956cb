"""``thaw …``: what is not a stage."""

import os
from pathlib import Path
from typing import Annotated

import typer

from thaw.errors import exit_with_one_line
from thaw.params import Params, read_params

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def init(
    images: Annotated[
        Path, typer.Argument(help="Folder with a sub-folder for each class, or with a table or parquet files; or the table.")
    ],
    into: Annotated[Path, typer.Option(help="Empty folder, made if absent.")] = Path(),
    measure: Annotated[bool, typer.Option(help="Time this machine for a few seconds, to say how long everything takes.")] = True,
) -> None:
    """Make a project for IMAGES: params.yaml filled with what is found, the pipeline, its code, a git repository."""
    from thaw.project import init_project

    exit_with_one_line(lambda: init_project(images, into, measure))


@app.command()
def doctor() -> None:
    """Look for what is wrong with this project and its environment; a line each, with the command that mends it."""
    from thaw.doctor import examine

    exit_with_one_line(examine)


@app.command()
def check() -> None:
    """Check params.yaml, down to the blocks that every enabled strategy trains; silent if it is right."""
    exit_with_one_line(_check)


@app.command()
def answer() -> None:
    """Print the answer in five lines: winner, difference, cost, where the report is, how to see the runs."""
    exit_with_one_line(_answer)


@app.command()
def readme() -> None:
    """Write the result table into README.md."""
    exit_with_one_line(_readme)


@app.command()
def report(
    from_mlflow: Annotated[str, typer.Option(help="Store to read: sqlite:///path/to/mlflow.db or http://<server>.")],
    experiment: Annotated[str, typer.Option(help="Its track.experiment.")] = "thaw",
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("reports-from-mlflow"),
) -> None:
    """Write the report from an MLflow store alone, without runs or data: the same bytes as in reports/."""
    exit_with_one_line(lambda: _report(from_mlflow, experiment, out))


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(help="Images in a sub-folder for each class.")],
    group: Annotated[str | None, typer.Option(help="What must stay whole: a regex on the path, as '(?P<group>patient[0-9]+)'.")] = None,
    backbone_size: Annotated[int, typer.Option(help="px that the frozen backbone sees.", min=16, max=512)] = 96,
    out: Annotated[Path | None, typer.Option(help="Findings as JSON, as in reports/leakage.json.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Picture (PNG) of the worst pairs of near-identical images.")] = None,
) -> None:
    """Audit a folder of images for leaks, without a project: copies, groups, what tells labels without looking at the pictures."""
    from thaw.folder_audit import audit_folder

    exit_with_one_line(lambda: audit_folder(folder, group, backbone_size, out, sheet))


@app.command()
def phases(strategy: str) -> None:
    """Print what STRATEGY trains when: phase, length, groups, rates, decay, tensors, scalars, estimated cost; loads no data."""
    exit_with_one_line(_phases, strategy)


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Image files, and folders with everything below them; hidden files are skipped.")],
    model: Annotated[Path, typer.Option(help="Folder of a model, as stage final makes it.")] = Path("models/final"),
    csv: Annotated[Path | None, typer.Option(help="Table to write; to stdout if not given.")] = None,
) -> None:
    """Predict the class of images: path, class, probability of each. Files that cannot be read are listed at the end, with status 1."""
    from thaw.predict import predict_files

    exit_with_one_line(lambda: predict_files(paths, model, csv))


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000) -> None:
    """Open MLflow's UI on loopback, on this project's store."""
    exit_with_one_line(lambda: _ui(port))


@app.command()
def tour(
    folder: Annotated[Path, typer.Argument(help="Made if absent.")] = Path("tour"),
    params: Annotated[Path | None, typer.Option(help="A whole params file, instead of the tour's own on digits.")] = None,
    dial: Annotated[list[str] | None, typer.Option("--set", help="A dial to change, as split.method=leave_domain_out; repeatable.")] = None,
) -> None:
    """Run the whole pipeline in FOLDER, on scikit-learn's digits, small, or by --params; your own results stay as they are."""
    from thaw.tour import dials_of, run_tour

    exit_with_one_line(lambda: run_tour(Path.cwd(), folder, params, dials_of(dial or [])))


@app.command(name="lr-find")
def lr_find(
    strategy: str,
    fold: Annotated[str, typer.Option(help="Whose training images.")] = "0",
    backbone: str = "lite0",
    phase: Annotated[str, typer.Option(help="Number from 1, or name; earlier phases are not trained.")] = "1",
    steps: Annotated[int, typer.Option(help="Mini-batches.")] = 100,
    lowest: Annotated[float, typer.Option(help="First rate of the phase's highest group; the others keep their ratio to it.")] = 1e-7,
    highest: Annotated[float, typer.Option(help="Last rate.")] = 1.0,
    out: Annotated[Path | None, typer.Option(help="Picture; lr-find-BACKBONE-STRATEGY.png if not given.")] = None,
) -> None:
    """Suggest a learning rate for STRATEGY: train with growing rates on training images alone, and draw the loss (Smith 2017)."""
    exit_with_one_line(lambda: _lr_find(strategy, fold, backbone, phase, steps, lowest, highest, out))


def _read_results(params: Params):  # the type would import what `check` does not need
    from thaw.reporting.results import read_results

    scratch = [name for name, strategy in params.strategies.items() if strategy.start == "random"]
    return read_results(params.runs(), scratch)


def _check() -> None:
    from thaw.sources import check_path

    params = read_params()
    check_path(params.data)
    if params.finetune.backbones:
        from thaw.preview import preview

        for strategy in params.finetune.strategies:
            preview(params, strategy)


def _ui(port: int) -> None:
    from thaw.tracking import QUIET, ui_command

    read_params()  # only a project has a store
    command = ui_command(Path.cwd(), port)
    print(f"MLflow: http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    os.execvpe(command[0], command, {**QUIET, **os.environ})


def _answer() -> None:
    from thaw.reporting.answer import answer_lines

    print("\n".join(answer_lines(_read_results(read_params()))))


def _readme() -> None:
    from thaw.reporting.readme import readme_table, update_readme

    update_readme(Path("README.md"), readme_table(_read_results(read_params())))


def _report(uri: str, experiment: str, out: Path) -> None:
    from thaw.mlflow_report import report_from_mlflow

    report_from_mlflow(uri, experiment, out)
    print(f"{out / 'report.md'}, {out / 'report.html'}, {out / 'figures'}")


def _phases(strategy: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from thaw.preview import preview

    rows = preview(read_params(), strategy)
    table = Table(title=f"strategies.{strategy}", caption="cost: in epochs of training everything, by multiply-adds")
    for column in rows[0]:
        table.add_column(column.replace("_", " "), justify="left" if isinstance(rows[0][column], str) else "right", no_wrap=True)
    shown = ""
    for row in rows:
        again = row["phase"] == shown  # one phase's facts stand in its first row
        cells = ["" if again and name in OF_PHASE else _cell(value) for name, value in row.items()]
        table.add_row(*cells)
        shown = row["phase"]
    whole = sum({row["phase"]: row["cost"] for row in rows}.values())
    Console(width=120).print(table)
    print(f"together {whole:.1f} epochs of training everything")


OF_PHASE = ("phase", "length", "schedule", "cost")


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _lr_find(strategy: str, fold: str, backbone: str, phase: str, steps: int, lowest: float, highest: float, out: Path | None) -> None:
    from thaw.rate_finder import find_rate

    find_rate(strategy, fold, backbone, phase, steps, lowest, highest, out)


if __name__ == "__main__":
    app()
