"""Midpoints of the behavior curves and their shifts, from the published response counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from beb.core.estimate import Estimate
from beb.estimate.checks import Array
from beb.estimate.crossing import crossing, crossing_difference, crossing_shift
from beb.estimate.curves import LogisticFit, fit_logistic
from beb.estimate.shift import area_shift, midpoint_difference, midpoint_shift
from beb.estimate.summaries import summary_line
from beb.experiments.published import Curve, Published
from beb.experiments.reproduction import GUARDRAIL, PRETRAINED, Reading
from beb.experiments.spec import derive_seed

_LOGISTIC, _HALF_WAY = "logistic midpoints", "half-way points"


@dataclass(frozen=True, slots=True, eq=False)
class _Responses:
    """KL(P₋‖P) of the model, B of each prompt (row) at each length, the lengths, and the paper's β."""

    name: str
    decay: Curve
    behavior: Array
    lengths: tuple[int, ...]
    beta: float | tuple[float, float] | None


def response_readings(published: Published, *, level: float, seed: int) -> Iterator[Reading]:
    """Midpoint and slope of each curve, the guardrail's paired shift, and pretrained against aligned."""
    guarded, plain, pretrained = _responses(published)
    for responses in (guarded, plain, pretrained):
        yield from _curve(responses, level, seed)
    paper = published.readings.guardrail_shift_sentences
    pair = (guarded.behavior, plain.behavior, plain.lengths)
    for words, of in ((_LOGISTIC, midpoint_shift), (_HALF_WAY, crossing_shift)):
        shift = of(*pair, level=level)
        yield Reading(GUARDRAIL, f"shift, {words}", paper, shift, _shift_note(shift))
    shift = area_shift(*pair, level=level)
    note = "mean displacement of the fall, tails included; needs no law"
    yield Reading(GUARDRAIL, "shift, area between the curves", paper, shift, note)
    sides = (plain.behavior, plain.lengths, pretrained.behavior, pretrained.lengths)
    for words, apart in ((_LOGISTIC, midpoint_difference), (_HALF_WAY, crossing_difference)):
        difference = apart(*sides, level=level)
        note = "aligned without system prompt minus pretrained; different prompts, not paired"
        yield Reading(PRETRAINED, f"difference of {words}", None, difference, note)


def _responses(published: Published) -> tuple[_Responses, _Responses, _Responses]:
    """With system prompt, without, pretrained."""
    aligned, negative = published.aligned_responses_rlhf, published.negative_responses_pretrained
    beta, other = published.readings.beta, published.published_readings.pretrained_beta
    with_, without = (
        2 * np.asarray(counts) / aligned.responses_per_cell - 1
        for counts in (aligned.with_system_prompt, aligned.without_system_prompt)
    )
    decays = published.kl_decay_rlhf
    pretrained = 1 - 2 * np.asarray(negative.counts) / negative.responses_per_cell
    return (
        _Responses("aligned with system prompt", decays.with_system_prompt, with_, aligned.sentences, beta),
        _Responses("aligned without system prompt", decays.without_system_prompt, without, aligned.sentences, beta),
        _Responses("pretrained", published.kl_decay_pretrained, pretrained, negative.sentences, other),
    )


def _curve(responses: _Responses, level: float, seed: int) -> Iterator[Reading]:
    section = f"Responses, {responses.name}"
    rng = np.random.default_rng(derive_seed(seed, "reproduce", responses.name))
    y, n = responses.behavior, responses.lengths
    fit = fit_logistic(y, n, high=1.0, level=level, rng=rng)
    note = "; ".join(filter(None, (f"B of P₊ taken as 1, of P₋ fitted as {fit.low_level:.2f}", fit.note)))
    yield Reading(section, "midpoint, logistic", None, fit.midpoint, note)
    half_way = crossing(y, n, level=level)
    yield Reading(section, "half-way point (B = 0)", None, half_way, _predicted(responses, level))
    yield Reading(section, "β, slope of the logistic", responses.beta, fit.slope, _slope_note(fit, responses.beta))


def _predicted(responses: _Responses, level: float) -> str:
    """Lemma 7's midpoint from the line of KL(P₋‖P)."""
    ratio = summary_line(responses.decay.mean, responses.decay.se, level=level).ratio
    if ratio is None:
        return "no law needed"
    return (
        f"no law needed; the line's log(1/α)/β predicts {ratio.value:.3g} with its first point as n = 0, "
        f"{ratio.value + 1:.3g} as n = 1"
    )


def _slope_note(fit: LogisticFit, paper: float | tuple[float, float] | None) -> str:
    words = ["Lemma 7's β; a mean over prompts that fall at different lengths is flatter than each of them"]
    if isinstance(paper, float) and fit.slope.high < paper:
        words.append(f"at β = {paper:g} the whole fall would take {2 * np.log(19) / paper:.2g} sentences (95% to 5%)")
    return "; ".join(words)


def _shift_note(shift: Estimate) -> str:
    excluded = shift.low > 0 or shift.high < 0
    return "paired over the shared prompts; no shift at all is " + ("excluded" if excluded else "not excluded")
