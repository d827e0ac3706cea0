"""`beb show`: the summary of a finished run, from its store alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def show(run: Annotated[Path, typer.Argument(help="Run folder.")]) -> None:
    """Print the summary of a finished run of any kind again; no model is loaded."""
    from beb.cli.summary import print_result
    from beb.experiments.registry import analyse
    from beb.experiments.store import Store

    with Store.read(run) as store:
        print_result(store, analyse(store), Console())
