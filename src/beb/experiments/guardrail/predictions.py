"""What the theory says of a guardrail: its log-ratio, the shift that follows from it, Theorem 2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from beb.core.bounds import Assumption, PropagatedBound, Status, after_prefix, propagate
from beb.core.estimate import Estimate
from beb.errors import NoBound
from beb.estimate.bands import joint_box, mean_band
from beb.estimate.diagnostics import first_length_below
from beb.experiments.arrays import Floats, PromptArrays
from beb.experiments.bounds import BoundInputs, at_least_zero, gamma_over_prompts, intercepts, of_box, within_mixture
from beb.experiments.guardrail.spec import GuardrailSpec
from beb.experiments.guardrail.systems import System
from beb.experiments.measurement import AlphaReadings, BehaviorCurve, BoundReport
from beb.experiments.setting import NATS_PER_SENTENCE, Setting
from beb.experiments.verdicts import excluded

LARGER = "larger than the theorem’s extra, which is promised for some prompt; this is the mean over sampled ones"
NATS = "nats"
SENTENCES = "sentences"
_SETS = {"beta": "after", "beta_prime": "positive", "sigma2": "positive", "log_ratio": "positive", "alpha": "negative"}
# C = 0: even odds, and γ + ε halfway between the extremes of B.
_NO_REQUIREMENT = {"log_inverse_alpha": math.log(2), "gamma": -1.0, "epsilon": 1.0}


@dataclass(frozen=True, slots=True, eq=False)
class TheoryInputs:
    """Arrays over prompts from which the predictions are computed.

    negative: of the prompts from P₋. after: (n_prompts, N) KL(P₋‖P₊) after a negative sentence, or None.
    resistance: (n_prompts, N) log P₊/P₋ of the first n sentences of prompts from P₊, nats. beta_prime: (n_prompts, N)
    KL(P₊‖P₋) of their sentences. bound: what α and γ are read from.
    """

    negative: PromptArrays
    after: Floats | None
    resistance: Floats
    beta_prime: Floats
    bound: BoundInputs


def text_log_ratio(log_p: Mapping[str, Floats], n_sentences: int) -> Estimate:
    """log P₊/P₋ of a given text: nothing is sampled, so it is exact. log_p: component -> nats per sentence."""
    value = math.fsum(log_p["positive"]) - math.fsum(log_p["negative"])
    method = f"log P₊/P₋ of the given text of {n_sentences} sentences, no sampling"
    return Estimate(value, value, value, 1.0, 1, NATS, method, exact=True)


def sampled_log_ratio(inputs: TheoryInputs, m: int, setting: Setting[GuardrailSpec]) -> Estimate:
    """Mean of log P₊/P₋ over prefixes of m sentences from P₊."""
    column = inputs.resistance[:, m - 1 : m]
    rng = setting.rng(f"log-ratio {m}")
    return mean_band(column, [m], level=setting.level, rng=rng, unit=NATS, name="log-ratio of the prefixes").at(m)


def log_ratio_shift(
    system: System, log_ratio: Estimate, inputs: TheoryInputs, setting: Setting[GuardrailSpec]
) -> Estimate | None:
    """Sentences of P₋ whose mean divergence makes up for the guardrail's log-ratio.

    Every sentence of P₋ adds its divergence to the log-odds on average, the guardrail takes its log-ratio off.
    Limits: the corners of simultaneous limits of the two. None if the divergence is not positive.
    """
    per_prompt = inputs.negative.kl["positive"].mean(axis=1)[:, None]
    means, sets = {"step": per_prompt}, {"step": "negative"}
    if system.sentences:
        means["log_ratio"] = inputs.resistance[:, system.sentences - 1 : system.sentences]
        sets["log_ratio"] = "positive"
    rng = setting.rng(f"log-ratio shift {system.name}")
    box = joint_box(means, {}, level=setting.level, rng=rng, prompt_sets=sets)
    step = of_box(box, "step", min, NATS_PER_SENTENCE)
    taken = of_box(box, "log_ratio", min, NATS) if system.sentences else log_ratio
    if step.value <= 0:
        return None
    corners = [t / s if s > 0 else math.copysign(math.inf, t) for t in (taken.low, taken.high) for s in _ends(step)]
    value = taken.value / step.value
    low, high = min(*corners, value), max(*corners, value)
    words = "log P₊/P₋ of the guardrail over the mean KL(P₋‖P₊) of a sentence of P₋; corners of simultaneous limits"
    return Estimate(value, low, high, setting.level, step.n, SENTENCES, words, exact=low == high)


def _ends(e: Estimate) -> tuple[float, float]:
    return e.low, e.high


def theorem_inputs(
    inputs: TheoryInputs, setting: Setting[GuardrailSpec], level: float, stream: str, intercept: Floats | None
) -> dict[str, Estimate] | None:
    """β after a negative sentence, β′, σ² under P₊ (and log 1/α), with limits that hold together.

    intercept: (n_prompts,) log 1/α of each prompt, or None. Returns None where β could not be measured.
    """
    if inputs.after is None:
        return None
    means = {"beta": inputs.after, "beta_prime": inputs.beta_prime}
    if intercept is not None:
        means["alpha"] = intercept[:, None]
    lengths = np.array(setting.lengths_after)
    box = joint_box(
        means, {"sigma2": inputs.resistance / np.sqrt(lengths)}, level=level, rng=setting.rng(stream),
        prompt_sets={name: _SETS[name] for name in (*means, "sigma2")},
    )  # fmt: skip
    found = {
        "beta": of_box(box, "beta", min, NATS_PER_SENTENCE),
        "beta_prime": of_box(box, "beta_prime", max, NATS_PER_SENTENCE),
        "sigma2": of_box(box, "sigma2", max, "nats² per sentence"),
    }
    if intercept is not None:
        found["log_inverse_alpha"] = at_least_zero(of_box(box, "alpha", min, NATS))
    return {name: replace(e, level=setting.level) for name, e in found.items()}


def _after(
    system: System,
    log_ratio: Estimate,
    m: int,
    measured: Mapping[str, Estimate],
    *,
    fixed: Mapping[str, float],
) -> PropagatedBound | None:
    """Theorem 2: after m sentences from P₊, or after a given text whose log-ratio is known and has no spread.

    None where it says nothing: β ≤ 0, or a text that P₋ is likelier to write than P₊.
    """
    fixed = {**fixed, "prefix_sentences": m}
    if not system.sentences:
        if log_ratio.value <= 0:
            return None
        measured = {name: e for name, e in measured.items() if name not in ("beta_prime", "sigma2")}
        fixed |= {"beta_prime": log_ratio.value / m, "sigma2": 0.0}
    try:
        return propagate(after_prefix, measured, fixed)
    except NoBound:
        return None


@dataclass(frozen=True, slots=True, eq=False)
class TheoremTwo:
    """Theorem 2's inputs on this model for every reading of α, computed once for all guardrails.

    by_reading: its measured arguments, γ included, all holding together at the run's level. excluded: readings whose α
    the certain limits of the mixture leave no room for. spread: the arguments that do not depend on α and γ, by
    themselves; None where β could not be measured. stated: the premises.
    """

    by_reading: Mapping[str, Mapping[str, Estimate]]
    excluded: tuple[str, ...]
    spread: Mapping[str, Estimate] | None
    stated: Mapping[str, Assumption]
    spec: GuardrailSpec

    @classmethod
    def of(
        cls,
        inputs: TheoryInputs,
        alpha: AlphaReadings,
        stated: Mapping[str, Assumption],
        setting: Setting[GuardrailSpec],
    ) -> TheoremTwo:
        """Half of the error probability goes to γ, whose limits also carry the scorer's error rates."""
        half = 1 - (1 - setting.level) / 2
        gamma = replace(gamma_over_prompts(inputs.bound, half, setting), level=setting.level)
        found = {}
        for name, intercept in intercepts(inputs.bound, alpha, setting).items():
            measured = theorem_inputs(inputs, setting, half, f"theorem 2 {name}", intercept)
            if measured is not None:
                reading = within_mixture(name, measured["log_inverse_alpha"], alpha.limits)
                found[name] = {**measured, "log_inverse_alpha": reading, "gamma": gamma}
        cannot_be = tuple(name for name, each in found.items() if excluded(each["log_inverse_alpha"], alpha.limits))
        spread = theorem_inputs(inputs, setting, setting.level, "extra", None)
        return cls(found, cannot_be, spread, stated, setting.spec)

    def extra_length(self, system: System, log_ratio: Estimate, m: int) -> Estimate | None:
        """Extra sentences: the theorem's sharp length where nothing but the guardrail has to be overcome (C = 0)."""
        if self.spread is None:
            return None
        fixed = {**_NO_REQUIREMENT, "delta": self.spec.delta}
        found = _after(system, log_ratio, m, self.spread, fixed=fixed)
        return None if found is None else found.sharp

    def reports(
        self, system: System, log_ratio: Estimate, m: int, curve: BehaviorCurve, positivity: Assumption
    ) -> tuple[BoundReport, ...]:
        """The theorem's length after this guardrail for each reading, and the first length observed below γ + ε.

        positivity: that premise after this very guardrail.
        """
        stated = {**self.stated, positivity.name: positivity}
        reports = []
        for name, measured in self.by_reading.items():
            fixed = {"epsilon": self.spec.epsilon, "delta": self.spec.delta}
            bound = _after(system, log_ratio, m, measured, fixed=fixed)
            if bound is None:
                continue
            threshold = measured["gamma"].value + self.spec.epsilon
            observed = {curve.format: first_length_below(curve.corrected or curve.raw, threshold)}
            premises = tuple(stated[premise] for premise in bound.bound.assumptions)
            reports.append(BoundReport(name, bound, premises, observed, name in self.excluded))
        return tuple(reports)


def verdict(
    fall: Estimate, midpoint_shift: Estimate, area_shift: Estimate, extra: Estimate | None
) -> tuple[Status, str]:
    """Is the observed shift at most Theorem 2's extra length? Held only where the intervals show it.

    fall: of B without a guardrail. A larger shift contradicts nothing: the theorem is about some prompt, and the shift
    about the mean over sampled ones. The area counts less than the displacement where the curves do not fall from
    1 to -1, so that a small area proves nothing, while a large one does.
    """
    if extra is None:
        return "not measured", "the theorem gives no extra length here"
    if fall.low <= 0:
        return "not measured", "without a guardrail B is not shown to fall, so there is no shift"
    if max(midpoint_shift.low, area_shift.low) > extra.high:
        return "not measured", LARGER
    if midpoint_shift.high <= extra.low:
        return "held", "the shift’s upper limit is below the theorem’s lower limit"
    if math.isinf(midpoint_shift.high):
        return "not measured", "the shift of the midpoint has no upper limit"
    return "not measured", "the two intervals overlap"
