"""Measurement → figures."""

from __future__ import annotations

import math

from beb.core.estimate import Band
from beb.estimate.curves import LogisticFit
from beb.experiments.lower_bounds import mark, mark_derived
from beb.experiments.measurement import BehaviorCurve, Measurement
from beb.report.chart import Chart, Style
from beb.report.inert import one_line
from beb.report.rounding import fixed, value_text, with_interval
from beb.report.tables import no_midpoint
from beb.report.wording import CONDITIONS, FORMATS, threshold, tightest_cap

SENTENCES = "sentences in the prompt, n"
_STYLES = {
    "negative": Style("negative", marker="circle", width=2.5),
    "positive": Style("positive", marker="square"),
    "shuffled": Style("shuffled", dash="dot", marker="diamond"),
    "P₋ itself": Style("negative", dash="dot", width=1.5),
    "P₊ itself": Style("positive", dash="dot", width=1.5),
}
_SHIFTS = {"positive": 0.07, "shuffled": -0.07, "P₋ itself": 0.14, "P₊ itself": -0.14}
_PREDICTIONS = (Style("theory", dash="dash"), Style("other", dash="dashdot"))


def divergence_chart(m: Measurement) -> Chart:
    """βₙ and β′ₙ: how well the next sentence tells the components apart."""
    beta, prime = m.beta_curve, m.beta_prime_curve
    chart = Chart(
        key="distinguishability",
        title="How well the next sentence tells the components apart",
        caption=(
            f"β = {with_interval(m.beta)}{mark(m.beta)} is the lowest point of the P₋ curve, β′ = "
            f"{with_interval(m.beta_prime)}{mark(m.beta_prime)} the highest of the P₊ curve. Light band: the "
            f"whole curve at once, with {_percent(beta)}; darker: each point on its own. "
            f"{beta.n:,} prompts from P₋, {prime.n:,} from P₊."
        ),
        alt=(
            f"KL divergence of the next sentence against prompt length: {ends_text(beta)} for P₋, "
            f"{ends_text(prime)} for P₊."
        ),
        x_title=SENTENCES,
        y_title="divergence of the next sentence (nats)",
        y_range=axis_range(beta, prime),
        x_range=axis_lengths(beta, prime),
    )
    chart.band(beta, f"βₙ = KL(P₋‖P₊), prompts from P₋{mark(beta)}", Style("negative", marker="circle", width=2.5))
    chart.band(prime, f"β′ₙ = KL(P₊‖P₋), prompts from P₊{mark(prime)}", Style("positive", marker="square"))
    return chart


def target_chart(m: Measurement) -> Chart:
    """KL(P₋‖P) and the straight line that Wolf et al. read α and β from."""
    curve, line = m.kl_to_target_curve, m.alpha.line
    ratio = f"; their ratio {with_interval(line.ratio)} sentences" if line.ratio is not None else ""
    end = _line_end(line.log_inverse_alpha.value, line.beta.value, curve.lengths[-1])
    chart = Chart(
        key="kl-to-target",
        title="How far P₋ still is from the model",
        caption=(
            "Under a mixture the divergence falls as the prompt grows. Wolf et al. read log 1/α = "
            f"{with_interval(line.log_inverse_alpha)} nats and β = {with_interval(line.beta)} nats per sentence off "
            f"the straight line through the first three points{ratio}{mark_derived(line.beta)}."
        ),
        alt=f"KL divergence from P₋ to the model against prompt length: {ends_text(curve)}.",
        x_title=SENTENCES,
        y_title="KL(P₋‖P) of the next sentence (nats)",
        y_range=axis_range(curve),
        x_range=axis_lengths(curve),
    )
    chart.band(curve, f"KL(P₋‖P){mark(curve)}", Style("negative", marker="circle", width=2.5))
    if end > 0:
        at = [0.0, end]
        values = [line.log_inverse_alpha.value - line.beta.value * n for n in at]
        chart.line(at, values, "straight line of Wolf et al.", Style("ink", dash="dash", width=1.5), listed=False)
    return chart


