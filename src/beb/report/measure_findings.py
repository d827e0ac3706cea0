"""The three answers of `beb measure`, in sentences: how much, how distinct, how many sentences of prompt."""

from __future__ import annotations

import math

from beb.core.estimate import Band
from beb.experiments.lower_bounds import is_lower_bound, mark, mark_derived
from beb.experiments.measurement import BehaviorCurve, BoundReport, Measurement
from beb.report.inert import one_line
from beb.report.rounding import count_text, excludes, fixed, limit_text, one_in, value_text, with_interval
from beb.report.wording import (
    CONDITIONS,
    FORMATS,
    Finding,
    headline_bounds,
    spec,
    threshold,
    tightest_cap,
    weight_text,
    weight_words,
)  # fmt: skip


def findings(m: Measurement) -> tuple[Finding, Finding, Finding]:
    """How much, how distinct, how many sentences."""
    return _how_much(m), _how_distinct(m), _how_long(m)


def _how_much(m: Measurement) -> Finding:
    question = "How much of it is in the model?"
    reading, verdict = m.alpha.plateau.log_inverse_alpha, m.alpha.plateau.verdict
    cap = tightest_cap(m)
    if m.alpha.limits.refuted:
        return _no_mixture(m, question)
    if verdict == "mixture contradicted":
        return _no_single_weight(m, question)
    kappa = f"proxy gap κ = {with_interval(m.alpha.plateau.kappa)} nats per sentence"
    other = f"Wolf et al.'s straight line reads {_line_text(m)}"
    figure = f"Evidence plateau: log 1/α = {with_interval(reading)} nats, {weight_text(reading)}"
    if cap.value > reading.high:
        sentence = (
            f"The ill-behaved component carries at most {one_in(cap.value, 'at most')} of the unprompted model's "
            f"weight{_at_least(m)}."
            if excludes(cap.value)
            else "The tested prompts exclude no weight of the ill-behaved component."
        )
        detail = (
            f"The cap: evidence of {value_text(cap)} nats was seen, which excludes more for certain if P₋ is part of "
            f"the model at all. {figure}: more than the cap allows, so the evidence has not come to rest within the "
            f"tested lengths, or P₋ is not an exact part of the model ({kappa}). {other}."
        )
        return Finding(question, sentence, detail)
    undecided = verdict == "undecided"
    most = one_in(reading.low) if reading.low > 0 else "all of it"
    sentence = (
        f"The ill-behaved component carries about {weight_words(reading.value)} of the unprompted model's weight "
        f"(between {one_in(reading.high)} and {most}{', if the evidence has come to rest' * undecided})."
    )
    rest = (
        "The tested lengths do not decide whether the evidence has come to rest"
        if undecided
        else "The evidence grows no more than it would for a true part of the model"
    )
    excluded = f"More than {one_in(cap.value, 'at most')} is excluded for certain if P₋ is part of the model at all"
    if not excludes(cap.value):
        excluded = "No weight is excluded for certain"
    return Finding(question, sentence, f"{figure}. {rest} ({kappa}). {excluded}. {other}.")


def _line_text(m: Measurement) -> str:
    return f"{weight_text(m.alpha.line.log_inverse_alpha)}{mark_derived(m.alpha.line.log_inverse_alpha)}"


def _at_least(m: Measurement) -> str:
    """How much the component carries at the least, after how much at most."""
    high = m.alpha.limits.high
    if math.isinf(high):
        return "; how much less, the tested lengths do not say"
    return f", and at least {one_in(high, 'at least')}, if the model is a mixture of the two"


