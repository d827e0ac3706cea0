"""What a report says, before it becomes HTML or terminal text: findings, tables, figures, texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from beb.core.estimate import Band, Estimate
from beb.report.chart import Chart
from beb.report.heat_map import HeatMap
from beb.report.record import SampleGroup
from beb.report.tables import AssumptionRow
from beb.report.what_if import WhatIf
from beb.report.wording import Finding

VERDICTS = ("held", "contradicted", "not measured")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text. strong: columns in bold. empty: said where there are no rows. note: below the table.

    A cell that is "held", "contradicted" or "not measured" is shown as a verdict.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: tuple[int, ...] = (1,)
    note: str = ""
    empty: str = "None."


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page. key: its anchor. name: in the navigation. intro: what the reader sees here and why."""

    key: str
    name: str
    title: str
    intro: str = ""
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    heat_maps: tuple[HeatMap, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report.

    lede: the questions that it answers. findings: the answers, with numbers. warnings: what must be known before any
    number. notes, terms: what the words mean here. premises: what the theorems need, shown right after the answer under
    `premises_title`. summary: tables that belong to the answer. what_if: bounds at other
    settings, None where there is nothing to move. methods: the estimates
    whose computation is named under "How it was measured", by name. counts, failures: of the run.
    """

    lede: str
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    terms: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    premises: tuple[AssumptionRow, ...] = ()
    premises_title: str = "Do the theorems’ premises hold here?"
    summary: tuple[Table, ...] = ()
    sections: tuple[Section, ...] = ()
    what_if: WhatIf | None = None
    texts: tuple[SampleGroup, ...] = ()
    methods: Mapping[str, Estimate | Band] = field(default_factory=dict)

    @property
    def premise_table(self) -> Table:
        """The premises as a table for terminals."""
        rows = tuple((row.name, row.plain, row.status, row.figure) for row in self.premises)
        return Table(self.premises_title, ("premise", "in plain words", "verdict", "figure"), rows, strong=())
