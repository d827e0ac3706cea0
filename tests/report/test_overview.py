"""One page about several runs: what it says is what the runs say, and what can be compared is compared."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markupsafe import escape

from beb.core.estimate import Estimate
from beb.errors import BadSpec, EstimateError, StoreError
from beb.experiments.compare.analyse import compare
from beb.experiments.experiment import run_with_subjects
from beb.experiments.measure import MEASURE
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store
from beb.experiments.subjects import world_subjects
from beb.report.compare_page import page as compare_page
from beb.report.overview.answers import answers, warnings
from beb.report.overview.differences import differences
from beb.report.overview.page import render_overview, write_overview
from beb.report.overview.panels import beta_readings, multiples
from beb.report.overview.runs import Run, read_runs, short_names
from beb.report.overview.svg import tick_text, ticks
from beb.report.overview.table import Cell, run_table
from beb.report.rounding import value_text, with_interval
from beb.report.tables import key_figures
from beb.report.wording import tightest_cap
from beb.worlds.catalog import get_world

ALL = ("first", "second", "other", "guardrail", "converse", "best-of", "personas", "trace", "probe")
MEASURED = ("first", "second", "other")
SVG = {"svg": "http://www.w3.org/2000/svg"}


@pytest.fixture(scope="module")
def read(runs: dict[str, Path]) -> tuple[Run, ...]:
    return read_runs([runs[name] for name in ALL])


def of(read: tuple[Run, ...], name: str) -> Run:
    return next(run for run in read if run.label == name)


def test_every_run_is_told_by_its_answer_and_has_its_part(read: tuple[Run, ...]) -> None:
    page = render_overview(read)
    for run in read:
        assert page.count(f'id="{run.key}"') == 1
        assert f'href="#{run.key}"' in page
        for finding in run.page.findings:
            assert re.sub("[&<>'\"].*", "", finding.sentence) in page
    assert len(page.encode()) < 6e6
    assert [run.kind for run in read[3:]] == [
        "guardrails", "conversation", "best of n", "personas", "persona trace", "probe of the layers"
    ]  # fmt: skip


def test_the_table_holds_the_numbers_of_the_records(read: tuple[Run, ...]) -> None:
    table = run_table(read)
    columns = {column.name: i for i, column in enumerate(table.columns)}
    for row in table.rows:
        m = row.run.measurement
        beta, cap = row.cells[columns["β"]], row.cells[columns["log 1/α, at least for certain"]]
        if m is None:
            assert cap.text == "—"
            assert cap.sort == ""
            continue
        assert (beta.text, float(beta.sort)) == (value_text(m.beta), m.beta.value)
        assert float(cap.sort) == max(e.value for e in m.alpha.cap)
        end = row.cells[columns["B after the longest prompts"]]
        curve = next(c for c in m.behavior if c.condition == "negative")
        assert float(end.sort) == (curve.corrected or curve.raw).value[-1]
        assert end.below[-1] == f"n = {curve.raw.lengths[-1]}"
    assert float(table.rows[3].cells[columns["β"]].sort) == read[3].result.beta.value  # of the guardrail run
    assert table.rows[4].cells[columns["β"]].sort == ""  # of a conversation it is another number
    assert table.common == ""


def test_a_midpoint_that_is_not_identified_is_no_number(read: tuple[Run, ...]) -> None:
    m = read[0].measurement
    assert m is not None
    fit = m.alpha.behavior["plain"]

    def shown(low: float) -> tuple[Run, Cell]:
        midpoint = Estimate(0.5, low, math.inf, 0.95, 8, "sentences", "made up")
        alpha = replace(m.alpha, behavior={"plain": replace(fit, midpoint=midpoint)})
        run = replace(read[0], result=replace(m, alpha=alpha))
        table = run_table([run, read[1]])
        at = next(i for i, column in enumerate(table.columns) if column.name == "half-way point of B")
        return run, table.rows[0].cells[at]

    run, cell = shown(-130.0)
    assert (cell.text, cell.below, cell.sort) == ("not identified", (), "")
    (row,) = [row for row in key_figures(run.result) if row.name.startswith("midpoint")]
    assert (row.value, row.interval) == ("not identified", "—")
    run, cell = shown(0.2)
    assert (cell.below, cell.sort) == (("[0.20, ∞)",), "0.5")
    (row,) = [row for row in key_figures(run.result) if row.name.startswith("midpoint")]
    assert row.interval == "[0.20, no upper limit]"


def test_every_run_shows_its_premises_and_its_texts_behind_a_note(read: tuple[Run, ...]) -> None:
    page = render_overview(read)
    parts = dict(zip([run.key for run in read], page.split('<section id="run-')[1:], strict=True))
    assert any(run.page.premises for run in read)
    for run in read:
        part = parts[run.key]
        assert part.count('<div class="scroll" tabindex="0" role="region" aria-label="Premises">') == bool(
            run.page.premises
        )
        for premise in run.page.premises:
            assert f'<th scope="row">{escape(premise.name)}<span class="sub">' in part
        _, note, texts = part.partition('<details class="content"><summary>Show the texts')
        assert bool(note) == bool(run.page.texts)
        assert "<blockquote" not in part.partition(note or "</section>")[0]
        samples = [sample for group in run.page.texts for sample in group.samples]
        assert texts.count("<blockquote") == len(samples)
        assert all(escape(sample.text) in texts for sample in samples)


def test_what_all_runs_share_has_no_column(read: tuple[Run, ...]) -> None:
    table = run_table(read[:2])
    assert table.common == "kind measurement, model world:markov, behavior markov"
    assert "Model" not in [column.name for column in table.columns]


def test_panels_share_their_axes_and_show_the_curves(read: tuple[Run, ...]) -> None:
    found = {each.key: each for each in multiples(read)}
    assert set(found) == {
        "multiples-behavior-plain", "multiples-evidence", "multiples-divergence", "multiples-beta"
    }  # fmt: skip
    for each in found.values():
        assert tuple(panel.run.label for panel in each.panels) == MEASURED
        axes = [re.findall(r'class="mid">([^<]*)<|class="end">([^<]*)<', panel.svg) for panel in each.panels]
        assert axes[0] == axes[1] == axes[2]
        for panel in each.panels:
            picture = ElementTree.fromstring(f"<svg xmlns='{SVG['svg']}'>{panel.svg}</svg>")
            assert picture[0].get("role") == "img"
            assert panel.run.label in (picture[0].get("aria-label") or "")
    dots = found["multiples-divergence"].panels[0].svg
    m = read[0].measurement
    assert m is not None
    assert dots.count("<circle") == len(m.beta_curve.lengths)
    assert f"n = 1: {with_interval(m.beta_curve.at(1))}" in dots


def test_the_panels_of_a_quantity_have_one_file_of_numbers(read: tuple[Run, ...]) -> None:
    found = {each.key: each for each in multiples(read)}
    rows = list(csv.DictReader(io.StringIO(found["multiples-evidence"].csv)))
    for run in read[:3]:
        m = run.measurement
        assert m is not None
        own = [row for row in rows if row["run"] == run.label and row["curve"].startswith("mean evidence")]
        assert [float(row["evidence log P₋/P (nats)"]) for row in own] == list(m.evidence_curve.value)
        assert [float(row["simultaneous low (nats)"]) for row in own] == list(m.evidence_curve.low)
    readings = list(csv.DictReader(io.StringIO(found["multiples-beta"].csv)))
    for run in read[:3]:
        m = run.measurement
        assert m is not None
        own = {row["reading of β"]: (float(row["value"]), row["unit"]) for row in readings if row["run"] == run.label}
        assert own == {name: (e.value, e.unit) for name, e in beta_readings(m)}


def test_what_can_be_compared_is_compared_as_by_compare(read: tuple[Run, ...], runs: dict[str, Path]) -> None:
    found = differences(read)
    (group,) = found.groups
    assert (group.reference.label, [run.label for run in group.others]) == ("first", ["second"])
    own = compare(runs["first"], runs["second"])
    assert group.comparison.comparisons[0].differences == own.comparisons[0].differences
    assert group.comparison.comparisons[0].claims == own.comparisons[0].claims
    said = [cell for table in group.tables for row in table.rows for cell in row]
    assert all(cell in said for table in compare_page(own).sections[1].tables for row in table.rows for cell in row[3:])
    assert {chart.key for chart in group.charts} == {f"differences-0-change-{i}" for i in range(3)}


def test_what_cannot_be_compared_is_named_with_the_reason(read: tuple[Run, ...], runs: dict[str, Path]) -> None:
    assert [(a, b) for a, b, _ in differences(read).apart] == [("first", "other")]
    (reason,) = [reason for *_, reason in differences(read).apart]
    assert reason.startswith("measured different behaviors (markov, coin, or other statements)")
    assert str(runs["first"]) not in reason
    assert differences(read[3:4]).apart == ()


def test_scenarios_of_one_kind_are_named_as_not_compared(runs: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(runs["trace"], tmp_path / "again")
    found = differences(read_runs([runs["trace"], runs["probe"], copy]))
    assert found.groups == ()
    assert found.apart == (("trace", "again", "differences are computed for measurements only"),)


def test_the_same_measurement_twice_is_not_a_difference(runs: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(runs["first"], tmp_path / "again")
    found = differences(read_runs([runs["first"], copy]))
    assert found.groups == ()
    assert found.apart[0][2].startswith("are one measurement: the same models")


def test_the_answers_name_the_ends_and_the_runs(read: tuple[Run, ...]) -> None:
    much, distinct, long = answers(read)
    measured = {run.label: run.measurement for run in read[:3]}
    caps = {name: tightest_cap(m).value for name, m in measured.items() if m is not None}
    assert much.sentence.count(f"({max(caps, key=lambda name: caps[name])})") == 1
    betas = {name: m.beta for name, m in measured.items() if m is not None}
    least = min(betas, key=lambda name: betas[name].value)
    assert f"goes from {with_interval(betas[least])} ({least})" in distinct.sentence
    assert "of 3 measurements" in distinct.sentence
    assert "with 95\u00a0% confidence" in long.sentence
    only = answers(read[4:5])
    assert [each.sentence for each in only] == [read[4].page.findings[0].sentence]


def test_what_is_not_shown_to_be_distinct_is_not_counted(read: tuple[Run, ...]) -> None:
    def with_beta(run: Run, value: float) -> Run:
        beta = Estimate(value, value - 0.5, value + 0.5, 0.95, 8, "nats per sentence", "made up")
        return replace(run, result=replace(run.result, beta=beta))

    _, both, _ = answers([with_beta(read[0], 2.0), with_beta(read[1], 4.0)])
    assert "distinct in 2 of 2 measurements" in both.sentence
    _, one, _ = answers([with_beta(read[0], 0.9), with_beta(read[1], 0.2)])
    assert "distinct in 1 of 2 measurements" in one.sentence
    assert "goes from 0.20 [−0.30, 0.70] (second) to 0.90 [0.40, 1.40]" in one.sentence
    (alone, distinct, _) = answers([with_beta(read[0], 2.0)])
    assert distinct.sentence == "β = 2.00 [1.50, 2.50] nats per sentence (first)."
    assert "every measurement" not in alone.sentence


def test_the_same_warning_of_several_runs_is_said_once(read: tuple[Run, ...]) -> None:
    warned = [replace(run, page=replace(run.page, warnings=("Careful.",))) for run in read[:2]]
    assert warnings(warned) == ("first, second: Careful.",)
    scenario = replace(read[3], page=replace(read[3].page, warnings=("Beware.", "Mind.")))
    rest = "guardrail: read first what stands in their own parts of this page."
    assert warnings([*warned, scenario]) == ("first, second: Careful.", rest)
    assert warnings([scenario]) == ("guardrail: Beware.", "guardrail: Mind.")


def test_runs_are_called_by_the_shortest_ends_of_their_paths() -> None:
    assert short_names([Path("/a/runs/x"), Path("/a/runs/y")]) == ["x", "y"]
    assert short_names([Path("/a/one/x"), Path("/a/two/x"), Path("/a/two/y")]) == ["one/x", "two/x", "two/y"]
    long = "n" * 100
    assert short_names([Path(f"/a/{long}1"), Path(f"/a/{long}2")])[1].startswith("2: ")


@pytest.mark.parametrize(
    ("low", "high"), [(-1.06, 1.06), (-0.2, 5.2), (0.0, 73.1), (-3e-5, 2e-5), (1e5, 3.3e6), (-0.25, 40.25)]
)
def test_ticks_are_few_and_round(low: float, high: float) -> None:
    found = ticks(low, high, 5)
    assert 2 <= len(found) <= 5
    assert all(low <= tick <= high for tick in found)
    assert all(len(tick_text(tick)) <= 6 for tick in found)
    steps = {round((b - a) / (high - low), 9) for a, b in pairwise(found)}
    assert len(steps) == 1


def test_infinite_limits_are_drawn_to_the_edge(read: tuple[Run, ...]) -> None:
    m = read[0].measurement
    assert m is not None
    open_beta = Estimate(m.beta.value, 0.0, math.inf, 0.95, 8, "nats per sentence", "made up")
    endless = replace(m.evidence_curve, low=(-math.inf,) * 3, high=(math.inf,) * 3)
    changed = replace(read[0], result=replace(m, beta=open_beta, evidence_curve=endless))
    for each in multiples([changed, read[1]]):
        for panel in each.panels:
            assert "inf" not in panel.svg.replace("−∞", "").lower()
            assert "nan" not in panel.svg.lower()
    beta = multiples([changed, read[1]])[-1].panels[0].svg
    assert "∞)" in beta
    assert "-3.5v7z" in beta  # the arrow


def test_what_is_no_set_of_finished_runs_is_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match="1 run given, and this page is about several"):
        write_overview([runs["first"]], tmp_path / "page.html")
    with pytest.raises(BadSpec, match="is given twice"):
        write_overview([runs["first"], runs["trace"], runs["first"]], tmp_path / "page.html")
    with pytest.raises(BadSpec, match="no run in"):
        write_overview([runs["first"], tmp_path], tmp_path / "page.html")
    with pytest.raises(EstimateError, match=r"unfinished.* is not finished"):
        write_overview([runs["first"], unfinished(tmp_path / "unfinished")], tmp_path / "page.html")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match=r"file.page\.html cannot be used"):
        write_overview([runs["trace"], runs["probe"]], tmp_path / "file" / "page.html")
    assert not (tmp_path / "page.html").exists()


def unfinished(folder: Path) -> Path:
    spec = MeasureSpec(model="world:markov", prompts=8, sentences=3, formats=("plain",))

    def stop(what: str, done: float, total: float) -> None:
        if what == "respond":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_with_subjects(MEASURE, spec, world_subjects(spec, get_world("markov")), folder, progress=stop)
    return folder


def test_runs_of_different_levels_are_told_so(read: tuple[Run, ...], runs: dict[str, Path]) -> None:
    other = replace(read[1], meta={**read[1].meta, "spec": {**read[1].meta["spec"], "level": 0.9}})
    assert "All intervals: 90\u00a0% or 95\u00a0% confidence." in render_overview([read[0], other])


def test_nothing_is_written_into_a_run(runs: dict[str, Path], tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs["first"].parent.rglob("*.sqlite")}
    write_overview([runs["first"], runs["second"]], tmp_path / "new" / "page.html")
    assert {path: path.stat().st_mtime_ns for path in runs["first"].parent.rglob("*.sqlite")} == before
    with Store.read(runs["first"]) as store:
        assert store.meta()["experiment"] == "measure"
