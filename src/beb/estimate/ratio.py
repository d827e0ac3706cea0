"""Limits of a ratio of two estimates."""

from __future__ import annotations

import math

from beb.estimate.checks import Array


def fieller_limits(a: float, b: float, covariance: Array, critical: float) -> tuple[float, float, float]:
    """a/b for b > 0, with Fieller's limits {r : |a - rb| <= critical · se(a - rb)} within [0, inf).

    covariance: (2, 2) of (a, b).
    Returns: value, low, high; the value is cut to >= 0 and lies within the limits. high is infinite where b is not
    clear of 0, and where the whole set is negative (what is left of it says nothing).
    Assumes: (a, b) normal, or `critical` made for what they are. Source: Fieller 1954.
    """
    squared = critical**2
    # (a - rb)² - t² (s_aa - 2 r s_ab + r² s_bb) <= 0, a quadratic in r.
    leading = b * b - squared * float(covariance[1, 1])
    middle = a * b - squared * float(covariance[0, 1])
    last = a * a - squared * float(covariance[0, 0])
    root = math.sqrt(max(middle * middle - leading * last, 0.0))
    low, high = 0.0, math.inf
    if leading > 0:
        low, high = (middle - root) / leading, (middle + root) / leading
    elif leading < 0 and root > 0 and (middle + root) / leading < 0:
        # The set is (-inf, r1] and [r2, inf); its hull within [0, inf) starts at r2 if r1 is negative.
        low = (middle - root) / leading
    value = max(a / b, 0.0)
    low, high = min(max(low, 0.0), value), max(high, value)
    return value, low, math.inf if low == high else high
