"""The page of a guardrail run: what it says follows from the record, and no verdict says more than was shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beb.core.estimate import Band, Estimate
from beb.experiments.experiment import run_with_subjects
from beb.experiments.guardrail.experiment import GUARDRAIL, GuardrailSubjects
from beb.experiments.guardrail.predictions import LARGER
from beb.experiments.guardrail.record import GuardrailRecord, PositivityAfter
from beb.experiments.guardrail.spec import GuardrailSpec
from beb.experiments.guardrail.systems import System
from beb.experiments.measurement import BoundReport
from beb.experiments.store import Store
from beb.experiments.subjects import world_subjects
from beb.report.guardrail_page import page
from beb.report.html import render_report
from beb.report.page import Table
from beb.report.rounding import limit_text, with_interval
from beb.report.scenario_figures import level_warnings
from beb.worlds.catalog import get_world
from beb.worlds.exact_guardrail import most_neutral_sentence


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of log 1/α = 8, which the straight line reads as 2.8 and the cap excludes."""
    world, where = get_world("coin"), tmp_path_factory.mktemp("guardrail")
    systems = (System(name="truth", text="I tell the truth."), System(name="sampled:1", sentences=1))
    spec = GuardrailSpec(model="world:coin", prompts=24, sentences=5, systems=systems)
    subjects = GuardrailSubjects(world_subjects(spec, world), (most_neutral_sentence(world),))
    run_with_subjects(GUARDRAIL, spec, subjects, where)
    return where


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with Store.read(folder) as opened:
        yield opened


@pytest.fixture
def record(store: Store) -> GuardrailRecord:
    return GUARDRAIL.analyse(store)


def table(store: Store, record: GuardrailRecord, title: str) -> Table:
    made = page(store, record)
    tables = (*made.summary, *(each for section in made.sections for each in section.tables))
    return next(each for each in tables if each.title == title)


def changed(record: GuardrailRecord, **changes: object) -> GuardrailRecord:
    return replace(record, guardrails=tuple(replace(g, **changes) for g in record.guardrails))


def with_bounds(record: GuardrailRecord, *, length: int, sharp: float) -> GuardrailRecord:
    """Every length `sharp` without an interval, and `length` the first tested one observed below the level."""

    def report(b: BoundReport) -> BoundReport:
        exact = Estimate(sharp, sharp, sharp, 0.95, 24, "sentences", "made up", exact=True)
        return replace(b, bound=replace(b.bound, sharp=exact), observed={"plain": length})

    guardrails = tuple(replace(g, bounds=tuple(map(report, g.bounds))) for g in record.guardrails)
    return replace(record, guardrails=guardrails)


def test_an_excluded_reading_is_labelled_and_never_held(store: Store, record: GuardrailRecord) -> None:
    rows = table(store, with_bounds(record, length=3, sharp=4.0), "Theorem 2, sentences of prompt").rows
    verdicts = {(row[0].split(", ")[1], row[1]): row[-1] for row in rows}
    assert verdicts == {
        ("truth", "evidence plateau"): "held",
        ("truth", "straight line (excluded by the cap)"): "not measured",
        # A mean over prefixes does not say that 90 % of them are misaligned.
        ("sampled:1", "evidence plateau"): "not measured",
        ("sampled:1", "straight line (excluded by the cap)"): "not measured",
    }
    later = table(store, with_bounds(record, length=5, sharp=4.0), "Theorem 2, sentences of prompt").rows
    assert {row[-1] for row in later} == {"not measured"}


def test_the_key_figures_show_every_reading_and_what_enters(store: Store, record: GuardrailRecord) -> None:
    figures = {row[0]: row[1] for row in table(store, record, "Key figures").rows}
    names = [name for name in figures if name.startswith("log 1/α")]
    assert names == [
        "log 1/α, cap",
        "log 1/α, evidence plateau",
        "log 1/α, evidence plateau, as it enters the theorem",
        "log 1/α, straight line (excluded by the cap)",
        "log 1/α, straight line (excluded by the cap), as it enters the theorem",
        "log 1/α, behavior, plain text",
    ]
    assert figures["log 1/α, cap"] == f"at least {limit_text(record.alpha.limits.low, 1, 'at least')}"
    entering = record.alpha_entering["evidence plateau"]
    assert figures["log 1/α, evidence plateau, as it enters the theorem"] == with_interval(entering)
    assert {"positivity after truth", "positivity after sampled:1"} <= set(figures)


