"""`beb report`: the report of a finished run, from its store alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def report(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Annotated[Path | None, typer.Option(help="File to write. [default: RUN/report.html]")] = None,
) -> None:
    """Write the report of a finished run again; no model is loaded."""
    from beb.experiments.registry import analyse
    from beb.experiments.store import Store
    from beb.report.html import write_report

    with Store.read(run) as store:
        path = write_report(store, analyse(store), out or run / "report.html")
    Console().print(f"Report: {path}", highlight=False, soft_wrap=True)
