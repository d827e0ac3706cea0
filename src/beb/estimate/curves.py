"""The logistic law of the behavior curve (Lemma 7), fitted by least squares with a bootstrap over prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beb.core.estimate import Estimate
from beb.errors import BadSpec
from beb.estimate.checks import Array, Bounds, check_bounds, check_lengths, check_level, matrix, vector
from beb.estimate.logistic import Problem, logistic_curve, solve, standard_errors
from beb.estimate.quantiles import t_quantile, upper_order_statistic
from beb.estimate.studentised import draws_for, resample_counts

B_RANGE: Bounds = (-1.0, 1.0)


@dataclass(frozen=True, slots=True)
class LogisticFit:
    """The logistic curve nearest to a behavior curve.

    midpoint: sentences; value and high are infinite where the curve has not fallen past the middle. slope: nats per
    sentence. low_level, high_level: B of the components as used or fitted. fitted: (k,) B at the lengths.
    converged: whether the optimum is inside the range searched. note: what is not identified, or "".
    """

    midpoint: Estimate
    slope: Estimate
    low_level: float
    high_level: float
    fitted: tuple[float, ...]
    converged: bool
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """One component's B: fixed (draws all equal), measured (draws vary, `variance` of the mean) or free (NaN)."""

    value: float
    variance: float
    draws: Array
    draw_variance: Array

    @classmethod
    def of(cls, given: Any, name: str, rng: np.random.Generator, n_draws: int) -> _Level:
        if given is None or np.ndim(given) == 0:
            value = math.nan if given is None else float(given)
            if given is not None and not B_RANGE[0] <= value <= B_RANGE[1]:
                raise BadSpec(f"{name} level {value} is outside [-1, 1]")
            return cls(value, 0.0, np.full(n_draws, value), np.zeros(n_draws))
        x = np.sort(vector(given, name=f"{name} level"))
        check_bounds(x, B_RANGE, f"{name} level")
        counts = resample_counts(x.size, n_draws, rng)
        draws = counts @ x / x.size
        spread = np.maximum(counts @ x**2 / x.size - draws**2, 0.0) / (x.size - 1)
        return cls(float(x.mean()), float(x.var(ddof=1)) / x.size, draws, spread)


def fit_logistic(
    behavior: Any,
    lengths: Sequence[int],
    *,
    low: Any | None = None,
    high: Any | None = None,
    level: float,
    rng: np.random.Generator,
    n_draws: int = 1000,
) -> LogisticFit:
    """Fit B(n) = high + (low - high) σ(β(n - n₀)), with n₀ = log((1-α)/α)/β under the mixture.

    behavior: (n_prompts, k) mean B of each prompt's responses after its first n sentences; lengths: (k,) from 0.
    low, high: B of P₋ and P₊: a number, or (n_prompts',) measured on other prompts (their error is propagated), or None
    to fit it within [-1, 1] (then four parameters: k >= 5).
    The estimand is the unweighted least-squares projection of the true mean curve on the law, whether or not the law
    is true. Intervals: studentised bootstrap over prompts (n₀ as it is, β on the log scale), standard errors from the
    projection's derivative with the full Hessian, critical value at least Student's t. Limits are not extrapolated:
    a midpoint that may lie beyond the last length has an infinite upper limit.
    Raises: TooFewPrompts, EstimateError, BadSpec.
    Assumes: prompts independent; the measured levels independent of them. Source: Wolf et al. 2024, Lemma 7.
    """
    check_level(level)
    y = matrix(behavior, name="behavior", minimum=3)
    n = check_lengths(lengths, y.shape[1], name="behavior")
    check_bounds(y, B_RANGE, "behavior")
    n_free = (low is None) + (high is None)
    if y.shape[1] < 3 + n_free:
        raise BadSpec(f"the logistic fit has {y.shape[1]} lengths and needs {3 + n_free}; raise --sentences")
    y = y[np.lexsort(y.T[::-1])]
    n_draws = draws_for(level, least=n_draws)
    levels = (_Level.of(low, "low", rng, n_draws), _Level.of(high, "high", rng, n_draws))
    if levels[0].value >= levels[1].value:
        return _unidentified(
            y, n, levels, level, "the levels of the components do not differ in the expected direction"
        )
    problem = Problem(n, free_low=low is None, free_high=high is None)
    once = np.ones((1, y.shape[0]))
    start = _estimate(problem, y, once, *(np.array([[one.value], [one.variance]]) for one in levels))
    counts = resample_counts(y.shape[0], n_draws, rng)
    draws = _estimate(problem, y, counts, *(np.stack([one.draws, one.draw_variance]) for one in levels))
    theta, scale = start[0][0], start[1][0]
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = np.abs(draws[0][:, :2] - theta[:2]) / draws[1]
    studentised = np.where(np.isnan(studentised), np.inf, studentised)
    least = t_quantile(level, y.shape[0] - 1)
    half = [max(least, upper_order_statistic(studentised[:, i], level)) * float(scale[i]) for i in range(2)]
    return _fit(problem, theta, half, y.shape[0], level)


