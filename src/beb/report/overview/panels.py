"""Small multiples: one small panel per measurement and quantity, all panels of a quantity on the same axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from beb.core.estimate import Band, Estimate
from beb.experiments.lower_bounds import mark, mark_derived
from beb.experiments.measurement import Measurement
from beb.report.chart import Chart, LegendItem, Style, Table
from beb.report.chart_data import charts_csv, estimates_csv
from beb.report.figures import SENTENCES, axis_lengths, axis_range, ends_text
from beb.report.inert import one_line
from beb.report.overview.runs import Run, levels_text
from beb.report.overview.svg import panel_svg, readings_svg
from beb.report.rounding import with_interval
from beb.report.wording import CONDITIONS, FORMATS, threshold

_MAIN = Style("negative", marker="circle", width=2.5)
_CONTROL = Style("positive", "dash", width=1.5)
_LEVEL = Style("faint", "dash", width=1.2)
_CAP = Style("ink", "dot", width=1.5)


@dataclass(frozen=True, slots=True)
class Panel:
    """One run's picture. svg: its own alternative text included."""

    run: Run
    svg: Markup


@dataclass(frozen=True, slots=True)
class Multiples:
    """All panels of one quantity. numbers: what they show, to be read. csv: the same in full."""

    key: str
    title: str
    caption: str
    legend: tuple[LegendItem, ...]
    panels: tuple[Panel, ...]
    numbers: Table
    csv: str


def multiples(runs: Sequence[Run]) -> tuple[Multiples, ...]:
    """Behavior by format, evidence, divergence, and the readings of β, of the runs that measured them."""
    measured = [(run, run.measurement) for run in runs if run.measurement is not None]
    found = [(run, m) for run, m in measured if m is not None]
    if not found:
        return ()
    formats = list(dict.fromkeys(curve.format for _, m in found for curve in m.behavior))
    return (
        *(_behavior(found, name) for name in formats),
        _evidence(found),
        _divergence(found),
        _readings(found),
    )


def _behavior(found: Sequence[tuple[Run, Measurement]], name: str) -> Multiples:
    where = FORMATS.get(name, one_line(name, 40))
    shown = [(run, m) for run, m in found if any(curve.format == name for curve in m.behavior)]
    curves = {run.key: {c.condition: c for c in m.behavior if c.format == name} for run, m in shown}
    bands = [c.corrected or c.raw for each in curves.values() for c in each.values()]
    charts = []
    for run, m in shown:
        corrected = all(c.corrected is not None for c in curves[run.key].values())
        picked = {
            condition: (c.corrected if corrected else None) or c.raw for condition, c in curves[run.key].items()
        }  # fmt: skip
        chart = _chart(
            run, f"Behavior, {where}", "behavior expectation B (−1 … +1)", picked.get("negative"), y=(-1.06, 1.06),
            x=axis_lengths(*bands),
        )  # fmt: skip
        if "negative" in picked:
            chart.band(picked["negative"], CONDITIONS["negative"], _MAIN)
        if "positive" in picked:
            chart.curve(picked["positive"], CONDITIONS["positive"], _CONTROL)
        chart.level(threshold(m, corrected=corrected), "misaligned level γ + ε", _LEVEL)
        charts.append((run, chart))
    return _multiples(
        f"multiples-behavior-{formats_key(name)}",
        f"What the prompts do to the responses, {where}",
        "Mean response against the number of sentences; it has misaligned where the band lies below the dashed level. "
        "Corrected for the scorer’s errors where that is possible.",
        charts,
    )


def formats_key(name: str) -> str:
    """A format's name as part of an anchor."""
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in name)


def _evidence(found: Sequence[tuple[Run, Measurement]]) -> Multiples:
    caps = [e.value for _, m in found for e in m.alpha.cap]
    bands = [m.evidence_curve for _, m in found]
    charts = []
    for run, m in found:
        curve = m.evidence_curve
        chart = _chart(
            run, "Evidence", "evidence log P₋/P (nats)", curve, y=axis_range(*bands, extra=caps), x=axis_lengths(*bands)
        )
        chart.band(curve, "mean evidence, prompts from P₋", _MAIN)
        if len(m.alpha.cap) == len(curve.lengths):
            chart.line(curve.lengths, [e.value for e in m.alpha.cap], "cap: largest evidence", _CAP)
        charts.append((run, chart))
    return _multiples(
        "multiples-evidence",
        "Evidence for P₋ against each model",
        "If P₋ is a part of the model, the evidence rises to log 1/α and rests there; the higher it rests, the less of "
        "P₋ the model holds. The cap is what any prompt reached: log 1/α is at least that, if P₋ is part of the model.",
        charts,
    )


