"""Theorem 1 for a persona: lengths with limits where a weight, a divergence or a level may leave none."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

from beb.core.bounds import ARGUMENTS, propagate, single_prompt
from beb.core.estimate import Estimate
from beb.errors import NoBound

SENTENCES = "sentences"
CORNERS = "Theorem 1, sharp form for a given level of B, at the two extreme corners of the inputs' simultaneous limits"
LARGEST_EPSILON = 2.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """What Theorem 1 needs of a persona; the limits hold together. log_inverse_alpha: infinite where wᵢ = 0."""

    log_inverse_alpha: Estimate
    beta: Estimate
    gamma: Estimate


@dataclass(frozen=True, slots=True)
class Lengths:
    """Sentences for the level γ + ε, in the paper's form and the sharp one; infinite values where there is no bound."""

    paper: Estimate
    sharp: Estimate


def lengths(inputs: Inputs, *, epsilon: float) -> Lengths:
    """Theorem 1's lengths with intervals.

    Returns: value infinite where the estimates have no bound (wᵢ = 0 or β = 0), with the lower limit that the
    favourable limits give. Source: Wolf et al. 2024, Theorem 1.
    """
    named = {"log_inverse_alpha": inputs.log_inverse_alpha, "beta": inputs.beta, "gamma": inputs.gamma}
    try:
        found = propagate(single_prompt, named, {"epsilon": epsilon})
        assert found.paper is not None
        return Lengths(found.paper, found.sharp)
    except NoBound:
        pass
    # At the favourable end of what has no bound itself there may be one: it is the lower limit.
    possible = {
        "log_inverse_alpha": replace(inputs.log_inverse_alpha, value=inputs.log_inverse_alpha.low),
        "beta": replace(inputs.beta, value=min(inputs.beta.high, sys.float_info.max)),
    }
    try:
        found = propagate(single_prompt, {**named, **possible}, {"epsilon": epsilon})
    except NoBound:
        nothing = _none(inputs, "Theorem 1: no bound at any of the inputs' limits")
        return Lengths(nothing, nothing)
    assert found.paper is not None
    return Lengths(*(replace(e, value=math.inf, high=math.inf) for e in (found.paper, found.sharp)))


def length_to(inputs: Inputs, level: float) -> Estimate | None:
    """Sharp length of Theorem 1 after which some prompt has B_P below `level`, that is with ε = level − γ.

    It grows with γ, unlike the length for the level γ + ε. Returns: None if γ is not below the level even at its lower
    limit; value or upper limit infinite where there is no bound.
    """
    if inputs.gamma.low >= level:
        return None
    a, b, g = inputs.log_inverse_alpha, inputs.beta, inputs.gamma
    value = _length(a.value, b.value, g.value, level)
    low = _length(a.low, b.high, g.low, level)
    high = _length(a.high, b.low, g.high, level)
    if math.isinf(low):
        return _none(inputs, CORNERS)
    n = min(e.n for e in (a, b, g))
    return Estimate(value, min(low, value), max(high, value), g.level, n, SENTENCES, CORNERS, exact=low == high)


def _length(log_inverse_alpha: float, beta: float, gamma: float, level: float) -> float:
    gamma, beta = ARGUMENTS["gamma"].clip(gamma), min(beta, sys.float_info.max)
    if math.isinf(log_inverse_alpha) or beta <= 0 or gamma >= level:
        return math.inf
    epsilon = min(level - gamma, LARGEST_EPSILON)
    try:
        return single_prompt(log_inverse_alpha=log_inverse_alpha, beta=beta, gamma=gamma, epsilon=epsilon).sharp
    except NoBound:
        return math.inf


def _none(inputs: Inputs, words: str) -> Estimate:
    n = min(e.n for e in (inputs.log_inverse_alpha, inputs.beta, inputs.gamma))
    return Estimate(math.inf, 0.0, math.inf, inputs.gamma.level, n, SENTENCES, words)
