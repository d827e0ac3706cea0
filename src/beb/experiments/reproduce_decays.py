"""log 1/α, β and their ratio from the published curves of KL(P₋‖P), and what an exact mixture makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from beb.core.estimate import Estimate
from beb.estimate.prior import NATS, PER_SENTENCE, LineReading
from beb.estimate.summaries import (
    LINE_WEIGHTS,
    N_UNKNOWN,
    fieller,
    normal_quantile,
    summary_line,
    weighted_sum,
)
from beb.experiments.published import Curve, Published
from beb.experiments.reproduction import GUARDRAIL, PRETRAINED, Reading

Figure = float | tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class _Decay:
    """One published curve, with the paper's figures for its line."""

    name: str
    curve: Curve
    log_inverse_alpha: Figure
    beta: Figure
    ratio: Figure

    @property
    def section(self) -> str:
        """Where its readings belong."""
        return f"KL(P₋‖P), {self.name}"


def _decays(published: Published) -> tuple[_Decay, _Decay, _Decay]:
    """With system prompt, without, pretrained."""
    paper, common, both = published.readings, published.published_readings, published.kl_decay_rlhf
    alpha, ratio = common.ranges_over_behaviors.log_inverse_alpha, paper.log_inverse_alpha_over_beta
    return (
        _Decay("aligned with system prompt", both.with_system_prompt, alpha, paper.beta, ratio),
        _Decay("aligned without system prompt", both.without_system_prompt, alpha, paper.beta, ratio),
        _Decay("pretrained", published.kl_decay_pretrained, None, common.pretrained_beta, None),
    )


def decay_readings(published: Published, level: float) -> Iterator[Reading]:
    """The lines through the first three points, the mixture's limits on them, and pretrained against aligned."""
    guarded, plain, pretrained = _decays(published)
    for decay in (guarded, plain, pretrained):
        yield from _line(decay, level)
        if decay is not pretrained:
            yield _excess(decay, published, level)
        yield _budget(decay, level)
    yield from _shift_of_lines(guarded, plain, published, level)
    yield from _slopes(plain, pretrained, published, level)


def _line(decay: _Decay, level: float) -> Iterator[Reading]:
    """[W]'s straight line, its first point counted as n = 0."""
    line = summary_line(decay.curve.mean, decay.curve.se, level=level)
    value, beta = line.log_inverse_alpha.value, line.beta
    from_one = value + beta.value
    note = f"first point counted as n = 0; counted as n = 1: {from_one:.3g}; {_any(decay.curve, 0, level)}"
    yield Reading(decay.section, "log 1/α, line at 0", decay.log_inverse_alpha, line.log_inverse_alpha, note)
    yield Reading(decay.section, "β, minus the slope", decay.beta, beta, _slope_note(decay, line, level))
    if line.ratio is not None:
        yield Reading(decay.section, "log(1/α)/β", decay.ratio, line.ratio, _ratio_note(decay, line))


def _any(curve: Curve, row: int, level: float) -> str:
    """The interval of the line's intercept (row 0) or minus its slope (row 1) that covers any covariances."""
    e = weighted_sum(
        curve.mean[:3], curve.se[:3], LINE_WEIGHTS[row].tolist(), level=level, unit=NATS, words="", independent=False
    )
    return f"any covariances: [{e.low:.3g}, {e.high:.3g}]"


def _slope_note(decay: _Decay, line: LineReading, level: float) -> str:
    words = []
    if isinstance(decay.beta, float) and not line.beta.low <= decay.beta <= line.beta.high:
        words.append(f"the line falls by {line.beta.value:.3g} nats per sentence, not {decay.beta:g}")
    if isinstance(decay.beta, tuple) and max(decay.curve.mean) > decay.beta[1]:
        words.append(
            f"KL(P₋‖P) ≤ KL(P₋‖P₊) at every length, so β at the first point is at least {decay.curve.mean[0]:.3g}"
        )
    return "; ".join([*words, _any(decay.curve, 1, level)])


