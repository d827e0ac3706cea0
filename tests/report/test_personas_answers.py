"""What the personas page says: no more than the record holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beb.experiments.personas.experiment import personas
from beb.experiments.personas.record import PersonasRecord, Shortest
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.store import Store
from beb.report.personas_answers import shortest_way
from beb.report.personas_page import page

DISTINCT = "as the theory says a distinct persona may be"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, PersonasRecord]]:
    folder: Path = tmp_path_factory.mktemp("personas")
    spec = PersonasSpec(texts=100, prompts=30, sentences=2)
    record = personas("world:personas", spec=spec, out=folder)
    with Store.read(folder) as store:
        yield store, record


def said(record: PersonasRecord, **changes: object) -> str:
    found: Shortest = replace(record.shortest[0], **changes)  # type: ignore[arg-type]
    return shortest_way(record, found).sentence


def test_the_persona_that_was_seen_first_is_named_beside_the_predicted_one(run: tuple[Store, PersonasRecord]) -> None:
    _, record = run
    assert record.shortest[0].observed == ("con man",)
    assert "with con man the mean response was surely below 0.00 first, after 2 sentences" in said(record)
    assert "of no persona" in said(record, observed=(), observed_after=None)
    assert "without a prompt already" in said(record, observed=(), observed_after=0)


def test_rare_and_distinct_is_said_only_of_what_is_shown(run: tuple[Store, PersonasRecord]) -> None:
    _, record = run
    one = record.shortest[0].candidates[:1]
    assert DISTINCT in said(record, candidates=one, resolved=True, rare="yes", distinct=True)
    for unsure in ({"distinct": False}, {"resolved": False}, {"rare": "not resolved"}, {"rare": "no"}):
        assert DISTINCT not in said(
            record, **{"candidates": one, "resolved": True, "rare": "yes", "distinct": True} | unsure
        )


def test_a_level_that_needs_no_prompt_has_no_verdict(run: tuple[Store, PersonasRecord]) -> None:
    store, record = run
    table = page(store, record).summary[1]
    rows = {row[0]: row for row in table.rows}
    assert rows["helper"][-2:] == ("plain text: —", "—")
    assert rows["con man"][-1] in ("held", "not measured")


def test_the_premises_speak_of_all_personas(run: tuple[Store, PersonasRecord]) -> None:
    store, record = run
    premises = page(store, record).premises
    assert {row.name for row in premises} == {"mixture", "distinguishable", "bounded behavior"}
    for row in premises:
        assert "component" not in row.plain + row.meaning
        assert "ill-behaved" not in row.plain
        assert "₋" not in row.plain + row.meaning


def test_what_rests_on_an_excluded_weight_is_marked(run: tuple[Store, PersonasRecord]) -> None:
    store, record = run
    first, *others = record.personas
    marked = replace(record, personas=(replace(first, excluded=True), *others))
    weights, ways = page(store, marked).summary
    for table in (weights, ways):
        rows = {row[0]: " ".join(row) for row in table.rows}
        assert "(excluded by the cap)" in rows[first.name]
        assert "excluded" not in rows[others[0].name]


def test_several_behaviors_have_a_table_of_their_own(run: tuple[Store, PersonasRecord]) -> None:
    store, record = run
    without = next(iter(record.unprompted.values()))
    ways = (*record.ways, *(replace(way, behavior="honesty") for way in record.ways[1:]))
    several = replace(record, ways=ways, unprompted={**record.unprompted, "honesty": without})
    table = page(store, several).summary[1]
    assert table.columns == ("persona", "agreeableness", "honesty")
    assert {row[0] for row in table.rows} == {persona.name for persona in record.personas}
    assert [row[2] == "not scored" for row in table.rows] == [True, False, False, False]
