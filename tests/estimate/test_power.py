"""Power: the answers are checked by solving the other way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from beb.core.estimate import Estimate
from beb.errors import BadSpec, EstimateError, TooFewPrompts
from beb.estimate.power import prompts_for_half_width, prompts_to_halve


def width(n, level):
    return stats.t.ppf((1 + level) / 2, n - 1) / np.sqrt(n)


@pytest.mark.parametrize("n", [2, 5, 24, 300])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_halving_is_the_smallest_that_suffices(n, level):
    m = prompts_to_halve(Estimate(1.0, 0.0, 2.0, level, n, "nats", "t"))
    assert width(m, level) <= width(n, level) / 2 < width(m - 1, level) or m == 2
    assert n <= m <= 4 * n + 10


def test_half_width_is_the_smallest_that_suffices(rng):
    x = rng.gamma(1.0, 1.0, 24)
    for target in (0.05, 0.5, 2.0):
        m = prompts_for_half_width(x, target, level=0.95)
        assert width(m, 0.95) * x.std(ddof=1) <= target
        assert m == 2 or width(m - 1, 0.95) * x.std(ddof=1) > target


def test_refusals():
    with pytest.raises(EstimateError, match="no finite width"):
        prompts_to_halve(Estimate(1.0, 1.0, np.inf, 1.0, 24, "nats", "cap"))
    with pytest.raises(EstimateError, match="no finite width"):
        prompts_to_halve(Estimate(1.0, 1.0, 1.0, 0.95, 24, "nats", "known", exact=True))
    with pytest.raises(EstimateError, match="equal"):
        prompts_for_half_width([1.0, 1.0], 0.1, level=0.95)
    with pytest.raises(BadSpec, match="half width"):
        prompts_for_half_width([1.0, 2.0], 0.0, level=0.95)
    with pytest.raises(TooFewPrompts):
        prompts_for_half_width([1.0], 0.1, level=0.95)
