"""A report's page as terminal text: findings and tables; figures stay in the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table as Grid
from rich.text import Text

from beb.report.inert import one_line
from beb.report.page import Page, Table
from beb.report.wording import Finding, behavior_name

MOST_COLUMNS = 120
VERDICT_STYLES = {"held": "green", "contradicted": "bold red", "not measured": "yellow"}


def print_page(page: Page, meta: Mapping[str, Any], console: Console) -> None:
    """Print the answers first, then every table. Fits 80 columns, uses at most 120."""
    parts: list[RenderableType] = [
        heading(f"{one_line(str(meta['spec']['model']), 60)} · {behavior_name(meta)}"),
        *answer(page.warnings, page.notes, page.findings),
    ]
    if page.premises:
        parts += _titled(page.premise_table, "")
    for table in page.summary:
        parts += _titled(table, "")
    for section in page.sections:
        for table in section.tables:
            parts += _titled(table, section.title)
    parts += failure_lines(page.failures)
    console.print(Group(*parts), width=min(console.width, MOST_COLUMNS), highlight=False)


def heading(text: str) -> RenderableType:
    """A rule with a title."""
    return Padding(Rule(Text(text, style="bold"), align="left", characters="─"), (1, 0, 0, 0))


def answer(warnings: Sequence[str], notes: Sequence[str], findings: Sequence[Finding]) -> Iterable[RenderableType]:
    """What stands before every table."""
    for line in warnings:
        yield Text.assemble(("! ", "bold red"), line)
    for line in notes:
        yield Text.assemble(("note: ", "bold"), line)
    for finding in findings:
        yield Padding(Text(finding.question, style="bold cyan"), (1, 0, 0, 0))
        yield Text(finding.sentence)
        if finding.detail:
            yield Text(finding.detail, style="dim")


def failure_lines(failures: Mapping[str, int]) -> Iterable[RenderableType]:
    """How many requests failed, by kind."""
    if failures:
        told = "; ".join(f"{one_line(kind)} × {count:,}" for kind, count in failures.items())
        yield Padding(Text(f"Failures (never scored as answers): {told}", style="yellow"), (1, 0, 0, 0))
    else:
        yield Padding(Text("Failures: none."), (1, 0, 0, 0))


def _titled(table: Table, fallback: str) -> list[RenderableType]:
    parts = [heading(table.title or fallback), _grid(table) if table.rows else Text(table.empty)]
    return [*parts, Text(table.note, style="dim")] if table.note else parts


def _grid(table: Table) -> RenderableType:
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    for name in table.columns:
        grid.add_column(Text(name), overflow="fold")
    for row in table.rows:
        grid.add_row(*(_cell(cell, strong=i in table.strong) for i, cell in enumerate(row)))
    return grid


def _cell(cell: str, *, strong: bool) -> Text:
    return Text(cell, style=VERDICT_STYLES.get(cell, "bold" if strong else ""))