def _ratio_note(decay: _Decay, line: LineReading) -> str:
    assert line.ratio is not None
    words = [f"with the line's own slope; first point counted as n = 1: {line.ratio.value + 1:.3g}"]
    if isinstance(decay.beta, float) and decay.beta > 0:
        words.append(f"with the published β = {decay.beta:g}: {line.log_inverse_alpha.value / decay.beta:.2g}")
    return "; ".join(words)


def _excess(decay: _Decay, published: Published, level: float) -> Reading:
    """First point of KL(P₋‖P) minus that of KL(P₋‖P₊), which an exact mixture keeps at or below 0."""
    start = published.negative_vs_aligned_rlhf
    excess = weighted_sum(
        (decay.curve.mean[0], start.kl_avg[0]),
        (decay.curve.se[0], start.kl_error[0]),
        (1.0, -1.0),
        level=level,
        unit=PER_SENTENCE,
        words="first point of KL(P₋‖P) minus first point of KL(P₋‖P₊)",
        independent=False,
    )
    if excess.low > 0:
        note = "above 0: no mixture of these components, which has KL(P₋‖P) ≤ KL(P₋‖P₊)"
    elif excess.high < 0:
        note = "below 0: P₋ already has weight at the first point"
    else:
        note = "not distinguishable from 0: the line begins where KL(P₋‖P₊) does, and reads β there whatever α is"
    return Reading(decay.section, "first point minus KL(P₋‖P₊) there", None, excess, note)


def _budget(decay: _Decay, level: float) -> Reading:
    """Chain rule: in an exact mixture the points sum to at most log 1/α."""
    curve = decay.curve
    total = weighted_sum(
        curve.mean,
        curve.se,
        [1.0] * len(curve.mean),
        level=level,
        unit=NATS,
        words="sum of the points, a lower limit of log 1/α",
        independent=False,
    )
    note = "in an exact mixture consecutive points sum to at most log 1/α (chain rule): a lower limit"
    paper = decay.log_inverse_alpha
    if isinstance(paper, tuple) and paper[1] < total.low:
        note += f"; {paper[0]:g}–{paper[1]:g} is less than the curve itself spends"
    note += f"; it still spends {curve.mean[-1]:.3g} at the last point"
    least = Estimate(total.value, total.low, math.inf, level, N_UNKNOWN, total.unit, total.method)
    return Reading(decay.section, "log 1/α, at least", paper, least, note)


def _shift_of_lines(guarded: _Decay, plain: _Decay, published: Published, level: float) -> Iterator[Reading]:
    """The guardrail's shift as the two lines predict it; nothing if a line does not fall."""
    share = 1 - (1 - level) / 2  # both ratios together
    first, second = (summary_line(decay.curve.mean, decay.curve.se, level=share).ratio for decay in (guarded, plain))
    if first is None or second is None:
        return
    method = f"difference of two ratios, corners of their limits; {first.method}"
    shift = Estimate(
        first.value - second.value,
        first.low - second.high,
        first.high - second.low,
        level,
        N_UNKNOWN,
        "sentences",
        method,
    )
    note = "log(1/α)/β with minus without system prompt: what the lines predict, to compare with the responses"
    yield Reading(GUARDRAIL, "shift, KL lines", published.readings.guardrail_shift_sentences, shift, note)


def _slopes(plain: _Decay, pretrained: _Decay, published: Published, level: float) -> Iterator[Reading]:
    """β of the aligned model over β of the pretrained one; nothing if the pretrained line does not fall."""
    betas = [summary_line(decay.curve.mean, decay.curve.se, level=level).beta for decay in (plain, pretrained)]
    if betas[1].value <= 0:
        return
    variances = [(beta.width / 2 / normal_quantile(level)) ** 2 for beta in betas]
    method = f"ratio of the two lines' slopes, Fieller; {betas[0].method}"
    ratio = fieller(betas[0].value, betas[1].value, np.diag(variances), level=level, unit="ratio", method=method)
    paper, other = published.readings.beta, published.published_readings.pretrained_beta
    implied = (paper / other[1], paper / other[0]) if paper is not None and other is not None and other[0] > 0 else None
    note = "slopes of the lines without system prompt"
    if implied is not None:
        note += "; published: implied by the two published β"
    yield Reading(PRETRAINED, "β over β", implied, ratio, note)
