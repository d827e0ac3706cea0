import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beb.core.logspace import floats, log1mexp, log_odds
from beb.errors import BadSpec


def _exact_log_odds(log_inverse_alpha: float) -> float:
    with localcontext() as context:
        context.prec = 60
        return float(-((Decimal(log_inverse_alpha).exp() - 1).ln()))


@given(st.floats(1e-30, 1e5))
@settings(deadline=None)
def test_log_odds_agrees_with_sixty_digits(log_inverse_alpha: float) -> None:
    assert log_odds(log_inverse_alpha) == pytest.approx(_exact_log_odds(log_inverse_alpha), rel=1e-14, abs=1e-15)


@pytest.mark.parametrize(
    ("log_inverse_alpha", "expected"),
    [(0.0, math.inf), (math.inf, -math.inf), (math.log(2), 0.0), (1e6, -1e6), (math.log(4), -math.log(3))],
)
def test_log_odds_by_hand(log_inverse_alpha: float, expected: float) -> None:
    assert log_odds(log_inverse_alpha) == pytest.approx(expected, abs=1e-15)


@given(st.floats(-700, -1e-300))
@settings(deadline=None)
def test_log1mexp_agrees_with_sixty_digits(log_p: float) -> None:
    with localcontext() as context:
        context.prec = 360  # 1 − e^{−1e−300} has 300 leading zeros
        expected = float((1 - Decimal(log_p).exp()).ln())
    assert float(log1mexp(log_p)) == pytest.approx(expected, rel=1e-14, abs=0)


def test_log1mexp_at_the_ends() -> None:
    assert log1mexp([0.0, -np.inf]).tolist() == [-np.inf, 0.0]


@pytest.mark.parametrize("bad", [-1e-9, math.nan, -math.inf])
def test_log_odds_refuses_what_is_no_log_inverse_alpha(bad: float) -> None:
    with pytest.raises(BadSpec, match="accepted: 0 or more"):
        log_odds(bad)


def test_positive_log_probability_and_nan_are_refused() -> None:
    with pytest.raises(BadSpec, match="at most 0"):
        log1mexp([-1.0, 0.1])
    with pytest.raises(BadSpec, match="2 NaN of 3"):
        floats("x", [1.0, math.nan, math.nan])
