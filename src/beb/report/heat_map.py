"""A table of numbers whose cells are coloured: rows against columns, every number readable in its cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from beb.core.estimate import Estimate
from beb.report.chart_data import number_cell, text_cell
from beb.report.rounding import interval_text, value_text

Scale = Literal["diverging", "sequential"]
_MOST_COLOUR = 50  # per cent: text stays readable on it in both themes
_PALE = 0.4


@dataclass(frozen=True, slots=True)
class Cell:
    """One coloured number. role: in the palette. strength: per cent of that colour in the background."""

    text: str
    limits: str
    role: str
    strength: int


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Estimates by row and column.

    key: anchor. corner: what the row names are. low, high: values at the ends of the scale, named by `ends`.
    unit: of every number. Values outside the scale take the colour of its end. On a diverging scale a cell is pale
    whose limits include the middle, for it does not say on which side it lies.
    """

    key: str
    title: str
    caption: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Estimate | None, ...]], ...]
    low: float
    high: float
    ends: tuple[str, str]
    unit: str
    scale: Scale = "diverging"

    def cell(self, estimate: Estimate | None) -> Cell:
        """How one estimate is shown; "—" where there is none."""
        if estimate is None:
            return Cell("—", "", "page", 0)
        role, strength = self.tint((estimate.value - self.low) / (self.high - self.low))
        if self.scale == "diverging" and estimate.low <= (self.low + self.high) / 2 <= estimate.high:
            strength = round(_PALE * strength)
        return Cell(value_text(estimate), interval_text(estimate), role, strength)

    def tint(self, position: float) -> tuple[str, int]:
        """Colour and its share in per cent at a position of the scale, 0 to 1."""
        inside = min(max(position, 0.0), 1.0)
        if self.scale == "sequential":
            return "theory", round(_MOST_COLOUR * inside)
        return ("negative" if inside < 0.5 else "positive"), round(_MOST_COLOUR * abs(2 * inside - 1))

    @property
    def swatches(self) -> tuple[tuple[str, int], ...]:
        """The scale in nine steps, for its legend."""
        return tuple(self.tint(i / 8) for i in range(9))

    @property
    def alt(self) -> str:
        """The heat map in one sentence: where it is lowest and where it is highest."""
        found = [
            (estimate.value, f"{value_text(estimate)} ({name}, {column})")
            for name, estimates in self.rows
            for column, estimate in zip(self.columns, estimates, strict=True)
            if estimate is not None
        ]
        if not found:
            return f"{self.title}: no number."
        return f"{self.title}, {self.unit}: from {min(found)[1]} to {max(found)[1]}."


def heat_csv(heat: HeatMap) -> str:
    """Every number of a heat map with its limits, one row per cell; otherwise as `chart_csv`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = (f"value ({heat.unit})", f"low ({heat.unit})", f"high ({heat.unit})", "confidence level (share)")
    writer.writerow([text_cell(name) for name in (heat.corner, "column", *names, "independent units")])
    for name, estimates in heat.rows:
        for column, estimate in zip(heat.columns, estimates, strict=True):
            if estimate is not None:
                writer.writerow([text_cell(name), text_cell(column), *_numbers(estimate)])
    return text.getvalue()


def _numbers(e: Estimate) -> Sequence[str]:
    return (*map(number_cell, (e.value, e.low, e.high, e.level)), str(e.n))
