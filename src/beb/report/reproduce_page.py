"""The page of a paper's readings, recomputed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from beb.experiments.reproduction import Reading, Reproduction
from beb.report.inert import one_line
from beb.report.page import Page, Section, Table
from beb.report.rounding import interval_text, value_text
from beb.report.wording import Finding, notes

LEDE = "Do the readings that a paper took from its measurements follow from the numbers that it published?"
COLUMNS = ("reading", "published", "recomputed", "interval", "inside", "note")
INSIDE = {True: "yes", False: "no", None: ""}


def page(r: Reproduction) -> Page:
    """Everything that `beb reproduce` says."""
    sections = [(name, tuple(readings)) for name, readings in groupby(r.readings, key=lambda each: each.section)]
    return Page(
        lede=LEDE,
        findings=_findings(r),
        counts={"readings": len(r.readings), "published": sum(each.published is not None for each in r.readings)},
        failures={},
        terms=f"Numbers: {one_line(r.citation, 400)}. Units: nats, sentences.",
        notes=notes(r.remarks),
        sections=tuple(
            Section(
                f"section-{i}",
                one_line(name, 40),
                one_line(name, 120),
                tables=(Table(one_line(name, 120), COLUMNS, tuple(map(_row, readings)), strong=(2,)),),
            )
            for i, (name, readings) in enumerate(sections)
        ),
        methods={f"{each.section}: {each.name}": each.recomputed for each in r.readings},
    )


def meta(r: Reproduction) -> Mapping[str, Any]:
    """What a page says about the run that it is of: here, of the publication."""
    models = " and ".join(one_line(name, 60) for name in r.models)
    return {
        "spec": {"model": models, "source": r.source, "level": r.level},
        "fingerprints": {"behavior": {"name": r.behavior, "source": r.citation, "fingerprint": ""}},
    }


def figures(r: Reading) -> tuple[str, str, str]:
    """The published figure, the recomputed one, and its interval, as text."""
    published = "–"
    if isinstance(r.published, tuple):
        published = f"{r.published[0]:.4g}–{r.published[1]:.4g}"
    elif r.published is not None:
        published = f"{r.published:.4g}"
    return published, value_text(r.recomputed), interval_text(r.recomputed)


def _row(r: Reading) -> tuple[str, ...]:
    return (one_line(r.name, 120), *figures(r), INSIDE[r.follows], one_line(r.note, 600))


def _findings(r: Reproduction) -> tuple[Finding, ...]:
    published = [each for each in r.readings if each.published is not None]
    outside = [each for each in published if not each.follows]
    told = "; ".join(
        f"{one_line(each.section, 80)}, {one_line(each.name, 80)}: published {figures(each)[0]}, recomputed "
        f"{figures(each)[1]} {figures(each)[2]}"
        for each in outside
    )
    sentence = f"{len(published) - len(outside)} of {len(published)} published figures lie in the recomputed intervals."
    detail = f"Outside: {told}." if outside else "None lies outside."
    return (Finding("Do the published figures follow from the published numbers?", sentence, detail),)
