"""What a run prints at its end: the answer first, then the figures behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from beb.cli.page import MOST_COLUMNS, VERDICT_STYLES, answer, failure_lines, heading, print_page
from beb.experiments.measurement import Measurement
from beb.experiments.store import Store
from beb.report.inert import one_line
from beb.report.measure_findings import findings
from beb.report.pages import page_of
from beb.report.tables import NOT_IDENTIFIED, KeyFigure, alpha_rows, assumption_rows, bound_rows, key_figures, qualities
from beb.report.wording import behavior_name, halving_text, notes, spec, warnings

_SHORT_UNITS = {"behavior expectation": "B in [−1, 1]"}


def print_result(store: Store, result: Any, console: Console) -> None:
    """Print the record of a run of any kind. store: of the run."""
    if isinstance(result, Measurement):
        print_summary(result, console)
    else:
        print_page(page_of(store, result), result.meta, console)


def print_summary(measurement: Measurement, console: Console) -> None:
    """Print the answer in three sentences, the key figures, premises, bounds and the instruments' quality.

    measurement: of `beb measure`. console: where to; fits 80 columns, uses at most 120.
    """
    m = measurement
    parts: list[RenderableType] = [
        heading(f"{one_line(str(spec(m)['model']), 60)} · {behavior_name(m.meta)}"),
        *answer(warnings(m), notes(m.notes), findings(m)),
        heading("Key figures, from n prompts"),
        _key_table(m),
        heading("Four readings of α"),
        _alpha_table(m),
        heading("Premises of the theorems"),
        _premise_table(m),
        heading("Sentences that suffice (converse: that cannot), and what was observed"),
        _bound_table(m),
        heading("Instruments"),
        _quality_table(m),
        *failure_lines(m.failures),
        Text(halving_text(m)),
    ]
    console.print(Group(*parts), width=min(console.width, MOST_COLUMNS), highlight=False)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    for name in columns:
        table.add_column(Text(name))
    return table


def _figure(row: KeyFigure) -> str:
    return row.value if row.value == NOT_IDENTIFIED else f"{row.value} {row.interval}"


def _key_table(m: Measurement) -> RenderableType:
    rows = key_figures(m)
    cells = [(row.name, _figure(row), _SHORT_UNITS.get(row.unit, row.unit), row.n.split()[0]) for row in rows]
    return _explained(("quantity", "value [interval]", "unit", "n"), cells, [row.meaning for row in rows])


def _alpha_table(m: Measurement) -> RenderableType:
    rows = alpha_rows(m)
    return _explained(
        ("reading", "log 1/α", "weight α"),
        [(row.reading, row.number, row.share) for row in rows],
        [row.caveat for row in rows],
    )


def _explained(columns: Sequence[str], rows: Sequence[Sequence[str]], meanings: Sequence[str]) -> RenderableType:
    """Aligned columns with a line of plain words, as wide as the console, under each row."""
    widths = [max(cell_len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]

    def aligned(cells: Sequence[str], style: str, first: str) -> Text:
        line = Text(no_wrap=False)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            line.append(set_cell_size(cell, width + 2), style=style if i else first)
        line.rstrip()
        return line

    lines: list[RenderableType] = [aligned(columns, "dim", "dim")]
    for row, meaning in zip(rows, meanings, strict=True):
        lines += [aligned(row, "", "bold"), Padding(Text(meaning, style="dim"), (0, 0, 0, 2))]
    return Group(*lines)


def _premise_table(m: Measurement) -> RenderableType:
    table = _table("premise", "verdict", "figure")
    for row in assumption_rows(m):
        table.add_row(Text(row.name), Text(row.status, style=VERDICT_STYLES.get(row.status, "")), Text(row.figure))
    return table


def _bound_table(m: Measurement) -> RenderableType:
    rows = bound_rows(m)
    if not rows:
        return Text("No bound: β is not positive, and the theorems need β > 0.")
    table = _table("theorem, α by", "paper", "sharp", "observed")
    for row in rows:
        name = Text.assemble((row.theorem, "bold"), f", {row.reading}")
        table.add_row(name, Text(row.paper), Text(row.sharp, style="bold"), Text(row.observed))
    return table


def _quality_table(m: Measurement) -> RenderableType:
    table = _table("instrument", "held-out result", "meaning")
    for row in qualities(m):
        table.add_row(Text(row.name), Text(row.figure, style="bold"), Text(row.meaning, style="dim"))
    return table
