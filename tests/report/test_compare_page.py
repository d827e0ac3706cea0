"""The page of a comparison: what it concludes, how it says it, and that nothing foreign reaches it as markup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from beb.cli.page import print_page
from beb.core.estimate import Estimate
from beb.experiments.compare.analyse import claim, compare
from beb.experiments.compare.record import Comparison, part_verdict
from beb.experiments.measure import measure
from beb.experiments.spec import MeasureSpec
from beb.report.compare_page import page
from beb.report.html import write_page

HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1, 2):
        spec = MeasureSpec(prompts=8, sentences=3, seed=seed)
        measure("world:markov", spec=spec, out=folder / f"run{seed}")
    return compare(*(folder / f"run{seed}" for seed in (0, 1, 2)))


def judged(found: Comparison, **limits: tuple[float, float]) -> Comparison:
    """The comparison of the first two runs with other limits for some of its claims, by key."""
    one = found.comparisons[0]
    claims = tuple(
        claim(each.part, each.key, each.reading, _between(*limits[each.key])) if each.key in limits else each
        for each in one.claims
    )
    alpha, beta = (part_verdict(claims, part) for part in ("alpha", "beta"))
    return replace(found, comparisons=(replace(one, claims=claims, alpha=alpha, beta=beta),))


def _between(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 0.99, 8, "nats", "made up")


UNSURE = dict.fromkeys(("plateau", "evidence", "line", "logistic_plain", "beta", "line_beta", "slope_plain"), (-1, 1))


def test_undecided_supported_and_disagreeing_readings_are_said(found: Comparison) -> None:
    alpha, beta, _ = page(judged(found, **UNSURE)).findings
    assert alpha.sentence == "“Alignment lowers α” is undecided, by every reading."
    assert "7 claims" in beta.detail.replace("14 claims", "7 claims")
    alpha, beta, _ = page(judged(found, **{**UNSURE, "line": (0.5, 1), "beta": (-2, -1)})).findings
    assert alpha.sentence.startswith("“Alignment lowers α” is supported: supported by straight line; undecided by")
    assert beta.sentence.startswith("“Alignment raises β” is contradicted: contradicted by β itself")
    alpha, _, _ = page(judged(found, **{**UNSURE, "line": (0.5, 1), "evidence": (-2, -1)})).findings
    assert "the readings disagree (undecided on the whole)" in alpha.sentence


def test_several_runs_have_sections_of_their_own(found: Comparison) -> None:
    shown = page(found)
    assert len(shown.findings) == 6
    keys = [section.key for section in shown.sections]
    assert keys == ["verdict-0", "verdict-1", "differences-0", "differences-1", "curves"]
    charts = [chart for section in shown.sections for chart in section.charts]
    assert len({chart.key for chart in charts}) == len(charts)
    assert [item.label for item in charts[0].legend] == [run.label for run in found.runs]
    assert all(chart.alt and chart.caption for chart in charts)


def test_every_difference_stands_in_the_table_with_how_it_was_compared(found: Comparison) -> None:
    table = next(s for s in page(found).sections if s.key == "differences-0").tables[0]
    assert len(table.rows) == len(found.comparisons[0].differences)
    assert all(row[-1] == "independent, 8" for row in table.rows)


def test_the_file_is_whole_and_holds_foreign_names_as_text(found: Comparison, tmp_path: Path) -> None:
    hostile = replace(
        found,
        runs=tuple(replace(run, label=HOSTILE) for run in found.runs),
        comparisons=tuple(replace(one, label=HOSTILE) for one in found.comparisons),
        meta={**found.meta, "spec": {**found.meta["spec"], "model": HOSTILE}},
        notes=(HOSTILE,),
    )
    text = write_page(None, hostile.meta, page(hostile), tmp_path / "compare.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert "⟨U+202E⟩" in text
    assert "Failures" in text


def test_the_terminal_says_the_same(found: Comparison) -> None:
    console = Console(width=100, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    print_page(page(found), found.meta, console)
    said = " ".join(console.export_text().split())
    assert "“Alignment lowers α”" in said
    assert "What it rests on" in said
    console.file.close()
