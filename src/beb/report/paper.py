"""Figures for papers: every figure of a run's report as a file of its own, with its numbers and its caption."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beb.errors import BadSpec
from beb.experiments.store import Store
from beb.report.chart import Chart
from beb.report.chart_data import chart_csv
from beb.report.files import write_whole
from beb.report.heat_map import HeatMap, heat_csv
from beb.report.inert import one_line
from beb.report.page import Page
from beb.report.pages import page_of
from beb.report.paper_drawing import paper_figure
from beb.report.paper_heat import paper_heat_map
from beb.report.paper_style import FORMATS, WIDTHS

CAPTIONS = "captions.txt"
_UNSAFE = re.compile(r"[^A-Za-z0-9.]+")


def write_figures(
    store: Store, result: Any, folder: Path, *, file_format: str = "pdf", width: str = "column"
) -> tuple[Path, ...]:
    """Write every figure of a run's report for print, each with a CSV of its numbers, and the captions of all.

    store: of the run. result: its record, of `analyse(store)`. folder: made if needed; files of the same names are
    replaced. file_format: "svg", "png" or "pdf". width: "column" (3.3 in) or "page" (7 in) of a two-column page. The
    same run gives the same bytes.
    Returns: the files written. Raises: BadSpec for another format or width; StoreFull where the folder cannot be
    written.
    """
    check_figures(file_format, width)
    written = []
    captions = []
    for name, each in named_figures(page_of(store, result, sliders=False)):
        if isinstance(each, Chart):
            drawn, numbers = paper_figure(each, file_format, width=width), chart_csv(each)
        else:
            drawn, numbers = paper_heat_map(each, file_format, width=width), heat_csv(each)
        written.append(write_whole(drawn, folder / f"{name}.{file_format}"))
        written.append(write_whole(numbers.encode(), folder / f"{name}.csv"))
        captions.append(f"{name}\n{one_line(each.title)}. {one_line(each.caption, 4000)}\n")
    return (*written, write_whole("\n".join(captions).encode(), folder / CAPTIONS))


def check_figures(file_format: str, width: str) -> None:
    """Raises: BadSpec for a format or a width that there is not."""
    if file_format not in FORMATS:
        raise BadSpec(f"--format {file_format!r} is unknown; give {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    if width not in WIDTHS:
        raise BadSpec(f"--width {width!r} is unknown; give {' or '.join(WIDTHS)}")


def named_figures(page: Page) -> Iterator[tuple[str, Chart | HeatMap]]:
    """Every figure of a page with the name of its file: its section and its own."""
    for section in page.sections:
        part = _file_name(section.key.removesuffix("-section"))
        figures: tuple[Chart | HeatMap, ...] = (*section.heat_maps, *section.charts)
        for each in figures:
            own = _file_name(each.key)
            yield (own if own == part or own.startswith(f"{part}-") else f"{part}-{own}"), each


def _file_name(text: str) -> str:
    return _UNSAFE.sub("-", text).strip("-.")
