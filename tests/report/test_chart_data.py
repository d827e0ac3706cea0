"""The numbers of a figure as CSV: exact, with units, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import pandas as pd
import pytest

from beb.core.estimate import Band
from beb.report.chart import Chart, Style
from beb.report.chart_data import chart_csv, number_cell, text_cell, unit_of
from beb.report.figures import all_charts

from .factory import HOSTILE, make_measurement

BAND = Band(
    (0, 1), (0.1 + 0.2, -1 / 3), (0.1, -0.5), (1.0, 0.2), (-math.inf, -0.7), (math.inf, 0.4), 0.95, 8, "nats", "t"
)
LABELS = (
    '=HYPERLINK("http://evil.example")', "+1", "-1", "@SUM(A1)", "\t=1+1", "  =1", "＝1+1", "'=1", '"=1', "|calc",
)  # fmt: skip


def chart(**changes: object) -> Chart:
    bare = Chart("key", "title", "caption", "alt", "sentences, n", "evidence (nats)", (0.0, 1.0), (0.0, 1.0))
    return replace(bare, **changes)  # type: ignore[arg-type]


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_every_number_is_read_back_as_it_was() -> None:
    drawn = chart()
    drawn.band(BAND, "measured", Style("negative"))
    drawn.line([0.5, 1.5], [math.pi, -math.e], "line", Style("ink"), listed=False)
    drawn.level(0.25, "level", Style("faint"))
    table = pd.read_csv(io.StringIO(chart_csv(drawn)), engine="python")
    measured = table[table["curve"] == "measured"]
    assert tuple(measured["evidence (nats)"]) == BAND.value
    assert tuple(measured["pointwise low (nats)"]) == BAND.pointwise_low
    assert tuple(measured["pointwise high (nats)"]) == BAND.pointwise_high
    assert tuple(measured["simultaneous low (nats)"]) == BAND.low
    assert tuple(measured["simultaneous high (nats)"]) == BAND.high
    assert set(measured["confidence level (share)"]) == {0.95}
    assert set(measured["independent units"]) == {8.0}
    line = table[table["curve"] == "line"]
    assert list(line["sentences, n"]) == [0.5, 1.5]
    assert list(line["evidence (nats)"]) == [math.pi, -math.e]
    assert line["pointwise low (nats)"].isna().all()
    (level,) = table[table["curve"] == "level"].to_dict("records")
    assert level["evidence (nats)"] == 0.25
    assert math.isnan(level["sentences, n"])


def test_a_figure_without_limits_has_no_columns_for_them() -> None:
    drawn = chart()
    drawn.points([1.0, 2.0], [3.0, math.inf], "points", Style("ink"))
    assert rows_of(chart_csv(drawn)) == [
        ["curve", "kind", "sentences, n", "evidence (nats)"],
        ["points", "point", "1.0", "3.0"],
        ["points", "point", "2.0", "inf"],
    ]


@pytest.mark.parametrize("label", LABELS)
def test_no_text_begins_like_a_formula(label: str) -> None:
    drawn = chart(y_title=label)
    drawn.line([0], [-1.5], label, Style("ink"))
    (header, row) = rows_of(chart_csv(drawn))
    for cell in (header[3], row[0]):
        assert cell.startswith("'")
        assert label.strip() in cell
    assert row[3] == "-1.5"  # a number stays one


@pytest.mark.parametrize("label", HOSTILE)
def test_foreign_text_stays_in_its_cell(label: str) -> None:
    drawn = chart()
    drawn.line([0, 1], [1.0, 2.0], label, Style("ink"))
    rows = rows_of(chart_csv(drawn))
    assert [len(row) for row in rows] == [4, 4, 4]
    assert all(character.isprintable() for row in rows for cell in row for character in cell)


def test_harmless_text_is_left_alone() -> None:
    assert text_cell("KL(P₋‖P₊), user P₋") == "KL(P₋‖P₊), user P₋"
    assert text_cell("−0.5 is a text with a minus sign") == "−0.5 is a text with a minus sign"


def test_units_are_read_off_the_axis_title() -> None:
    assert unit_of("evidence log P₋/P (nats)") == "nats"
    assert unit_of("behavior expectation B (−1 … +1)") == "−1 … +1"
    assert unit_of("KL(P₋‖P)") == "P₋‖P"
    assert unit_of("turn") == ""


def test_numbers_are_the_shortest_that_read_back() -> None:
    assert [number_cell(x) for x in (3, 3.0, 0.1 + 0.2, -math.inf)] == ["3", "3.0", "0.30000000000000004", "-inf"]


def test_every_figure_of_a_measurement_has_all_its_curves() -> None:
    for drawn in (each for charts in all_charts(make_measurement()).values() for each in charts):
        rows = rows_of(chart_csv(drawn))
        assert [series.label for series in drawn.series] == [item.label for item in drawn.legend]
        assert list(dict.fromkeys(row[0] for row in rows[1:])) == [text_cell(each.label) for each in drawn.series]
