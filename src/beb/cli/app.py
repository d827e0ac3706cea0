"""The commands of `beb`, by name."""

from __future__ import annotations

from typing import Annotated

import typer

from beb.cli.best_of import best_of
from beb.cli.bound import bound
from beb.cli.compare import compare
from beb.cli.converse import converse
from beb.cli.doctor import app as doctor
from beb.cli.export import export
from beb.cli.figures import figures
from beb.cli.guardrail import guardrail
from beb.cli.laws import laws
from beb.cli.measure import measure
from beb.cli.personas import app as personas
from beb.cli.plan import plan
from beb.cli.probe import probe
from beb.cli.report import report
from beb.cli.reproduce import reproduce
from beb.cli.show import show
from beb.cli.sweep import sweep

app = typer.Typer(
    name="beb",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("measure")(measure)
app.command("probe")(probe)
app.command("bound")(bound)
app.command("guardrail")(guardrail)
app.command("best-of")(best_of)
app.command("laws")(laws)
app.command("converse")(converse)
app.add_typer(personas, name="personas")
app.command("sweep")(sweep)
app.command("plan")(plan)
app.add_typer(doctor, name="doctor")
app.command("show")(show)
app.command("report")(report)
app.command("figures")(figures)
app.command("export")(export)
app.command("reproduce")(reproduce)
app.command("compare")(compare)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"beb {version('behavior-expectation-bounds')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and stop.")
    ] = False,
) -> None:
    """Behavior Expectation Bounds: how far is a language model from misbehaving, and what would it take?"""
