"""How many prompts a wanted precision takes."""

from __future__ import annotations

import math
from typing import Any

from scipy import optimize

from beb.core.estimate import Estimate
from beb.errors import BadSpec, EstimateError
from beb.estimate.checks import Bounds, check_level, vector
from beb.estimate.means import is_constant
from beb.estimate.quantiles import t_quantile

_MOST_PROMPTS = 2**40
EVERYWHERE: Bounds = (-math.inf, math.inf)


def prompts_to_halve(
    estimate: Estimate, *, log_variance: bool = False, columns: int = 1, bounds: Bounds = EVERYWHERE
) -> int:
    """Number of prompts in all at which the interval would be half as wide, on the scale on which it was made.

    log_variance: a variance, whose interval is made on the log scale: half as wide means that the limits are apart by
    the square root of the factor. columns: statistics whose limits hold together. bounds: range that the limits were
    clipped to; a clipped side is taken to be as long as the other one.
    Solves for the smallest m with c_m/√m <= f c_n/√n, where c is Student's quantile at a Bonferroni share of the error
    (its square for a variance, whose bootstrap is stretched so) and f = ½ unless a side is clipped.
    Raises: EstimateError for an exact or unbounded estimate.
    Assumes: sides proportional to c/√n; exact for a mean, about so for an extreme of a curve.
    """
    if estimate.exact or not math.isfinite(estimate.width) or estimate.level == 1 or estimate.n < 2:
        raise EstimateError(
            f"[{estimate.low}, {estimate.high}] from {estimate.n} prompts has no finite width to halve; more prompts, "
            "longer prompts or bounds are needed first"
        )
    if log_variance and estimate.low <= 0:
        raise EstimateError(f"a variance of [{estimate.low}, {estimate.high}] has no finite width on the log scale")
    level, power = 1 - (1 - estimate.level) / columns, 2 if log_variance else 1
    shrink = 0.5 if log_variance else _shrink_to_half(estimate, bounds)
    return _smallest(shrink * _relative_width(estimate.n, level, power), level, power)


def _shrink_to_half(estimate: Estimate, bounds: Bounds) -> float:
    """Factor on the sides, as they would be without clipping, at which the clipped interval is half as wide."""
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    longest = max(below, above)
    if estimate.low <= bounds[0]:
        below = longest
    if estimate.high >= bounds[1]:
        above = longest
    room = (estimate.value - bounds[0], bounds[1] - estimate.value)

    def excess(factor: float) -> float:
        return min(factor * below, room[0]) + min(factor * above, room[1]) - estimate.width / 2

    return float(optimize.brentq(excess, 0.0, 1.0))


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
    return _smallest(half_width / float(x.std(ddof=1)), level, 1)


def _relative_width(n: int, level: float, power: int) -> float:
    return t_quantile(level, n - 1) ** power / math.sqrt(n)


def _smallest(target: float, level: float, power: int) -> int:
    """Smallest n >= 2 with t_{n-1}^power/√n <= target; the left side falls in n, so bisection is exact."""
    low, high = 1, 2
    while _relative_width(high, level, power) > target * (1 + 1e-12):
        low, high = high, 2 * high
        if high > _MOST_PROMPTS:
            raise BadSpec(f"more than {_MOST_PROMPTS} prompts would be needed; ask for less precision")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _relative_width(middle, level, power) > target * (1 + 1e-12) else (low, middle)
    return high
