"""The theorems on this model: lengths with intervals, and how far their premises hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beb.core.bounds import Assumption, assess, propagate, random_prompt, single_prompt
from beb.core.estimate import Estimate
from beb.estimate.bands import JointBox, joint_box, mean_band
from beb.estimate.classification import corrected_band
from beb.estimate.diagnostics import first_length_below
from beb.estimate.distinguishability import largest
from beb.experiments.arrays import Floats, PromptArrays
from beb.experiments.measurement import AlphaReadings, BehaviorCurve, BoundReport
from beb.experiments.setting import BEHAVIOR_LIMITS, BEHAVIOR_UNIT, NATS_PER_SENTENCE, MeasureSetting


@dataclass(frozen=True, slots=True, eq=False)
class BoundInputs:
    """Arrays over the same prompts from P₋, from which all inputs of a bound are resampled together.

    kl: (n_prompts, N) KL(P₋‖P₊) per sentence. kl_to_target: (n_prompts, N) KL(P₋‖P). evidence, log_ratio:
    (n_prompts, N) cumulative, nats. predicted: (n_prompts, N) class of each sentence, -1 where not scored.
    behavior: (n_prompts, N) B of each sentence.
    """

    kl: Floats
    kl_to_target: Floats
    evidence: Floats
    log_ratio: Floats
    predicted: NDArray[np.int64]
    behavior: Floats

    @classmethod
    def of(cls, negative: PromptArrays, evidence: Floats, log_ratio: Floats) -> BoundInputs:
        """From the scored prompts of P₋."""
        return cls(
            negative.kl["positive"], negative.kl["target"], evidence, log_ratio, negative.predicted, negative.behavior
        )


def assumptions(
    key: Mapping[str, Estimate], alpha: AlphaReadings, trend: Estimate, setting: MeasureSetting
) -> dict[str, Assumption]:
    """The premises of Theorems 1 and 5 with what was measured for each, by name."""
    tested = f"n ≤ {setting.spec.sentences}"
    rest, cap = alpha.plateau, max(each.value for each in alpha.cap)
    kappa = f"proxy gap κ = {_text(rest.kappa)} nats per sentence"
    if rest.verdict == "mixture contradicted":
        mixture = assess("mixture", "contradicted", f"{kappa}: P₋ is no component of P with a length-free weight")
    elif cap > rest.log_inverse_alpha.high:
        # The cap is certain in any mixture, so a lower plateau has not been reached yet, or there is no mixture.
        late = f"{kappa}; evidence of {cap:.3g} nats was seen, above the plateau's reading: no rest by {tested}"
        mixture = assess("mixture", "not measured", late)
    elif rest.verdict == "mixture not contradicted":
        mixture = assess("mixture", "held", f"{kappa}, over {tested}")
    else:
        mixture = assess("mixture", "not measured", f"{kappa}, but the plateau may lie beyond {tested}")
    beta, gamma = key["beta"], key["gamma"]
    distinct = f"β = {_text(beta)} nats per sentence, over {tested} from prompts of P₋"
    similar = f"slope of Varₙ/n = {_text(trend)} nats² per sentence², over {tested}"
    bounded = f"a supremum over all prompts cannot be measured; over tested prompts γ = {_text(gamma)}"
    return {
        "mixture": mixture,
        "distinguishable": assess("distinguishable", "held" if beta.low > 0 else "not measured", distinct),
        "bounded behavior": assess("bounded behavior", "not measured", bounded),
        "similar under P₋": assess("similar under P₋", "contradicted" if trend.low > 0 else "held", similar),
    }


def bound_reports(
    inputs: BoundInputs,
    alpha: AlphaReadings,
    curves: tuple[BehaviorCurve, ...],
    stated: Mapping[str, Assumption],
    setting: MeasureSetting,
) -> tuple[BoundReport, ...]:
    """Theorems 1 and 5 for each reading of α, with intervals from simultaneous limits of all inputs.

    Half of the error probability goes to the joint bootstrap of α, β and σ², half to γ, whose limits also carry the
    scorer's error rates; together they hold with probability `setting.level`.
    """
    half_error_level = 1 - (1 - setting.level) / 2
    gamma = replace(_gamma(inputs, half_error_level, setting), level=setting.level)
    epsilon = setting.spec.epsilon
    observed = {
        curve.format: first_length_below(curve.corrected or curve.raw, gamma.value + epsilon)
        for curve in curves
        if curve.condition == "negative"
    }
    reports = []
    for name, intercept in _intercepts(inputs, alpha, setting).items():
        measured = {**_measured(inputs, intercept, name, half_error_level, setting), "gamma": gamma}
        if measured["beta"].value <= 0:
            continue
        first = propagate(
            single_prompt, {key: measured[key] for key in measured if key != "sigma2"}, {"epsilon": epsilon}
        )
        fifth = propagate(random_prompt, measured, {"epsilon": epsilon, "delta": setting.spec.delta})
        for found in (first, fifth):
            premises = tuple(stated[premise] for premise in found.bound.assumptions)
            reports.append(BoundReport(name, found, premises, observed))
    return tuple(reports)


def _intercepts(inputs: BoundInputs, alpha: AlphaReadings, setting: MeasureSetting) -> dict[str, Floats]:
    """(n_prompts,) log 1/α of each prompt's own line, for each reading."""
    n = np.array(setting.lengths_after)
    window = n >= alpha.plateau.first
    fit = np.polynomial.polynomial.polyfit
    return {
        "evidence plateau": fit(n[window], inputs.evidence[:, window].T, 1)[0],
        "straight line": fit(np.arange(3), inputs.kl_to_target[:, :3].T, 1)[0],
    }


