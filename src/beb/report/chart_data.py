"""The numbers of a figure as a CSV: full precision, one row per point, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from beb.core.estimate import Band, Estimate
from beb.report.chart import Chart, Series
from beb.report.inert import visible

# A spreadsheet takes a cell that begins so for a formula, also after blanks and in full width.
_FORMULA = re.compile(r"[\s'\"]*[=+\-@|%＝＋－＠]")
_UNIT = re.compile(r"\(([^()]*)\)\s*$")
_NO_LIMITS = ("",) * 6
_KINDS = {
    "band": "curve with limits", "bars": "curve with limits", "curve": "curve with limits", "line": "line",
    "points": "point", "area": "share", "level": "horizontal line",
}  # fmt: skip


def chart_csv(chart: Chart) -> str:
    """Everything that a figure draws, as CSV text, lines ended by "\\n".

    One row per point: the curve's name, what it is, both coordinates, and where the curve has limits the pointwise and
    the simultaneous ones, their level and the number of independent units. The header names the units. Infinite limits
    are inf and -inf; what does not exist is empty. A text that a spreadsheet would take for a formula begins with '.
    """
    return csv_text(_header(chart), _rows(chart))


def charts_csv(column: str, charts: Mapping[str, Chart]) -> str:
    """Figures that share their axes in one table, as `chart_csv`, their names in a first column called `column`."""
    header = _header(next(iter(charts.values())))
    return csv_text(
        [column, *header], ([text_cell(name), *row] for name, chart in charts.items() for row in _rows(chart))
    )


def estimates_csv(columns: Sequence[str], rows: Iterable[tuple[*tuple[str, ...], Estimate]]) -> str:
    """Estimates with their limits, one row each, after the names that say what each is; otherwise as `chart_csv`."""
    header = [*columns, "value", "low", "high", "unit", "confidence level (share)", "independent units"]
    return csv_text(header, ([*map(text_cell, names), *estimate_cells(estimate)] for *names, estimate in rows))


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as CSV. header: any texts. rows: cells that `text_cell`, `number_cell` or `estimate_cells` made."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([text_cell(name) for name in header])
    writer.writerows(rows)
    return text.getvalue()


def _header(chart: Chart) -> list[str]:
    unit = unit_of(chart.y_title)
    in_unit = f" ({unit})" if unit else ""
    header = ["curve", "kind", chart.x_title, chart.y_title]
    if _has_limits(chart):
        sides = ("pointwise low", "pointwise high", "simultaneous low", "simultaneous high")
        header += [*(f"{side}{in_unit}" for side in sides), "confidence level (share)", "independent units"]
    return header


def _has_limits(chart: Chart) -> bool:
    return any(series.band is not None for series in chart.series)


def _rows(chart: Chart) -> Iterator[list[str]]:
    for series in chart.series:
        for point, limits in _points(series):
            yield [text_cell(series.label), _KINDS[series.kind], *point, *(limits if _has_limits(chart) else ())]


def estimate_cells(e: Estimate) -> list[str]:
    """Value, low, high, unit, level and number of independent units."""
    limits = [number_cell(each) for each in (e.value, e.low, e.high)]
    return [*limits, text_cell(e.unit), number_cell(e.level), str(e.n)]


def text_cell(text: str) -> str:
    """A text on one line that no spreadsheet runs as a formula."""
    line = " ".join(visible(text).split())
    return f"'{line}" if _FORMULA.match(line) else line


def unit_of(title: str) -> str:
    """The unit at the end of an axis title: "nats" of "evidence (nats)"; "" where it names none."""
    found = _UNIT.search(title)
    return found.group(1) if found else ""


def _points(series: Series) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    if series.kind == "level":
        yield ("", number_cell(series.y[0])), _NO_LIMITS
        return
    for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        yield (number_cell(x), number_cell(y)), _limits(series.band, i) if series.band is not None else _NO_LIMITS


def _limits(band: Band, i: int) -> tuple[str, ...]:
    limits = (band.pointwise_low[i], band.pointwise_high[i], band.low[i], band.high[i], band.level)
    return (*map(number_cell, limits), str(band.n))


def number_cell(value: float) -> str:
    """A number from which the very same one can be read back."""
    return str(value) if isinstance(value, int) else repr(float(value))
