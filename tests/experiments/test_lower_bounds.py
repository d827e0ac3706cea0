"""Runs with --kl top-k: nothing that is made of lower bounds is used as if it were exact."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from beb.core.bounds import propagate, single_prompt
from beb.core.estimate import Band, Estimate
from beb.experiments.analyse import analyse_measure
from beb.experiments.compare.analyse import compare
from beb.experiments.experiment import run_experiment
from beb.experiments.laws.analyse import laws
from beb.experiments.lower_bounds import LOWER_BOUND, bound_method, carried, is_lower_bound, unlimited
from beb.experiments.measure import MEASURE
from beb.experiments.measurement import Measurement
from beb.experiments.spec import MeasureSpec, make_spec
from beb.experiments.store import Store
from beb.experiments.what_if import WhatIfInputs, measure_inputs, recompute
from beb.report.compare_page import page as compare_page
from beb.report.figures import divergence_chart, target_chart
from beb.report.laws_page import page as laws_page
from beb.report.measure_findings import findings
from beb.report.overview.answers import answers
from beb.report.overview.panels import beta_readings
from beb.report.overview.runs import read_runs
from beb.report.tables import assumption_rows, bound_rows
from beb.report.what_if import what_if

from .lower_bound_runs import as_lower_bounds

LABEL = f"{LOWER_BOUND} 20 most probable tokens"


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _measured(tmp_path_factory.mktemp("exact"), seed=0)


@pytest.fixture(scope="module")
def bounded(exact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_lower_bounds(exact, tmp_path_factory.mktemp("bounded") / "run")


@pytest.fixture(scope="module")
def to_target_only(exact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As with two local components and a served target."""
    return as_lower_bounds(exact, tmp_path_factory.mktemp("target") / "run", q=("target",))


def _measured(folder: Path, *, seed: int) -> Path:
    options = {"model": "world:markov", "prompts": 24, "sentences": 4, "responses": 1, "seed": seed}
    run_experiment(MEASURE, make_spec(MeasureSpec, options), folder)
    return folder


def read(run: Path) -> tuple[Measurement, WhatIfInputs]:
    with Store.read(run) as store:
        m = analyse_measure(store)
        inputs = measure_inputs(store, m)
    assert inputs is not None
    return m, inputs


def test_lengths_begin_at_zero(exact: Path, bounded: Path) -> None:
    """Where the least that β can be is known only, its lower limit limits the length from above, and nothing below."""
    (before, _), (after, _) = read(exact), read(bounded)
    assert before.bounds
    assert len(before.bounds) == len(after.bounds)
    for old, new in zip(before.bounds, after.bounds, strict=True):
        assert old.bound.sharp.low > 0 or old.reading == "straight line"
        for told, was in ((new.bound.sharp, old.bound.sharp), (new.bound.paper, old.bound.paper)):
            assert told is not None
            assert was is not None
            assert told.low == 0
            assert (told.value, told.high) == pytest.approx((was.value, was.high), rel=1e-3)
            assert bound_method(told) == LABEL
            assert not is_lower_bound(was)
    assert "Theorem" not in after.widest  # no number of prompts makes an interval from 0 narrow


def test_an_exact_beta_keeps_its_lengths(exact: Path, to_target_only: Path) -> None:
    """A served target with local components: only the straight line is made of lower bounds."""
    (before, _), (after, _) = read(exact), read(to_target_only)
    assert not is_lower_bound(after.beta)
    for old, new in zip(before.bounds, after.bounds, strict=True):
        assert is_lower_bound(new.bound.sharp) == (new.reading == "straight line")
        assert new.bound.sharp.low == pytest.approx(old.bound.sharp.low, rel=0.05)
    assert after.bounds[0].bound.sharp.low > 0
    assert {is_lower_bound(each.bound.sharp) for each in after.converse if each.reading == "straight line"} == {True}


def test_the_headline_promises_no_more_than_a_lower_bound_does(exact: Path, bounded: Path) -> None:
    (before, _), (after, _) = read(exact), read(bounded)
    assert "at least" not in findings(before)[1].sentence
    distinct, long = findings(after)[1:]
    least = float(distinct.sentence.partition("by a factor of at least ")[2].partition(",")[0])
    assert 0.9 * math.exp(after.beta.low) < least <= math.exp(after.beta.low)
    assert "[" not in distinct.sentence
    assert "from lower bounds: fewer may be enough" in long.sentence
    no_limit = [
        replace(each, bound=replace(each.bound, sharp=replace(each.bound.sharp, high=math.inf)))
        for each in after.bounds
    ]
    open_ended = findings(replace(after, bounds=tuple(no_limit)))[2]
    told = f"{open_ended.sentence} {open_ended.detail}"
    assert "no length is known to be enough" in told
    assert "lies above" not in told
    assert "a length above" not in told


def test_premises_lengths_and_captions_are_marked(exact: Path, bounded: Path) -> None:
    for m, marked in ((read(exact)[0], False), (read(bounded)[0], True)):
        figures = {row.name: row.figure for row in assumption_rows(m)}
        assert ("(lower bound)" in figures["distinguishable"]) == marked
        lengths = [row.sharp for row in bound_rows(m) if not row.theorem.startswith("Converse")]
        assert [("(from lower bounds)" in each) for each in lengths] == [marked] * len(lengths)
        assert divergence_chart(m).caption.count("(lower bound)") == 2 * marked
        assert ("(from lower bounds)" in target_chart(m).caption) == marked


