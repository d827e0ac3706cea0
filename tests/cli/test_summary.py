"""What the command line prints at the end fits the terminal, says the numbers, and cannot be styled by a model."""

from __future__ import annotations

import io
import unicodedata

import pytest
from rich.cells import cell_len
from rich.console import Console

from beb.cli.summary import print_summary
from beb.experiments.measurement import Measurement
from beb.report.measure_findings import findings
from beb.report.rounding import interval_text, value_text, with_interval

from ..report.factory import make_measurement


def printed(measurement: Measurement, width: int, *, colour: bool = False) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colour, color_system="standard" if colour else None
    )
    print_summary(measurement, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("width", [80, 100, 200])
def test_fits_the_terminal(width: int) -> None:
    lines = printed(make_measurement(), width).splitlines()
    assert max(cell_len(line) for line in lines) <= min(width, 120)


def test_figures_stay_in_their_columns_at_80() -> None:
    lines = printed(make_measurement(), 80).splitlines()
    header = next(line for line in lines if line.startswith("quantity"))
    row = next(line for line in lines if line.startswith("β  "))
    for cell, name in (("5.73", "value"), ("nats per", "unit")):
        assert row.index(cell) == header.index(name)
    assert row.rindex("32") == header.rindex("n")


def test_says_the_three_answers_and_the_numbers() -> None:
    m = make_measurement()
    text = words(printed(m, 110))
    for finding in findings(m):
        assert words(finding.sentence) in text
    for each in (m.beta, m.beta_prime, m.sigma2, m.gamma):
        assert f"{value_text(each)} {interval_text(each)}" in text
    for report in m.bounds:
        assert report.bound.paper is not None
        assert f"{with_interval(report.bound.paper)} {with_interval(report.bound.sharp)}" in text
    assert "mixture contradicted: proxy gap κ = 1.21 [0.90, 1.52]" in text
    assert "About 118 prompts would halve the interval that is widest for its size (σ² under P₋, as a factor)" in text
    assert "93 % [86, 97] of 80" in text


def test_foreign_text_neither_styles_nor_moves_the_cursor() -> None:
    text = printed(make_measurement(), 100)
    assert "[bold red]markup[/bold red]" in words(text)
    assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\n"]
    coloured = printed(make_measurement(), 100, colour=True)
    assert "\x1b[31mred" not in coloured


def test_no_bound_and_no_failure() -> None:
    text = words(printed(make_measurement(bounds=(), failures={}), 80))
    assert "No bound: β is not positive" in text
    assert "Failures: none." in text
