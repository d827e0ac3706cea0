"""Guardrail run → figures."""

from __future__ import annotations

from beb.core.estimate import Band
from beb.experiments.guardrail.record import Baseline, GuardrailRecord
from beb.report.chart import Chart, Style
from beb.report.figures import SENTENCES, axis_lengths, axis_range, ends_text
from beb.report.inert import one_line
from beb.report.rounding import count_text, with_interval
from beb.report.wording import FORMATS

_STYLES = (
    Style("positive", marker="square"),
    Style("theory", marker="diamond"),
    Style("other", marker="triangle-up"),
    Style("shuffled", marker="x"),
    Style("ink", dash="dash", marker="square"),
    Style("faint", dash="dash", marker="diamond"),
)


def behavior_charts(r: GuardrailRecord) -> tuple[Chart, ...]:
    """B of the responses with and without each guardrail, by format; as scored and, if possible, corrected."""
    charts = []
    for base in r.baselines:
        charts.append(_behavior_chart(r, base, corrected=False))
        if base.curve.corrected is not None:
            charts.append(_behavior_chart(r, base, corrected=True))
    return tuple(charts)


def _behavior_chart(r: GuardrailRecord, base: Baseline, *, corrected: bool) -> Chart:
    label = FORMATS.get(base.format, one_line(base.format))
    how = "corrected for the scorer’s errors" if corrected else "as scored"
    control = _picked(base.curve.corrected, base.curve.raw, corrected=corrected)
    guardrails = [g for g in r.guardrails if g.format == base.format]
    chart = Chart(
        key=f"guardrail-{base.format}-{'corrected' if corrected else 'raw'}",
        title=f"{label[:1].upper()}{label[1:]}, {how}",
        caption=(
            f"Prompts from P₋ of n sentences; {count_text(control.n, 'prompt')}, the same with every guardrail. Band: "
            "the curve without guardrail at once (light) and each point (darker); bars: with a guardrail, at once "
            "(thin) and each point (thick)."
        ),
        alt=f"Behavior expectation against prompt length, {label}, {how}; without guardrail {ends_text(control)}.",
        x_title=SENTENCES,
        y_title="behavior expectation B (−1 … +1)",
        y_range=(-1.06, 1.06),
        x_range=(-0.3, control.lengths[-1] + 0.3),
        height=430,
    )
    chart.band(control, "no guardrail", Style("negative", marker="circle", width=2.5))
    for i, g in enumerate(guardrails):
        band = _picked(g.curve.corrected, g.curve.raw, corrected=corrected)
        shift = 0.06 * (1 + i // 2) * (1 if i % 2 == 0 else -1)
        chart.bars(band, one_line(g.name, 40), _STYLES[i % len(_STYLES)], shift=shift)
    chart.level(0.0, "B = 0, where the midpoint is read", Style("faint", dash="dash", width=1.0))
    return chart


def _picked(corrected_band: Band | None, raw: Band, *, corrected: bool) -> Band:
    return corrected_band if corrected and corrected_band is not None else raw


def divergence_charts(r: GuardrailRecord) -> tuple[Chart, ...]:
    """Divergence of the next sentence in both directions, and after a negative sentence."""
    bands = [r.beta_curve, r.beta_prime_curve, *([r.beta_after_curve] if r.beta_after_curve else [])]
    chart = Chart(
        key="guardrail-divergence",
        title="How well the next sentence tells the components apart",
        caption=(
            "Light band: the whole curve at once; darker: each point on its own. After a prefix, n counts the "
            f"sentences that P₋ has written since. β = {with_interval(r.beta)}"
            + (f", after a prefix {with_interval(r.beta_after)}" if r.beta_after else "")
            + f", β′ = {with_interval(r.beta_prime)} nats per sentence."
        ),
        alt=f"KL divergence of the next sentence against prompt length: {ends_text(r.beta_curve)} without a prefix.",
        x_title=SENTENCES,
        y_title="divergence of the next sentence (nats)",
        y_range=axis_range(*bands),
        x_range=axis_lengths(*bands),
    )
    chart.band(r.beta_curve, "KL(P₋‖P₊), prompts from P₋", Style("negative", marker="circle", width=2.5))
    if r.beta_after_curve is not None:
        chart.band(r.beta_after_curve, "KL(P₋‖P₊) after a negative sentence", Style("other", marker="diamond"))
    chart.band(r.beta_prime_curve, "KL(P₊‖P₋), prompts from P₊", Style("positive", marker="square"))
    return (chart,)
