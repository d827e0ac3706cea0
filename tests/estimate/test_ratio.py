"""Fieller's set, held against its definition on a grid."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beb.estimate.ratio import fieller_limits

CRITICAL = 2.0


@given(
    a=st.floats(-30, 30),
    b=st.floats(0.05, 30),
    sd=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)),
    correlation=st.floats(-0.95, 0.95),
)
def test_the_limits_are_the_hull_of_the_set(a: float, b: float, sd: tuple[float, float], correlation: float) -> None:
    off = correlation * sd[0] * sd[1]
    covariance = np.array([[sd[0] ** 2, off], [off, sd[1] ** 2]])
    value, low, high = fieller_limits(a, b, covariance, CRITICAL)
    r = np.concatenate([np.linspace(0, 50, 2001), np.geomspace(50, 1e6, 400)])
    error = np.sqrt(covariance[0, 0] - 2 * r * off + r * r * covariance[1, 1])
    outside, inside = np.abs(a - r * b) - CRITICAL * error > 1e-9, np.abs(a - r * b) - CRITICAL * error < -1e-9
    assert 0 <= low <= value <= high
    assert low < high
    assert value == pytest.approx(max(a / b, 0.0))
    assert ((r[inside] >= low) & (r[inside] <= high)).all()
    if inside.any():  # the hull, and no more: nothing of the set lies beyond, so every point beyond is outside it
        assert outside[(r < low - 1e-9 * (1 + low)) | (r > high * (1 + 1e-9))].all()
    if b <= CRITICAL * sd[1]:
        assert math.isinf(high)


def test_a_numerator_clear_of_zero_bounds_the_ratio_from_below_even_where_the_denominator_is_not() -> None:
    value, low, high = fieller_limits(30.0, 1.0, np.diag([1.0, 4.0]), CRITICAL)
    assert value == 30
    assert math.isinf(high)
    # |30 − r| = 2√(1 + 4r²): 15 r² + 60 r − 896 = 0.
    assert low == pytest.approx((-60 + math.sqrt(60**2 + 4 * 15 * 896)) / 30)
