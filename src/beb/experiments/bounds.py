"""The theorems on this model: lengths with intervals, and how far their premises hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beb.core.bounds import Assumption, Status, assess, propagate, random_prompt, single_prompt
from beb.core.estimate import Band, Estimate
from beb.errors import EstimateError
from beb.estimate.bands import JointBox, curve_band, joint_box, mean_band
from beb.estimate.classification import corrected_band, corrected_values
from beb.estimate.diagnostics import first_length_below
from beb.estimate.distinguishability import largest
from beb.estimate.means import row_means
from beb.estimate.mixture_limits import MixtureLimits
from beb.experiments.arrays import Floats, PromptArrays
from beb.experiments.lower_bounds import carried, labelled, mark, unlimited
from beb.experiments.measurement import AlphaReadings, BehaviorCurve, BoundReport
from beb.experiments.setting import BEHAVIOR_LIMITS, BEHAVIOR_UNIT, NATS_PER_SENTENCE, AnySetting
from beb.experiments.verdicts import excluded

PLATEAU = "evidence plateau"


@dataclass(frozen=True, slots=True, eq=False)
class BoundInputs:
    """Arrays over the same prompts from P₋, from which all inputs of a bound are resampled together.

    kl: (n_prompts, N) KL(P₋‖P₊) per sentence. kl_to_target: (n_prompts, N) KL(P₋‖P). evidence, log_ratio:
    (n_prompts, N) cumulative, nats. predicted: (n_prompts, N) class of each sentence, -1 where not scored.
    behavior: (n_prompts, N) B of each sentence. lower_bounds: component q -> method of KL(P₋‖q) where it is one only.
    """

    kl: Floats
    kl_to_target: Floats
    evidence: Floats
    log_ratio: Floats
    predicted: NDArray[np.int64]
    behavior: Floats
    lower_bounds: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, negative: PromptArrays, evidence: Floats, log_ratio: Floats) -> BoundInputs:
        """From the scored prompts of P₋."""
        return cls(
            negative.kl["positive"], negative.kl["target"], evidence, log_ratio, negative.predicted, negative.behavior,
            negative.lower_bounds,
        )  # fmt: skip

    def as_read(self, name: str, reading: Estimate) -> Estimate:
        """A reading of log 1/α, whose method says so if it is made of divergences that are lower bounds."""
        return labelled(reading, "" if name == PLATEAU else self.lower_bounds.get("target", ""))


def assumptions(
    key: Mapping[str, Estimate], alpha: AlphaReadings, trend: Estimate, setting: AnySetting
) -> dict[str, Assumption]:
    """The premises of Theorems 1 and 5 with what was measured for each, by name; of Theorem 1 alone without σ²."""
    tested = f"n ≤ {setting.spec.sentences}"
    beta, gamma = key["beta"], key["gamma"]
    distinct = f"β = {text(beta)} nats per sentence{mark(beta)}, over {tested} from prompts of P₋"
    similar = f"slope of Varₙ/n = {text(trend)} nats² per sentence², over {tested}"
    bounded = f"a supremum over all prompts cannot be measured; over tested prompts γ = {text(gamma)}"
    return {
        "mixture": mixture_premise(alpha, tested),
        "distinguishable": assess("distinguishable", "held" if beta.low > 0 else "not measured", distinct),
        "bounded behavior": assess("bounded behavior", "not measured", bounded),
    } | (
        {"similar under P₋": assess("similar under P₋", steady(key["sigma2"], trend, setting.spec.sentences), similar)}
        if "sigma2" in key
        else {}
    )


def steady(worst: Estimate, trend: Estimate, n_tested: int) -> Status:
    """Can the largest value over the tested lengths stand for longer ones?

    worst: that value. trend: its slope per length. Held where the value is finite for sure and even the upper limit of
    the trend adds less than the value itself over as many lengths as were tested. Growth alone contradicts nothing:
    what grows over the tested lengths may still have a limit.
    """
    return "held" if math.isfinite(worst.high) and trend.high * n_tested <= worst.value else "not measured"


def mixture_premise(alpha: AlphaReadings, tested: str) -> Assumption:
    """Is P₋ a component of P with a weight that does not depend on the length? tested: which lengths, in words."""
    rest, cap = alpha.plateau, max(each.value for each in alpha.cap)
    kappa = f"proxy gap κ = {text(rest.kappa)} nats per sentence"
    limits = alpha.limits
    if limits.refuted:
        refuting = (
            f"{limits.refuting} of {limits.n} prompts from P₋ have a likelihood that no mixture of P₋ and P₊ gives"
            if limits.refuting
            else f"no α fits the likelihoods of all {limits.n} prompts from P₋ together"
        )
        return assess("mixture", "contradicted", f"{refuting}; {kappa}")
    if rest.verdict == "mixture contradicted":
        return assess("mixture", "contradicted", f"{kappa}: P₋ is no component of P with a length-free weight")
    if cap > rest.log_inverse_alpha.high:
        # The cap is certain in any mixture, so a lower plateau has not been reached yet, or there is no mixture.
        late = f"{kappa}; evidence of {cap:.3g} nats was seen, above the plateau's reading: no rest by {tested}"
        return assess("mixture", "not measured", late)
    if rest.verdict == "mixture not contradicted" and math.isfinite(limits.high):
        certain = f"log 1/α in [{limits.low:.3g}, {limits.high:.3g}] nats leaves room for every text, over {tested}"
        return assess("mixture", "held", f"{kappa}; {certain}")
    return assess("mixture", "not measured", f"{kappa}, but the plateau may lie beyond {tested}")


def bound_reports(
    inputs: BoundInputs,
    alpha: AlphaReadings,
    curves: tuple[BehaviorCurve, ...],
    stated: Mapping[str, Assumption],
    setting: AnySetting,
) -> tuple[BoundReport, ...]:
    """Theorems 1 and 5 for each reading of α, with intervals from simultaneous limits of all inputs.

    Half of the error probability goes to the joint bootstrap of α, β and σ², half to γ, whose limits also carry the
    scorer's error rates; together they hold with probability `setting.level`.
    """
    measured_by_reading = measured_inputs(inputs, alpha, setting)
    gamma = next(iter(measured_by_reading.values())).arguments["gamma"]
    epsilon = setting.spec.epsilon
    observed = {
        curve.format: first_length_below(curve.corrected or curve.raw, gamma.value + epsilon)
        for curve in curves
        if curve.condition == "negative"
    }
    reports = []
    for name, joint in measured_by_reading.items():
        measured = joint.arguments
        if measured["beta"].value <= 0:
            continue
        model = {key: measured[key] for key in measured if key != "sigma2"}
        first = carried(propagate(single_prompt, model, {"epsilon": epsilon}), model)
        fifth = propagate(random_prompt, measured, {"epsilon": epsilon, "delta": setting.spec.delta})
        for found in (first, carried(fifth, measured)):
            premises = tuple(stated[premise] for premise in found.bound.assumptions)
            cannot_be = excluded(measured["log_inverse_alpha"], alpha.limits)
            reports.append(BoundReport(name, found, premises, observed, cannot_be))
    return tuple(reports)


def intercepts(inputs: BoundInputs, alpha: AlphaReadings, setting: AnySetting) -> dict[str, Floats]:
    """(n_prompts,) log 1/α of each prompt's own line, for each reading."""
    n = np.array(setting.lengths_after)
    window = n >= alpha.plateau.first
    fit = np.polynomial.polynomial.polyfit
    return {
        PLATEAU: fit(n[window], inputs.evidence[:, window].T, 1)[0],
        "straight line": fit(np.arange(3), inputs.kl_to_target[:, :3].T, 1)[0],
    }


