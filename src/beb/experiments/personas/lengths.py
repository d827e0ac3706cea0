"""Theorem 1 for a persona: lengths with limits where a weight, a divergence or a level may leave none."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from beb.core.bounds import ARGUMENTS, Bound, single_prompt
from beb.core.estimate import Estimate
from beb.errors import NoBound

SENTENCES = "sentences"
METHOD = (
    "Theorem 1; limits of what the texts say (log 1/α, β by the weights) and of what the prompts say (β, γ), each at "
    "its corner, in quadrature on the scale of log(1 + length)"
)
LARGEST_EPSILON = 2.0


@dataclass(frozen=True, slots=True)
class Sides:
    """A number and how far two independent samples let it lie, on either side: (low, high) each."""

    value: float
    texts: tuple[float, float]
    prompts: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What Theorem 1 needs of a persona; every limit at its own level.

    log_inverse_alpha: infinite value where wᵢ is estimated as 0; it stands in then, and elsewhere, as `reference`,
    where half a text is added to each persona. beta: β after n = 0, 1, … sentences; the lower limits each by itself,
    the upper ones together. gamma: over tested prompts.
    """

    log_inverse_alpha: Estimate
    reference: float
    beta: Sequence[Sides]
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

    def form(pick: Callable[[Bound], float | None]) -> Estimate:
        def length(log_inverse_alpha: float, beta: float, gamma: float) -> float:
            return _length(log_inverse_alpha, beta, gamma, epsilon, pick)

        return _limited(length, inputs, grows_with_gamma=False)

    return Lengths(form(lambda bound: bound.paper), form(lambda bound: bound.sharp))


def length_to(inputs: Inputs, level: float) -> Estimate | None:
    """Sharp length of Theorem 1 after which some prompt has B_P below `level`, that is with ε = level − γ.

    It grows with γ, unlike the length for the level γ + ε. Returns: None if γ is not below the level even at its lower
    limit; value or upper limit infinite where there is no bound.
    """
    if inputs.gamma.low >= level:
        return None

    def length(log_inverse_alpha: float, beta: float, gamma: float) -> float:
        if gamma >= level:
            return math.inf
        epsilon = min(level - gamma, LARGEST_EPSILON)
        return _length(log_inverse_alpha, beta, gamma, epsilon, lambda bound: bound.sharp)

    return _limited(length, inputs, grows_with_gamma=True)


def _limited(length: Callable[[float, float, float], float], inputs: Inputs, *, grows_with_gamma: bool) -> Estimate:
    """The length at the estimates with limits: for every n by itself, then the largest, as β is the smallest βₙ.

    Two independent samples each move the length by at most what the corner of their own limits does, whatever the
    dependence within a sample; independent errors add in quadrature.
    Source: derived in docs/maths.md, "Personas measured"; Zou & Donner 2008 (limits in quadrature).
    """
    weight, gamma, at = inputs.log_inverse_alpha, inputs.gamma, inputs.reference
    good, bad = (gamma.low, gamma.high) if grows_with_gamma else (gamma.high, gamma.low)
    value = length(weight.value, min(beta.value for beta in inputs.beta), gamma.value)
    low = high = 0.0
    for beta in inputs.beta:
        middle = length(at, beta.value, gamma.value)
        up = (length(weight.high, beta.texts[0], gamma.value), length(at, beta.prompts[0], bad))
        down = (length(weight.low, beta.texts[1], gamma.value), length(at, beta.prompts[1], good))
        high = max(high, _quadrature(middle, up, 1))
        if math.isinf(middle):  # beyond the largest length: only the corner of everything is known to be nearer
            low = max(low, length(weight.low, max(beta.texts[1], beta.prompts[1]), good))
        else:
            low = max(low, _quadrature(middle, down, -1))
    low = low if math.isfinite(low) else 0.0
    n = min(weight.n, gamma.n)
    low, high = min(low, value), max(high, value)
    return Estimate(value, low, high, gamma.level, n, SENTENCES, METHOD, exact=low == high)


def _quadrature(middle: float, limits: Sequence[float], side: int) -> float:
    """A limit from those of independent parts, on the scale of log(1 + length)."""
    if math.isinf(middle) or any(math.isinf(limit) for limit in limits):
        return math.inf
    distance = math.hypot(*(max(side * (math.log1p(limit) - math.log1p(middle)), 0.0) for limit in limits))
    return max(math.expm1(min(math.log1p(middle) + side * distance, math.log(sys.float_info.max) - 1)), 0.0)


def _length(
    log_inverse_alpha: float, beta: float, gamma: float, epsilon: float, pick: Callable[[Bound], float | None]
) -> float:
    gamma, beta = ARGUMENTS["gamma"].clip(gamma), min(beta, sys.float_info.max)
    if math.isinf(log_inverse_alpha) or beta <= 0:
        return math.inf
    try:
        found = pick(single_prompt(log_inverse_alpha=log_inverse_alpha, beta=beta, gamma=gamma, epsilon=epsilon))
    except NoBound:
        return math.inf
    assert found is not None
    return found
