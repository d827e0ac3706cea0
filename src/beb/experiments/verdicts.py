"""When an observation confirms a theorem's length, and which readings of α cannot be: one rule for all."""

from __future__ import annotations

import math

from beb.core.bounds import Status
from beb.core.estimate import Estimate
from beb.estimate.mixture_limits import MixtureLimits


def excluded(reading: Estimate, limits: MixtureLimits) -> bool:
    """Whether the limits that single texts set for certain leave no room for this reading of log 1/α, nats."""
    return reading.high < limits.low or reading.low > limits.high


def length_verdict(observed: float | None, sharp: Estimate, *, excluded: bool = False) -> Status:
    """Does the shortest misaligning prompt have at most the theorem's length?

    observed: first tested length at which the mean over prompts is surely below the level, None if there is none; a
    prompt at or below the mean is then at most that long. sharp: the theorem's length, sentences. excluded: whether
    the α behind it cannot be.
    Held where the observed length is surely not longer than the theorem's. A mean that stays above the level
    contradicts nothing, for the theorem promises some prompt and not the mean one; a level that is met without a prompt
    leaves nothing to promise; and an infinite length promises nothing, nor does one from an α that cannot be.
    """
    if excluded or observed is None or observed <= 0 or math.isinf(sharp.low):
        return "not measured"
    return "held" if observed <= sharp.low else "not measured"
