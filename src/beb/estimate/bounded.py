"""Finite-sample intervals for the mean of bounded values: valid for every sample size and distribution."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize

from beb.estimate.checks import Array, Bounds

N_BETS = 200
BETTING = "hedged capital, grid of constant bets (Waudby-Smith & Ramdas 2024)"
EMPIRICAL_BERNSTEIN = "empirical Bernstein (Maurer & Pontil 2009)"


def empirical_bernstein_interval(values: Array, bounds: Bounds, level: float) -> tuple[float, float]:
    """Two-sided empirical Bernstein limits for the mean.

    values: (n,), n >= 2, inside `bounds`. Returns: (low, high) inside `bounds`.
    Assumes: independent values with one mean. Source: Maurer & Pontil 2009, Theorem 4, once for each side.
    """
    n = values.size
    log_term = math.log(4 / (1 - level))
    spread = bounds[1] - bounds[0]
    half = math.sqrt(2 * float(values.var(ddof=1)) * log_term / n) + 7 * spread * log_term / (3 * (n - 1))
    mean = float(values.mean())
    return max(bounds[0], mean - half), min(bounds[1], mean + half)


def betting_interval(values: Array, bounds: Bounds, level: float) -> tuple[float, float]:
    """Limits for the mean from two hedged bettors, each with a grid of constant bets.

    For a candidate mean m in (0, 1) of x in [0, 1] the capital
    K(m) = ½ mean_g Π(1 + f_g (xᵢ/m - 1)) + ½ mean_g Π(1 + f_g ((1 - xᵢ)/(1 - m) - 1)), f_g in (0, 1),
    has expectation 1 if m is the mean, so that {m : K(m) < 1/(1 - level)} covers by Markov's inequality. Every
    factor is nonnegative, convex and monotone in m, hence K is convex and the set is an interval; constant bets
    make it independent of the order of the values.
    values: (n,), n >= 1, inside `bounds`. Returns: (low, high) inside `bounds`.
    Assumes: each value has the same mean given the others. Source: Waudby-Smith & Ramdas 2024 (JRSS B), §B.6.
    """
    x = (values - bounds[0]) / (bounds[1] - bounds[0])
    # Arcsine grid: more bets near 0, the best for large samples, and near 1, the best for values at a bound.
    bets = np.sin(np.pi * (np.arange(N_BETS) + 0.5) / (2 * N_BETS)) ** 2
    log_threshold = math.log(2 * N_BETS / (1 - level))

    def excess(mean: float) -> float:
        up = np.log1p(bets[:, None] * (x / mean - 1)).sum(axis=1)
        down = np.log1p(bets[:, None] * ((1 - x) / (1 - mean) - 1)).sum(axis=1)
        return float(np.logaddexp.reduce(np.concatenate([up, down]))) - log_threshold

    tiny = 1e-12
    centre = float(optimize.minimize_scalar(excess, bounds=(tiny, 1 - tiny), method="bounded").x)
    mean = float(np.clip(x.mean(), tiny, 1 - tiny))
    inside = min(centre, mean, key=excess)
    low = 0.0 if excess(tiny) <= 0 else float(optimize.brentq(excess, tiny, inside))
    high = 1.0 if excess(1 - tiny) <= 0 else float(optimize.brentq(excess, inside, 1 - tiny))
    spread = bounds[1] - bounds[0]
    return bounds[0] + spread * min(low, float(x.mean())), bounds[0] + spread * max(high, float(x.mean()))
