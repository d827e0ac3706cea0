"""The page of a conversation run: what it says follows from the record, and whatever a model wrote is inert."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beb.core.estimate import Band, Estimate
from beb.experiments.converse.experiment import CONVERSE
from beb.experiments.converse.plan import ConverseSpec
from beb.experiments.converse.record import ConverseRecord, PromisedTurn
from beb.experiments.experiment import run_with_subjects
from beb.experiments.store import RUN_FILE, Store
from beb.experiments.subjects import world_subjects
from beb.report.converse_charts import behavior_charts
from beb.report.converse_page import page
from beb.report.html import render_report
from beb.report.rounding import fixed
from beb.worlds.catalog import get_world

TURNS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = ConverseSpec(model="world:markov", prompts=12, turns=TURNS, reply_sentences=1, format="plain")
    where = tmp_path_factory.mktemp("converse")
    run_with_subjects(CONVERSE, spec, world_subjects(spec, get_world("markov")), where)
    return where


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with Store.read(folder) as opened:
        yield opened


@pytest.fixture
def record(store: Store) -> ConverseRecord:
    return CONVERSE.analyse(store)


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, low, high, 0.95, 12, "nats", "made up")


def with_arm(record: ConverseRecord, **changes: object) -> ConverseRecord:
    bad, good = record.arms
    return replace(record, arms=(replace(bad, **changes), good))


def said(store: Store, record: ConverseRecord, question: int) -> str:
    finding = page(store, record).findings[question]
    return f"{finding.sentence} {finding.detail}"


def test_the_first_finding_says_whether_and_when(store: Store, record: ConverseRecord) -> None:
    assert "Not shown within 3 turns" in said(store, with_arm(record, misaligned_at=None), 0)
    assert "at turn 2" in said(store, with_arm(record, misaligned_at=2), 0)
    bad, good = record.arms
    both = replace(record, arms=(replace(bad, misaligned_at=1), replace(good, misaligned_at=3)))
    assert "So it was for a well-behaved user, at turn 3" in said(store, both, 0)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ((2.0, 1.0, 3.0), "pull back: each of their sentences takes back 2.00 [1.00, 3.00]"),
        ((-2.0, -3.0, -1.0), "push on: each of their sentences adds 2.00 [1.00, 3.00]"),
        ((0.1, -1.0, 1.2), "It is not shown that its replies pull back"),
    ],
)
def test_the_second_finding_follows_the_sign(
    store: Store, record: ConverseRecord, limits: tuple[float, float, float], words: str
) -> None:
    text = said(store, with_arm(record, resistance=estimate(*limits)), 1).replace("2.0 [1.0, 3.0]", "2.00 [1.00, 3.00]")
    assert words in text


@pytest.mark.parametrize(
    ("limits", "words"),
    [((1, 0.5, 2), "still gains ground"), ((-1, -2, -0.5), "loses ground"), ((0, -1, 1), "not decided")],
)
def test_the_net_gain_is_told_by_its_interval(
    store: Store, record: ConverseRecord, limits: tuple[float, float, float], words: str
) -> None:
    assert words in said(store, with_arm(record, net_gain=estimate(*limits)), 1)


def test_the_promise_is_a_turn_or_none(store: Store, record: ConverseRecord) -> None:
    reading = record.promised[0].reading
    never = replace(record, promised=(PromisedTurn(reading, None, None, None),), break_even=estimate(3, 2, 4))
    told = said(store, never, 2)
    assert told.startswith("Nothing about these conversations")
    assert "neither that the model misaligns nor that it is safe" in told
    assert "would have to say more than 3.00 [2.00, 4.00] sentences per turn, and says 1" in told.replace(
        "3.0 [2.0, 4.0]", "3.00 [2.00, 4.00]"
    )
    assert "No misalignment" not in told
    late = replace(never, break_even=estimate(0.5, 0.2, 0.9))
    assert "gains on it but does not reach it within 50 turns" in said(store, late, 2)
    later = said(store, replace(record, promised=(PromisedTurn(reading, TURNS + 1, 2, None),)), 2)
    assert later.startswith("Nothing about these conversations")
    assert "at the most favourable limits of its inputs it would be at turn 2" in later
    assert "would be reached at turn 4 (at the limits of the inputs: turn 2 to never)" in later
    assert "β is not positive" in said(store, replace(record, promised=(), bounds=()), 2)


def test_a_promise_that_is_reached_is_about_some_sentences_and_names_broken_premises(
    store: Store, record: ConverseRecord
) -> None:
    found = replace(record, promised=(PromisedTurn(record.promised[0].reading, 2, 1, 3),))
    told = said(store, found, 2)
    assert "At turn 2 the user has said as many sentences as it asks for" in told
    assert "some user sentences of that number" in told
    assert "It does not say that the ones spoken here do." in told
    broken = tuple(replace(a, status="contradicted") if a.name == "mixture" else a for a in record.assumptions)
    assert "Here “mixture” is contradicted." in said(store, replace(found, assumptions=broken), 2)
    assert "is contradicted" not in told


def test_an_excluded_reading_is_labelled_and_decides_nothing(store: Store, record: ConverseRecord) -> None:
    shown = replace(record, excluded=("straight line",))
    made = page(store, shown)
    label = "straight line (excluded by the cap)"
    sections = {section.key: section for section in made.sections}
    bounds, beyond = sections["theory"].tables
    assert {row[6] for row in bounds.rows if row[2] == label} == {"not measured"}
    assert {row[6] for row in bounds.rows if row[2] != label} <= {"yes", "no", "not decided"}
    assert label in {row[0] for row in beyond.rows}
    names = [row[0] for row in made.summary[0].rows]
    assert names[-6:] == [
        "log 1/α, cap",
        "log 1/α, evidence plateau",
        "log 1/α, evidence plateau, as it enters the theorem",
        f"log 1/α, {label}",
        f"log 1/α, {label}, as it enters the theorem",
        "log 1/α, behavior",
    ]
    assert f"C, α by {label}" in names


def test_a_level_that_says_little_is_warned_about(store: Store, record: ConverseRecord) -> None:
    unknown = replace(record, gamma=estimate(-0.01, -1.0, 1.0))
    said_before = page(store, unknown).warnings
    assert any("is not below 0" in warning for warning in said_before)
    assert any("is hardly known" in warning for warning in said_before)
    bad, good = record.arms
    down = (-1.0,) * TURNS
    low = replace(good.replies.raw, value=down, low=down, pointwise_low=down)
    control = replace(record, arms=(bad, replace(good, replies=replace(good.replies, raw=low))))
    assert any("reply to a well-behaved user lies below" in warning for warning in page(store, control).warnings)


def test_every_turn_stands_in_the_tables(store: Store, record: ConverseRecord) -> None:
    made = page(store, record)
    sections = {section.key: section for section in made.sections}
    (turns,) = sections["turns"].tables
    assert [row[0] for row in turns.rows] == ["1", "2", "3"]
    bounds, beyond = sections["theory"].tables
    assert [row[0] for row in bounds.rows] == ["1", "2", "3", "3"]
    assert {row[-1] for row in beyond.rows} <= {"held", "contradicted", "not measured"}
    assert len(page(store, record).premises) == 8
    assert all(section.tables or section.charts for section in made.sections)
    assert len(sections["ground"].charts) == 3
    assert [group.title for group in made.texts] == ["A conversation, user P₋", "A conversation, user P₊"]
    assert [sample.label for sample in made.texts[0].samples[:2]] == ["turn 1, user", "turn 1, the model"]


def test_a_corrected_curve_is_drawn_and_preferred(store: Store, record: ConverseRecord) -> None:
    def corrected(band: Band) -> Band:
        below, middle, above = (tuple(x for _ in band.value) for x in (-1.0, 0.0, 1.0))
        return Band(band.lengths, middle, below, above, below, above, band.level, band.n, band.unit, "corrected")

    arms = tuple(
        replace(arm, replies=replace(arm.replies, corrected=corrected(arm.replies.raw))) for arm in record.arms
    )
    made = page(store, replace(record, arms=arms))
    section = next(section for section in made.sections if section.key == "turns")
    assert len(section.charts) == 2
    assert "corrected for the scorer's errors" in section.tables[0].note
    assert section.tables[0].rows[0][1].startswith("0.0 [")


def test_what_a_model_said_is_inert(folder: Path, record: ConverseRecord, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\u202e"
    (tmp_path / RUN_FILE).write_bytes((folder / RUN_FILE).read_bytes())
    connection = sqlite3.connect(tmp_path / RUN_FILE)
    with connection:
        connection.execute("UPDATE turns SET text = ? WHERE conversation = 0", (hostile,))
    connection.close()
    with Store.read(tmp_path) as store:
        html = render_report(store, record)
    assert "<script>alert(1)" not in html
    assert "\u202e" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "⟨U+202E⟩" in html


def test_the_level_beside_raw_scores_is_of_raw_scores(record: ConverseRecord) -> None:
    bad, good = record.arms
    corrected = [replace(arm, replies=replace(arm.replies, corrected=arm.replies.raw)) for arm in (bad, good)]
    shifted = replace(record, arms=tuple(corrected), gamma=replace(record.gamma, value=record.gamma.value + 0.3))
    levels = [next(s.y[0] for s in chart.series if s.kind == "level") for chart in behavior_charts(shifted)]
    epsilon = float(record.meta["spec"]["epsilon"])
    assert levels == [max(bad.users.raw.value) + epsilon, shifted.gamma.value + epsilon]
    for level, chart in zip(levels, behavior_charts(shifted), strict=True):
        assert f"misaligned below {fixed(level, 2)}" in chart.alt
