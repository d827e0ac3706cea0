"""What the numbers mean, in sentences: shared by the report and the command line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from beb.core.bounds import Assumption
from beb.core.estimate import Band, Estimate
from beb.experiments.gate import Gate
from beb.experiments.measurement import BehaviorCurve, BoundReport, Measurement
from beb.report.inert import one_line
from beb.report.rounding import count_text, fixed, one_in, value_text, with_interval

PREFERRED_READING = "evidence plateau"
_USELESS_WIDTH = 50.0  # nats: 21 orders of magnitude
CONDITIONS = {
    "negative": "prompts from P₋",
    "positive": "prompts from P₊",
    "shuffled": "shuffled P₋ sentences",
    "P₋ itself": "P₋ itself",
    "P₊ itself": "P₊ itself",
}
_SYMBOLS = {
    "beta": "β",
    "beta_prime": "β′",
    "beta_prime_top": "β′ as the top of the P₋ curve",
    "sigma2": "σ² under P₋",
    "sigma2_positive": "σ² under P₊",
    "gamma": "γ",
    "gamma_uncorrected": "γ as scored",
    "kappa": "κ",
    "log 1/alpha (plateau)": "log 1/α by the evidence plateau",
    "log 1/alpha (line)": "log 1/α by the straight line",
}
FORMATS = {"plain": "plain text", "chat": "chat"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One of the three answers. sentence: plain words with the number; detail: how far it can be trusted."""

    question: str
    sentence: str
    detail: str


class Checked(Protocol):
    """A record of a run with components."""

    @property
    def gate(self) -> Gate:
        """Do they tell the poles apart?"""
        ...

    @property
    def assumptions(self) -> tuple[Assumption, ...]:
        """Premises with what was measured for each."""
        ...

    @property
    def failures(self) -> Mapping[str, int]:
        """Failed requests by kind."""
        ...


def findings(m: Measurement) -> tuple[Finding, Finding, Finding]:
    """How much, how distinct, how many sentences."""
    return _how_much(m), _how_distinct(m), _how_long(m)


def warnings(m: Checked) -> tuple[str, ...]:
    """What a reader must know before any number: a failed gate, contradicted premises, failed requests."""
    said = []
    if not m.gate.passed:
        said.append(
            f"The fitted components are too poor to interpret: they classify {share(m.gate.accuracy)} of held-out "
            f"statements right, and {m.gate.threshold:.0%} is needed."
        )
    broken = [a for a in m.assumptions if a.status == "contradicted"]
    if broken:
        names = ", ".join(f"“{one_line(a.name)}”" for a in broken)
        said.append(
            f"The measurement contradicts {'a premise' if len(broken) == 1 else 'premises'} of the theorems ({names}): "
            "read the predicted lengths as what the theory would say, not as a guarantee."
        )
    unscored = sum(count for kind, count in m.failures.items() if kind.startswith("score: "))
    failed = sum(m.failures.values()) - unscored
    if failed:
        said.append(f"{count_text(failed, 'request')} failed; they are counted and never scored as answers.")
    if unscored:
        said.append(f"{count_text(unscored, 'sampled text')} could not be scored; they are counted and left out of B.")
    return tuple(said)


def behavior_name(meta: Mapping[str, Any]) -> str:
    """The behavior's name, from a run's meta."""
    stored = meta.get("fingerprints", {}).get("behavior", {})
    return one_line(str(stored.get("name") or meta["spec"]["behavior"]), 60)


def proxies(meta: Mapping[str, Any]) -> str:
    """What P₋, P₊ and B are in this run, in words."""
    return (
        "“Ill-behaved component” (P₋) and “well-behaved component” (P₊) are stand-ins for parts that a model does not "
        f"hand out. Here P₋ is {_proxy(meta, 'negative')}, P₊ is {_proxy(meta, 'positive')}. B scores a response from "
        "−1 (undesired) to +1 (desired)."
    )


def _proxy(meta: Mapping[str, Any], pole: str) -> str:
    identity = meta.get("fingerprints", {}).get(pole, {})
    kinds = {
        "lora": "an adapter fitted on statements of that pole",
        "persona": "the same model under a persona description",
        "checkpoint": "another checkpoint",
        "served": "a model behind a server",
        "world": "the exact component of a finite world",
        "residual": "what is left of the model without P₋",
    }
    kind = str(identity.get("kind") or identity.get("name", ""))
    return kinds.get(kind, one_line(kind, 60) or "unnamed")


def notes(said: Iterable[str]) -> tuple[str, ...]:
    """What a run says about itself, as sentences."""
    lines = (one_line(note, 600).strip() for note in said)
    return tuple(line[:1].upper() + line[1:] + ("" if line.endswith(".") else ".") for line in lines if line)


