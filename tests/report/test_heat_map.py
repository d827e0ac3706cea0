"""Heat maps: colours that say no more than the numbers, and every number saved."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from beb.core.estimate import Estimate
from beb.report.chart import PALETTE
from beb.report.heat_map import HeatMap, heat_csv

from .colour_vision import contrast


def estimate(value: float, half: float = 0.1) -> Estimate:
    return Estimate(value, value - half, value + half, 0.95, 8, "behavior expectation", "t")


HEAT = HeatMap(
    key="heat", title="Behavior", caption="", corner="persona", columns=("n = 1", "=2+2"),
    rows=(("poet", (estimate(-0.8), estimate(0.05))), ("@clerk", (estimate(0.5), None))),
    low=-1.0, high=1.0, ends=("bad", "good"), unit="B, −1 … +1",
)  # fmt: skip


def test_colours_follow_the_number_and_its_limits() -> None:
    bad, unsure, good = (HEAT.cell(estimate(value)) for value in (-0.8, 0.05, 0.5))
    assert (bad.role, good.role) == ("negative", "positive")
    assert bad.strength > good.strength > 10 * unsure.strength
    assert HEAT.cell(estimate(-0.8, 0.9)).strength < bad.strength / 2  # the limits include 0
    assert HEAT.cell(replace(estimate(-0.8), value=-3.0, low=-4.0)).strength == HEAT.tint(0.0)[1]
    assert (HEAT.cell(None).text, HEAT.cell(None).strength) == ("—", 0)
    rising = replace(HEAT, scale="sequential", low=0.0)
    assert [rising.tint(x)[1] for x in (0.0, 0.5, 1.0)] == sorted(rising.tint(x)[1] for x in (0.0, 0.5, 1.0))
    assert {role for role, _ in rising.swatches} == {"theory"}


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("scale", ["diverging", "sequential"])
def test_the_numbers_can_be_read_on_every_colour(theme: int, scale: str) -> None:
    text = ((29, 33, 39), (228, 231, 235))[theme]
    for role, strength in replace(HEAT, scale=scale).swatches:  # type: ignore[arg-type]
        mixed = [
            a * strength / 100 + b * (1 - strength / 100)
            for a, b in zip(PALETTE[role][theme], PALETTE["page"][theme], strict=True)
        ]
        assert contrast(text, mixed) >= 4.5, (role, strength)


def test_words_and_file_hold_the_numbers() -> None:
    assert HEAT.alt == "Behavior, B, −1 … +1: from −0.80 (poet, n = 1) to 0.50 (@clerk, n = 1)."
    rows = list(csv.DictReader(io.StringIO(heat_csv(HEAT))))
    assert [row["persona"] for row in rows] == ["poet", "poet", "'@clerk"]
    assert rows[1]["column"] == "'=2+2"
    assert float(rows[0]["value (B, −1 … +1)"]) == -0.8
    assert float(rows[0]["low (B, −1 … +1)"]) == -0.8 - 0.1
    assert {row["confidence level (share)"] for row in rows} == {"0.95"}
    assert replace(HEAT, rows=()).alt == "Behavior: no number."
    strengths = [strength for _, strength in HEAT.swatches]
    assert strengths == strengths[::-1]  # as much colour for bad as for good