def _divergence(found: Sequence[tuple[Run, Measurement]]) -> Multiples:
    bands = [m.beta_curve for _, m in found]
    charts = []
    for run, m in found:
        chart = _chart(
            run, "Divergence", "KL(P₋‖P₊), next sentence (nats)", m.beta_curve, y=axis_range(*bands),
            x=axis_lengths(*bands),
        )  # fmt: skip
        chart.band(m.beta_curve, f"βₙ, prompts from P₋{mark(m.beta_curve)}", _MAIN)
        charts.append((run, chart))
    return _multiples(
        "multiples-divergence",
        "How well the next sentence tells P₋ from P₊",
        "β is the lowest point of the curve: the larger, the sooner the ill-behaved component shows.",
        charts,
    )


def _chart(
    run: Run, title: str, y_title: str, main: Band | None, *, y: tuple[float, float], x: tuple[float, float]
) -> Chart:
    words = f": {ends_text(main)}" if main is not None else ""
    return Chart(
        key=f"{run.key}-{title}", title=title, caption="", alt=f"{title}, {run.label}{words}.", x_title=SENTENCES,
        y_title=y_title, y_range=y, x_range=x,
    )  # fmt: skip


def _multiples(key: str, title: str, caption: str, charts: Sequence[tuple[Run, Chart]]) -> Multiples:
    legend = {item.label: item for _, chart in charts for item in chart.legend}
    level = (
        f"Light band: the whole curve at once, with {levels_text(run for run, _ in charts)} confidence; darker: each "
    )
    return Multiples(
        key=key,
        title=title,
        caption=f"{caption} {level}point on its own.",
        legend=tuple(legend.values()),
        panels=tuple(Panel(run, panel_svg(chart)) for run, chart in charts),
        numbers=_numbers(charts),
        csv=charts_csv("run", {run.label: chart for run, chart in charts}),
    )


def _numbers(charts: Sequence[tuple[Run, Chart]]) -> Table:
    """The first curve of each panel by length, with its pointwise limits."""
    columns = {run.label: dict(chart.columns[1][1]) for run, chart in charts if len(chart.columns) > 1}
    lengths = sorted({n for cells in columns.values() for n in cells})
    rows = tuple((str(n), *(cells.get(n, "—") for cells in columns.values())) for n in lengths)
    return Table((SENTENCES, *columns), rows)


def _readings(found: Sequence[tuple[Run, Measurement]]) -> Multiples:
    rows = {run.key: beta_readings(m) for run, m in found}
    estimates = [e for each in rows.values() for _, e in each]
    ends = _shared_range(estimates)
    panels = tuple(
        Panel(
            run,
            readings_svg(
                rows[run.key], ends, unit="β (nats per sentence)",
                alt=f"Readings of β, {run.label}: "
                + "; ".join(f"{name} {with_interval(e)}" for name, e in rows[run.key]) + ".",
            ),
        )
        for run, _ in found
    )  # fmt: skip
    names = list(dict.fromkeys(name for each in rows.values() for name, _ in each))
    cells = {run.label: dict(rows[run.key]) for run, _ in found}
    return Multiples(
        key="multiples-beta",
        title="Readings of β",
        caption=(
            "How much each sentence of P₋ tells, read in different ways: by its definition, as the slope of the "
            "straight line of Wolf et al., and as the slope of the logistic curve of the responses (Lemma 7). Where "
            "the premises hold they agree. Lines: each reading by itself, "
            f"{levels_text(run for run, _ in found)} confidence."
        ),
        legend=(),
        panels=panels,
        numbers=Table(
            ("reading, nats per sentence", *cells),
            tuple(
                (name, *(with_interval(each[name]) if name in each else "—" for each in cells.values()))
                for name in names
            ),
        ),
        csv=estimates_csv(("run", "reading of β"), [(run.label, *row) for run, _ in found for row in rows[run.key]]),
    )


def beta_readings(m: Measurement) -> tuple[tuple[str, Estimate], ...]:
    """β in every way that the measurement reads it, by name."""
    return (
        (f"β itself{mark(m.beta)}", m.beta),
        (f"straight line{mark_derived(m.alpha.line.beta)}", m.alpha.line.beta),
        *((f"logistic, {FORMATS.get(name, one_line(name, 20))}", fit.slope) for name, fit in m.alpha.behavior.items()),
    )


def _shared_range(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """An axis that holds zero, every value that is known from both sides, and limits not absurdly far from these."""
    known = [e for e in estimates if math.isfinite(e.low) and math.isfinite(e.high)] or estimates
    values = [0.0, *(e.value for e in known if math.isfinite(e.value))]
    spread = (max(values) - min(values)) or 1.0
    limits = [limit for e in estimates for limit in (e.low, e.high) if math.isfinite(limit)]
    low = max(min([*values, *limits]), min(values) - spread)
    high = min(max([*values, *limits]), max(values) + spread)
    return low - 0.03 * (high - low), high + 0.03 * (high - low)
