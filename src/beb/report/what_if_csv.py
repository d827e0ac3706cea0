"""The numbers of the "What if" section at the run's own settings, as a CSV."""

from __future__ import annotations

from collections.abc import Iterator

from beb.core.bounds import PropagatedBound
from beb.experiments.what_if import ReadingInputs, WhatIfInputs, recompute, recompute_draws
from beb.report.chart_data import csv_text, estimate_cells, number_cell, text_cell
from beb.report.what_if_controls import CLAIM, SCENARIO
from beb.report.what_if_draws import PERCENTILES, percentiles
from beb.report.what_if_words import THEOREMS

_HEADER = (
    "what", "name", "form", "reading of α", "value", "low", "high", "unit", "confidence level (share)",
    "independent units",
)  # fmt: skip
_SENTENCES = "sentences"


def what_if_csv(inputs: WhatIfInputs) -> str:
    """Settings, then by reading of α every bound with its interval and its percentiles over the draws.

    As `chart_data.chart_csv`: full precision, inf for infinite, empty for what does not exist, no formulas.
    """
    return csv_text(_HEADER, _rows(inputs))


def _rows(inputs: WhatIfInputs) -> Iterator[list[str]]:
    for control in (*CLAIM, *SCENARIO):
        if set(inputs.shown) & set(control.moves):
            value = number_cell(getattr(inputs.settings, control.key))
            name = text_cell(f"{control.label} {control.symbol}")
            yield ["setting", name, "", "", value, "", "", text_cell(control.unit), "", ""]
    for name, reading in inputs.readings.items():
        yield from _bounds(inputs, text_cell(name), reading)


def _bounds(inputs: WhatIfInputs, reading: str, measured: ReadingInputs) -> Iterator[list[str]]:
    found = recompute(inputs, measured, inputs.settings)
    draws = recompute_draws(inputs, measured, inputs.settings)
    for key in inputs.shown:
        name = text_cell(THEOREMS[key][0])
        for form, cells in _forms(found[key]):
            yield ["bound", name, form, reading, *cells]
        if key in draws:
            for share, length in zip(PERCENTILES, percentiles(draws[key]), strict=True):
                what = f"{share}th percentile of {len(draws[key])} draws"
                yield [what, name, "sharp", reading, number_cell(length), "", "", _SENTENCES, "", ""]


def _forms(found: PropagatedBound | None) -> Iterator[tuple[str, list[str]]]:
    """A form without bound has no numbers; the paper's form is left out where there is none."""
    if found is None:
        yield "sharp", ["", "", "", _SENTENCES, "", ""]
        return
    yield "sharp", estimate_cells(found.sharp)
    if found.paper is not None:
        yield "paper", estimate_cells(found.paper)
