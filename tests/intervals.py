"""What every interval must do: cover, and not by being wide.

Both limits come from the binomial distribution alone. An interval of level 1 − a covers if it misses no more often than
chance allows once in a million at rate a. It is useful if it cannot be halved: the same intervals at half their width,
around the same values, must miss more often than that. (An interval of exactly the needed width, for a normal estimate
at 90 %, misses 41 % of the time when halved; one that is 1.6 times as wide as needed fails the test with 400 runs.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom

from beb.core.estimate import Band, Estimate

RARE = 1e-6


def most_misses(runs: int, level: float) -> int:
    """Misses that an interval of the level exceeds once in a million."""
    return int(binom.isf(RARE, runs, 1 - level))


def assert_cannot_be_halved(halved: Sequence[bool], level: float) -> None:
    """Fail if intervals at half their width would still cover. halved: whether each held the truth."""
    misses = len(halved) - int(np.sum(halved))
    assert misses > most_misses(len(halved), level), f"halved intervals miss {misses} of {len(halved)}: they are wide"


def half_holds(estimate: Estimate, truth: float) -> bool:
    """Whether the estimate's interval at half its width holds the truth."""
    return half_covers(estimate.value, estimate.low, estimate.high, truth)


def half_band_holds(band: Band, truth: ArrayLike) -> bool:
    """Whether the simultaneous band at half its width holds the whole true curve."""
    return half_covers(band.value, band.low, band.high, truth)


def half_covers(value: ArrayLike, low: ArrayLike, high: ArrayLike, truth: ArrayLike) -> bool:
    """Whether [value − (value − low)/2, value + (high − value)/2] holds the truth, at all points.

    Beside an infinite value there is no half: the limits stay.
    """
    v, lo, hi = (np.asarray(x, dtype=np.float64) for x in (value, low, high))
    t, finite = np.asarray(truth, dtype=np.float64), np.isfinite(v)
    middle = np.where(finite, v, 0.0)
    low_half, high_half = (np.where(finite, middle + (side - middle) / 2, side) for side in (lo, hi))
    return bool(((low_half <= t) & (t <= high_half)).all())