def _estimate(problem: Problem, y: Array, counts: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Parameters (d, 4) and standard errors (d, 2) of every resample. low, high: (2, d) level and its variance."""
    n_prompts, k = y.shape
    curve = counts @ y / n_prompts
    theta = solve(problem, curve, low[0], high[0])
    products = (counts @ (y[:, :, None] * y[:, None, :]).reshape(n_prompts, -1)).reshape(-1, k, k) / n_prompts
    covariance = (products - curve[:, :, None] * curve[:, None, :]) / (n_prompts - 1)
    return theta, standard_errors(problem, theta, curve, covariance, (low[1], high[1]))


def _fit(problem: Problem, theta: Array, half: Sequence[float], n: int, level: float) -> LogisticFit:
    log_slope, midpoint, low_level, high_level = map(float, theta)
    inside = problem.inside(theta)
    last = float(problem.n[-1])
    notes = []
    upper = midpoint + half[1]
    lower = midpoint - half[1]
    if half[1] == 0 or not math.isfinite(half[1]):
        lower, upper = -math.inf, math.inf
        notes.append("the spread of the prompts does not determine the midpoint")
    steep = math.exp(log_slope)
    slope_low, slope_high = steep * math.exp(-half[0]), steep * math.exp(min(half[0], 700))
    known = 0 < half[0] < math.inf and inside
    unresolved = not known or slope_high > problem.steepest
    if unresolved and problem.n[0] <= midpoint < last:
        # Between two lengths a step may lie anywhere: its place there is decided by noise.
        step = int(np.searchsorted(problem.n, midpoint, side="right"))
        lower, upper = min(lower, float(problem.n[step - 1])), max(upper, float(problem.n[step]))
    if upper > last:
        notes.append(f"the midpoint may lie beyond {last:g} sentences")
        upper = math.inf
    if midpoint > last:
        notes.append(f"the curve has not fallen past the middle by {last:g} sentences")
        midpoint, lower = math.inf, min(lower, last)
    method = "least-squares logistic (projection), studentised bootstrap over prompts"
    if unresolved:
        slope_high = math.inf
        notes.append("the lengths do not resolve how steep the curve is")
        slope_low = slope_low if known else 0.0
    return LogisticFit(
        Estimate(midpoint, lower, upper, level, n, "sentences", method),
        Estimate(steep, slope_low, slope_high, level, n, "nats per sentence", method),
        low_level,
        high_level,
        tuple(map(float, logistic_curve(theta[None], problem.n)[0])),
        inside,
        "; ".join(notes),
    )


def _unidentified(y: Array, n: Array, levels: Sequence[_Level], level: float, note: str) -> LogisticFit:
    method = f"none: {note}"
    return LogisticFit(
        Estimate(math.inf, -math.inf, math.inf, level, y.shape[0], "sentences", method),
        Estimate(0.0, 0.0, math.inf, level, y.shape[0], "nats per sentence", method),
        levels[0].value,
        levels[1].value,
        tuple(float(y.mean()) for _ in n),
        False,
        note,
    )
