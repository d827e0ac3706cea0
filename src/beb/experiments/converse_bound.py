"""The converse on this model: a length below which no tested prompt misaligns, if the mixture holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from beb.core.bounds import Assumption, assess, converse, propagate
from beb.core.estimate import Estimate
from beb.errors import NoBound
from beb.estimate.distinguishability import smallest
from beb.estimate.prior import line_reading, plateau
from beb.experiments.arrays import PromptArrays
from beb.experiments.bounds import PLATEAU, BoundInputs, behavior_band, gamma_over_prompts, text, within_mixture
from beb.experiments.lower_bounds import carried
from beb.experiments.measurement import AlphaReadings, BoundReport
from beb.experiments.setting import MeasureSetting
from beb.experiments.verdicts import excluded

N_INPUTS = 3  # α, γ and the floor of P₊ share the error probability


def converse_reports(
    inputs: BoundInputs,
    positive: PromptArrays,
    alpha: AlphaReadings,
    setting: MeasureSetting,
    *,
    observed: Mapping[str, int | None],
    mixture: Assumption,
) -> tuple[BoundReport, ...]:
    """The converse for each reading of α, over the family of the prompts that were tested.

    Λ is the largest log P₋/P₊ per sentence of any of them at any length, and known without error. g₊ is the smallest
    mean B of P₊'s sentences along its own text, which stands for its floor along the prompts of P₋; g₋ is -1.
    positive: the scored prompts of P₊. observed: first length seen below γ + ε, per format. mixture: that premise.
    Returns: one report for each reading with a bound.
    Source: derived in docs/maths.md, "Converse".
    """
    most = largest_log_ratio(inputs, setting)
    by_reading = family_inputs(inputs, positive, alpha, setting)
    stated = _premises(mixture, most, next(iter(by_reading.values()))["behavior_floor_positive"])
    found = []
    for name, measured in by_reading.items():
        fixed = {"max_log_ratio_per_sentence": most, "epsilon": setting.spec.epsilon}
        try:
            bound = carried(propagate(converse, measured, fixed), measured)
        except NoBound:
            continue
        premises = tuple(stated[premise] for premise in bound.bound.assumptions)
        found.append(
            BoundReport(name, bound, premises, observed, excluded(measured["log_inverse_alpha"], alpha.limits))
        )
    return tuple(found)


def largest_log_ratio(inputs: BoundInputs, setting: MeasureSetting) -> float:
    """Λ: the largest log P₋/P₊ per sentence of any tested prompt at any length, at least 0, nats."""
    return max(float((inputs.log_ratio / np.array(setting.lengths_after)).max()), 0.0)


def family_inputs(
    inputs: BoundInputs, positive: PromptArrays, alpha: AlphaReadings, setting: MeasureSetting
) -> dict[str, dict[str, Estimate]]:
    """log 1/α, γ and g₊ for each reading of α, holding together at the run's level."""
    share = 1 - (1 - setting.level) / N_INPUTS
    gamma = gamma_over_prompts(inputs, share, setting)
    floor = _floor(positive, share, setting)
    readings = {
        PLATEAU: plateau(inputs.evidence, setting.lengths_after, level=share).log_inverse_alpha,
        "straight line": line_reading(inputs.kl_to_target, level=share).log_inverse_alpha,
    }
    found = {}
    for name, reading in readings.items():
        as_used = inputs.as_read(name, within_mixture(name, reading, alpha.limits))
        measured = {"log_inverse_alpha": as_used, "gamma": gamma, "behavior_floor_positive": floor}
        found[name] = {key: replace(each, level=setting.level) for key, each in measured.items()}
    return found


def _floor(positive: PromptArrays, level: float, setting: MeasureSetting) -> Estimate:
    band = behavior_band(
        positive.predicted[:, :, None], positive.behavior[:, :, None], setting.lengths_before, level=level,
        rng=setting.rng("converse floor"), confusion=setting.confusion, name="floor of P₊",
    )  # fmt: skip
    return smallest(band, name="smallest mean B of P₊'s own sentences")


def _premises(mixture: Assumption, most: float, floor: Estimate) -> Mapping[str, Assumption]:
    limit = f"Λ = {most:.3g} nats per sentence over the tested prompts, at every length; of other prompts unknown"
    floors = f"g₊ = {text(floor)} of P₊'s own sentences along its own text stands for its floor; g₋ = −1"
    return {
        "mixture": mixture,
        "log-ratio limit": assess("log-ratio limit", "held", limit),
        "behavior floors": assess("behavior floors", "not measured", floors),
    }
