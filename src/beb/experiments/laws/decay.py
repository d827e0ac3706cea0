"""Appendix I on a run: how fast the divergence falls along a prompt, and the bound that follows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from beb.core.bounds import PropagatedBound, propagate, relaxed, single_prompt
from beb.core.estimate import Band, Estimate
from beb.errors import EstimateError, NoBound
from beb.estimate.bands import mean_band
from beb.estimate.decay import beta_under, fit_decay
from beb.estimate.distinguishability import smallest
from beb.estimate.mixture_limits import mixture_limits
from beb.estimate.prior import line_reading, plateau
from beb.experiments.arrays import Floats, prompt_arrays
from beb.experiments.bounds import PLATEAU, BoundInputs, gamma_over_prompts, within_mixture
from beb.experiments.laws.record import DecayBound, DecayReport, Falls
from beb.experiments.setting import NATS_PER_SENTENCE, AnySetting
from beb.experiments.store import Store

ETA_POINTS = 41  # between the limits of η
STRAIGHT_LINE = "straight line"
N_INPUTS = 4  # α, the divergence curve, γ and η share the error probability
METHOD = "Appendix I; limits of α, γ, η and of the largest β/k^η under the curve, each at a quarter of the error"


def decay_report(store: Store, setting: AnySetting) -> DecayReport:
    """η with its interval, and Appendix I's length beside Theorem 1's, for each reading of α.

    No reading by the straight line where KL(P₋‖P) is a lower bound only.
    Raises: EstimateError kinds if the prompts do not determine them, or KL(P₋‖P₊) is a lower bound;
    BadSpec if the prompts are too short.
    """
    negative = prompt_arrays(store, "negative", setting.spec.sentences)
    if "positive" in negative.lower_bounds:
        raise EstimateError(
            "not measured: the divergences KL(P₋‖P₊) of this run are lower bounds (--kl top-k), and a bound may fall "
            "where the divergence does not; measure with --kl monte-carlo"
        )
    kl = negative.kl["positive"]
    share = 1 - (1 - setting.level) / N_INPUTS
    curve, narrow = (_band(kl, level, setting) for level in (setting.level, share))
    decay, eta = (
        fit_decay(kl, setting.lengths_after, level=level, rng=setting.rng("decay")) for level in (setting.level, share)
    )
    evidence, log_ratio = (
        np.cumsum(negative.log_p["negative"] - negative.log_p[other], axis=1) for other in ("target", "positive")
    )
    gamma = gamma_over_prompts(BoundInputs.of(negative, evidence, log_ratio), share, setting)
    limits = mixture_limits(evidence, log_ratio)
    readings = {
        PLATEAU: plateau(evidence, setting.lengths_after, level=share).log_inverse_alpha,
        STRAIGHT_LINE: line_reading(negative.kl["target"], level=share).log_inverse_alpha,
    }
    if "target" in negative.lower_bounds:  # a line through lower bounds is certain in no direction
        del readings[STRAIGHT_LINE]
    bounds = []
    for name, reading in readings.items():
        inputs = {"log_inverse_alpha": within_mixture(name, reading, limits), "gamma": gamma}
        bounds.append(
            DecayBound(
                name,
                relaxed_bound(inputs, narrow, eta.eta, setting),
                _constant(inputs, narrow, setting),
            )
        )
    return DecayReport(curve, decay, beta_under(curve, decay.eta.value), _falls(decay.eta_measured), tuple(bounds))


def relaxed_bound(
    inputs: dict[str, Estimate], band: Band, eta: Estimate, setting: AnySetting
) -> PropagatedBound | None:
    """Appendix I's length at the fitted η, its interval over all η of the interval.

    At each η the largest β whose β/k^η stays under the whole curve is taken, so that the premise holds at every tested
    k, and its limits come from the simultaneous band, which serves every η at once.
    inputs: log_inverse_alpha and gamma. Returns: None if there is no bound at the fitted η.
    """
    epsilon = setting.spec.epsilon

    def at(value: float) -> PropagatedBound | None:
        try:
            return propagate(relaxed, {**inputs, "beta": beta_under(band, value)}, {"epsilon": epsilon, "eta": value})
        except NoBound:
            return None

    middle = at(eta.value)
    if middle is None:
        return None
    found = [middle, *(at(float(value)) for value in np.linspace(eta.low, eta.high, ETA_POINTS))]
    low = min(each.sharp.low for each in found if each is not None)
    high = max(np.inf if each is None else each.sharp.high for each in found)
    value = middle.sharp
    sharp = replace(value, low=low, high=high, level=setting.level, method=METHOD, exact=low == high)
    return PropagatedBound(middle.bound, None, sharp)


def _constant(inputs: dict[str, Estimate], band: Band, setting: AnySetting) -> PropagatedBound | None:
    """Theorem 1 from the same limits."""
    try:
        found = propagate(
            single_prompt, {**inputs, "beta": smallest(band, name="beta")}, {"epsilon": setting.spec.epsilon}
        )
    except NoBound:
        return None
    paper = None if found.paper is None else replace(found.paper, level=setting.level)
    return PropagatedBound(found.bound, paper, replace(found.sharp, level=setting.level))


def _band(kl: Floats, level: float, setting: AnySetting) -> Band:
    limits = (0.0, np.inf) if setting.spec.kl == "exact" else None
    return mean_band(
        kl, setting.lengths_before, level=level, rng=setting.rng("laws divergence"), unit=NATS_PER_SENTENCE,
        bounds=limits, name="divergence",
    )  # fmt: skip


def _falls(eta: Estimate) -> Falls:
    if eta.low > 0:
        return "falls"
    return "does not fall" if eta.high <= 0 else "undecided"
