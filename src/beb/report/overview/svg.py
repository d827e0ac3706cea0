"""Small figures as inline SVG: the series of a chart, or intervals in rows, on axes that several panels share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from beb.core.estimate import Estimate
from beb.report.chart import BAND_OPACITY, DASHES, Chart, Series, Style
from beb.report.rounding import dense, fixed, point_text

WIDTH, HEIGHT = 240, 168
_LEFT, _RIGHT, _TOP, _BOTTOM = 32, 6, 18, 28
_ROW = 30
_DOT = 2.4
_FAR = 20.0  # panel heights: where an infinite limit is drawn
_STEPS = (1.0, 2.0, 5.0, 10.0)


def panel_svg(chart: Chart) -> Markup:
    """A chart of curves and bands as a small picture; colours are the page's, so that it follows its theme."""
    area = _Area(chart.x_range, chart.y_range, HEIGHT)
    shapes = Markup("").join(_series(area, series) for series in chart.series)
    return area.picture(chart.alt, shapes, x_title=chart.x_title, y_title=chart.y_title, y_ticks=True)


def readings_svg(rows: Sequence[tuple[str, Estimate]], x_range: tuple[float, float], *, alt: str, unit: str) -> Markup:
    """Estimates with their intervals, one row each with its name and number above the line."""
    area = _Area(x_range, (0.0, float(len(rows))), _TOP + _BOTTOM + _ROW * len(rows), left=6)
    shapes = Markup("").join(_reading(area, i, name, e) for i, (name, e) in enumerate(rows))
    return area.picture(alt, shapes, x_title=unit, y_title="", y_ticks=False)


class _Area:
    """The drawing area of one panel: data in, pixels out."""

    def __init__(
        self, x_range: tuple[float, float], y_range: tuple[float, float], height: int, *, left: int = _LEFT
    ) -> None:
        self.x_range, self.y_range, self.outer, self.left = x_range, y_range, height, left
        self.width, self.height = WIDTH - left - _RIGHT, height - _TOP - _BOTTOM

    def x(self, value: float) -> float:
        return self._at(value, self.x_range) * self.width

    def y(self, value: float) -> float:
        return (1 - self._at(value, self.y_range)) * self.height

    @staticmethod
    def _at(value: float, ends: tuple[float, float]) -> float:
        return min(max((value - ends[0]) / (ends[1] - ends[0]), -_FAR), _FAR)

    def path(self, xs: Iterable[float], ys: Iterable[float]) -> str:
        """Corners of a line; what is not finite is left out."""
        return "L".join(f"{self.x(a):.2f} {self.y(b):.2f}" for a, b in zip(xs, ys, strict=True) if math.isfinite(b))

    def picture(self, alt: str, shapes: Markup, *, x_title: str, y_title: str, y_ticks: bool) -> Markup:
        """The whole SVG. What leaves the drawing area is cut off by the inner one."""
        return Markup(
            '<svg class="panel" viewBox="0 0 {width} {outer}" role="img" aria-label="{alt}">{axes}'
            '<svg x="{left}" y="{top}" width="{w}" height="{h}">{shapes}</svg></svg>'
        ).format(
            width=WIDTH, outer=self.outer, alt=alt, left=self.left, top=_TOP, w=self.width, h=self.height,
            shapes=shapes, axes=self._axes(x_title, y_title, y_ticks=y_ticks),
        )  # fmt: skip

    def _axes(self, x_title: str, y_title: str, *, y_ticks: bool) -> Markup:
        bottom = _TOP + self.height
        parts = [Markup('<text x="2" y="11">{}</text>').format(y_title)]
        across = Markup('<path class="grid" d="M{0} {1:.2f}H{2}"/><text x="{3}" y="{4:.2f}" class="end">{5}</text>')
        for tick, at in ((tick, _TOP + self.y(tick)) for tick in (ticks(*self.y_range, 5) if y_ticks else ())):
            parts += [across.format(self.left, at, WIDTH - _RIGHT, self.left - 4, at + 3.4, tick_text(tick))]
        mark = Markup('<path class="axis" d="M{0:.2f} {1}v3"/><text x="{0:.2f}" y="{2}" class="mid">{3}</text>')
        for tick in ticks(*self.x_range, 6):
            parts += [mark.format(self.left + self.x(tick), bottom, bottom + 12, tick_text(tick))]
        parts.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(self.left, bottom, WIDTH - _RIGHT))
        middle = self.left + self.width / 2
        parts.append(Markup('<text x="{:.1f}" y="{}" class="mid">{}</text>').format(middle, self.outer - 3, x_title))
        return Markup("").join(parts)


