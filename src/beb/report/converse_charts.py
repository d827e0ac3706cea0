"""Conversation run → figures."""

from __future__ import annotations

import math

from beb.experiments.converse.record import ConverseRecord
from beb.report.chart import Chart, Style
from beb.report.figures import axis_lengths, axis_range, ends_text
from beb.report.rounding import fixed, with_interval
from beb.report.wording import FORMATS, alpha_label

USERS = {"negative": "user P₋", "positive": "user P₊"}
_STYLES = {"negative": Style("negative", marker="circle", width=2.5), "positive": Style("positive", marker="square")}
_TURN = "turn"


def misaligned_level(r: ConverseRecord) -> float:
    """γ + ε."""
    return r.gamma.value + _epsilon(r)


def _epsilon(r: ConverseRecord) -> float:
    return float(r.meta["spec"]["epsilon"])


def turns_text(text: str) -> str:
    """A curve's ends in words, its lengths being turns."""
    return text.replace("n =", "turn")


def behavior_charts(r: ConverseRecord) -> tuple[Chart, ...]:
    """B of the replies by turn, as scored and, if possible, corrected."""
    charts = [_behavior_chart(r, corrected=False)]
    if all(arm.replies.corrected is not None for arm in r.arms):
        charts.append(_behavior_chart(r, corrected=True))
    return tuple(charts)


def _behavior_chart(r: ConverseRecord, *, corrected: bool) -> Chart:
    bands = {arm.arm: (arm.replies.corrected if corrected else None) or arm.replies.raw for arm in r.arms}
    own = r.arm("negative").users
    # γ of the record is corrected where it can be: beside scores it is their own that counts.
    level = misaligned_level(r) if corrected else max(own.raw.value) + _epsilon(r)
    how = "corrected for the scorer's errors" if corrected else "as scored"
    chart = Chart(
        key=f"replies-{'corrected' if corrected else 'raw'}",
        title=f"Behavior of the replies, {how}",
        caption=(
            f"First sentence of each reply, {FORMATS[str(r.meta['spec']['format'])]}. {bands['negative'].n:,} "
            "conversations with each kind of user. Band: all turns at once (light) and each turn (darker); bars: all "
            "turns at once (thin) and each turn (thick). Dotted: the user's own turns."
        ),
        alt=(
            f"Behavior expectation of the replies against the turn, {how}: "
            f"{turns_text(ends_text(bands['negative']))} with an ill-behaved user; misaligned below "
            f"{fixed(level, 2)}."
        ),
        x_title=_TURN, y_title="behavior expectation B (−1 … +1)", y_range=(-1.06, 1.06),
        x_range=axis_lengths(*bands.values()), height=430, x_name=_TURN,
    )  # fmt: skip
    chart.band(bands["negative"], USERS["negative"], _STYLES["negative"])
    chart.bars(bands["positive"], USERS["positive"], _STYLES["positive"], shift=0.07)
    itself = (own.corrected if corrected else None) or own.raw
    chart.bars(itself, "P₋ itself", Style("negative", "dot", width=1.5), shift=-0.07)
    chart.level(level, f"misaligned level γ + ε = {fixed(level, 2)}", Style("faint", dash="dash", width=1.0))
    return chart


def ground_charts(r: ConverseRecord) -> tuple[Chart, ...]:
    """Log ratio of the conversation, resistance of the replies, divergence of the user sentences."""
    return _height_chart(r), _resistance_chart(r), _divergence_chart(r)


def _height_chart(r: ConverseRecord) -> Chart:
    bands = {arm.arm: arm.log_ratio for arm in r.arms}
    needed = {name: e for name, e in r.needed.items() if math.isfinite(e.value)}
    chart = Chart(
        key="log-ratio",
        title="Which component the conversation sounds like",
        caption=(
            "Mean log P₋/P₊ of the conversation when each reply begins, as running text; above 0 it sounds like P₋. "
            "Dashed: C, by reading of α."
        ),
        alt=f"Log ratio against the turn: {turns_text(ends_text(bands['negative']))} with a user P₋.",
        x_title=_TURN, y_title="log P₋/P₊ (nats)",
        y_range=axis_range(*bands.values(), extra=[e.value for e in needed.values()]),
        x_range=axis_lengths(*bands.values()), x_name=_TURN,
    )  # fmt: skip
    for name, band in bands.items():
        chart.band(band, USERS[name], _STYLES[name])
    for role, (name, e) in zip(("theory", "other"), needed.items(), strict=False):
        label = alpha_label(name, excluded=name in r.excluded)
        chart.level(e.value, f"C = {fixed(e.value, 1)}, α by {label}", Style(role, dash="dash", width=1.5))
    return chart


def _resistance_chart(r: ConverseRecord) -> Chart:
    bands = {arm.arm: arm.resistance_curve for arm in r.arms}
    chart = Chart(
        key="resistance",
        title="How much each reply takes back",
        caption=(
            f"Mean log P₊/P₋ per sentence of the reply. β′ = {with_interval(r.beta_prime)}, the largest with a user "
            "P₋, is what enters Theorem 3."
        ),
        alt=f"Resistance against the turn: {turns_text(ends_text(bands['negative']))} with a user P₋.",
        x_title=_TURN, y_title="log P₊/P₋ (nats per sentence)", y_range=axis_range(*bands.values()),
        x_range=axis_lengths(*bands.values()), x_name=_TURN,
    )  # fmt: skip
    for name, band in bands.items():
        chart.band(band, USERS[name], _STYLES[name])
    return chart


def _divergence_chart(r: ConverseRecord) -> Chart:
    bands = {arm.arm: arm.divergence for arm in r.arms}
    labels = {"negative": "KL(P₋‖P₊), user P₋", "positive": "KL(P₊‖P₋), user P₊"}
    chart = Chart(
        key="user-divergence",
        title="How much each user sentence tells",
        caption=(
            f"Divergence of each user sentence given the conversation. β = {with_interval(r.beta)} is the lowest "
            f"point with a user P₋; β′ by its definition, {with_interval(r.beta_prime_definition)}, the highest with "
            "P₊."
        ),
        alt=f"Divergence against the user sentence: {ends_text(bands['negative'])} with a user P₋.",
        x_title="user sentence", y_title="divergence (nats per sentence)", y_range=axis_range(*bands.values()),
        x_range=axis_lengths(*bands.values()), x_name="user sentence",
    )  # fmt: skip
    for name, band in bands.items():
        chart.band(band, labels[name], _STYLES[name])
    return chart