def headline_bounds(m: Measurement) -> dict[str, BoundReport]:
    """The bounds by theorem, for the preferred reading of α or else the first one reported."""
    found: dict[str, BoundReport] = {}
    for report in m.bounds:
        name = report.bound.bound.theorem
        if name not in found or report.reading == PREFERRED_READING:
            found[name] = report
    return found


def epsilon(m: Measurement) -> float:
    """ε of the specification."""
    return float(spec(m)["epsilon"])


def spec(m: Measurement) -> Mapping[str, Any]:
    """The stored specification."""
    stored: Mapping[str, Any] = m.meta["spec"]
    return stored


def threshold(m: Measurement, *, corrected: bool) -> float:
    """γ + ε, below which a behavior expectation counts as misaligned."""
    return (m.gamma if corrected else m.gamma_uncorrected).value + epsilon(m)


def share(estimate: Estimate) -> str:
    """A proportion with its interval: "92 % [88, 95]"."""
    low, high = (f"{100 * limit:.0f}" for limit in (estimate.low, estimate.high))
    return f"{100 * estimate.value:.0f} % [{low}, {high}]"


def observed_text(observed: Mapping[str, int | None], tested: int) -> str:
    """The first length observed below γ + ε, per format, in short."""
    return "; ".join(
        f"{FORMATS.get(name, one_line(name))}: {length if length is not None else f'not by {tested}'}"
        for name, length in observed.items()
    )


def halving_text(m: Measurement) -> str:
    """What it would take to know the least certain key figure twice as well."""
    said = []
    if m.prompts_to_halve is not None:
        widest = _SYMBOLS.get(m.widest, one_line(m.widest)) + ", as a factor" * m.widest.startswith("sigma2")
        said.append(
            f"About {count_text(m.prompts_to_halve, 'prompt')} would halve the interval that is widest for its size "
            f"({widest}); this run asked for {spec(m)['prompts']:,}."
        )
    if m.unlimited:
        names = [_SYMBOLS.get(name, one_line(name)) for name in m.unlimited]
        listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        said.append(
            f"There is no finite interval for {listed}: more or longer prompts may give one; no number of prompts can "
            "be promised."
        )
    return " ".join(said)


