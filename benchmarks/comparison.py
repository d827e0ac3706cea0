"""Two estimators of one curve on the same prompts: their difference, and what each costs at equal standard error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its interval."""

    value: float
    low: float
    high: float


def mean_difference(first: Array, second: Array, *, level: float = 0.95) -> Interval:
    """Mean difference of the prompts' means over prefixes, with Student's t. Both: (n_prompts, n_prefixes)."""
    per_prompt = np.nanmean(first - second, axis=1)
    n = len(per_prompt)
    half = float(stats.t.isf((1 - level) / 2, n - 1)) * float(per_prompt.std(ddof=1)) / math.sqrt(n)
    value = float(per_prompt.mean())
    return Interval(value, value - half, value + half)


def curve_variance(values: Array) -> float:
    """Variance between prompts at each prefix, averaged over the prefixes. values: (n_prompts, n_prefixes)."""
    return float(np.nanmean(np.nanvar(values, axis=0, ddof=1)))


def mean_variance(values: Array) -> float:
    """Variance between prompts of each prompt's mean over its prefixes. values: (n_prompts, n_prefixes)."""
    return float(np.nanmean(values, axis=1).var(ddof=1))


def variance_ratio(first: Array, second: Array, *, level: float = 0.95) -> Interval:
    """Prompts that the first needs for each one of the second.

    At equal width of the intervals on the curve, as a root mean square over the prefixes.
    """
    return jackknife_ratio(len(first), lambda kept: curve_variance(first[kept]) / curve_variance(second[kept]), level)


def cost_ratio(
    first: Array,
    first_cost: Array,
    second: Array,
    second_cost: float,
    *,
    variance: Callable[[Array], float] = curve_variance,
    level: float = 0.95,
) -> Interval:
    """Cost of the first over that of the second at equal standard error, whose square is `variance` over the prompts.

    first, second: (n_prompts, n_prefixes) estimates on the same prompts. first_cost: (n_prompts,). second_cost: of a
    prompt.
    """

    def ratio(kept: npt.NDArray[np.intp]) -> float:
        prompts = variance(first[kept]) / variance(second[kept])
        return float(first_cost[kept].mean()) / second_cost * prompts

    return jackknife_ratio(len(first), ratio, level)


def jackknife_ratio(n: int, ratio: Callable[[npt.NDArray[np.intp]], float], level: float) -> Interval:
    """A positive statistic of n prompts, with Student's t interval of its logarithm from the jackknife over prompts."""
    everyone = np.arange(n)
    value = math.log(ratio(everyone))
    left_out = np.log([ratio(np.delete(everyone, i)) for i in range(n)])
    error = math.sqrt((n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum()))
    half = float(stats.t.isf((1 - level) / 2, n - 1)) * error
    return Interval(math.exp(value), math.exp(value - half), math.exp(value + half))


def growth_exponent(lengths: Array, costs: Array) -> float:
    """Slope of log cost against log length, by least squares."""
    return float(np.polyfit(np.log(lengths), np.log(costs), 1)[0])