@dataclass(frozen=True, slots=True, eq=False)
class JointInputs:
    """Measured arguments of a bound by name, whose limits hold all together at the run's level.

    curve: KL(P₋‖P₊) of sentence k = n + 1 after n sentences, with the limits from which β's are taken.
    """

    arguments: Mapping[str, Estimate]
    curve: Band


def measured_inputs(inputs: BoundInputs, alpha: AlphaReadings, setting: AnySetting) -> dict[str, JointInputs]:
    """log 1/α, β, σ² and γ of Theorems 1 and 5 for each reading of α; half of the error probability is γ's.

    Where KL(P₋‖P₊) is a lower bound there is no upper limit of β: that of the bound says nothing of the divergence.
    """
    level = 1 - (1 - setting.level) / 2
    gamma = replace(gamma_over_prompts(inputs, level, setting), level=setting.level)
    found, bounded = {}, inputs.lower_bounds.get("positive", "")
    for name, intercept in intercepts(inputs, alpha, setting).items():
        box = joint_box(
            {"beta": inputs.kl, "alpha": intercept[:, None]},
            {"sigma2": inputs.log_ratio / np.sqrt(setting.lengths_after)},
            level=level,
            rng=setting.rng(f"bounds {name}"),
        )
        arguments = {
            "log_inverse_alpha": inputs.as_read(
                name, within_mixture(name, of_box(box, "alpha", min, "nats"), alpha.limits)
            ),
            "beta": unlimited(of_box(box, "beta", min, NATS_PER_SENTENCE), bounded),
            "sigma2": of_box(box, "sigma2", max, "nats² per sentence"),
        }
        arguments = {key: replace(estimate, level=setting.level) for key, estimate in arguments.items()}
        found[name] = JointInputs({**arguments, "gamma": gamma}, unlimited(curve_of_box(box, "beta", setting), bounded))
    return found


