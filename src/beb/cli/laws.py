"""`beb laws`: which law a run's curves follow, from its store alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def laws(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Annotated[Path | None, typer.Option(help="File to write. [default: RUN/laws.html]")] = None,
) -> None:
    """Compare the logistic, power and Bayesian laws on a finished run, and fit the decay of its divergence."""
    from beb.cli.page import print_page
    from beb.experiments.laws.analyse import analyse_laws
    from beb.experiments.store import Store
    from beb.report.html import write_page
    from beb.report.laws_page import page

    console = Console()
    with Store.read(run) as store:
        found = analyse_laws(store)
        shown = page(store, found)
        path = write_page(store, found.meta, shown, out or run / "laws.html")
    print_page(shown, found.meta, console)
    console.print(f"Report: {path}", highlight=False, soft_wrap=True)
