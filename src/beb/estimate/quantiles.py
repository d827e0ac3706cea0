"""Critical values of a studentised mean: Student's t, and t corrected for skewness."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from beb.estimate.checks import Array


def t_quantile(level: float, degrees: float) -> float:
    """Two-sided critical value of Student's t with `degrees` degrees of freedom."""
    return float(stats.t.isf((1 - level) / 2, degrees))


def skew_corrected_t(values: Array, level: float) -> float:
    """Two-sided critical value of the studentised mean of `values`, never below Student's t.

    values: (n,) independent, not all equal. The symmetric interval of a skewed sample undercovers by
    2 φ(z)/n [γ²(z⁵ + 2z³ - 3z)/18 - κ(z³ - 3z)/12] (γ skewness, κ excess kurtosis) beyond what t repairs;
    adding the bracket over n to the critical value removes that term.
    Assumes: independent draws with finite fourth moment.
    Source: Hall 1992, The Bootstrap and Edgeworth Expansion, §2.6 and §3.5 (eq. 2.86).
    """
    n = values.size
    critical = t_quantile(level, n - 1)
    deviation = values - values.mean()
    second = float((deviation**2).mean())
    if second <= 0 or n < 3:
        return critical
    skewness = float((deviation**3).mean()) / second**1.5
    skewness *= math.sqrt(n * (n - 1)) / (n - 2)  # Fisher's, less biased towards 0
    kurtosis = float((deviation**4).mean()) / second**2 - 3
    z = float(stats.norm.isf((1 - level) / 2))
    term = skewness**2 * (z**5 + 2 * z**3 - 3 * z) / 18 - kurtosis * (z**3 - 3 * z) / 12
    return critical + max(0.0, float(term)) / n


def upper_order_statistic(draws: Array, level: float) -> float:
    """The ⌈level (m + 1)⌉-th smallest of m simulated statistics: an upper quantile that never errs downwards.

    draws: (m,), infinite values allowed. Returns: infinity if m is too small for the level.
    """
    rank = math.ceil(level * (draws.size + 1))
    return math.inf if rank > draws.size else float(np.partition(draws, rank - 1)[rank - 1])
