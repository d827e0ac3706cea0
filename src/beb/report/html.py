"""The report: one self-contained HTML file that opens no connection."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from beb.experiments.measurement import Measurement
from beb.experiments.store import Store
from beb.report.chart import DASHES, PALETTE, dark_numbers
from beb.report.chart_data import chart_csv
from beb.report.files import write_whole
from beb.report.heat_map import heat_csv
from beb.report.inert import one_line, visible
from beb.report.measure_page import measure_context, measure_page
from beb.report.page import VERDICTS, Page
from beb.report.pages import page_of
from beb.report.record import run_record
from beb.report.wording import behavior_name

_SCRIPTS = ("report.js",)
_STYLES = ("report.css",)
_WHAT_IF_SCRIPTS = ("what_if_bounds.js", "what_if_draws.js", "what_if.js")
_WHAT_IF_STYLES = ("what_if.css",)
_PLOTLY_CONFIG = {"displayModeBar": False, "showTips": False, "typesetMath": False}
_BYTE_ORDER_MARK = "\ufeff"  # without it spreadsheets read a CSV as something else than UTF-8


def write_report(store: Store, result: Any, path: Path) -> Path:
    """Write the report of a run; the file is complete or not there.

    store: of the run, for times and sampled texts. result: its record, of `analyse(store)`.
    path: of the file, replaced if it exists.
    Returns: path. Raises: StoreFull where the folder cannot be written or is full.
    """
    return write_whole(render_report(store, result).encode(), path)


def write_page(store: Store | None, meta: Mapping[str, Any], page: Page, path: Path) -> Path:
    """Write a page about a run that is not the run's own report; otherwise as `write_report`.

    store, meta: of the run; no store where the page is about several runs.
    """
    return write_whole(render(store, meta, page, "scenario.html.j2", {}).encode(), path)


def render_report(store: Store, result: Any) -> str:
    """The page as text, from the record of an experiment of any kind."""
    if isinstance(result, Measurement):
        return render(store, result.meta, measure_page(store, result), "report.html.j2", measure_context(result))
    found = page_of(store, result)
    return render(store, result.meta, found, "scenario.html.j2", {})


def render(
    store: Store | None,
    meta: Mapping[str, Any],
    page: Page,
    template: str,
    more: Mapping[str, Any],
    *,
    scripts: tuple[str, ...] = (),
    styles: tuple[str, ...] = (),
) -> str:
    """A page as text.

    more: what its template shows besides. scripts, styles: files that it needs besides those of every page. The level
    of meta's specification may be several, where the page is about several runs.
    """
    options = meta["spec"]
    return (
        _environment()
        .get_template(template)
        .render(
            **_own_files(
                _SCRIPTS + _WHAT_IF_SCRIPTS * bool(page.what_if) + scripts,
                _STYLES + _WHAT_IF_STYLES * bool(page.what_if) + styles,
            ),
            **_figures(page),
            colours=_colour_variables(),
            drawing=_script_json({"swaps": dark_numbers(), "config": _PLOTLY_CONFIG}),
            dashes=DASHES,
            model=one_line(str(options["model"]), 80),
            behavior=behavior_name(meta),
            level=_level_text(options["level"]),
            version=importlib.metadata.version("behavior-expectation-bounds"),
            lede=page.lede,
            navigation=[("summary", "In numbers")] * bool(page.summary)
            + [(section.key, section.name) for section in page.sections]
            + [("what-if", "What if")] * bool(page.what_if),
            findings=page.findings,
            warnings=page.warnings,
            notes=page.notes,
            terms=page.terms,
            premises=page.premises,
            premises_title=page.premises_title,
            summary=page.summary,
            sections=page.sections,
            charts={section.key: section.charts for section in page.sections},
            what_if=page.what_if,
            what_if_uri=data_uri(page.what_if.csv) if page.what_if else "",
            what_if_json=_script_json(page.what_if.payload) if page.what_if else "",
            verdicts=VERDICTS,
            record=run_record(store, meta, counts=page.counts, failures=page.failures, methods=page.methods),
            texts=page.texts,
            **more,
        )
    )


def _own_files(scripts: tuple[str, ...], styles: tuple[str, ...]) -> dict[str, Any]:
    """The program's own scripts and styles, and the policy that lets these scripts run and nothing else."""
    texts = (get_plotlyjs(), *map(_template_file, scripts))
    sources = " ".join(f"'sha256-{_digest(text)}'" for text in texts)
    return {
        "policy": (
            f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data: blob:; "
            "connect-src 'none'; form-action 'none'; base-uri 'none'"
        ),
        "scripts": [Markup(text) for text in texts],  # noqa: S704
        "style": Markup("\n".join(map(_template_file, styles))),  # noqa: S704
    }


def _figures(page: Page) -> dict[str, Any]:
    """What is drawn and what can be saved, by figure."""
    charts = [chart for section in page.sections for chart in section.charts]
    heat_maps = [heat for section in page.sections for heat in section.heat_maps]
    return {
        "figure_json": {chart.key: _script_json(chart.drawing) for chart in charts},
        "data_uri": {chart.key: data_uri(chart_csv(chart)) for chart in charts}
        | {heat.key: data_uri(heat_csv(heat)) for heat in heat_maps},
    }


def _level_text(level: Any) -> str:
    levels = level if isinstance(level, (list, tuple)) else (level,)
    return " or ".join(f"{100 * float(each):g}\u00a0%" for each in levels)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("beb.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_inert,
    )


def _inert(value: Any) -> Any:
    """Whatever reaches the page as text has its invisible characters spelled out first."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


def _template_file(name: str) -> str:
    return (resources.files("beb.report") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def data_uri(csv_text: str) -> str:
    """A file within the page: saving it needs neither a connection nor a script."""
    encoded = base64.b64encode((_BYTE_ORDER_MARK + csv_text).encode()).decode()
    return f"data:text/csv;charset=utf-8;base64,{encoded}"


def _script_json(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


def _colour_variables() -> dict[str, dict[str, str]]:
    """CSS variables of the figures' colours, by theme."""
    return {
        theme: {role: f"rgb({','.join(map(str, pair[i]))})" for role, pair in PALETTE.items()}
        for i, theme in enumerate(("light", "dark"))
    }
