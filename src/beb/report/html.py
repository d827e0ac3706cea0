"""The report: one self-contained HTML file that opens no connection."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import os
import tempfile
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
from beb.report.figures import all_charts
from beb.report.inert import one_line, visible
from beb.report.record import run_record, sampled_texts
from beb.report.tables import alpha_rows, assumption_rows, bound_rows, key_figures, qualities
from beb.report.wording import findings, halving_text, notes, spec, warnings

_PLOTLY_CONFIG = {"displayModeBar": False, "showTips": False}


def write_report(store: Store, measurement: Measurement, path: Path) -> Path:
    """Write the report of a run; the file is complete or not there.

    store: of the run, for times and sampled texts. measurement: its numbers. path: of the file, replaced if it exists.
    Returns: path. Raises: StoreFull where the folder cannot be written or is full.
    """
    page = render_report(store, measurement)
    with mapped_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(page)
            Path(name).chmod(0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return path


def render_report(store: Store, m: Measurement) -> str:
    """The page as text."""
    charts = all_charts(m)
    scripts = {"plotly": get_plotlyjs(), "page": _template_file("report.js")}
    sources = " ".join(f"'sha256-{_digest(text)}'" for text in scripts.values())
    options = spec(m)
    return (
        _environment()
        .get_template("report.html.j2")
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
            charts=charts,
            figure_json={chart.key: _figure_json(chart) for group in charts.values() for chart in group},
            model=one_line(str(options["model"]), 80),
            behavior=one_line(
                str(m.meta.get("fingerprints", {}).get("behavior", {}).get("name", options["behavior"])), 60
            ),
            proxies={pole: _proxy(m, pole) for pole in ("negative", "positive")},
            level=f"{100 * float(options['level']):g} %",
            version=importlib.metadata.version("behavior-expectation-bounds"),
            findings=findings(m),
            warnings=warnings(m),
            notes=notes(m),
            key_figures=key_figures(m),
            alpha_rows=alpha_rows(m),
            assumptions=assumption_rows(m),
            bounds=bound_rows(m),
            qualities=qualities(m),
            halving=halving_text(m),
            record=run_record(store, m),
            texts=sampled_texts(store),
        )
    )


def _proxy(m: Measurement, pole: str) -> str:
    """What stands in for a component, in words."""
    identity = m.meta.get("fingerprints", {}).get(pole, {})
    kinds = {
        "lora": "an adapter fitted on statements of that pole",
        "persona": "the same model under a persona description",
        "checkpoint": "another checkpoint",
        "world": "the exact component of a finite world",
        "residual": "what is left of the model without P₋",
    }
    kind = str(identity.get("kind") or identity.get("name", ""))
    return kinds.get(kind, one_line(kind, 60) or "unnamed")


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