def _measured(
    inputs: BoundInputs, intercept: Floats, name: str, level: float, setting: MeasureSetting
) -> dict[str, Estimate]:
    box = joint_box(
        {"beta": inputs.kl, "alpha": intercept[:, None]},
        {"sigma2": inputs.log_ratio / np.sqrt(setting.lengths_after)},
        level=level,
        rng=setting.rng(f"bounds {name}"),
    )
    found = {
        "log_inverse_alpha": _of_box(box, "alpha", min, "nats"),
        "beta": _of_box(box, "beta", min, NATS_PER_SENTENCE),
        "sigma2": _of_box(box, "sigma2", max, "nats² per sentence"),
    }
    found["log_inverse_alpha"] = _at_least_zero(found["log_inverse_alpha"])
    return {key: replace(estimate, level=setting.level) for key, estimate in found.items()}


def _of_box(box: JointBox, name: str, pick: Callable[[Any], float], unit: str) -> Estimate:
    value, low, high = (float(pick(side[name])) for side in (box.value, box.low, box.high))
    return Estimate(value, low, high, box.level, box.n[name], unit, box.method, exact=low == high)


def _at_least_zero(e: Estimate) -> Estimate:
    """log 1/α cannot be negative, though a line's intercept can."""
    value, low, high = (max(x, 0.0) for x in (e.value, e.low, e.high))
    return replace(e, value=value, low=low, high=high, exact=low == high)


def _gamma(inputs: BoundInputs, level: float, setting: MeasureSetting) -> Estimate:
    lengths, stream = setting.lengths_before, setting.rng("bounds gamma")
    if setting.confusion is not None:
        band = corrected_band(
            inputs.predicted[:, :, None], setting.confusion, lengths, level=level, rng=stream, unit=BEHAVIOR_UNIT
        )
    else:
        band = mean_band(
            inputs.behavior, lengths, level=level, rng=stream, unit=BEHAVIOR_UNIT, bounds=BEHAVIOR_LIMITS, name="gamma"
        )
    return largest(band, name="gamma, over tested prompts")


def _text(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"