def curve_of_box(box: JointBox, name: str, setting: AnySetting) -> Band:
    """One curve of a box by sentences before, with the box's limits at every point."""
    low, high = box.low[name], box.high[name]
    return curve_band(
        setting.lengths_before, [box.value[name], low, high, low, high], level=setting.level, n=box.n[name],
        unit=NATS_PER_SENTENCE, method=box.method,
    )  # fmt: skip


def of_box(box: JointBox, name: str, pick: Callable[[Any], float], unit: str) -> Estimate:
    """The smallest or largest point of one curve of the box, with the box's limits. pick: min or max."""
    value, low, high = (float(pick(side[name])) for side in (box.value, box.low, box.high))
    return Estimate(value, low, high, box.level, box.n[name], unit, box.method, exact=low == high)


def within_mixture(name: str, reading: Estimate, limits: MixtureLimits) -> Estimate:
    """A reading of log 1/α as it enters a theorem whose premise is the mixture.

    The evidence plateau is kept within the limits that the mixture sets for certain: a plateau below the cap has not
    been reached, and its line says nothing about α from above. The straight line stays as Wolf et al. read it.
    """
    if name != PLATEAU:
        return at_least_zero(reading)
    low, high = limits.low, limits.high
    value = float(values_within_mixture(name, reading.value, limits))
    words = f"{reading.method}; kept within the certain limits of the mixture"
    return replace(reading, value=value, low=low, high=high, method=words, exact=low == high)


def values_within_mixture(name: str, log_inverse_alpha: Any, limits: MixtureLimits) -> Floats:
    """Values of a reading of log 1/α as they enter a theorem, of the same shape; as `within_mixture`."""
    kept = np.clip(log_inverse_alpha, limits.low, limits.high) if name == PLATEAU else np.maximum(log_inverse_alpha, 0)
    return np.asarray(kept, dtype=np.float64)


def at_least_zero(e: Estimate) -> Estimate:
    """log 1/α cannot be negative, though a line's intercept can."""
    value, low, high = (max(x, 0.0) for x in (e.value, e.low, e.high))
    return replace(e, value=value, low=low, high=high, exact=low == high)


def gamma_over_prompts(inputs: BoundInputs, level: float, setting: AnySetting) -> Estimate:
    """γ over the prompts from P₋; `gamma_limits` of their sentences."""
    return gamma_limits(
        inputs.predicted, inputs.behavior, setting.lengths_before, level=level, rng=setting.rng("bounds gamma"),
        confusion=setting.confusion,
    )  # fmt: skip


def gamma_limits(
    predicted: NDArray[np.int64],
    behavior: Floats,
    lengths: Sequence[int],
    *,
    level: float,
    rng: np.random.Generator,
    confusion: Sequence[Sequence[int]] | None,
) -> Estimate:
    """γ over tested texts of P₋: the largest mean over the lengths, corrected for the scorer's errors if known.

    predicted, behavior: (n_prompts, k) class and B of one sentence of P₋ at each length; -1 and NaN where not scored.
    """
    band = behavior_band(
        predicted[:, :, None], behavior[:, :, None], lengths, level=level, rng=rng, confusion=confusion, name="gamma"
    )
    return largest(band, name="gamma, over tested prompts")


def behavior_band(
    predicted: NDArray[np.int64],
    behavior: Floats,
    lengths: Sequence[int],
    *,
    level: float,
    rng: np.random.Generator,
    confusion: Sequence[Sequence[int]] | None,
    name: str,
    n_draws: int = 2000,
) -> Band:
    """Mean behavior over prompts at each length, corrected for the scorer's errors if they are known and small enough.

    predicted, behavior: (n_prompts, k, n_responses) class and B; -1 and NaN where not scored.
    """
    if confusion is not None:
        with suppress(EstimateError):  # errors too large to be corrected: as scored
            return corrected_band(
                predicted, confusion, lengths, level=level, rng=rng, unit=BEHAVIOR_UNIT, name=name, n_draws=n_draws
            )
    means = _as_scored(behavior, name)
    return mean_band(
        means, lengths, level=level, rng=rng, unit=BEHAVIOR_UNIT, bounds=BEHAVIOR_LIMITS, name=name, n_draws=n_draws
    )


def behavior_values(
    predicted: NDArray[np.int64], behavior: Floats, confusion: Sequence[Sequence[int]] | None, *, name: str
) -> tuple[Floats, Floats]:
    """(n_prompts, k) values whose means `behavior_band` shows, and (k, r) how the scorer's r errors move those means.

    Arguments as of `behavior_band`; r = 0 as scored.
    """
    if confusion is not None:
        with suppress(EstimateError):
            return corrected_values(predicted, confusion, name=name)
    return _as_scored(behavior, name), np.zeros((behavior.shape[1], 0))


def _as_scored(behavior: Floats, name: str) -> Floats:
    return row_means(behavior.reshape(-1, behavior.shape[2]), name=name).reshape(behavior.shape[:2])


def text(estimate: Estimate) -> str:
    """Value and limits, for an assumption's figure."""
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"
