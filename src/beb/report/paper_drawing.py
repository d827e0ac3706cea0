"""A figure of the report drawn for print: matplotlib, the same numbers and the same colours."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from beb.report.chart import AREA_OPACITY, BAND_OPACITY, DASHES, EMPHASIS, Chart, Series, Style
from beb.report.paper_style import drawable, empty_figure, figure_file, print_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AREA = "plot-area"
AXES_HEIGHT = {"column": 2.15, "page": 2.7}
_LETTERS = {"column": 48, "page": 104}  # of 8 points on a line
_HANDLE_LETTERS = 9  # as wide as a line of the legend with its gaps
_TITLE_LETTERS = 33  # along the vertical axis
_LEGEND_LINE = 0.155
_LABEL_HEIGHT = 0.42
_MARKERS = {"": "", "circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "x": "x"}
_THINNER = 0.55  # of the widths on the screen


def paper_figure(chart: Chart, file_format: str, *, width: str = "column") -> bytes:
    """The figure as a file's bytes, the same for the same chart.

    file_format: "svg", "png" or "pdf". width: "column" (3.3 in) or "page" (7 in).
    """
    return figure_file(lambda: _draw(chart, width), file_format, title=chart.title, alt=chart.alt)


def _draw(chart: Chart, width: str) -> Figure:
    labels = [drawable(series.label) for series in chart.series]
    columns = max(_LETTERS[width] // (max(map(len, labels)) + _HANDLE_LETTERS), 1)
    labels = [textwrap.fill(label, _LETTERS[width]) for label in labels]
    height = AXES_HEIGHT[width] + _LABEL_HEIGHT + _LEGEND_LINE * _legend_lines(labels, columns)
    figure = empty_figure(width, height)
    axes = figure.add_subplot()
    axes.patch.set_gid(AREA)
    drawing = _Drawing(axes, chart)
    handles = [drawing.draw(series) for series in chart.series]
    _dress(axes, chart)
    figure.legend(
        handles, labels, loc="outside lower left", ncols=columns, handlelength=2.6, borderaxespad=0.0, borderpad=0.2,
        labelspacing=0.3, columnspacing=1.5, handletextpad=0.7,
    )  # fmt: skip
    return figure


def _dress(axes: Axes, chart: Chart) -> None:
    from matplotlib.ticker import MaxNLocator

    counted = all(series.kind != "points" for series in chart.series)
    axes.set_xlim(*chart.x_range)
    axes.set_ylim(*chart.y_range)
    axes.set_xlabel(textwrap.fill(drawable(chart.x_title), _LETTERS["column"]), color=print_colour("ink"))
    axes.set_ylabel(textwrap.fill(drawable(chart.y_title), _TITLE_LETTERS), color=print_colour("ink"))
    axes.grid(visible=True, axis="y", color=print_colour("grid"), linewidth=0.5)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(print_colour("faint"))
    axes.tick_params(color=print_colour("faint"), labelcolor=print_colour("ink"))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=counted))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))


class _Drawing:
    """Axes with what has been drawn on them; every drawer returns what the legend shows."""

    def __init__(self, axes: Axes, chart: Chart) -> None:
        self.axes = axes
        low, high = chart.y_range
        # An infinite limit is drawn far outside the plot.
        self.edges = (low - 10 * (high - low), high + 10 * (high - low))
        self.floor: tuple[float, ...] = ()
        self._drawn = 0

    def draw(self, series: Series) -> Any:
        """Draw one series of any kind."""
        drawers = {
            "band": self._band, "bars": self._bars, "curve": self._line, "line": self._line, "points": self._points,
            "area": self._area, "level": self._level,
        }  # fmt: skip
        handle = drawers[series.kind](series)
        self._drawn += 1
        return handle

    def _name(self) -> str:
        """What the line of the series is called in an SVG, for whoever edits the figure."""
        return f"curve-{self._drawn}"

    def _band(self, series: Series) -> Any:
        band = series.band
        assert band is not None
        fill = self._fill(series, band.low, band.high)
        if series.pointwise:
            self._fill(series, band.pointwise_low, band.pointwise_high)
        return (fill, self._line(series))

    def _bars(self, series: Series) -> Any:
        band = series.band
        assert band is not None
        x = [n + series.shift for n in series.x]
        low, high = self._drawable_limits(band.pointwise_low), self._drawable_limits(band.pointwise_high)
        line = self._line(series)
        self.axes.vlines(x, low, high, color=print_colour(series.style.role), linewidth=1.3, zorder=2.2)
        least, most = self._drawable_limits(band.low), self._drawable_limits(band.high)
        self.axes.vlines(x, least, most, color=print_colour(series.style.role), linewidth=0.5, zorder=2.2)
        return line

    def _line(self, series: Series) -> Any:
        style = series.style
        (line,) = self.axes.plot(
            [n + series.shift for n in series.x],
            _with_gaps(series.y),
            color=print_colour(style.role),
            linewidth=style.width * _THINNER,
            linestyle=_dashes(style),
            marker=_MARKERS[style.marker],
            markersize=3.2,
            zorder=2.5 if style.width > EMPHASIS else 2.3,
            gid=self._name(),
        )
        return line

    def _points(self, series: Series) -> Any:
        (points,) = self.axes.plot(
            series.x, _with_gaps(series.y), color=print_colour(series.style.role), linestyle="",
            marker=_MARKERS[series.style.marker or "circle"], markersize=3.0, alpha=0.75,
            gid=self._name(),
        )  # fmt: skip
        return points

    def _area(self, series: Series) -> Any:
        """A share on top of those drawn before it."""
        below = self.floor or (0.0,) * len(series.y)
        self.floor = tuple(a + b for a, b in zip(below, series.y, strict=True))
        colour, dashed = print_colour(series.style.role), series.style.dash != "solid"
        opacity = AREA_OPACITY / 2 if dashed else AREA_OPACITY
        fill = self.axes.fill_between(series.x, below, self.floor, color=colour, alpha=opacity, linewidth=0)
        (line,) = self.axes.plot(
            series.x, self.floor, color=colour, linewidth=0.6, linestyle=_dashes(series.style), gid=self._name()
        )
        return (fill, line)

    def _level(self, series: Series) -> Any:
        style = series.style
        return self.axes.axhline(
            series.y[0],
            color=print_colour(style.role),
            linewidth=style.width * _THINNER,
            linestyle=_dashes(style),
            zorder=2.1,
            gid=self._name(),
        )

    def _fill(self, series: Series, low: Sequence[float], high: Sequence[float]) -> Any:
        return self.axes.fill_between(
            series.x,
            self._drawable_limits(low),
            self._drawable_limits(high),
            color=print_colour(series.style.role),
            alpha=BAND_OPACITY,
            linewidth=0,
            zorder=1.5,
        )

    def _drawable_limits(self, limits: Sequence[float]) -> list[float]:
        return [min(max(limit, self.edges[0]), self.edges[1]) for limit in limits]


def _dashes(style: Style) -> Any:
    """The screen's dashes, in widths of the thinner line."""
    lengths = [0.6 * float(part) for part in DASHES[style.dash].split()]
    return (0, tuple(lengths)) if lengths else "solid"


def _with_gaps(values: Sequence[float]) -> list[float]:
    return [value if math.isfinite(value) else math.nan for value in values]


def _legend_lines(labels: Sequence[str], columns: int) -> int:
    """Lines of text that the longest column of the legend takes; matplotlib fills columns one after the other."""
    per_column = -(-len(labels) // columns)
    parts = [labels[i : i + per_column] for i in range(0, len(labels), per_column)]
    return max((sum(label.count("\n") + 1 for label in part) for part in parts), default=0)