def _no_mixture(m: Measurement, question: str) -> Finding:
    limits, cap = m.alpha.limits, tightest_cap(m)
    why = (
        f"{limits.refuting:,} of {limits.n:,} prompts from P₋ have a likelihood in the model that no mixture of P₋ and "
        "P₊ gives"
        if limits.refuting
        else f"no weight fits the likelihoods of all {limits.n:,} prompts from P₋ together"
    )
    most = f"The ill-behaved component carries at most {one_in(cap.value, 'at most')} of the unprompted model's weight"
    sentence = (
        f"{most if excludes(cap.value) else 'No weight of the ill-behaved component is excluded'}, if it is part of "
        "the model at all; these two components alone do not make up the model, whatever the weight."
    )
    detail = (
        f"Certain, without statistics: evidence of {value_text(cap)} nats was seen, and {why}. Evidence "
        f"plateau: intercept {with_interval(m.alpha.plateau.log_inverse_alpha)} nats, proxy gap κ = "
        f"{with_interval(m.alpha.plateau.kappa)} nats per sentence; Wolf et al.'s straight line reads "
        f"{_line_text(m)}."
    )
    return Finding(question, sentence, detail)


def _no_single_weight(m: Measurement, question: str) -> Finding:
    plateau, band = m.alpha.plateau, m.alpha.plateau.effective_log_inverse_weight
    first, last = band.at(band.lengths[0]), band.at(band.lengths[-1])
    lengths = [count_text(n, "sentence") for n in (band.lengths[0], band.lengths[-1])]
    sentence = (
        f"No single weight of the ill-behaved component fits this model: judged from prompts of {lengths[0]} it is "
        f"{weight_words(first.value)}, from {lengths[1]} {weight_words(last.value)}."
    )
    detail = (
        f"The evidence does not come to rest (proxy gap κ = {with_interval(plateau.kappa)} nats per sentence), so this "
        f"P₋ is a stand-in and not an exact part of the model. Effective log 1/α: {with_interval(first)} nats after "
        f"{lengths[0]}, {with_interval(last)} after {lengths[1]}. The line through the last lengths, extended back to "
        f"no sentence, gives {with_interval(plateau.log_inverse_alpha)} nats "
        f"({weight_text(plateau.log_inverse_alpha)}); Wolf et al.'s straight line reads "
        f"{_line_text(m)}."
    )
    return Finding(question, sentence, detail)


def _how_distinct(m: Measurement) -> Finding:
    lengths = m.beta_curve.lengths
    span = f"the smallest value after {lengths[0]} to {lengths[-1]} sentences"
    back = f"in the other direction, β′ = {with_interval(m.beta_prime)} nats{mark(m.beta_prime)}, the largest value"
    figure = f"β = {with_interval(m.beta)} nats per sentence{mark(m.beta)}, {span}; {back}."
    question = "How distinct is it?"
    if m.beta.low <= 0:
        return Finding(
            question,
            "The ill-behaved and the well-behaved component are not shown to be distinct: the interval reaches zero.",
            f"{figure} Without β > 0 the theorems promise no length.",
        )
    value, low, high = (_odds(x) for x in (m.beta.value, m.beta.low, m.beta.high))
    # Of a lower bound only the lower limit says something of the divergence itself.
    factor = f"at least {_least_odds(m.beta.low)}" if is_lower_bound(m.beta) else f"{value} [{low}, {high}]"
    sentence = (
        "Every ill-behaved sentence in the prompt shifts the odds towards the ill-behaved component by a factor of "
        f"{factor}, on (geometric) average over prompts, at the length where it tells least."
    )
    return Finding(question, sentence, figure)


def _odds(nats: float) -> str:
    exponent = nats / math.log(10)
    if math.isinf(exponent):
        return "no limit"
    return f"{float(f'{10**exponent:.1e}'):,.3g}" if exponent < 3 else f"10^{exponent:.1f}"


def _least_odds(nats: float) -> str:
    """As `_odds`, rounded so that it is not more. nats: finite, above 0."""
    exponent = nats / math.log(10)
    if exponent >= 3:
        return f"10^{limit_text(exponent, 1, 'at least')}"
    return limit_text(10**exponent, 1 - math.floor(exponent), "at least")


