"""`beb export`: the rows and numbers of a run in other programs' formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from beb.errors import BadSpec


def export(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    to: Annotated[str, typer.Option(help="parquet, csv or json.")] = "parquet",
    out: Annotated[Path | None, typer.Option(help="Folder to write to. [default: RUN/export]")] = None,
) -> None:
    """Write every table of a run, and its estimates if it is complete, one file each."""
    if to not in ("parquet", "csv", "json"):
        raise BadSpec(f"--to {to!r} is unknown; give parquet, csv or json")
    from beb.experiments.export import export_run

    for path in export_run(run, to, out or run / "export"):
        Console().print(str(path), highlight=False, soft_wrap=True)
