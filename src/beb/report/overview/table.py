"""All runs in one table whose columns can be sorted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from beb.core.estimate import Band, Estimate
from beb.experiments.best_of.record import BestOfRecord
from beb.experiments.guardrail.record import GuardrailRecord
from beb.experiments.measurement import Measurement
from beb.report.chart_data import number_cell
from beb.report.overview.runs import Run
from beb.report.rounding import count_text, dense_limits, value_text
from beb.report.tables import NOT_IDENTIFIED, no_midpoint
from beb.report.wording import headline_bounds, tightest_cap

MISSING = "—"
_NOTHING = (MISSING, "0")
PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Column:
    """name, unit: of the heading. is_number: sorted by value, and set to the right."""

    name: str
    unit: str = ""
    is_number: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """text, with smaller lines of words below it. sort: the number it is sorted by, in full; "" where there is none."""

    text: str = MISSING
    below: tuple[str, ...] = ()
    sort: str = ""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run's cells; the first column is its label, which leads to its part of the page."""

    run: Run
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class RunTable:
    """Every run, one row each. common: what all runs have in common, in words, which then has no column."""

    columns: tuple[Column, ...]
    rows: tuple[RunRow, ...]
    common: str


def run_table(runs: Sequence[Run]) -> RunTable:
    """The table of all runs; columns in which no run has anything, or all the same name, are left out."""
    cells = [[make(run) for _, make in _COLUMNS] for run in runs]
    numbers = [column.is_number for column, _ in _COLUMNS]
    same = [i for i, is_number in enumerate(numbers) if not is_number and len({row[i].text for row in cells}) == 1]
    kept = [i for i in range(len(_COLUMNS)) if i not in same and any(row[i].text not in _NOTHING for row in cells)]
    return RunTable(
        common=", ".join(f"{_COLUMNS[i][0].name.lower()} {cells[0][i].text}" for i in same),
        columns=tuple(_COLUMNS[i][0] for i in kept),
        rows=tuple(RunRow(run, tuple(row[i] for i in kept)) for run, row in zip(runs, cells, strict=True)),
    )


def _size(run: Run) -> Cell:
    n, noun = run.size
    return Cell(count_text(n, noun), sort=str(n)) if n else Cell()


def _of(estimate: Estimate) -> Cell:
    if math.isinf(estimate.low) and math.isinf(estimate.high):
        return Cell(NOT_IDENTIFIED)
    return Cell(value_text(estimate), (dense_limits(estimate),), number_cell(estimate.value))


def _beta(result: Any) -> Cell:
    """β along prompts from P₋ alone; a conversation's β is another number."""
    known = isinstance(result, Measurement | GuardrailRecord | BestOfRecord)
    return _of(result.beta) if known else Cell()


def _cap(m: Measurement | None) -> Cell:
    if m is None:
        return Cell()
    cap = tightest_cap(m)
    return Cell(f"≥ {value_text(cap)}", sort=number_cell(cap.value)) if cap.value > 0 else Cell("nothing", sort="0.0")


def _plateau(m: Measurement | None) -> Cell:
    return Cell() if m is None else _of(m.alpha.plateau.log_inverse_alpha)


def plain_response(result: Any) -> Band | None:
    """B of the target after prompts from P₋, in plain text where it was measured, corrected where it can be."""
    if isinstance(result, BestOfRecord):
        return result.single_corrected or result.curve("negative", 1).band
    if isinstance(result, GuardrailRecord):
        curves = {base.format: base.curve for base in result.baselines}
    elif isinstance(result, Measurement):
        curves = {curve.format: curve for curve in result.behavior if curve.condition == "negative"}
    else:
        return None
    if not curves:
        return None
    curve = curves.get(PLAIN) or next(iter(curves.values()))
    return curve.corrected or curve.raw


def _response(result: Any, at: int) -> Cell:
    band = plain_response(result)
    if band is None or (at == 0 and band.lengths[0] != 0):
        return Cell()
    n = band.lengths[at]
    cell = _of(band.at(n))
    return cell if at == 0 else Cell(cell.text, (*cell.below, f"n = {n}"), cell.sort)


def _midpoint(m: Measurement | None) -> Cell:
    if m is None or not m.alpha.behavior:
        return Cell()
    fit = m.alpha.behavior.get(PLAIN) or next(iter(m.alpha.behavior.values()))
    return Cell(NOT_IDENTIFIED) if no_midpoint(fit, m) else _of(fit.midpoint)


def _theorem(m: Measurement | None) -> Cell:
    report = headline_bounds(m).get("Theorem 1") if m is not None else None
    return Cell() if report is None else _of(report.bound.sharp)


def _premises(result: Any) -> Cell:
    stated = getattr(result, "assumptions", ())
    if not stated:
        return Cell()
    broken = sum(each.status == "contradicted" for each in stated)
    return Cell(f"{broken} of {len(stated)}", sort=str(broken))


def _failures(run: Run) -> Cell:
    count = sum(run.page.failures.values())
    return Cell(f"{count:,}", sort=str(count))


_COLUMNS: tuple[tuple[Column, Callable[[Run], Cell]], ...] = (
    (Column("Kind", is_number=False), lambda run: Cell(run.kind)),
    (Column("Model", is_number=False), lambda run: Cell(run.model)),
    (Column("Behavior", is_number=False), lambda run: Cell(run.behavior)),
    (Column("Sample"), _size),
    (Column("β", "nats per sentence"), lambda run: _beta(run.result)),
    (Column("log 1/α, at least for certain", "nats"), lambda run: _cap(run.measurement)),
    (Column("log 1/α, evidence plateau", "nats"), lambda run: _plateau(run.measurement)),
    (Column("B without a prompt", "−1 … +1"), lambda run: _response(run.result, 0)),
    (Column("B after the longest prompts", "−1 … +1"), lambda run: _response(run.result, -1)),
    (Column("half-way point of B", "sentences"), lambda run: _midpoint(run.measurement)),
    (Column("enough by Theorem 1, sharp", "sentences"), lambda run: _theorem(run.measurement)),
    (Column("premises contradicted", "of those stated"), lambda run: _premises(run.result)),
    (Column("failed requests"), _failures),
)