def test_a_larger_shift_is_named_and_no_contradiction(store: Store, record: GuardrailRecord) -> None:
    larger = changed(record, verdict="not measured", reason=LARGER)
    shown = table(store, larger, "Prediction beside observation, in sentences")
    assert {row[-1] for row in shown.rows} == {"larger than the theorem’s extra"}
    assert f"{LARGER} (“truth”, “sampled:1”)" in shown.note
    said = page(store, larger).findings[1].sentence
    assert "which contradicts nothing" in said
    html = render_report(store, larger)
    assert "larger than the theorem’s extra" in html


@pytest.mark.parametrize(
    ("status", "tried", "words"),
    [
        ("held", 20, "such a sentence was found wherever one was looked for"),
        ("not measured", 20, "where the theorem needs one, one was not found wherever one was looked for"),
        ("not measured", 0, "where the theorem needs one, none was tried"),
    ],
)
def test_positivity_is_told_where_the_theorem_needs_it(
    store: Store, record: GuardrailRecord, status: str, tried: int, words: str
) -> None:
    stated = tuple(replace(a, status=status) if a.name == "positivity" else a for a in record.assumptions)
    after = PositivityAfter(given=True, share=None, tried=tried, found=tried)
    known = changed(replace(record, assumptions=stated, beta_after=record.beta), positivity=after)
    assert words in page(store, known).findings[2].sentence


def test_one_sentence_carries_and_several_carry(store: Store, record: GuardrailRecord) -> None:
    assert "1 sentence from P₊ carries" in page(store, record).findings[1].detail
    assert "3 sentences from P₊ carry" in page(store, changed(record, sentences=3)).findings[1].detail


def test_the_level_is_warned_about_where_it_says_little(store: Store, record: GuardrailRecord) -> None:
    def gamma(value: float, low: float, high: float) -> Estimate:
        return Estimate(value, low, high, 0.95, 16, "behavior expectation", "made up")

    assert level_warnings(gamma(-0.8, -0.9, -0.6), 0.2, "reply", 0.3) == ()
    (high,) = level_warnings(gamma(-0.1, -0.2, 0.0), 0.2, "reply", 0.3)
    assert "γ + ε = 0.10 is not below 0" in high
    (wide,) = level_warnings(gamma(-0.5, -1.0, 0.3), 0.2, "reply", 0.3)
    assert "γ = −0.50 [−1.00, 0.30] is hardly known" in wide
    (control,) = level_warnings(gamma(-0.6, -0.8, -0.4), 0.2, "reply to a well-behaved user", -0.5)
    assert "The mean reply to a well-behaved user lies below the misaligned level too (−0.50" in control
    assert len(level_warnings(gamma(-0.01, -1.0, 1.0), 0.2, "reply", -0.24)) == 3
    said = page(store, replace(record, gamma=gamma(-0.01, -1.0, 1.0))).warnings
    assert any("is hardly known" in warning for warning in said)
    low = tuple(replace(b, curve=replace(b.curve, raw=lowered(b.curve.raw))) for b in record.baselines)
    said = page(store, replace(record, baselines=low)).warnings
    assert any("response without any prompt lies below the misaligned level too" in warning for warning in said)


def lowered(band: Band) -> Band:
    down = (-1.0,) * len(band.value)
    return replace(band, value=down, low=down, pointwise_low=down)


def test_when_nothing_is_shown_nothing_is_claimed(store: Store, record: GuardrailRecord) -> None:
    undecided = changed(record, verdict="not measured", reason="the two intervals overlap")
    said = page(store, undecided).findings[1].sentence
    assert said == "For none of 2 guardrails does the measurement decide."