def evidence_chart(m: Measurement) -> Chart:
    """E[log P₋/P] with cap and plateau line."""
    curve, plateau = m.evidence_curve, m.alpha.plateau
    cap = tightest_cap(m)
    chart = Chart(
        key="evidence",
        title="Evidence for P₋ against the model itself",
        caption=(
            "If P₋ is a part of the model, the evidence rises to log 1/α and rests there. The line through the lengths "
            f"from {plateau.first} on starts at {with_interval(plateau.log_inverse_alpha)} nats and climbs by κ = "
            f"{with_interval(plateau.kappa)} nats per sentence (the proxy gap): {plateau.verdict}. Cap: the largest "
            f"evidence any prompt reached; log 1/α ≥ {value_text(cap)} nats for certain, if P₋ is part of the model."
        ),
        alt=(
            f"Evidence against prompt length: {ends_text(curve)}; proxy gap {value_text(plateau.kappa)} nats per "
            "sentence."
        ),
        x_title=SENTENCES,
        y_title="evidence log P₋/P (nats)",
        y_range=axis_range(curve, extra=[plateau.log_inverse_alpha.value, *(e.value for e in m.alpha.cap)]),
        x_range=(-0.2, curve.lengths[-1] + 0.2),
    )
    chart.band(curve, "mean evidence, prompts from P₋", Style("negative", marker="circle", width=2.5))
    if len(m.alpha.cap) == len(curve.lengths):
        values = [e.value for e in m.alpha.cap]
        chart.line(curve.lengths, values, "cap: largest evidence", Style("ink", dash="dot", marker="triangle-up"))
    start, slope = plateau.log_inverse_alpha.value, plateau.kappa.value
    ends = [0, curve.lengths[-1]]
    chart.line(
        ends, [start + slope * n for n in ends], f"line through n ≥ {plateau.first}, slope κ", Style("theory", "dash"),
        listed=False,
    )  # fmt: skip
    return chart


def behavior_charts(m: Measurement) -> list[Chart]:
    """Behavior against prompt length: per format, as scored with prediction and fit, and corrected if possible."""
    charts = []
    for name in dict.fromkeys(curve.format for curve in m.behavior):
        curves = [curve for curve in m.behavior if curve.format == name]
        charts.append(_behavior_chart(m, name, curves, corrected=False))
        if any(curve.corrected is not None for curve in curves):
            charts.append(_behavior_chart(m, name, curves, corrected=True))
    return charts


def all_charts(m: Measurement) -> dict[str, list[Chart]]:
    """Every figure, by the section of the report that shows it."""
    return {
        "divergence": [divergence_chart(m), target_chart(m)],
        "evidence": [evidence_chart(m)],
        "behavior": behavior_charts(m),
    }


def _behavior_chart(m: Measurement, name: str, curves: list[BehaviorCurve], *, corrected: bool) -> Chart:
    shown = [(curve.condition, band) for curve in curves if (band := _picked(curve, corrected=corrected)) is not None]
    label = FORMATS.get(name, one_line(name))
    level = threshold(m, corrected=corrected)
    negative = dict(shown).get("negative")
    n_responses = sum(curve.n_responses for curve in curves)
    how = "corrected for the scorer's errors" if corrected else "as scored"
    caption = f"{n_responses:,} scored responses. {_caption(m, name, corrected=corrected)}"
    number = list(dict.fromkeys(c.format for c in m.behavior)).index(name)
    chart = Chart(
        key=f"behavior-{number}-{'corrected' if corrected else 'raw'}",
        title=f"{label[:1].upper()}{label[1:]}, {how}",
        caption=caption,
        alt=(
            f"Behavior expectation against prompt length, {label}, {how}"
            + (f": {ends_text(negative)} for prompts from P₋; misaligned below {fixed(level, 2)}." if negative else ".")
        ),
        x_title=SENTENCES,
        y_title="behavior expectation B (−1 … +1)",
        y_range=(-1.06, 1.06),
        x_range=(-0.25, max(band.lengths[-1] for _, band in shown) + 0.25),
        height=430,
    )
    for condition, band in shown:
        style = _STYLES.get(condition, Style("other", marker="x"))
        text = CONDITIONS.get(condition, one_line(condition))
        if condition == "negative":
            chart.band(band, text, style)
        else:
            chart.bars(band, text, style, shift=_SHIFTS.get(condition, 0.0))
    if not corrected:
        _add_theory(m, name, chart)
    for curve in m.components:
        own = _picked(curve, corrected=corrected)
        if own is not None:
            style = _STYLES.get(curve.condition, Style("faint", dash="dot", width=1.5))
            text = CONDITIONS.get(curve.condition, one_line(curve.condition))
            chart.bars(own, text, style, shift=_SHIFTS.get(curve.condition, 0.0))
    chart.level(level, f"misaligned level γ + ε = {fixed(level, 2)}", Style("faint", dash="dash", width=1.0))
    return chart


