"""Differences between the measurements of a set of runs, where they can be compared, and why not where they cannot."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from beb.errors import BadSpec
from beb.experiments.compare.analyse import compare_rows
from beb.experiments.compare.checks import refuse_incomparable
from beb.experiments.compare.record import Comparison
from beb.experiments.compare.rows import RunRows, run_rows
from beb.experiments.store import Store
from beb.report.chart import Chart
from beb.report.compare_page import CHANGE, page
from beb.report.inert import one_line
from beb.report.overview.runs import Run
from beb.report.page import Table
from beb.report.wording import Finding


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Measurements of the same thing. reference: the first of them, from which the others are taken."""

    key: str
    reference: Run
    others: tuple[Run, ...]
    comparison: Comparison
    findings: tuple[Finding, ...]
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Differences:
    """groups: what can be compared. apart: pairs of runs that cannot, with the reason."""

    groups: tuple[Group, ...]
    apart: tuple[tuple[str, str, str], ...]


def differences(runs: Sequence[Run]) -> Differences:
    """Compare every measurement with the first one before it that measured the same thing."""
    measured = [run for run in runs if run.measurement is not None]
    sets: list[list[tuple[Run, RunRows]]] = []
    apart: list[tuple[str, str, str]] = []
    with ExitStack() as stack:
        stores = [stack.enter_context(Store.read(run.folder)) for run in measured] if len(measured) > 1 else []
        for run, store in zip(measured, stores, strict=False):
            rows = run_rows(store)
            refused = []
            for members in sets:
                reason = _reason(members[0], (run, rows))
                if not reason:
                    members.append((run, rows))
                    break
                refused.append((members[0][0].label, run.label, reason))
            else:
                sets.append([(run, rows)])
            apart += refused
    groups = tuple(_group(i, members) for i, members in enumerate(sets) if len(members) > 1)
    return Differences(groups, (*apart, *_other_kinds(runs)))


def _reason(before: tuple[Run, RunRows], after: tuple[Run, RunRows]) -> str:
    """Why two measurements cannot be compared; "" if they can."""
    try:
        refuse_incomparable(before[1], after[1])
    except BadSpec as refusal:
        named = str(refusal)
        for run, rows in (before, after):
            name = (rows.meta["fingerprints"].get("behavior") or {}).get("name", "")
            named = named.replace(str(rows.folder), run.label).replace(repr(name), one_line(str(name), 60))
        return one_line(named.removeprefix(f"{before[0].label} and {after[0].label} "), 400)
    return ""


def _other_kinds(runs: Sequence[Run]) -> list[tuple[str, str, str]]:
    """Scenario runs of one kind, which nothing compares."""
    found = []
    first: dict[str, Run] = {}
    for run in runs:
        if run.measurement is None:
            other = first.setdefault(run.name, run)
            if other is not run:
                found.append((other.label, run.label, "differences are computed for measurements only"))
    return found


def _group(number: int, members: Sequence[tuple[Run, RunRows]]) -> Group:
    reference, *others = (run for run, _ in members)
    measured = [run.measurement for run, _ in members]
    found = compare_rows(
        [rows for _, rows in members], [m for m in measured if m is not None], level=reference.level,
        labels=[run.label for run, _ in members],
    )  # fmt: skip
    said = page(found)
    key = f"differences-{number}"
    return Group(
        key=key,
        reference=reference,
        others=tuple(others),
        comparison=found,
        findings=said.findings,
        tables=tuple(
            replace(table, title=" — ".join(filter(None, (section.title, table.title))))
            for section in said.sections
            for table in section.tables
        ),
        charts=tuple(
            replace(chart, key=f"{key}-{chart.key}")
            for section in said.sections
            for chart in section.charts
            if chart.key.startswith(CHANGE)
        ),
        notes=said.notes,
    )