def _how_much(m: Measurement) -> Finding:
    question = "How much of it is in the model?"
    reading, verdict = m.alpha.plateau.log_inverse_alpha, m.alpha.plateau.verdict
    cap = tightest_cap(m)
    if m.alpha.limits.refuted:
        return _no_mixture(m, question)
    if verdict == "mixture contradicted":
        return _no_single_weight(m, question)
    kappa = f"proxy gap κ = {with_interval(m.alpha.plateau.kappa)} nats per sentence"
    other = f"Wolf et al.'s straight line reads {weight_text(m.alpha.line.log_inverse_alpha)}"
    figure = f"Evidence plateau: log 1/α = {with_interval(reading)} nats, {weight_text(reading)}"
    if cap.value > reading.high:
        sentence = (
            f"The ill-behaved component carries at most {one_in(cap.value)} of the unprompted model's weight; how much "
            "less, the tested lengths do not say."
            if cap.value > 0
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
    excluded = f"More than {one_in(cap.value)} is excluded for certain if P₋ is part of the model at all"
    if cap.value <= 0:
        excluded = "No weight is excluded for certain"
    return Finding(question, sentence, f"{figure}. {rest} ({kappa}). {excluded}. {other}.")


def _no_mixture(m: Measurement, question: str) -> Finding:
    limits, cap = m.alpha.limits, tightest_cap(m)
    sentence = (
        f"The ill-behaved component carries at most {one_in(cap.value)} of the unprompted model's weight, if it is "
        "part of the model at all; these two components alone do not make up the model, whatever the weight."
    )
    detail = (
        f"Certain, without statistics: evidence of {value_text(cap)} nats was seen, and {limits.refuting:,} of "
        f"{limits.n:,} prompts from P₋ are less likely under the model than under any mixture of P₋ and P₊. Evidence "
        f"plateau: intercept {with_interval(m.alpha.plateau.log_inverse_alpha)} nats, proxy gap κ = "
        f"{with_interval(m.alpha.plateau.kappa)} nats per sentence; Wolf et al.'s straight line reads "
        f"{weight_text(m.alpha.line.log_inverse_alpha)}."
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
        f"{weight_text(m.alpha.line.log_inverse_alpha)}."
    )
    return Finding(question, sentence, detail)


def tightest_cap(m: Measurement) -> Estimate:
    """The largest of the certain lower limits of log 1/α."""
    return max(m.alpha.cap, key=lambda e: e.value)


def weight_text(log_inverse: Estimate) -> str:
    """A reading of log 1/α as a weight in words; "not determined" where its interval spans more than any use."""
    return weight_words(log_inverse.value) if log_inverse.width < _USELESS_WIDTH else "not determined"


def weight_words(log_inverse: float) -> str:
    """A weight e^{-log_inverse} in words; a reading of log 1/α that is not positive names none, as α <= 1."""
    return one_in(log_inverse) if log_inverse > 0 else "no weight below 1"


def _how_distinct(m: Measurement) -> Finding:
    lengths = m.beta_curve.lengths
    span = f"the smallest value after {lengths[0]} to {lengths[-1]} sentences"
    back = f"in the other direction, β′ = {with_interval(m.beta_prime)} nats, the largest value"
    figure = f"β = {with_interval(m.beta)} nats per sentence, {span}; {back}."
    question = "How distinct is it?"
    if m.beta.low <= 0:
        return Finding(
            question,
            "The ill-behaved and the well-behaved component are not shown to be distinct: the interval reaches zero.",
            f"{figure} Without β > 0 the theorems promise no length.",
        )
    value, low, high = (_odds(x) for x in (m.beta.value, m.beta.low, m.beta.high))
    sentence = (
        "Every ill-behaved sentence in the prompt shifts the odds towards the ill-behaved component by a factor of "
        f"{value} [{low}, {high}], on (geometric) average over prompts, at the length where it tells least."
    )
    return Finding(question, sentence, figure)


def _odds(nats: float) -> str:
    exponent = nats / math.log(10)
    if math.isinf(exponent):
        return "no limit"
    return f"{float(f'{10**exponent:.1e}'):,.3g}" if exponent < 3 else f"10^{exponent:.1f}"


def _how_long(m: Measurement) -> Finding:
    question = "How many sentences until it shows?"
    tested = _tested(m)
    observed = _observed_sentence(m, tested)
    bounds = headline_bounds(m)
    if not bounds:
        predicted = "The theory gives no length, because β is not positive."
    else:
        parts = [_promise(name, bound, m) for name, bound in bounds.items() if name in ("Theorem 1", "Theorem 5")]
        premise = "if these components were the model’s, " if m.alpha.limits.refuted else ""
        predicted = f"In theory, {premise}{'; '.join(part for part in parts if part)}."
    return Finding(question, f"{predicted} {observed}".strip(), _control_sentence(m))


def _promise(name: str, report: BoundReport, m: Measurement) -> str:
    sharp = report.bound.sharp
    length = f"{with_interval(sharp)} sentences"
    if math.isinf(sharp.value):
        return f"no length suffices for certain ({name})"
    if math.isinf(sharp.high) and name == "Theorem 1":
        return f"no prompt below {fixed(sharp.low, 1)} sentences is enough for sure, and no known length is (Theorem 1)"
    if math.isinf(sharp.high):
        return f"of sentences drawn from the ill-behaved component, none below {fixed(sharp.low, 0)} (Theorem 5)"
    if name == "Theorem 1":
        return f"some prompt of {length} is enough (Theorem 1)"
    sure = f"{100 * (1 - float(spec(m)['delta'])):.0f} %"
    return f"{length} drawn from the ill-behaved component are enough with probability {sure} (Theorem 5)"


def _observed_sentence(m: Measurement, tested: int) -> str:
    seen = next(iter(m.bounds)).observed if m.bounds else {}
    if not seen:
        return ""
    level = f"the misaligned level (γ + ε = {fixed(threshold(m, corrected=True), 2)}, γ at its estimate)"
    sure = f"with {100 * float(spec(m)['level']):g} % confidence"
    span = f"within {count_text(tested, 'sentence')}"
    reached = [
        f"after {count_text(length, 'sentence')} in {FORMATS.get(name, one_line(name))}" if length
        else f"without any prompt in {FORMATS.get(name, one_line(name))}"
        for name, length in seen.items()
        if length is not None
    ]  # fmt: skip
    never = [FORMATS.get(name, one_line(name)) for name, length in seen.items() if length is None]
    if not reached:
        return f"Observed: {span} the mean response was not below {level} {sure}, in {' or '.join(never)}."
    but = f", but not {span} in {' or '.join(never)}" if never else ""
    return f"Observed: {sure}, the mean response was below {level} {', '.join(reached)}{but}."


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
    return f"Mean behavior B (−1 worst, +1 best) at the longest prompts: {'; '.join(said)}."


def _band(curve: BehaviorCurve) -> Band:
    return curve.corrected or curve.raw


def _tested(m: Measurement) -> int:
    return max((curve.raw.lengths[-1] for curve in m.behavior), default=int(spec(m)["sentences"]))
