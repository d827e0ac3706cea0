"""What single texts say for certain about a mixture of P₋ and P₊: limits of log 1/α, or that there is no mixture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from beb.errors import BadSpec
from beb.estimate.checks import matrix

ROUNDING_NATS = 0.05
"""Log-probabilities of a text in fp32 are known to a few thousandths of a nat; this leaves ample room."""
_LEAST_DEPARTURE = 0.1
"""log P/P₊ from which on rounding does not matter in log(1 - P₊/P)."""


@dataclass(frozen=True, slots=True)
class MixtureLimits:
    """Limits of log 1/α that hold without statistics if P = αP₋ + (1-α)P₊, nats; high is infinite if no text gives one.

    refuting: number of prompts of which some beginning alone shows that no α makes P that mixture. n: of all prompts.
    refuted: no α is left by all texts together.
    """

    low: float
    high: float
    refuting: int
    n: int
    refuted: bool


def mixture_limits(evidence: Any, log_ratio: Any) -> MixtureLimits:
    """Certain limits of log 1/α from every text seen.

    evidence: (n_prompts, N) L0 = log P₋/P, nats. log_ratio: (n_prompts, N) L = log P₋/P₊ of the same texts.
    A mixture has min(P₋, P₊) <= P <= max(P₋, P₊) at every text; one where it has not refutes every α by itself. It has
    P >= αP₋ and P >= (1-α)P₊ too: α <= e^{-L0} and 1-α <= e^d with d = log P/P₊ = L - L0, so that texts together leave
    no α where the least e^{-L0} + the least e^d < 1. From the same two, α = (P - P₊)/(P₋ - P₊) >= (1 - e^{-d}) e^{-L0}
    where d > 0.
    Raises: EstimateError, BadSpec. Source: derived in docs/maths.md.
    """
    x = matrix(evidence, name="evidence", minimum=1)
    ratio = matrix(log_ratio, name="log_ratio", minimum=1)
    if ratio.shape != x.shape:
        raise BadSpec(f"log_ratio has shape {ratio.shape} and evidence {x.shape}; give the same cells")
    d = ratio - x
    low = max(0.0, float(x.max()))
    clear = d >= _LEAST_DEPARTURE
    high = float((x[clear] - np.log(-np.expm1(-d[clear]))).min()) if clear.any() else math.inf
    below = (x > ROUNDING_NATS) & (d < -ROUNDING_NATS)
    above = (x < -ROUNDING_NATS) & (d > ROUNDING_NATS)
    refuting = (below | above).any(axis=1)
    room = float(np.logaddexp(-low, min(float(d.min()), 0.0)))
    refuted = bool(refuting.any()) or room < -ROUNDING_NATS or high < low - ROUNDING_NATS
    return MixtureLimits(low, math.inf if refuted else max(high, low), int(refuting.sum()), x.shape[0], refuted)