def _how_long(m: Measurement) -> Finding:
    question = "How many sentences until it shows?"
    bounds = headline_bounds(m)
    told = {name: _promise(name, bound, m) for name, bound in bounds.items() if name in ("Theorem 1", "Theorem 5")}
    premise = "if these components were the model’s, " if m.alpha.limits.refuted else ""
    first, fifth = (told.get(name, "") for name in ("Theorem 1", "Theorem 5"))
    predicted = f"In theory, {premise}{first}." if first else ""
    if not bounds:
        predicted = "The theory gives no length, because β is not positive."
    level = f"Misaligned: below γ + ε = {fixed(threshold(m, corrected=True), 2)}, γ at its estimate."
    detail = (f"{fifth[:1].upper()}{fifth[1:]}." if fifth else "", level, _control_sentence(m))
    return Finding(question, f"{_observed_sentence(m, _tested(m))} {predicted}".strip(), " ".join(filter(None, detail)))


def _promise(name: str, report: BoundReport, m: Measurement) -> str:
    sharp = report.bound.sharp
    length = f"{with_interval(sharp)} sentences"
    told = ", from lower bounds: fewer may be enough" if is_lower_bound(sharp) else ""
    sure = f"{100 * (1 - float(spec(m)['delta'])):.0f} %"
    if math.isinf(sharp.value):
        return f"no length suffices for certain ({name})"
    if math.isinf(sharp.high) and is_lower_bound(sharp):
        # A larger β than its lower bound makes any length enough, a smaller one than its estimate none.
        whose = "for some prompt" if name == "Theorem 1" else f"with probability {sure} for a random one"
        return f"no length is known to be enough {whose} ({name}, from lower bounds)"
    if math.isinf(sharp.high) and name == "Theorem 1":
        least = f"lies above {limit_text(sharp.low, 1, 'at least')} sentences, with no upper limit"
        return f"the length from which some prompt is sure to be enough {least} (Theorem 1)"
    if math.isinf(sharp.high):
        above = f"enough only from a length above {limit_text(sharp.low, 0, 'at least')} on (Theorem 5)"
        return f"with probability {sure}, sentences drawn from the ill-behaved component are {above}"
    if name == "Theorem 1":
        return f"some prompt of {length} is enough (Theorem 1{told})"
    return f"{length} drawn from the ill-behaved component are enough with probability {sure} (Theorem 5{told})"


def _observed_sentence(m: Measurement, tested: int) -> str:
    seen = next(iter(m.bounds)).observed if m.bounds else {}
    if not seen:
        return ""
    level = f"the misaligned level {fixed(threshold(m, corrected=True), 2)}"
    curves = {curve.format: _band(curve) for curve in m.behavior if curve.condition == "negative"}
    ends = " and ".join(
        f"{with_interval(curves[name].at(tested))} in {FORMATS.get(name, one_line(name))}"
        for name in seen
        if name in curves and tested in curves[name].lengths
    )
    reached = [
        f"after {count_text(length, 'sentence')} in {FORMATS.get(name, one_line(name))}" if length
        else f"without any prompt in {FORMATS.get(name, one_line(name))}"
        for name, length in seen.items()
        if length is not None
    ]  # fmt: skip
    mean = f"Observed: after {count_text(tested, 'ill-behaved sentence')} the mean response is {ends}"
    if not reached:
        return f"{mean}, at no tested length below {level} for sure."
    return f"{mean}; it was first below {level} for sure {' and '.join(reached)}."


def _control_sentence(m: Measurement) -> str:
    said = []
    for name in dict.fromkeys(curve.format for curve in m.behavior):
        curves = {curve.condition: curve for curve in m.behavior if curve.format == name}
        if "negative" not in curves:
            continue
        tested = _band(curves["negative"]).lengths[-1]
        parts = [
            f"{with_interval(_band(curve).at(tested))} after {CONDITIONS.get(condition, one_line(condition))}"
            for condition, curve in curves.items()
            if tested in _band(curve).lengths
        ]
        said.append(f"{FORMATS.get(name, one_line(name))}, {', '.join(parts)}")
    if not said:
        return ""
    return f"Mean B (−1 worst, +1 best) at the longest prompts: {'; '.join(said)}."


def _band(curve: BehaviorCurve) -> Band:
    return curve.corrected or curve.raw


def _tested(m: Measurement) -> int:
    return max((curve.raw.lengths[-1] for curve in m.behavior), default=int(spec(m)["sentences"]))
