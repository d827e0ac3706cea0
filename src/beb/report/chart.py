"""One figure of the report: plotly traces, its legend, its words, and its numbers as a table."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from beb.core.estimate import Band
from beb.report.rounding import fixed, point_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Told apart with any colour vision, also beside each other: role -> (light page, dark page).
PALETTE = {
    "negative": ((196, 60, 0), (236, 110, 30)),
    "positive": ((0, 120, 212), (86, 190, 250)),
    "shuffled": ((150, 50, 128), (196, 132, 172)),
    "theory": ((12, 124, 90), (30, 160, 118)),
    "other": ((184, 138, 0), (248, 202, 90)),
    "ink": ((46, 52, 60), (209, 215, 222)),
    "faint": ((128, 134, 142), (100, 108, 118)),
    "page": ((253, 253, 252), (20, 23, 27)),
    "grid": ((226, 229, 233), (44, 50, 58)),
}
DASHES = {"solid": "", "dash": "7 4", "dot": "2 4", "dashdot": "7 3 2 3"}
BAND_OPACITY = 0.16
AREA_OPACITY = 0.6
EMPHASIS = 2.0  # wider lines lie on top
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class Style:
    """How one curve looks. role: in PALETTE. marker: plotly symbol or "" for none."""

    role: str
    dash: str = "solid"
    marker: str = ""
    width: float = 2.0


@dataclass(frozen=True, slots=True)
class LegendItem:
    """One line of the legend; its traces carry its position as `meta`."""

    label: str
    style: Style
    has_band: bool


@dataclass(frozen=True, slots=True)
class Series:
    """One thing drawn, at full precision, for whatever shows the figure besides plotly.

    kind: "band", "bars", "curve", "line", "points", "area" or "level" (one y, no x). x: without the sideways shift of
    bars. band: its limits, where it has any. pointwise: a band's pointwise limits are drawn too.
    """

    kind: str
    label: str
    style: Style
    x: tuple[float, ...]
    y: tuple[float, ...]
    band: Band | None = None
    pointwise: bool = True
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Table:
    """The numbers behind a figure."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class Chart:
    """A figure being drawn.

    key: anchor. title, caption: words above and below. alt: the figure in one sentence, for who cannot see it.
    x_name: first column of its table of numbers.
    """

    key: str
    title: str
    caption: str
    alt: str
    x_title: str
    y_title: str
    y_range: tuple[float, float]
    x_range: tuple[float, float]
    height: int = 380
    x_name: str = "sentences"
    legend: list[LegendItem] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    columns: list[tuple[str, dict[int, str]]] = field(default_factory=list)
    _traces: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    @property
    def figure(self) -> go.Figure:
        """The plotly figure, checked by plotly."""
        import plotly.graph_objects as go

        return go.Figure(self.drawing)

    @property
    def drawing(self) -> dict[str, Any]:
        """The plotly figure as plotly.js reads it: bands below, then lines, then the line that matters most."""
        traces = [trace for _, trace in sorted(self._traces, key=lambda pair: pair[0])]
        axis = {"gridcolor": colour("grid"), "zeroline": False, "linecolor": colour("faint"), "ticks": "outside"}
        axis |= {"tickcolor": colour("faint"), "fixedrange": True, "showline": True}
        spike = {"spikecolor": colour("faint"), "spikethickness": 1, "spikedash": "solid"}
        title = {"standoff": 8, "font": {"size": 13}}
        is_scatter = any(trace["mode"] == "markers" for trace in traces)
        counts = not is_scatter and self.x_range[1] - self.x_range[0] <= 16
        steps = {"dtick": 1} if counts else {"nticks": 12}
        layout = {
            "paper_bgcolor": colour("page"),
            "plot_bgcolor": colour("page"),
            "font": {"family": _FONT, "size": 13, "color": colour("ink")},
            "margin": {"l": 62, "r": 12, "t": 12, "b": 50},
            "height": self.height,
            "showlegend": False,
            "hovermode": "closest" if is_scatter else "x unified",
            "hoverlabel": {
                "namelength": -1,
                "font": {"size": 12, "color": colour("ink")},
                "bgcolor": colour("page"),
                "bordercolor": colour("grid"),
            },
            "dragmode": False,
            "separators": ".,",
            "xaxis": {
                **axis, **steps, **spike, "showgrid": False, "title": {**title, "text": self.x_title},
                "unifiedhovertitle": {"text": f"{self.x_name}: %{{x:.0f}}"},
                "range": list(self.x_range),
            },
            "yaxis": {
                **axis, "title": {**title, "text": self.y_title}, "range": list(self.y_range), "tickformat": ",~r",
                "automargin": True,
            },
        }  # fmt: skip
        return {"data": traces, "layout": layout}

    def band(self, band: Band, label: str, style: Style, *, pointwise: bool = True) -> None:
        """A curve with its simultaneous band (light) and, if asked for, its pointwise limits (darker)."""
        x = list(band.lengths)
        self._fill(x, band.low, band.high, style)
        if pointwise:
            self._fill(x, band.pointwise_low, band.pointwise_high, style)
        self._line(x, band.value, label, style, told=_told(band, band.low, band.high))
        self._item(label, style, has_band=True)
        self.series.append(Series("band", label, style, band.lengths, band.value, band, pointwise=pointwise))
        self._column(f"{label} [simultaneous {100 * band.level:g} %]", band, band.low, band.high)
        if pointwise:
            self._column(f"{label} [pointwise {100 * band.level:g} %]", band, band.pointwise_low, band.pointwise_high)

    def bars(self, band: Band, label: str, style: Style, *, shift: float = 0.0) -> None:
        """A curve with its pointwise limits as thick bars and its simultaneous ones as thin longer ones.

        shift: sideways, so that bars do not cover each other.
        """
        x = [length + shift for length in band.lengths]
        up = [h - v for h, v in zip(band.pointwise_high, band.value, strict=True)]
        down = [v - low for low, v in zip(band.pointwise_low, band.value, strict=True)]
        self._whiskers(x, band.low, band.high, style)
        self._line(x, band.value, label, style, told=_told(band, band.pointwise_low, band.pointwise_high))
        bars = {"type": "data", "array": _finite(up), "arrayminus": _finite(down), "thickness": 2.4, "width": 0}
        self._traces[-1][1].update(error_y={**bars, "symmetric": False, "color": colour(style.role)})
        self._item(label, style, has_band=False)
        self.series.append(Series("bars", label, style, band.lengths, band.value, band, shift=shift))
        self._column(f"{label} [simultaneous {100 * band.level:g} %]", band, band.low, band.high)
        self._column(f"{label} [pointwise {100 * band.level:g} %]", band, band.pointwise_low, band.pointwise_high)

    def curve(self, band: Band, label: str, style: Style) -> None:
        """A curve whose pointwise limits stand in the table only, where drawing them would hide others."""
        told = _told(band, band.pointwise_low, band.pointwise_high)
        self._line(list(band.lengths), band.value, label, style, told=told)
        self._item(label, style, has_band=False)
        self.series.append(Series("curve", label, style, band.lengths, band.value, band))
        self._column(f"{label} [pointwise {100 * band.level:g} %]", band, band.pointwise_low, band.pointwise_high)

    def line(self, x: Sequence[float], y: Sequence[float], label: str, style: Style, *, listed: bool = True) -> None:
        """A curve without interval. listed: also a column of the table."""
        self._line(list(x), y, label, style)
        self._item(label, style, has_band=False)
        self.series.append(Series("line", label, style, tuple(x), tuple(y)))
        if listed:
            self.columns.append((label, {int(a): f"{b:.2f}".replace("-", "−") for a, b in zip(x, y, strict=True)}))

    def points(self, x: Sequence[float], y: Sequence[float], label: str, style: Style) -> None:
        """Single points without order; in the table, numbered, with both coordinates."""
        self._line(list(x), y, label, style)
        self._traces[-1][1].update(mode="markers", hovertemplate="%{x:.2f}, %{y:.2f}", opacity=0.75)
        self._item(label, style, has_band=False)
        self.series.append(Series("points", label, style, tuple(x), tuple(y)))
        pairs = (f"{a:.2f}, {b:.2f}".replace("-", "−") for a, b in zip(x, y, strict=True))
        self.columns.append((label, dict(enumerate(pairs, start=1))))

    def area(self, x: Sequence[float], y: Sequence[float], label: str, style: Style) -> None:
        """A share, stacked on the areas drawn before it."""
        trace: dict[str, Any] = {
            "type": "scatter",
            "x": list(x),
            "y": _finite(y),
            "name": html.escape(label, quote=False),  # plotly takes some markup as such
            "mode": "lines",
            "stackgroup": "areas",
            "line": {"color": colour(style.role), "width": 1, "dash": style.dash},
            "fillcolor": colour(style.role, AREA_OPACITY if style.dash == "solid" else AREA_OPACITY / 2),
            "hovertemplate": "%{y:.2f}",
            "meta": len(self.legend),
        }
        self._traces.append((1, trace))
        self._item(label, style, has_band=True)
        self.series.append(Series("area", label, style, tuple(x), tuple(y)))
        self.columns.append((label, {int(a): f"{b:.3f}" for a, b in zip(x, y, strict=True)}))

    def level(self, y: float, label: str, style: Style) -> None:
        """A horizontal line over the whole width."""
        self._line(self.x_range, [y, y], label, style)
        self._item(label, style, has_band=False)
        self.series.append(Series("level", label, style, (), (y,)))

    @property
    def table(self) -> Table:
        """Every number that the figure shows, by length."""
        lengths = sorted({length for _, cells in self.columns for length in cells})
        rows = tuple((str(n), *(cells.get(n, "—") for _, cells in self.columns)) for n in lengths)
        return Table((self.x_name, *(name for name, _ in self.columns)), rows)

    def _line(
        self, x: Sequence[float], y: Sequence[float], label: str, style: Style, *, told: Sequence[str] | None = None
    ) -> None:
        """told: what pointing at each point says; by default the number with two decimals."""
        trace: dict[str, Any] = {
            "type": "scatter",
            "x": list(x),
            "y": _finite(y),
            "name": html.escape(label, quote=False),  # plotly takes some markup as such
            "mode": "lines+markers" if style.marker else "lines",
            "line": {"color": colour(style.role), "width": style.width, "dash": style.dash},
            "text": list(told or (fixed(v, 2) for v in y)),
            "hovertemplate": "%{text}",
            "meta": len(self.legend),
        }
        if style.marker:
            trace["marker"] = {"symbol": style.marker, "size": 8, "color": colour(style.role)}
        self._traces.append((2 if style.width > EMPHASIS else 1, trace))

    def _whiskers(self, x: Sequence[float], low: Sequence[float], high: Sequence[float], style: Style) -> None:
        bottom, top = _within_reach(low, high)
        trace: dict[str, Any] = {
            "type": "scatter",
            "x": [each for at in x for each in (at, at, None)],
            "y": [each for ends in zip(bottom, top, strict=True) for each in (*ends, None)],
            "mode": "lines",
            "line": {"color": colour(style.role), "width": 1},
            "hoverinfo": "skip",
            "meta": len(self.legend),
        }
        self._traces.append((1, trace))

    def _fill(self, x: list[int], low: Sequence[float], high: Sequence[float], style: Style) -> None:
        bottom, top = _within_reach(low, high)
        trace: dict[str, Any] = {
            "type": "scatter",
            "x": [*x, *reversed(x)],
            "y": [*top, *reversed(bottom)],
            "fill": "toself",
            "fillcolor": colour(style.role, BAND_OPACITY),
            "line": {"width": 0},
            "mode": "lines",
            "hoverinfo": "skip",
            "meta": len(self.legend),
        }
        self._traces.append((0, trace))

    def _item(self, label: str, style: Style, *, has_band: bool) -> None:
        self.legend.append(LegendItem(label, style, has_band))

    def _column(self, label: str, band: Band, low: Sequence[float], high: Sequence[float]) -> None:
        self.columns.append((label, dict(zip(band.lengths, _told(band, low, high), strict=True))))


def colour(role: str, opacity: float | None = None) -> str:
    """The light page's colour of a role; the page swaps it for the dark one by its numbers."""
    red, green, blue = PALETTE[role][0]
    return f"rgb({red},{green},{blue})" if opacity is None else f"rgba({red},{green},{blue},{opacity})"


def dark_numbers() -> dict[str, str]:
    """The numbers of each light colour -> those of its dark one, as they stand in rgb(...)."""
    return {",".join(map(str, light)): ",".join(map(str, dark)) for light, dark in PALETTE.values()}


def _within_reach(low: Sequence[float], high: Sequence[float]) -> tuple[list[float], list[float]]:
    """Limits to draw: an infinite one goes to the edge of the plot, far outside what the other points need."""
    edge = 20 * max((abs(v) for v in (*low, *high) if math.isfinite(v)), default=1.0) + 1
    return [min(max(v, -edge), edge) for v in low], [min(max(v, -edge), edge) for v in high]


def _told(band: Band, low: Sequence[float], high: Sequence[float]) -> list[str]:
    return [point_text(v, a, b) for v, a, b in zip(band.value, low, high, strict=True)]


def _finite(values: Sequence[float]) -> list[float | None]:
    return [v if math.isfinite(v) else None for v in values]
