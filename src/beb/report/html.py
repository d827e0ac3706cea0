"""The report: one self-contained HTML file that opens no connection."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from beb.experiments.measurement import Measurement
from beb.experiments.store import Store, mapped_errors
from beb.report.chart import DASHES, PALETTE, Chart, dark_numbers
from beb.report.inert import one_line, visible
from beb.report.measure_page import measure_context, measure_page
from beb.report.page import VERDICTS, Page
from beb.report.pages import page_of
from beb.report.record import run_record
from beb.report.wording import behavior_name

_PLOTLY_CONFIG = {"displayModeBar": False, "showTips": False}


def write_report(store: Store, result: Any, path: Path) -> Path:
    """Write the report of a run; the file is complete or not there.

    store: of the run, for times and sampled texts. result: its record, of `analyse(store)`.
    path: of the file, replaced if it exists.
    Returns: path. Raises: StoreFull where the folder cannot be written or is full.
    """
    return _write(render_report(store, result), path)


def write_page(store: Store | None, meta: Mapping[str, Any], page: Page, path: Path) -> Path:
    """Write a page about a run that is not the run's own report; otherwise as `write_report`.

    store, meta: of the run; no store where the page is about several runs.
    """
    return _write(_render(store, meta, page, "scenario.html.j2", {}), path)


def _write(text: str, path: Path) -> Path:
    with mapped_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            Path(name).chmod(0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return path


def render_report(store: Store, result: Any) -> str:
    """The page as text, from the record of an experiment of any kind."""
    if isinstance(result, Measurement):
        return _render(store, result.meta, measure_page(store, result), "report.html.j2", measure_context(result))
    found = page_of(store, result)
    return _render(store, result.meta, found, "scenario.html.j2", {})


def _render(store: Store | None, meta: Mapping[str, Any], page: Page, template: str, more: Mapping[str, Any]) -> str:
    scripts = {"plotly": get_plotlyjs(), "page": _template_file("report.js")}
    sources = " ".join(f"'sha256-{_digest(text)}'" for text in scripts.values())
    options = meta["spec"]
    charts = [chart for section in page.sections for chart in section.charts]
    return (
        _environment()
        .get_template(template)
        .render(
            policy=(
                f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data: blob:; "
                "connect-src 'none'; form-action 'none'; base-uri 'none'"
            ),
            scripts={name: Markup(text) for name, text in scripts.items()},  # noqa: S704 - our own files
            style=Markup(_template_file("report.css")),  # noqa: S704
            colours=_colour_variables(),
            drawing=_script_json({"swaps": dark_numbers(), "config": _PLOTLY_CONFIG}),
            dashes=DASHES,
            figure_json={chart.key: _figure_json(chart) for chart in charts},
            model=one_line(str(options["model"]), 80),
            behavior=behavior_name(meta),
            level=f"{100 * float(options['level']):g} %",
            version=importlib.metadata.version("behavior-expectation-bounds"),
            lede=page.lede,
            navigation=[(section.key, section.name) for section in page.sections],
            findings=page.findings,
            warnings=page.warnings,
            notes=page.notes,
            terms=page.terms,
            summary=page.summary,
            sections=page.sections,
            verdicts=VERDICTS,
            record=run_record(store, meta, counts=page.counts, failures=page.failures, methods=page.methods),
            texts=page.texts,
            **more,
        )
    )


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


def _figure_json(chart: Chart) -> Markup:
    figure = json.loads(chart.figure.to_json(validate=False))
    figure["layout"].pop("template", None)
    return _script_json(figure)


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
