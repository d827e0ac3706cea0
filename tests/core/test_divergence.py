import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beb.core.divergence import kl_divergence, log_ratio_variance
from beb.errors import BadSpec


def _log(*probabilities: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(probabilities))


def test_kl_and_variance_by_hand() -> None:
    p, q = _log(0.5, 0.5, 0.0), _log(0.25, 0.5, 0.25)
    assert float(kl_divergence(p, q)) == pytest.approx(0.5 * math.log(2), abs=1e-15)
    assert float(log_ratio_variance(p, q)) == pytest.approx(0.25 * math.log(2) ** 2, abs=1e-15)
    assert float(kl_divergence(q, p)) == math.inf
    assert float(log_ratio_variance(q, p)) == math.inf
    assert float(kl_divergence(p, p)) == 0.0


def test_shapes_broadcast_over_leading_axes() -> None:
    p = np.log(np.random.default_rng(1).dirichlet(np.ones(4), size=(2, 3)))
    q = _log(0.1, 0.2, 0.3, 0.4)
    assert kl_divergence(p, q).shape == log_ratio_variance(p, q).shape == (2, 3)
    assert kl_divergence(p, q)[1, 2] == pytest.approx(float(kl_divergence(p[1, 2], q)))


@given(st.integers(0, 2**32 - 1), st.integers(2, 30))
@settings(deadline=None)
def test_variance_and_divergence_against_plain_moments(seed: int, n_outcomes: int) -> None:
    p, q = np.random.default_rng(seed).dirichlet(np.ones(n_outcomes), size=2)
    ratio = np.log(p / q)
    mean = (p * ratio).sum()
    assert float(kl_divergence(np.log(p), np.log(q))) == pytest.approx(mean, abs=1e-12)
    assert float(log_ratio_variance(np.log(p), np.log(q))) == pytest.approx((p * (ratio - mean) ** 2).sum(), abs=1e-10)


def test_what_is_no_distribution_is_refused() -> None:
    with pytest.raises(BadSpec, match=r"log_q sums to 0\.9"):
        kl_divergence(_log(0.5, 0.5), _log(0.5, 0.4))
    with pytest.raises(BadSpec, match="log_p sums to 0"):
        kl_divergence([-np.inf, -np.inf], _log(0.5, 0.5))
