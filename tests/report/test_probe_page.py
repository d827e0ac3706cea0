"""The page of a probe: inert whatever a statement file says, and true to its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beb.experiments.probe.record import Misplaced, Probing
from beb.experiments.store import Store
from beb.report.html import render_report
from beb.report.probe_page import page
from beb.report.wording import share
from experiments.gaussian_states import run_probe

HOSTILE = "<script>alert(1)</script> \u202egnp.exe & \"quotes' \x00"


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Probing]]:
    folder: Path = tmp_path_factory.mktemp("probe")
    found = run_probe(folder, 1, n=60, width=30, bayes=(0.5, 0.97, 0.97, 0.5))
    with Store.read(folder) as store:
        yield store, found


def test_the_findings_say_the_numbers(probed: tuple[Store, Probing]) -> None:
    store, found = probed
    signal, noise = found.curves
    said = page(store, found)
    readable, where, pooled = said.findings
    assert readable.sentence.startswith("Yes: ")
    assert share(signal.nested) in readable.sentence
    assert share(signal.best) in readable.detail
    assert "layers 1–2 of 0–3 are above chance" in where.sentence
    assert share(noise.nested) in pooled.sentence
    (table,) = said.summary
    assert [row[-1] for row in table.rows] == ["held", "not measured"]
    silent = replace(found, curves=(replace(noise, pooling="last"), replace(noise, pooling="mean")))
    assert page(store, silent).findings[0].sentence.startswith("Not shown: ")
    assert "no layer of 0–3 is shown to be above chance" in page(store, silent).findings[1].sentence


def test_tables_and_figures_hold_every_layer_and_statement(probed: tuple[Store, Probing]) -> None:
    layers, picture, misplaced = page(*probed).sections
    assert [len(table.rows) for table in layers.tables] == [4, 4]
    (chart,) = layers.charts
    assert chart.table.columns[0] == "layer"
    assert len(chart.table.rows) == 4
    (points,) = picture.charts
    assert len(points.table.rows) == 60
    assert points.figure.layout.hovermode == "closest"
    assert [trace.mode for trace in points.figure.data] == ["markers", "markers"]
    assert "% of the variance" in points.alt
    assert 0 < len(misplaced.tables[0].rows) <= 6


def test_what_a_statement_says_is_inert(probed: tuple[Store, Probing]) -> None:
    store, found = probed
    told = replace(found.pictures[0], behavior=HOSTILE, misplaced=(Misplaced("negative", HOSTILE, 1.0),))
    curves = tuple(replace(curve, behavior=HOSTILE) for curve in found.curves)
    html = render_report(store, replace(found, pictures=(told,), curves=curves))
    assert "alert(1)</script>" not in html
    assert "\u202e" not in html
    assert "⟨U+202E⟩" in html