def _series(area: _Area, series: Series) -> Markup:
    if series.kind == "level":
        line = f"M0 {area.y(series.y[0]):.2f}H{area.width}"
        return _stroke(line, series.style)
    if series.kind not in ("band", "curve", "line"):
        raise ValueError(f"a small panel has no way to draw {series.kind!r}; accepted: band, curve, line, level")
    parts = []
    if series.kind == "band" and series.band is not None:
        parts.append(_fill(area, series.x, series.band.low, series.band.high, series.style))
        if series.pointwise:
            parts.append(_fill(area, series.x, series.band.pointwise_low, series.band.pointwise_high, series.style))
    parts.append(_stroke(f"M{area.path(series.x, series.y)}", series.style))
    if series.style.marker:
        parts += [_dot(area, series, i) for i in range(len(series.x))]
    return Markup("").join(parts)


def _fill(area: _Area, x: Sequence[float], low: Sequence[float], high: Sequence[float], style: Style) -> Markup:
    corners = [
        f"{area.x(a):.2f} {area.y(b):.2f}"
        for a, b in (*zip(x, high, strict=True), *reversed(list(zip(x, low, strict=True))))
    ]
    return Markup('<path d="M{}Z" fill="var(--{})" opacity="{}"/>').format("L".join(corners), style.role, BAND_OPACITY)


def _stroke(line: str, style: Style) -> Markup:
    return Markup(
        '<path d="{}" fill="none" stroke="var(--{})" stroke-width="{:g}" stroke-dasharray="{}"/>'
    ).format(line, style.role, 0.75 * style.width, DASHES[style.dash])  # fmt: skip


def _dot(area: _Area, series: Series, i: int) -> Markup:
    """A point that says its number when it is pointed at."""
    x, y, band = series.x[i], series.y[i], series.band
    if not math.isfinite(y):
        return Markup("")
    number = point_text(y, band.pointwise_low[i], band.pointwise_high[i]) if band is not None else fixed(y, 2)
    return Markup('<circle cx="{:.2f}" cy="{:.2f}" r="{}" fill="var(--{})"><title>{}</title></circle>').format(
        area.x(x), area.y(y), _DOT, series.style.role, f"{series.label}, n = {x:g}: {number}"
    )


def _reading(area: _Area, i: int, name: str, e: Estimate) -> Markup:
    top = i * _ROW
    known = not (math.isinf(e.low) and math.isinf(e.high))
    words = dense(e) if known else "not identified"
    text = Markup('<text x="0" y="{}">{} <tspan class="strong">{}</tspan></text>').format(top + 11, name, words)
    if not known:
        return text
    at, left, right = (area.x(v) for v in (e.value, e.low, e.high))
    middle = top + 19
    line = Markup('<path d="M{:.2f} {}H{:.2f}" stroke="var(--negative)" stroke-width="1.6" fill="none"/>').format(
        left, middle, right
    )
    # What leaves the picture ends in an arrow.
    arrow = Markup('<path d="M{} {}l{} -3.5v7z" fill="var(--negative)"/>')
    line += arrow.format(area.width, middle, -6) if right > area.width else Markup("")
    line += arrow.format(0, middle, 6) if left < 0 else Markup("")
    dot = Markup('<circle cx="{:.2f}" cy="{}" r="3" fill="var(--negative)"/>').format(at, middle)
    return text + line + (dot if math.isfinite(e.value) else Markup(""))


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` round numbers between two ends."""
    size = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(s * size for s in (*_STEPS, 20.0) if math.floor(high / (s * size)) - math.ceil(low / (s * size)) < most)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def tick_text(tick: float) -> str:
    """A round number as short as it is."""
    return f"{tick:.6g}".replace("e+0", "e").replace("e-0", "e-").replace("-", "−")
