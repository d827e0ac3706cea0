"""`beb report`: the report of a finished run, or one page about several, from their stores alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

OVERVIEW = "overview.html"


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, of any kinds.")],
    out: Annotated[
        Path | None,
        typer.Option(help=f"File to write. [default: RUN/report.html; of several runs {OVERVIEW} beside the last]"),
    ] = None,
) -> None:
    """Write the report of a finished run again, or one page about several runs; no model is loaded."""
    if len(runs) == 1:
        path = _one(runs[0], out)
    else:
        from beb.report.overview.page import write_overview

        path = write_overview(runs, _file(out, runs[-1]))
    Console().print(f"Report: {path}", highlight=False, soft_wrap=True)


def _one(run: Path, out: Path | None) -> Path:
    from beb.experiments.registry import analyse
    from beb.experiments.store import Store
    from beb.report.html import write_report

    with Store.read(run) as store:
        return write_report(store, analyse(store), out or run / "report.html")


def _file(out: Path | None, last: Path) -> Path:
    target = out or last.resolve().parent
    return target / OVERVIEW if target.is_dir() else target
