"""`beb reproduce`: a paper's readings, recomputed from its published numbers."""

from __future__ import annotations

import json as json_format
import math
import textwrap
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from beb.core.estimate import Estimate
from beb.report.inert import visible
from beb.report.reproduce_page import INSIDE, figures, meta, page

if TYPE_CHECKING:
    from beb.experiments.reproduction import Reproduction

WIDE_ENOUGH_FOR_NOTES = 150


def reproduce(
    source: Annotated[
        str, typer.Argument(help="An embedded publication (wolf2024), or a JSON file in the same form.")
    ] = "wolf2024",
    level: Annotated[float, typer.Option(help="Confidence level of every interval.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the bootstrap over prompts.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    out: Annotated[Path | None, typer.Option(help="HTML file to write the table to as well.")] = None,
) -> None:
    """Recompute a paper's readings from its published numbers, with intervals, and say which of them follow."""
    from beb.experiments.reproduce import reproduce as recompute

    reproduction = recompute(source, level=level, seed=seed)
    if out is not None:
        from beb.report.html import write_page

        write_page(None, meta(reproduction), page(reproduction), out)
    if json:
        typer.echo(json_format.dumps(as_json(reproduction), ensure_ascii=False, allow_nan=False, indent=2))
    else:
        _print(reproduction, Console(markup=False, highlight=False))
        if out is not None:
            typer.echo(f"Report: {out}")


def as_json(reproduction: Reproduction) -> dict[str, Any]:
    """JSON-ready record; infinite limits and an unpublished number of prompts are null."""
    return {
        "source": reproduction.source,
        "citation": reproduction.citation,
        "behavior": reproduction.behavior,
        "models": dict(zip(("aligned", "pretrained"), reproduction.models, strict=True)),
        "level": reproduction.level,
        "readings": [
            {
                "section": r.section,
                "name": r.name,
                "published": list(r.published) if isinstance(r.published, tuple) else r.published,
                "recomputed": _estimate(r.recomputed),
                "inside": r.follows,
                "note": r.note,
            }
            for r in reproduction.readings
        ],
        "remarks": list(reproduction.remarks),
    }


def _estimate(e: Estimate) -> dict[str, Any]:
    value, low, high = (x if math.isfinite(x) else None for x in (e.value, e.low, e.high))
    n = e.n or None
    return {"value": value, "low": low, "high": high, "level": e.level, "n": n, "unit": e.unit, "method": e.method}


def _print(reproduction: Reproduction, console: Console) -> None:
    """The table; on narrow terminals with numbered notes below it."""
    beside = console.width >= WIDE_ENOUGH_FOR_NOTES
    title = f"{visible(reproduction.behavior)}: {visible(reproduction.models[0])}, {visible(reproduction.models[1])}"
    table = Table(title=f"{title}; intervals at {reproduction.level:.4g}")
    table.add_column("reading")
    for name in ("published", "recomputed", "interval"):
        table.add_column(name, justify="right", no_wrap=name == "interval")
    table.add_column("inside")
    table.add_column("note", justify="left" if beside else "right")
    notes: dict[str, int] = {}
    for section, readings in groupby(reproduction.readings, key=lambda r: r.section):
        table.add_section()
        table.add_row(section, style="bold")
        for r in readings:
            shown = r.note if beside or not r.note else str(notes.setdefault(r.note, len(notes) + 1))
            table.add_row(f"  {r.name}", *figures(r), INSIDE[r.follows], visible(shown))
    console.print(table)
    for note, number in notes.items():
        _paragraph(console, f"{number}. {note}")
    console.print("\ninside: whether the published figure, or part of its range, lies in the interval.")
    console.print("Units: nats, sentences. Remarks:", style="bold")
    for remark in reproduction.remarks:
        _paragraph(console, f"- {remark}")
    _paragraph(console, f"Numbers: {reproduction.citation}")


def _paragraph(console: Console, text: str) -> None:
    console.print(textwrap.fill(visible(text), width=console.width, subsequent_indent="   "))
