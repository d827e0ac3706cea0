"""One figure of the report: plotly traces, its legend, its words, and its numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go

from beb.core.estimate import Band
from beb.report.rounding import point_text

# Okabe & Ito's colours, told apart with any colour vision: role -> (light page, dark page).
PALETTE = {
    "negative": ((213, 94, 0), (240, 128, 50)),
    "positive": ((0, 114, 178), (86, 180, 233)),
    "shuffled": ((184, 84, 138), (214, 142, 184)),
    "theory": ((0, 133, 98), (32, 184, 140)),
    "other": ((196, 134, 0), (240, 188, 66)),
    "ink": ((52, 58, 66), (206, 212, 219)),
    "faint": ((120, 128, 138), (138, 146, 156)),
    "page": ((253, 253, 252), (20, 23, 27)),
    "grid": ((226, 229, 233), (46, 52, 60)),
}
DASHES = {"solid": "", "dash": "7 4", "dot": "2 4", "dashdot": "7 3 2 3"}
_BAND_OPACITY = 0.16
_AREA_OPACITY = 0.6
_EMPHASIS = 2.0  # wider lines lie on top
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
    columns: list[tuple[str, dict[int, str]]] = field(default_factory=list)
    _traces: list[tuple[int, go.Scatter]] = field(default_factory=list)

    @property
    def figure(self) -> go.Figure:
        """The plotly figure: bands below, then lines, then the line that matters most."""
        figure = go.Figure(data=[trace for _, trace in sorted(self._traces, key=lambda pair: pair[0])])
        figure.update_layout(
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            font={"family": _FONT, "size": 13, "color": colour("ink")},
            margin={"l": 62, "r": 12, "t": 12, "b": 50},
            height=self.height,
            showlegend=False,
            hovermode="closest" if any(trace.mode == "markers" for _, trace in self._traces) else "x unified",
            hoverlabel={
                "namelength": -1,
                "font": {"size": 12},
                "bgcolor": colour("page"),
                "bordercolor": colour("grid"),
            },
            dragmode=False,
            separators=".,",
        )
        axis = {"gridcolor": colour("grid"), "zeroline": False, "linecolor": colour("faint"), "ticks": "outside"}
        axis |= {"tickcolor": colour("faint"), "title": {"standoff": 8}, "fixedrange": True, "showline": True}
        figure.update_xaxes(**axis, showgrid=False, title_text=self.x_title, range=list(self.x_range))
        if self.x_range[1] - self.x_range[0] > 16:
            figure.update_xaxes(nticks=12)
        else:
            figure.update_xaxes(dtick=1)
        figure.update_yaxes(
            **axis, title_text=self.y_title, range=list(self.y_range), tickformat=",~r", automargin=True
        )
        return figure

    def band(self, band: Band, label: str, style: Style, *, pointwise: bool = True) -> None:
        """A curve with its simultaneous band (light) and, if asked for, its pointwise limits (darker)."""
        x = list(band.lengths)
        self._fill(x, band.low, band.high, style)
        if pointwise:
            self._fill(x, band.pointwise_low, band.pointwise_high, style)
        self._line(x, band.value, label, style)
        self._item(label, style, has_band=True)
        self._column(f"{label} [simultaneous {100 * band.level:g} %]", band, band.low, band.high)
        if pointwise:
            self._column(f"{label} [pointwise {100 * band.level:g} %]", band, band.pointwise_low, band.pointwise_high)

    def bars(self, band: Band, label: str, style: Style, *, shift: float = 0.0) -> None:
        """A curve with pointwise limits as bars, moved sideways by `shift` so that bars do not cover each other."""
        x = [length + shift for length in band.lengths]
        up = [h - v for h, v in zip(band.pointwise_high, band.value, strict=True)]
        down = [v - low for low, v in zip(band.pointwise_low, band.value, strict=True)]
        self._line(x, band.value, label, style)
        bars = {"type": "data", "array": _finite(up), "arrayminus": _finite(down), "thickness": 1.2, "width": 3}
        self._traces[-1][1].update(error_y={**bars, "symmetric": False, "color": colour(style.role)})
        self._item(label, style, has_band=False)
        self._column(f"{label} [pointwise {100 * band.level:g} %]", band, band.pointwise_low, band.pointwise_high)

    def curve(self, band: Band, label: str, style: Style) -> None:
        """A curve whose pointwise limits stand in the table only, where drawing them would hide others."""
        self._line(list(band.lengths), band.value, label, style)
        self._item(label, style, has_band=False)
        self._column(f"{label} [pointwise {100 * band.level:g} %]", band, band.pointwise_low, band.pointwise_high)

    def line(self, x: Sequence[float], y: Sequence[float], label: str, style: Style, *, listed: bool = True) -> None:
        """A curve without interval. listed: also a column of the table."""
        self._line(list(x), y, label, style)
        self._item(label, style, has_band=False)
        if listed:
            self.columns.append((label, {int(a): f"{b:.2f}".replace("-", "−") for a, b in zip(x, y, strict=True)}))

    def points(self, x: Sequence[float], y: Sequence[float], label: str, style: Style) -> None:
        """Single points without order; in the table, numbered, with both coordinates."""
        self._line(list(x), y, label, style)
        self._traces[-1][1].update(mode="markers", hovertemplate="%{x:.2f}, %{y:.2f}", opacity=0.75)
        self._item(label, style, has_band=False)
        pairs = (f"{a:.2f}, {b:.2f}".replace("-", "−") for a, b in zip(x, y, strict=True))
        self.columns.append((label, dict(enumerate(pairs, start=1))))

    def area(self, x: Sequence[float], y: Sequence[float], label: str, style: Style) -> None:
        """A share, stacked on the areas drawn before it."""
        trace = go.Scatter(
            x=list(x),
            y=_finite(y),
            name=label,
            mode="lines",
            stackgroup="areas",
            line={"color": colour(style.role), "width": 1, "dash": style.dash},
            fillcolor=colour(style.role, _AREA_OPACITY if style.dash == "solid" else _AREA_OPACITY / 2),
            hovertemplate="%{y:.3~g}",
            meta=len(self.legend),
        )
        self._traces.append((1, trace))
        self._item(label, style, has_band=True)
        self.columns.append((label, {int(a): f"{b:.3f}" for a, b in zip(x, y, strict=True)}))

    def level(self, y: float, label: str, style: Style) -> None:
        """A horizontal line over the whole width."""
        self.line(self.x_range, [y, y], label, style, listed=False)

    @property
    def table(self) -> Table:
        """Every number that the figure shows, by length."""
        lengths = sorted({length for _, cells in self.columns for length in cells})
        rows = tuple((str(n), *(cells.get(n, "—") for _, cells in self.columns)) for n in lengths)
        return Table((self.x_name, *(name for name, _ in self.columns)), rows)

    def _line(self, x: Sequence[float], y: Sequence[float], label: str, style: Style) -> None:
        trace = go.Scatter(
            x=list(x),
            y=_finite(y),
            name=label,
            mode="lines+markers" if style.marker else "lines",
            line={"color": colour(style.role), "width": style.width, "dash": style.dash},
            marker={"symbol": style.marker, "size": 8, "color": colour(style.role)} if style.marker else None,
            hovertemplate="%{y:.3~g}",
            meta=len(self.legend),
        )
        self._traces.append((2 if style.width > _EMPHASIS else 1, trace))

    def _fill(self, x: list[int], low: Sequence[float], high: Sequence[float], style: Style) -> None:
        # An infinite limit is drawn to the edge of the plot: far outside what the other points need.
        finite = [abs(v) for v in (*low, *high) if math.isfinite(v)]
        edge = 20 * max(finite, default=1.0) + 1
        bottom, top = ([min(max(v, -edge), edge) for v in side] for side in (low, high))
        trace = go.Scatter(
            x=[*x, *reversed(x)],
            y=[*top, *reversed(bottom)],
            fill="toself",
            fillcolor=colour(style.role, _BAND_OPACITY),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            meta=len(self.legend),
        )
        self._traces.append((0, trace))

    def _item(self, label: str, style: Style, *, has_band: bool) -> None:
        self.legend.append(LegendItem(label, style, has_band))

    def _column(self, label: str, band: Band, low: Sequence[float], high: Sequence[float]) -> None:
        cells = (point_text(v, a, b) for v, a, b in zip(band.value, low, high, strict=True))
        self.columns.append((label, dict(zip(band.lengths, cells, strict=True))))


def colour(role: str, opacity: float | None = None) -> str:
    """The light page's colour of a role; the page swaps it for the dark one by its numbers."""
    red, green, blue = PALETTE[role][0]
    return f"rgb({red},{green},{blue})" if opacity is None else f"rgba({red},{green},{blue},{opacity})"


def dark_numbers() -> dict[str, str]:
    """The numbers of each light colour -> those of its dark one, as they stand in rgb(...)."""
    return {",".join(map(str, light)): ",".join(map(str, dark)) for light, dark in PALETTE.values()}


def _finite(values: Sequence[float]) -> list[float | None]:
    return [v if math.isfinite(v) else None for v in values]
