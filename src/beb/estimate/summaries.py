"""Estimates from published figures: means with standard errors, the prompts themselves not being at hand.

How many prompts or groups a published standard error rests on is often not said. Here it is taken as known, with the
normal quantile: intervals are too narrow if the groups were few (three groups: 2.2 times too narrow at 95%).
`n` of every estimate is 0: the number of prompts is not published.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from beb.core.estimate import Band, Estimate
from beb.errors import BadSpec, EstimateError
from beb.estimate.bands import curve_band
from beb.estimate.checks import Array, Bounds, check_lengths, check_level
from beb.estimate.prior import NATS, PER_SENTENCE, LineReading
from beb.estimate.ratio import fieller_limits

N_UNKNOWN = 0
SE_TAKEN_AS_KNOWN = "published standard errors taken as known (normal quantile)"
INDEPENDENT = "points taken as independent"
ANY_COVARIANCE = "whatever the covariances of the points"
# Least squares at n = 0, 1, 2: intercept, and minus the slope.
LINE_WEIGHTS = np.array([[5.0, 2.0, -1.0], [3.0, 0.0, -3.0]]) / 6


def _checked(value: Any, standard_error: Any, name: str, minimum: int) -> tuple[Array, Array]:
    """Values and standard errors as (k,). Raises: EstimateError on unequal, short, non-finite or non-positive ones."""
    y, se = (np.asarray(x, dtype=np.float64) for x in (value, standard_error))
    if y.ndim != 1 or y.shape != se.shape or y.size < minimum:
        raise EstimateError(
            f"{name} has values {y.shape} and standard errors {se.shape}; needs one of each at {minimum} or more points"
        )
    if not np.isfinite(y).all() or not np.isfinite(se).all() or (se <= 0).any():
        raise EstimateError(f"{name} needs finite values and positive standard errors")
    return y, se


def normal_quantile(level: float) -> float:
    """Two-sided critical value of the normal distribution."""
    return float(stats.norm.isf((1 - level) / 2))


def summary_band(
    value: Any,
    standard_error: Any,
    lengths: Sequence[int],
    *,
    level: float,
    unit: str,
    bounds: Bounds = (-math.inf, math.inf),
    name: str = "curve",
) -> Band:
    """A published curve with pointwise limits and a simultaneous band.

    value, standard_error: (k,). lengths: (k,) sentences. bounds: range of the quantity; limits are cut to it.
    Simultaneous limits: Bonferroni over the k points, valid whatever their covariances.
    Raises: BadSpec, EstimateError. Assumes: points normal, standard errors known.
    """
    check_level(level)
    y, se = _checked(value, standard_error, name, 1)
    check_lengths(lengths, y.size, name=name)
    sides = []
    for share in (level, 1 - (1 - level) / y.size):
        half = normal_quantile(share) * se
        sides += [np.maximum(y - half, min(bounds[0], y.min())), np.minimum(y + half, max(bounds[1], y.max()))]
    words = f"{SE_TAKEN_AS_KNOWN}; band: Bonferroni"
    return curve_band(lengths, [y, *sides], level=level, n=N_UNKNOWN, unit=unit, method=words)


def weighted_sum(
    value: Any,
    standard_error: Any,
    weights: Sequence[float],
    *,
    level: float,
    unit: str,
    words: str,
    independent: bool,
) -> Estimate:
    """Σ weightᵢ valueᵢ of published points.

    value, standard_error, weights: (k,). independent: standard error √Σ(weight·se)²; otherwise Σ|weight|·se, the
    largest that any covariances allow (Minkowski), so that the interval covers whatever they are.
    Raises: BadSpec, EstimateError. Assumes: points jointly normal, standard errors known.
    """
    check_level(level)
    y, se = _checked(value, standard_error, words, 1)
    c = np.asarray(weights, dtype=np.float64)
    if c.shape != y.shape:
        raise BadSpec(f"{words} has {y.size} points and {c.size} weights; give one per point")
    scale = float(np.sqrt(((c * se) ** 2).sum()) if independent else (np.abs(c) * se).sum())
    total, half = float(c @ y), normal_quantile(level) * scale
    how = INDEPENDENT if independent else ANY_COVARIANCE
    return Estimate(total, total - half, total + half, level, N_UNKNOWN, unit, f"{words}; {SE_TAKEN_AS_KNOWN}; {how}")


def summary_line(value: Any, standard_error: Any, *, level: float) -> LineReading:
    """Wolf et al.'s straight line through the first three published points of KL(P₋‖P), the first counted as n = 0.

    value, standard_error: (>= 3,) nats; later points are not used. The points are taken as independent: they share
    their prompts, so that positive covariances would make the slope (a difference) surer than shown, and the
    intercept (5y₀ + 2y₁ - y₂)/6 a little less sure. Counting the first point as n = 1 adds β to log 1/α and 1 to the
    ratio. Ratio: Fieller's set within [0, inf), None if the line does not fall.
    Raises: BadSpec, EstimateError. Assumes: points independent and normal, standard errors known.
    Source: Wolf et al. 2024, §4; Fieller 1954.
    """
    check_level(level)
    y, se = _checked(value, standard_error, "KL to target", 3)
    y, se = y[:3], se[:3]
    words = ("intercept of the first three points", "minus the slope of the first three points")
    a, b = (
        weighted_sum(y, se, list(c), level=level, unit=unit, words=text, independent=True)
        for c, unit, text in zip(LINE_WEIGHTS, (NATS, PER_SENTENCE), words, strict=True)
    )
    covariance = (LINE_WEIGHTS * se**2) @ LINE_WEIGHTS.T
    ratio = None
    if b.value > 0:
        method = f"ratio of intercept and slope, Fieller; {SE_TAKEN_AS_KNOWN}; {INDEPENDENT}"
        ratio = fieller(a.value, b.value, covariance, level=level, unit="sentences", method=method)
    return LineReading(a, b, ratio)


def fieller(a: float, b: float, covariance: Array, *, level: float, unit: str, method: str) -> Estimate:
    """a/b for b > 0 with Fieller's limits at the normal quantile; see `fieller_limits`.

    covariance: (2, 2) of (a, b).
    Raises: EstimateError if b <= 0. Assumes: (a, b) normal, covariance known. Source: Fieller 1954.
    """
    if b <= 0:
        raise EstimateError(f"the ratio's denominator is {b:g}; it must be positive")
    limits = fieller_limits(a, b, covariance, normal_quantile(level))
    return Estimate(*limits, level, N_UNKNOWN, unit, method)


def ratio_of_limits(
    numerator: Estimate, denominator: Estimate, *, level: float, unit: str, words: str, least: float = 0.0
) -> Estimate:
    """Ratio of two nonnegative quantities from the corners of their limits.

    level: with which both pairs of limits hold together. least: what the ratio cannot be below.
    Returns: high is infinite where the denominator may be 0.
    Raises: EstimateError if the denominator's value is not positive. Assumes: nothing about how the two depend.
    """
    if denominator.value <= 0:
        raise EstimateError(f"{words}: the denominator is {denominator.value:g}; it must be positive")
    low = max(max(numerator.low, 0.0) / denominator.high, least)
    high = numerator.high / denominator.low if denominator.low > 0 else math.inf
    method = f"{words}; corners of the two intervals, {ANY_COVARIANCE}"
    return Estimate(numerator.value / denominator.value, low, high, level, N_UNKNOWN, unit, method)
