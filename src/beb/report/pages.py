"""Which module writes the page of which kind of run."""

from __future__ import annotations

import importlib
from typing import Any

from beb.errors import StoreDamaged
from beb.experiments.store import Store
from beb.report.measure_page import measure_page
from beb.report.page import Page

_HOMES = {
    "chat-api": "beb.report.chat_api_page",
    "guardrail": "beb.report.guardrail_page",
    "converse": "beb.report.converse_page",
    "best-of": "beb.report.best_of_page",
    "personas": "beb.report.personas_page",
    "trace": "beb.report.trace_page",
    "probe": "beb.report.probe_page",
}


def page_of(store: Store, result: Any, *, sliders: bool = True) -> Page:
    """What the report of a record says. store: of the run, for sampled texts. sliders: of a measurement.

    Raises: StoreDamaged for a kind of run that this program has no page for.
    """
    name = str(result.meta["experiment"])
    if name == "measure":
        return measure_page(store, result, sliders=sliders)
    if name not in _HOMES:
        raise StoreDamaged(f"{store.path} is a run of kind {name!r}, and this program has no report for it")
    found: Page = importlib.import_module(_HOMES[name]).page(store, result)
    return found
