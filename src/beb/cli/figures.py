"""`beb figures`: the figures of a finished run for a paper, from its store alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def figures(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    format: Annotated[str, typer.Option(help="svg, png or pdf.")] = "pdf",  # noqa: A002 - the option's name
    width: Annotated[str, typer.Option(help="column (3.3 in) or page (7 in) of a two-column page.")] = "column",
    out: Annotated[Path | None, typer.Option(help="Folder to write to. [default: RUN/figures]")] = None,
) -> None:
    """Write every figure of a finished run for print, each with its numbers as CSV; no model is loaded."""
    from beb.experiments.registry import analyse
    from beb.experiments.store import Store
    from beb.report.paper import check_figures, write_figures

    check_figures(format, width)
    with Store.read(run) as store:
        written = write_figures(store, analyse(store), out or run / "figures", file_format=format, width=width)
    for path in written:
        Console().print(str(path), highlight=False, soft_wrap=True)
