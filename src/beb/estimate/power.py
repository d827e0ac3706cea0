"""How many prompts a wanted precision takes."""

from __future__ import annotations

import math
from typing import Any

from beb.core.estimate import Estimate
from beb.errors import BadSpec, EstimateError
from beb.estimate.checks import check_level, vector
from beb.estimate.means import is_constant
from beb.estimate.quantiles import t_quantile

_MOST_PROMPTS = 2**40


def prompts_to_halve(estimate: Estimate) -> int:
    """Number of prompts in all at which the interval would be half as wide.

    Solves t_{m-1}/√m <= ½ t_{n-1}/√n for the smallest m. Raises: EstimateError for an exact or unbounded estimate.
    Assumes: width proportional to t/√n, as for a mean.
    """
    if estimate.exact or not math.isfinite(estimate.width) or estimate.level == 1 or estimate.n < 2:
        raise EstimateError(
            f"[{estimate.low}, {estimate.high}] from {estimate.n} prompts has no finite width to halve; more prompts, "
            "longer prompts or bounds are needed first"
        )
    target = _relative_width(estimate.n, estimate.level) / 2
    return _smallest(target, estimate.level)


def prompts_for_half_width(values: Any, half_width: float, *, level: float) -> int:
    """Smallest number of prompts whose t interval would reach ± `half_width`, given the spread of `values`.

    values: (n,), n >= 2, a pilot sample. Raises: TooFewPrompts, EstimateError if all values are equal, BadSpec.
    Assumes: the pilot's standard deviation is that of later prompts.
    """
    check_level(level)
    x = vector(values, name="pilot sample")
    if not 0 < half_width < math.inf:
        raise BadSpec(f"half width {half_width} must be positive and finite")
    if is_constant(x):
        raise EstimateError(f"all {x.size} pilot values are equal; their spread is unknown, give more prompts")
    return _smallest(half_width / float(x.std(ddof=1)), level)


def _relative_width(n: int, level: float) -> float:
    return t_quantile(level, n - 1) / math.sqrt(n)


def _smallest(target: float, level: float) -> int:
    """Smallest n >= 2 with t_{n-1}/√n <= target; the left side falls in n, so bisection is exact."""
    low, high = 1, 2
    while _relative_width(high, level) > target:
        low, high = high, 2 * high
        if high > _MOST_PROMPTS:
            raise BadSpec(f"more than {_MOST_PROMPTS} prompts would be needed; ask for less precision")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _relative_width(middle, level) > target else (low, middle)
    return high