def _caption(m: Measurement, name: str, *, corrected: bool) -> str:
    bars = (
        "Bands: the whole curve at once (light) and each point (darker). Bars: the whole curve at once (thin) and each "
        "point (thick)."
    )
    if corrected:
        elsewhere = " Predictions are of B as scored: see that figure." if m.predictions and name == "plain" else ""
        return (
            f"{bars} The limits include the uncertainty of the scorer's error rates on its held-out texts.{elsewhere}"
        )
    fit = m.alpha.behavior.get(name)
    told = [bars]
    if m.predictions:
        told.append(
            "Prediction: what the mixture implies from the log ratios and α alone"
            + ("." if name == "plain" else "; drawn for plain text only, where the log ratios were measured.")
        )
    if fit is not None and math.isfinite(fit.midpoint.value) and not no_midpoint(fit, m):
        told.append(f"Logistic fit (Lemma 7): half-way down at {with_interval(fit.midpoint)} sentences{_slope(fit)}.")
    elif fit is not None:
        told.append(
            f"Logistic fit (Lemma 7): no midpoint within the tested lengths ({one_line(fit.note)}){_slope(fit)}."
        )
    return " ".join(told)


def _slope(fit: LogisticFit) -> str:
    return f", slope {with_interval(fit.slope)} nats per sentence"


def _add_theory(m: Measurement, name: str, chart: Chart) -> None:
    if name == "plain":
        for i, prediction in enumerate(m.predictions):
            style = _PREDICTIONS[min(i, len(_PREDICTIONS) - 1)]
            text = f"predicted, α by {one_line(prediction.reading, 40)}"
            chart.band(prediction.curve, text, style)
    fit = m.alpha.behavior.get(name)
    lengths = next((c.raw.lengths for c in m.behavior if c.format == name and c.condition == "negative"), ())
    if fit is not None and len(fit.fitted) == len(lengths):
        chart.line(lengths, fit.fitted, "logistic fit", Style("ink", dash="dash", width=1.5))


def _picked(curve: BehaviorCurve, *, corrected: bool) -> Band | None:
    return curve.corrected if corrected else curve.raw


def axis_range(*bands: Band, extra: list[float] | None = None) -> tuple[float, float]:
    """An axis that holds every value and every limit that is not absurdly far from the values."""
    values = [v for band in bands for v in band.value] + [v for v in extra or [] if math.isfinite(v)]
    top, bottom = max(*values, 0.0), min(*values, 0.0)
    spread = (top - bottom) or 1.0
    limits = [v for band in bands for v in (*band.low, *band.high) if math.isfinite(v)]
    high = min(max([top, *limits]), top + 1.5 * spread)
    low = max(min([bottom, *limits]), bottom - 1.5 * spread)
    return low - (0.04 * spread if low < 0 else 0.0), high + 0.06 * spread


def axis_lengths(*bands: Band) -> tuple[float, float]:
    """An axis of lengths with a margin."""
    return min(b.lengths[0] for b in bands) - 0.2, max(b.lengths[-1] for b in bands) + 0.2


def _line_end(intercept: float, slope: float, last: int) -> float:
    """Where the straight line meets zero, at most at the last length."""
    return min(float(last), intercept / slope) if slope > 0 else float(last)


def ends_text(band: Band) -> str:
    """The first and the last point of a curve in words."""
    first, last = band.at(band.lengths[0]), band.at(band.lengths[-1])
    return f"{with_interval(first)} at n = {band.lengths[0]}, {with_interval(last)} at n = {band.lengths[-1]}"


def _percent(band: Band) -> str:
    return f"{100 * band.level:g} % confidence"
