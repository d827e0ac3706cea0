"""A heat map of the report drawn for print: the same numbers in the same colours, each readable in its cell."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from beb.report.heat_map import Cell, HeatMap
from beb.report.paper_style import WIDTHS, drawable, empty_figure, figure_file, print_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.3  # inches
_NAMES = 1.0
_LIMITS_FROM = 0.74  # inches of a cell that holds its limits too
_LETTERS = 16  # of a name on a line
_HEAD = 0.9


def paper_heat_map(heat: HeatMap, file_format: str, *, width: str = "column") -> bytes:
    """The heat map as a file's bytes; as `paper_figure`. Limits stand in cells that are wide enough."""
    return figure_file(lambda: _draw(heat, width), file_format, title=heat.title, alt=heat.alt)


def _draw(heat: HeatMap, width: str) -> Figure:
    figure = empty_figure(width, _HEAD + _ROW * max(len(heat.rows), 1))
    axes = figure.add_subplot()
    axes.set_xlim(0, max(len(heat.columns), 1))
    axes.set_ylim(max(len(heat.rows), 1), 0)
    has_limits = (WIDTHS[width] - _NAMES) / max(len(heat.columns), 1) >= _LIMITS_FROM
    for i, (_, estimates) in enumerate(heat.rows):
        for j, estimate in enumerate(estimates):
            _draw_cell(axes, i, j, heat.cell(estimate), has_limits=has_limits)
    names = [textwrap.fill(drawable(name), _LETTERS) for name in heat.columns]
    axes.set_xticks([j + 0.5 for j in range(len(names))], names)
    axes.set_yticks(
        [i + 0.5 for i in range(len(heat.rows))], [textwrap.fill(drawable(row), 20) for row, _ in heat.rows]
    )
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelcolor=print_colour("ink"))
    ends = f"from {heat.ends[0]}, to {heat.ends[1]}"
    axes.set_xlabel("\n".join(map(drawable, (heat.unit, ends))), color=print_colour("ink"))
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _draw_cell(axes: Axes, row: int, column: int, cell: Cell, *, has_limits: bool) -> None:
    from matplotlib.patches import Rectangle

    share = cell.strength / 100
    tint = tuple(share * c + 1 - share for c in print_colour(cell.role))
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=tint, edgecolor="white", linewidth=1.2))
    lines = [cell.text, cell.limits] if has_limits and cell.limits else [cell.text]
    for i, (text, size) in enumerate(zip(lines, (8.0, 6.0), strict=False)):
        at = row + (0.5 if len(lines) == 1 else (0.36, 0.74)[i])
        axes.text(
            column + 0.5, at, drawable(text), ha="center", va="center", fontsize=size, color=print_colour("ink"),
            gid=f"cell-{row}-{column}" if i == 0 else None,
        )  # fmt: skip
