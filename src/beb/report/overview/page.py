"""One self-contained HTML page about several finished runs of any kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beb.core.estimate import Band, Estimate
from beb.errors import BadSpec
from beb.report.files import write_whole
from beb.report.html import data_uri, render
from beb.report.overview.answers import LEDE, answers, warnings
from beb.report.overview.differences import Differences, differences
from beb.report.overview.panels import Multiples, multiples
from beb.report.overview.runs import Run, read_runs
from beb.report.overview.table import run_table
from beb.report.page import Page, Section
from beb.report.rounding import count_text

TEMPLATE, SCRIPTS, STYLES = "overview.html.j2", ("overview.js",), ("overview.css",)
_TERMS = (
    "P₋ stands for the ill-behaved component and P₊ for the well-behaved one; each run has its own stand-ins for them, "
    "named in its own report. B scores a response from −1 (undesired) to +1 (desired). Every number stands beside the "
    "run that it comes from; numbers of different runs may be compared by eye, and are compared by intervals where two "
    "runs measured the same thing."
)


@dataclass(frozen=True, slots=True)
class Download:
    """A file within the page."""

    name: str
    uri: str


def write_overview(folders: Sequence[Path | str], path: Path) -> Path:
    """Write one page about several finished runs of any kinds: answers, a table, small multiples, differences.

    folders: of the runs, two or more; no model is loaded. path: of the file, replaced if it exists; its folder is made.
    Returns: path. Raises: BadSpec where a folder holds no run or is given twice, EstimateError where a run is not
    finished, GateFailed where it was stopped at its gate, StoreFull where the file cannot be written.
    """
    if len(folders) < 2:
        raise BadSpec(f"{count_text(len(folders), 'run')} given, and this page is about several; give their folders")
    return write_whole(render_overview(read_runs([Path(folder) for folder in folders])).encode(), path)


def render_overview(runs: Sequence[Run]) -> str:
    """The page as text."""
    panels = multiples(runs)
    found = differences(runs)
    return render(
        None,
        _meta(runs),
        _page(runs, panels, found),
        TEMPLATE,
        {
            "runs": runs,
            "table": run_table(runs),
            "multiples": panels,
            "downloads": {each.key: Download(f"{each.key}.csv", data_uri(each.csv)) for each in panels},
            "differences": found,
            "details": {run.key: _details(run) for run in runs},
            "measured": sum(run.measurement is not None for run in runs),
        },
        scripts=SCRIPTS,
        styles=STYLES,
    )


def _page(runs: Sequence[Run], panels: Sequence[Multiples], found: Differences) -> Page:
    charts = tuple(chart for group in found.groups for chart in group.charts)
    parts = [
        Section("runs", "Runs", "The runs, answers first"),
        Section("table", "Table", "All runs in one table"),
        *([Section("multiples", "Side by side", "The measurements side by side")] if panels else []),
        *([Section("differences", "Differences", "Differences", charts=charts)] if found.groups or found.apart else []),
    ]
    return Page(
        lede=LEDE,
        findings=answers(runs),
        counts=_totals(runs),
        failures={f"{run.label}: {what}": n for run in runs for what, n in run.page.failures.items()},
        terms=_TERMS,
        warnings=warnings(runs),
        sections=(*parts, *(_details(run) for run in runs)),
        methods=_methods(runs, found),
    )


def _details(run: Run) -> Section:
    """A scenario's own figures and tables, as far as they belong to its answer; a measurement's stand side by side."""
    if run.measurement is not None:
        return Section(run.key, run.label, run.label, intro=run.told)
    first = next((section for section in run.page.sections if section.charts), None)
    charts = first.charts if first is not None else ()
    return Section(
        run.key,
        run.label,
        run.label,
        intro=run.told,
        tables=run.page.summary,
        charts=tuple(replace(chart, key=f"{run.key}-{chart.key}") for chart in _best(charts)),
        heat_maps=tuple(
            replace(heat, key=f"{run.key}-{heat.key}") for section in run.page.sections for heat in section.heat_maps
        ),
    )


def _totals(runs: Sequence[Run]) -> dict[str, int]:
    """What was counted, over all runs; each run's own report has its own counts."""
    found: dict[str, int] = {}
    for run in runs:
        for what, n in run.page.counts.items():
            found[what] = found.get(what, 0) + n
    return found


def _best(charts: Sequence[Any]) -> list[Any]:
    """Without figures as scored of which there is a corrected one."""
    keys = {chart.key for chart in charts}
    return [chart for chart in charts if f"{chart.key.removesuffix('raw')}corrected" not in keys]


def _methods(runs: Sequence[Run], found: Differences) -> dict[str, Estimate | Band]:
    named = {f"{run.kind}, {name}": each for run in runs for name, each in run.page.methods.items()}
    changed: dict[str, Estimate | Band] = {
        f"change of {each.quantity}": each.difference
        for group in found.groups[:1]
        for each in group.comparison.comparisons[0].differences
    }
    return named | changed


def _meta(runs: Sequence[Run]) -> dict[str, Any]:
    """What the page's head and record show of all runs together."""
    models = list(dict.fromkeys(run.model for run in runs))
    behaviors = list(dict.fromkeys(run.behavior for run in runs))
    versions = [run.meta.get("versions", {}) for run in runs]
    same = all(each == versions[0] for each in versions)
    return {
        "spec": {
            "model": models[0] if len(models) == 1 else count_text(len(models), "model"),
            "behavior": (behaviors[0] + ", " if len(behaviors) == 1 else f"{len(behaviors)} behaviors, ")
            + count_text(len(runs), "run"),
            "level": sorted({run.level for run in runs}),
            **{run.label: _specified(run) for run in runs},
        },
        "fingerprints": {
            f"{role}, {run.label}": identity for run in runs for role, identity in run.meta["fingerprints"].items()
        },
        "versions": versions[0]
        if same
        else {f"{run.label}: {k}": v for run, each in zip(runs, versions, strict=True) for k, v in each.items()},
    }


def _specified(run: Run) -> str:
    """The options of a run that a person would ask for first, and when it was finished."""
    spec: Mapping[str, Any] = run.meta["spec"]
    asked = ("prompts", "sentences", "responses", "turns", "texts", "statements", "seed")
    told = ", ".join(f"{key} {spec[key]}" for key in asked if spec.get(key) is not None)
    return f"{run.kind}: {told}; {run.finished}"