def test_compare_decides_nothing_from_lower_bounds(bounded: Path, tmp_path: Path) -> None:
    other = as_lower_bounds(_measured(tmp_path / "other", seed=1), tmp_path / "bounded")
    found = compare(bounded, other)
    (versus,) = found.comparisons
    assert versus.beta == "undecided"
    unmeasured = {"beta", "beta_prime", "line", "line_beta"}
    for row in versus.differences:
        assert is_lower_bound(row.difference) == (row.key in unmeasured)
        assert is_lower_bound(row.before) == (row.key in unmeasured)
        if row.key in unmeasured:
            assert (row.difference.low, row.difference.high) == (-math.inf, math.inf)
    for claim in versus.claims:
        if claim.key in unmeasured:
            assert claim.verdict == "undecided"
            assert claim.caveat.startswith("not measured")
    assert "beta" not in versus.curves
    assert sum("certain in no direction" in note for note in found.notes) == 1
    shown = compare_page(found)
    cells = {row[0]: row for section in shown.sections for table in section.tables for row in table.rows}
    for name in ("β", "β′"):
        assert cells[name][1].endswith("(lower bound)")
        assert cells[name][3] == "not measured"
    assert cells["log 1/α, straight line"][1].endswith("(from lower bounds)")
    assert "log 1/α, evidence plateau" in cells
    assert "lower bound" not in cells["log 1/α, evidence plateau"][1]


def test_compare_goes_on_deciding_from_exact_ones(to_target_only: Path, tmp_path: Path) -> None:
    other = as_lower_bounds(_measured(tmp_path / "other", seed=1), tmp_path / "bounded", q=("target",))
    (versus,) = compare(to_target_only, other).comparisons
    by_key = {row.key: row.difference for row in versus.differences}
    assert math.isfinite(by_key["beta"].width)
    assert not is_lower_bound(by_key["beta"])
    assert math.isinf(by_key["line_beta"].width)


def test_laws_measure_no_decay_of_lower_bounds(exact: Path, bounded: Path, to_target_only: Path) -> None:
    assert laws(exact).decay is not None
    found = laws(bounded)
    assert found.decay is None
    (reason,) = [line for line in found.skipped if line.startswith("decay of the divergence")]
    assert "not measured" in reason
    assert "lower bounds" in reason
    assert found.curves  # behavior and likelihood are not made of divergences
    with Store.read(bounded) as store:
        shown = laws_page(store, found)
    assert all(section.key != "decay" for section in shown.sections)
    assert any("lower bounds" in note for note in shown.notes)
    partly = laws(to_target_only)
    assert partly.decay is not None
    assert [each.reading for each in partly.decay.bounds] == ["evidence plateau"]
    assert any("straight line are not measured" in note for note in partly.notes)


def test_sliders_say_which_inputs_are_lower_bounds(exact: Path, bounded: Path) -> None:
    (_, before), (m, after) = read(exact), read(bounded)
    plain, told = what_if(before), what_if(after)
    assert plain is not None
    assert told is not None
    assert not any("lower bound" in line for line in plain.notes)
    said = " ".join(told.notes)
    assert "β is a lower bound here" in said
    assert "errs on the unsafe side" in said
    assert "certain in no direction" in said
    assert {row.key for row in told.rows if "(from lower bounds)" in row.name} == set(after.shown) - {"converse"}
    for reading, was in zip(after.readings.values(), before.readings.values(), strict=True):
        assert reading.along["beta"].high == reading.back["beta"].high == reading.back["beta_prime"].high == math.inf
        found, earlier = recompute(after, reading, after.settings), recompute(before, was, before.settings)
        for key in ("theorem-1", "theorem-5", "theorem-4", "appendix-i"):
            bound, other = found[key], earlier[key]
            assert bound is not None
            assert other is not None
            assert bound.sharp.low == 0
            assert bound.sharp.high == pytest.approx(other.sharp.high, rel=1e-3)
        second = found["theorem-2"]
        with_prefix = recompute(after, reading, replace(after.settings, prefix=2))["theorem-2"]
        assert second is not None
        assert with_prefix is not None
        assert with_prefix.sharp.high == math.inf
    for report in m.bounds:
        key = report.bound.bound.theorem.lower().replace(" ", "-")
        assert recompute(after, after.readings[report.reading], after.settings)[key] == report.bound


def test_the_overview_marks_them(bounded: Path) -> None:
    m, _ = read(bounded)
    assert [name for name, _ in beta_readings(m)][:2] == ["β itself (lower bound)", "straight line (from lower bounds)"]
    runs = read_runs([bounded])
    told = " ".join(f"{each.sentence} {each.detail}" for each in answers(runs))
    assert "(lower bound)" in told
    assert "(from lower bounds)" in told


def test_a_label_survives_what_is_computed_from_it() -> None:
    beta = unlimited(Estimate(2.0, 1.5, 2.5, 0.95, 9, "nats per sentence", "mean"), LABEL)
    assert (beta.low, beta.value, beta.high) == (1.5, 2.0, math.inf)
    measured = {"log_inverse_alpha": Estimate(5.0, 4.0, 6.0, 0.95, 9, "nats", "line"),
                "beta": replace(beta, method=f"smallest of all; {beta.method}"),
                "gamma": Estimate(-0.5, -0.6, -0.4, 0.95, 9, "of B", "mean")}  # fmt: skip
    found = propagate(single_prompt, measured, {"epsilon": 0.2})
    told = carried(found, measured)
    assert told.sharp.low == 0
    assert told.sharp.high == found.sharp.high
    assert bound_method(told.sharp) == LABEL
    assert carried(found, {"gamma": measured["gamma"]}) is found
    band = unlimited(Band((0,), (1.0,), (0.9,), (1.1,), (0.8,), (1.2,), 0.95, 9, "nats", "mean"), LABEL)
    assert (band.low, band.high, band.pointwise_high) == ((0.8,), (math.inf,), (math.inf,))
    assert is_lower_bound(band.at(0))
