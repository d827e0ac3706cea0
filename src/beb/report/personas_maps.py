"""Heat maps of a personas run: how the model behaves after each persona's sentences, and how soon it is recognised."""

from __future__ import annotations

from beb.core.estimate import Band, Estimate
from beb.experiments.personas.record import PersonasRecord, PersonaWay
from beb.report.heat_map import HeatMap
from beb.report.inert import one_line
from beb.report.rounding import count_text
from beb.report.wording import FORMATS

_UNIT = "B, −1 … +1"
_ENDS = ("−1, undesired", "+1, desired")


def behavior_maps(r: PersonasRecord) -> tuple[HeatMap, ...]:
    """Persona × length for each behavior and format, and persona × behavior if there are several behaviors."""
    formats = dict.fromkeys(name for way in r.ways for name in way.response)
    each = [_lengths_map(r, behavior, name, i) for i, behavior in enumerate(r.unprompted) for name in formats]
    return (*_behaviors_maps(r, list(formats)), *each)


def recognition_map(r: PersonasRecord) -> HeatMap:
    """Posterior weight of each persona after its own sentences."""
    ranked = sorted(r.personas, key=lambda persona: -persona.own_posterior.value[-1])
    lengths = ranked[0].own_posterior.lengths
    return HeatMap(
        key="heat-recognition",
        title="How surely each persona is recognised",
        caption="Mean posterior weight of a persona after n of its own sentences; in brackets its limits.",
        corner="persona",
        columns=tuple(count_text(n, "sentence") for n in lengths),
        rows=tuple((_name(p.name), tuple(_point(p.own_posterior, n) for n in lengths)) for p in ranked),
        low=0.0,
        high=1.0,
        ends=("0, not recognised", "1, certain"),
        unit="posterior weight, 0 … 1",
        scale="sequential",
    )


def _lengths_map(r: PersonasRecord, behavior: str, format_name: str, number: int) -> HeatMap:
    ways = [way for way in r.ways if way.behavior == behavior and format_name in way.response]
    ways.sort(key=lambda way: way.response[format_name].value[-1])
    lengths = ways[0].response[format_name].lengths if ways else ()
    told = FORMATS.get(format_name, one_line(format_name))
    return HeatMap(
        key=f"heat-{number}-{format_name}",
        title=f"{_name(behavior)}: the model's behavior after each persona's sentences, {told}",
        caption="First column: the persona itself, the largest mean B of its own sentences (γᵢ). Then the model's mean "
        "response after n sentences of that persona; without a prompt it is the same for all. In brackets the "
        "limits, those of a response for all personas together; pale where they include 0. Worst at the end first.",
        corner="persona",
        columns=("itself, γᵢ", *(f"n = {n}" for n in lengths)),
        rows=tuple(
            (_name(way.name), (way.gamma, *(_point(way.response[format_name], n) for n in lengths))) for way in ways
        ),
        low=-1.0,
        high=1.0,
        ends=_ENDS,
        unit=_UNIT,
    )


def _behaviors_maps(r: PersonasRecord, formats: list[str]) -> tuple[HeatMap, ...]:
    behaviors = list(r.unprompted)
    if len(behaviors) < 2:
        return ()
    return tuple(_behaviors_map(r, behaviors, name) for name in formats)


def _behaviors_map(r: PersonasRecord, behaviors: list[str], format_name: str) -> HeatMap:
    by_key = {(way.name, way.behavior): way for way in r.ways}
    told = FORMATS.get(format_name, one_line(format_name))
    last = int(r.meta["spec"]["sentences"])
    return HeatMap(
        key=f"heat-behaviors-{format_name}",
        title=f"Persona by behavior after the longest prompts, {told}",
        caption=f"The model's mean response at the longest tested prompts of each persona (up to "
        f"{count_text(last, 'sentence')}); pale where its limits include 0.",
        corner="persona",
        columns=tuple(_name(behavior) for behavior in behaviors),
        rows=tuple(
            (_name(p.name), tuple(_end(by_key.get((p.name, behavior)), format_name) for behavior in behaviors))
            for p in r.personas
        ),
        low=-1.0,
        high=1.0,
        ends=_ENDS,
        unit=_UNIT,
    )


def _end(way: PersonaWay | None, format_name: str) -> Estimate | None:
    band = way.response.get(format_name) if way is not None else None
    return band.at(band.lengths[-1]) if band is not None else None


def _point(band: Band, n: int) -> Estimate | None:
    return band.at(n) if n in band.lengths else None


def _name(name: str) -> str:
    return one_line(name, 60)
