"""The figures draw the Measurement's numbers, and each can be read without seeing it."""

from __future__ import annotations

import dataclasses
import math

import pytest

from beb.experiments.measurement import Measurement
from beb.report.chart import PALETTE, Chart, dark_numbers
from beb.report.figures import all_charts, behavior_charts, divergence_chart, evidence_chart
from beb.report.rounding import point_text

from .factory import HOSTILE, curve, make_measurement


def charts_of(m: Measurement) -> list[Chart]:
    return [chart for group in all_charts(m).values() for chart in group]


def test_every_figure_has_words_units_and_a_table() -> None:
    charts = charts_of(make_measurement())
    assert len({chart.key for chart in charts}) == len(charts) == 7
    for chart in charts:
        assert chart.title
        assert chart.caption
        assert chart.alt
        assert chart.figure.layout.xaxis.title.text == "sentences in the prompt, n"
        assert "(" in chart.figure.layout.yaxis.title.text  # the unit
        assert chart.table.rows
        assert all(len(row) == len(chart.table.columns) for row in chart.table.rows)


def test_the_drawn_curve_is_the_measured_one() -> None:
    m = make_measurement()
    chart = divergence_chart(m)
    drawn = [trace for trace in chart.figure.data if trace.fill is None]
    assert [tuple(trace.y) for trace in drawn if trace.line.width > 2] == [m.beta_curve.value]
    assert m.beta_prime_curve.value in [tuple(trace.y) for trace in drawn]
    simultaneous = next(trace for trace in chart.figure.data if trace.fill and trace.meta == 0)
    assert tuple(simultaneous.y) == (*m.beta_curve.high, *reversed(m.beta_curve.low))
    band = m.beta_curve
    assert chart.table.rows[2][1] == point_text(band.value[2], band.low[2], band.high[2])
    assert chart.table.rows[2][2] == point_text(band.value[2], band.pointwise_low[2], band.pointwise_high[2])


def test_bands_lie_below_lines() -> None:
    for chart in charts_of(make_measurement()):
        kinds = [trace.fill is not None for trace in chart.figure.data]
        assert kinds == sorted(kinds, reverse=True)
        assert {trace.meta for trace in chart.figure.data} == set(range(len(chart.legend)))


def test_behavior_has_controls_components_theory_and_threshold() -> None:
    charts = behavior_charts(make_measurement())
    assert [chart.title for chart in charts] == [
        "Plain text, as scored", "Plain text, corrected for the scorer's errors", "Chat, as scored",
        "Chat, corrected for the scorer's errors",
    ]  # fmt: skip
    labels = [{item.label for item in chart.legend} for chart in charts]
    for shown in labels:
        assert {"prompts from P₋", "prompts from P₊", "shuffled P₋ sentences", "P₋ itself"} <= shown
    assert {"predicted, α by evidence plateau", "logistic fit", "misaligned level γ + ε = −0.35"} <= labels[0]
    assert "misaligned level γ + ε = −0.41" in labels[1]
    assert "logistic fit" not in labels[1]
    assert not any("predicted" in label for label in labels[2])


def test_controls_components_and_predictions_show_both_kinds_of_limits() -> None:
    m = make_measurement()
    chart = behavior_charts(m)[0]
    shown = {s.label: (i, s) for i, s in enumerate(chart.series) if s.band is not None}
    assert {"prompts from P₊", "shuffled P₋ sentences", "P₋ itself"} <= set(shown)
    assert {s.kind for _, s in shown.values()} == {"band", "bars"}
    places = [s.shift for _, s in shown.values() if s.kind == "bars"]
    assert len(set(places)) == len(places)
    for label, (number, series) in shown.items():
        traces = [trace for trace in chart.drawing["data"] if trace["meta"] == number]
        drawn = {y for trace in traces for y in trace["y"] if y is not None}
        band = series.band
        assert band is not None
        assert {*band.low, *band.high} <= drawn, label
        if series.kind == "bars":
            bars = next(trace["error_y"] for trace in traces if "error_y" in trace)
            reached = [y + up for y, up in zip(band.value, bars["array"], strict=True)]
            assert reached == pytest.approx(band.pointwise_high)
        else:
            assert series.pointwise
            assert {*band.pointwise_low, *band.pointwise_high} <= drawn
        columns = [name for name in chart.table.columns if name.startswith(f"{label} [")]
        assert [name.split("[")[1].split()[0] for name in columns] == ["simultaneous", "pointwise"]


def test_captions_give_the_fit_s_slope_and_say_where_predictions_are() -> None:
    raw, corrected = behavior_charts(make_measurement())[:2]
    assert "nats per sentence" in raw.caption.partition("slope ")[2]
    assert "Predictions are of B as scored" in corrected.caption
    assert "Predictions are of B" not in behavior_charts(make_measurement(predictions=()))[1].caption


def test_raw_alone_where_nothing_is_corrected() -> None:
    m = make_measurement()
    bare = tuple(dataclasses.replace(c, corrected=None) for c in (*m.behavior, *m.components))
    charts = behavior_charts(make_measurement(behavior=bare[:6], components=bare[6:], predictions=()))
    assert [chart.title for chart in charts] == ["Plain text, as scored", "Chat, as scored"]
    assert not any("predicted" in item.label for item in charts[0].legend)


def test_infinite_limits_leave_the_axis_alone() -> None:
    m = make_measurement()
    endless = dataclasses.replace(m.beta_curve, high=(*m.beta_curve.high[:-1], math.inf))
    chart = divergence_chart(make_measurement(beta_curve=endless))
    assert max(chart.y_range) < 40
    assert "no upper limit" in chart.table.rows[-1][1]
    assert all(math.isfinite(y) for trace in chart.figure.data for y in trace.y)


def test_evidence_shows_cap_and_plateau_line() -> None:
    m = make_measurement()
    chart = evidence_chart(m)
    lines = [tuple(trace.y) for trace in chart.figure.data if trace.fill is None]
    assert tuple(e.value for e in m.alpha.cap) in lines
    start, slope = m.alpha.plateau.log_inverse_alpha.value, m.alpha.plateau.kappa.value
    assert any(line == pytest.approx((start, start + 6 * slope)) for line in lines)


def test_foreign_names_are_made_visible() -> None:
    strange = (curve(HOSTILE[2], "negative", [0.5] * 7), curve(HOSTILE[2], HOSTILE[3], [0.5] * 7))
    charts = behavior_charts(make_measurement(behavior=strange))
    text = " ".join([charts[0].title, charts[0].alt, *(item.label for item in charts[0].legend)])
    assert "⟨U+202E⟩" in text
    assert "\u202e" not in text


def luminance(rgb: tuple[int, int, int]) -> float:
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_lines_stand_out_from_the_page_in_both_themes() -> None:
    # WCAG 2.2, 1.4.11: graphical objects need a contrast of 3.
    for theme in (0, 1):
        page = luminance(PALETTE["page"][theme])
        for role in set(PALETTE) - {"page", "grid"}:
            line = luminance(PALETTE[role][theme])
            assert (max(page, line) + 0.05) / (min(page, line) + 0.05) >= 3, (role, theme)


def test_no_colour_swap_feeds_another() -> None:
    swaps = dark_numbers()
    assert not set(swaps) & set(swaps.values())
    assert len(swaps) == len(PALETTE)
