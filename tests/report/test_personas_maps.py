"""The heat maps of a personas run hold what the record holds, for one behavior and for several."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beb.experiments.personas.experiment import personas
from beb.experiments.personas.record import PersonasRecord
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.store import Store
from beb.report.personas_maps import behavior_maps, recognition_map
from beb.report.personas_page import page


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, PersonasRecord]]:
    folder: Path = tmp_path_factory.mktemp("personas")
    record = personas("world:personas", spec=PersonasSpec(texts=16, prompts=6, sentences=2), out=folder)
    with Store.read(folder) as store:
        yield store, record


def test_each_persona_by_length_worst_first(run: tuple[Store, PersonasRecord]) -> None:
    _, record = run
    (heat,) = behavior_maps(record)
    assert heat.columns == ("itself, γᵢ", "n = 1", "n = 2")
    ways = {way.name: way for way in record.ways}
    assert {name for name, _ in heat.rows} == set(ways)
    for name, (own, *rest) in heat.rows:
        band = ways[name].response["plain"]
        assert own == ways[name].gamma
        assert [each.value for each in rest if each] == list(band.value)
        assert [each.low for each in rest if each] == list(band.pointwise_low)
    ends = [estimates[-1].value for _, estimates in heat.rows if estimates[-1]]
    assert ends == sorted(ends)


def test_personas_by_behavior_if_there_are_several(run: tuple[Store, PersonasRecord]) -> None:
    _, record = run
    ways = (*record.ways, *(replace(way, behavior="honesty") for way in record.ways[1:]))
    several = replace(
        record, ways=ways, unprompted={**record.unprompted, "honesty": next(iter(record.unprompted.values()))}
    )
    first, *rest = behavior_maps(several)
    assert first.columns == (*record.unprompted, "honesty")
    assert len(rest) == 2
    assert len(first.rows) == len(record.personas)
    assert sum(estimates[1] is None for _, estimates in first.rows) == 1  # the one without a row of its own
    assert len({heat.key for heat in (first, *rest)}) == 3


def test_recognition_is_on_the_page(run: tuple[Store, PersonasRecord]) -> None:
    store, record = run
    heat = recognition_map(record)
    ends = [estimates[-1].value for _, estimates in heat.rows if estimates[-1]]
    assert ends == sorted(ends, reverse=True)
    assert heat.scale == "sequential"
    shown = [each.key for section in page(store, record).sections for each in section.heat_maps]
    assert shown == ["heat-0-plain", "heat-recognition"]
