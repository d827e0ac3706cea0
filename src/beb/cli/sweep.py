"""`beb sweep`: models × behaviors × scenarios from one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from beb.cli import options

if TYPE_CHECKING:
    from beb.experiments.sweep import Outcome
    from beb.report.overview.table import RunTable

OVERVIEW = "overview.html"
SOME_FAILED = 1
FIGURES = {
    "β": "β",
    "log 1/α, at least for certain": "log 1/α",
    "B without a prompt": "B before",
    "B after the longest prompts": "B after",
}
"""Columns of the overview that the terminal has room for, and what they are called here."""


def sweep(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="Models, behaviors, scenarios and their options.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the runs. [default: runs/NAME, by the file's name]")
    ] = None,
    executor: options.Executor = "local",
    offline: options.Offline = False,
) -> None:
    """Carry out many runs as one plan, or continue it; one table and one page about all of them at the end."""
    from beb.cli.progress import ProgressBar
    from beb.cli.run import executor_of
    from beb.experiments.sweep import PlannedRun, carry_out, read_sweep

    where = executor_of(executor)
    plan = read_sweep(spec, out=out)
    errors = Console(stderr=True)

    def begun(run: PlannedRun, i: int) -> None:
        bar.next_job()
        errors.print(f"run {i + 1} of {len(plan.runs)}: {run.label}", highlight=False, soft_wrap=True)

    with ProgressBar(errors) as bar:
        outcomes = carry_out(plan, offline=offline, executor=where, progress=bar, begun=begun)
    console = Console()
    _tell(outcomes, console)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(SOME_FAILED)


def _tell(outcomes: list[Outcome], console: Console) -> None:
    """The table of the runs, their reports, and what failed."""
    from beb.report.html import write_report
    from beb.report.overview.page import write_overview
    from beb.report.overview.runs import read_runs
    from beb.report.overview.table import run_table

    finished = [outcome.run for outcome in outcomes if not outcome.error]
    if finished:
        from beb.experiments.registry import analyse
        from beb.experiments.store import Store

        for run in finished:
            with Store.read(run.folder) as store:
                write_report(store, analyse(store), run.folder / "report.html")
        found = run_table(read_runs([run.folder for run in finished]))
        _print_table(found, console)
    for outcome in outcomes:
        if outcome.error:
            console.print(Text(f"no result: {outcome.run.label}: {outcome.error}", style="red"), soft_wrap=True)
    if finished:
        home = finished[0].folder.parent
        if len(finished) > 1:
            path = write_overview([run.folder for run in finished], home / OVERVIEW)
        else:
            path = finished[0].folder / "report.html"
        done = f"{len(finished)} of {len(outcomes)} finished"
        console.print(f"Runs:   {home} ({done})\nReport: {path}", highlight=False, soft_wrap=True)


def _print_table(found: RunTable, console: Console) -> None:
    """What was measured of each run, as far as it is broad enough to be read; the report has all columns."""
    shown = [i for i, column in enumerate(found.columns) if not column.is_number or column.name in FIGURES]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for i in shown:
        column = found.columns[i]
        heading = FIGURES.get(column.name, column.name)
        table.add_column(Text(f"{heading}\n{column.unit}".strip()), justify="right" if column.is_number else "left")
    for row in found.rows:
        cells = [row.cells[i] for i in shown]
        table.add_row(*(Text("\n".join((cell.text, *cell.below[:1]))) for cell in cells))
    console.print(table, highlight=False)
    if found.common:
        console.print(f"All runs: {found.common}", highlight=False)
