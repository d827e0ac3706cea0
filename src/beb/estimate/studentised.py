"""Simultaneous limits for many statistics of independent prompts: the studentised maximum, bootstrapped.

Every column is a mean, or a variance on the log scale. Whole prompts are resampled, each independent set of prompts
by itself, and T = max over all columns of |estimate* - estimate| / standard error* is simulated. Its upper quantile
covers all columns at once. The bootstrap of a small sample can fall short, so the critical value is never below that of
max |t| with the columns' estimated correlations, simulated too (Gaussian multipliers over a χ scale).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from beb.errors import BadSpec
from beb.estimate.checks import Array
from beb.estimate.quantiles import skew_corrected_t, t_quantile, upper_order_statistic

# Below this many prompts resamples repeat each other and only the t reference is used.
FEWEST_TO_RESAMPLE = 5
METHOD = "studentised max bootstrap over prompts, at least max-t"


@dataclass(frozen=True, slots=True, eq=False)
class PromptSet:
    """Columns measured on one set of prompts.

    values: (n_prompts, k), NaN where missing (means only). log_variance: (k,) True where the statistic is the log of the
    column's variance, False where it is its mean. shared: (k, r) standard deviations per unit normal of r error sources
    that all prompts share (zero columns if there are none).
    """

    values: Array
    log_variance: np.ndarray
    shared: Array

    @classmethod
    def of(cls, means: Array, variances: Array | None = None, shared: Array | None = None) -> PromptSet:
        """Columns of means, then columns of variances."""
        k = means.shape[1]
        both = means if variances is None else np.hstack([means, variances])
        kind = np.arange(both.shape[1]) >= k
        loads = np.zeros((both.shape[1], 0)) if shared is None else shared
        # Bootstrap counts belong to rows; a fixed order makes the result independent of the order of the prompts.
        return cls(both[np.lexsort(both.T[::-1])], kind, loads)


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """Per column: statistic (mean or log variance), standard error, and the two critical values.

    scale: (k,) standard errors; 0 where all prompts agree. pointwise, simultaneous: (k,) critical values, infinite
    where all prompts agree. share: level of each column that is left out of the simultaneous draw.
    """

    value: Array
    scale: Array
    pointwise: Array
    simultaneous: Array
    share: float


def simultaneous_limits(
    sets: Sequence[PromptSet], *, level: float, rng: np.random.Generator, n_draws: int
) -> list[Limits]:
    """Critical values that hold for all columns of all sets together with probability `level`.

    Columns in which nearly all prompts agree have no usable bootstrap (many resamples have no spread). They get a
    Bonferroni share of the error, (1 - level)/K each, and the others the rest, so that the union still holds.
    Returns: one Limits per set. Raises: BadSpec if n_draws cannot resolve the level.
    """
    n_columns = sum(one.values.shape[1] for one in sets)
    share = 1 - (1 - level) / n_columns
    usual = [_resamples_well(one.values, level) for one in sets]
    n_usual = sum(int(mask.sum()) for mask in usual)
    joint_level = 1 - (1 - level) * n_usual / n_columns
    if n_usual and math.ceil(joint_level * (n_draws + 1)) > n_draws:
        raise BadSpec(f"{n_draws} bootstrap draws cannot resolve level {joint_level:.5g}; give at least 2000")
    worst = np.zeros((2, n_draws))
    pointwise = []
    for one, mask in zip(sets, usual, strict=True):
        draws = _simulated(_columns(one, mask), rng, n_draws) if mask.any() else np.zeros((2, n_draws, 0))
        worst = np.maximum(worst, draws.max(axis=2, initial=0.0))
        pointwise.append([max(upper_order_statistic(d, level) for d in draws[:, :, j]) for j in range(draws.shape[2])])
    joint = max(upper_order_statistic(w, joint_level) for w in worst) if n_usual else math.inf
    return [
        _limits(one, mask, points, joint, level, share)
        for one, mask, points in zip(sets, usual, pointwise, strict=True)
    ]


def _limits(
    one: PromptSet, usual: np.ndarray, points: Sequence[float], joint: float, level: float, share: float
) -> Limits:
    value, scale = _statistics(one, np.ones((1, one.values.shape[0])))
    value, scale = value[0], scale[0]
    pointwise, simultaneous = np.full((2, value.size), math.inf)
    usual_points = iter(points)
    for j in range(value.size):
        column = one.values[:, j]
        column = column[~np.isnan(column)]
        if usual[j]:
            pointwise[j] = max(next(usual_points), t_quantile(level, column.size - 1))
            simultaneous[j] = max(joint, pointwise[j])
        elif scale[j] > 0:
            pointwise[j] = skew_corrected_t(column, level)
            simultaneous[j] = max(skew_corrected_t(column, share), pointwise[j])
    return Limits(value, scale, pointwise, simultaneous, share)


def _columns(one: PromptSet, mask: np.ndarray) -> PromptSet:
    return PromptSet(one.values[:, mask], one.log_variance[mask], one.shared[mask])


def _resamples_well(values: Array, level: float) -> np.ndarray:
    """(k,) whether a resample without spread is at least ten times rarer than the error allowed."""
    answer = np.zeros(values.shape[1], dtype=bool)
    for j, column in enumerate(values.T):
        known = column[~np.isnan(column)]
        rounding = 1e-12 * max(1e-300, float(np.abs(known).max()))
        ordered = np.sort(known)
        # Runs of equal values (up to rounding): positions where a new value begins.
        starts = np.flatnonzero(np.concatenate([[True], np.diff(ordered) > rounding]))
        counts = np.diff(np.append(starts, known.size))
        alike = float(((counts / known.size) ** known.size).sum())
        answer[j] = counts.size > 1 and (alike <= (1 - level) / 10 or known.size < FEWEST_TO_RESAMPLE)
    return answer


def _statistics(one: PromptSet, counts: Array) -> tuple[Array, Array]:
    """Statistic and standard error of every column in every resample.

    counts: (n_draws, n_prompts) how often each prompt occurs. Returns: (n_draws, k) twice; a resample without spread
    has standard error 0, and as a variance the value -inf.
    Source (log variance): delta method, Var s² = (μ₄ - σ⁴ (n-3)/(n-1))/n.
    """
    known = ~np.isnan(one.values)
    centre = np.nanmean(one.values, axis=0)
    x = np.where(known, one.values - centre, 0.0)
    spread = np.sqrt((x**2).sum(axis=0) / known.sum(axis=0))
    spread[spread <= 1e-12 * np.abs(centre)] = 0.0
    x = np.divide(x, spread, out=np.zeros_like(x), where=spread > 0)
    n = np.maximum(counts @ known.astype(np.float64), 1.0)
    first, second = ((counts @ x**p) / n for p in (1, 2))
    central = np.maximum(second - first**2, 0.0)
    central[central < 1e-14] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = central * n / (n - 1)
        value, scale = centre + spread * first, spread * np.sqrt(variance / n)
        if one.log_variance.any():
            k = one.log_variance
            third, fourth = ((counts @ x[:, k] ** p) / n[:, k] for p in (3, 4))
            m, v = first[:, k], variance[:, k]
            fourth = fourth - 4 * m * third + 6 * m**2 * second[:, k] - 3 * m**4
            excess = fourth / v**2 - (n[:, k] - 3) / (n[:, k] - 1)
            value[:, k] = np.log(v) + 2 * np.log(spread[k])
            scale[:, k] = np.where(v > 0, np.sqrt(np.maximum(excess, 0.0) / n[:, k]), 0.0)
    return value, np.sqrt(np.where(np.isnan(scale), 0.0, scale) ** 2 + (one.shared**2).sum(axis=1))


def _simulated(one: PromptSet, rng: np.random.Generator, n_draws: int) -> Array:
    """(2, n_draws, k): |T| of every column by bootstrap and by the t reference."""
    n, k = one.values.shape
    value, scale = _statistics(one, np.ones((1, n)))
    errors = rng.standard_normal((n_draws, one.shared.shape[1])) @ one.shared.T
    reference = _t_reference(one, scale[0], errors, rng)
    if n < FEWEST_TO_RESAMPLE:
        return np.stack([np.zeros((n_draws, k)), reference])
    star, star_scale = _statistics(one, rng.multinomial(n, np.full(n, 1 / n), size=n_draws).astype(np.float64))
    deviation = np.abs(star + errors - value)
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = deviation / star_scale
    return np.stack([np.where(star_scale > 0, studentised, np.where(deviation > 0, np.inf, 0.0)), reference])


def _t_reference(one: PromptSet, scale: Array, errors: Array, rng: np.random.Generator) -> Array:
    """(n_draws, k): |t| with n - 1 degrees of freedom and the columns' sample correlations.

    Gaussian multipliers of the standardised influence of each prompt have exactly that correlation matrix.
    """
    n_draws, n = errors.shape[0], one.values.shape[0]
    influence = one.values - np.nanmean(one.values, axis=0)
    squares = influence**2 - np.nanmean(influence**2, axis=0)
    influence = np.nan_to_num(np.where(one.log_variance, squares, influence))
    norm = np.sqrt((influence**2).sum(axis=0))
    influence = np.divide(influence, norm, out=np.zeros_like(influence), where=norm > 0)
    sampling = np.sqrt(np.maximum(scale**2 - (one.shared**2).sum(axis=1), 0.0))
    chi = np.sqrt(rng.chisquare(n - 1, size=(n_draws, 1)) / (n - 1))
    noise = (rng.standard_normal((n_draws, n)) @ influence) * sampling + errors
    return np.abs(np.divide(noise, scale, out=np.zeros_like(noise), where=scale > 0)) / chi
