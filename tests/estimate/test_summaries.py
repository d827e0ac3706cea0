import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from beb.errors import BadSpec, EstimateError
from beb.estimate.distinguishability import largest, smallest
from beb.estimate.prior import line_reading
from beb.estimate.summaries import fieller, ratio_of_limits, summary_band, summary_line, weighted_sum
from intervals import most_misses

LEVEL = 0.9
RUNS = 1000
LIMIT = most_misses(RUNS, LEVEL)
TRUTH = np.array([30.0, 19.0, 11.0, 8.0, 7.5, 7.0])
SE = np.array([1.0, 1.3, 0.9, 0.8, 0.7, 0.7])


def _published(correlation: float, seed: int) -> np.ndarray:
    """(RUNS, 6) published curves around TRUTH, any two points correlated alike."""
    rng = np.random.default_rng(seed)
    shared, own = rng.standard_normal((RUNS, 1)), rng.standard_normal((RUNS, TRUTH.size))
    return TRUTH + SE * (math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_bands_and_extremes_cover_whatever_the_covariances(correlation: float) -> None:
    missed = {"band": 0, "smallest": 0, "largest": 0, "mean": 0}
    for y in _published(correlation, 1):
        band = summary_band(y, SE, range(1, 7), level=LEVEL, unit="nats")
        missed["band"] += not all(lo <= t <= hi for lo, t, hi in zip(band.low, TRUTH, band.high, strict=True))
        for name, estimate, truth in (
            ("smallest", smallest(band, name="β"), TRUTH.min()),
            ("largest", largest(band), TRUTH.max()),
            (
                "mean",
                weighted_sum(y, SE, [1 / 6] * 6, level=LEVEL, unit="nats", words="mean", independent=False),
                TRUTH.mean(),
            ),
        ):
            missed[name] += not estimate.low <= truth <= estimate.high
    assert max(missed.values()) <= LIMIT, missed
    assert smallest(band, name="β").width < 2 * norm.isf((1 - LEVEL) / 12) * SE.max() + 1e-9


def test_the_line_covers_when_points_are_independent_and_knows_when_not_to_claim_it() -> None:
    truth_a, truth_b = np.polyfit([0, 1, 2], TRUTH[:3], 1)[::-1] * [1, -1]
    missed = np.zeros(3, dtype=int)
    for y in _published(0.0, 2):
        line = summary_line(y, SE, level=LEVEL)
        assert line.ratio is not None
        for i, (e, truth) in enumerate(
            ((line.log_inverse_alpha, truth_a), (line.beta, truth_b), (line.ratio, truth_a / truth_b))
        ):
            missed[i] += not e.low <= truth <= e.high
    assert missed.max() <= LIMIT
    assert missed.min() >= binom.ppf(1e-6, RUNS, 1 - LEVEL), "intervals far too wide"
    # Points that share prompts, positively correlated: the slope's interval covers, the intercept's for any too.
    slopes = intercepts = 0
    for y in _published(0.9, 3):
        line = summary_line(y, SE, level=LEVEL)
        slopes += not line.beta.low <= truth_b <= line.beta.high
        wide = weighted_sum(
            y[:3], SE[:3], [5 / 6, 2 / 6, -1 / 6], level=LEVEL, unit="nats", words="", independent=False
        )
        intercepts += not wide.low <= truth_a <= wide.high
    assert slopes <= LIMIT
    assert intercepts <= LIMIT


def test_the_line_agrees_with_the_reading_from_the_prompts_themselves() -> None:
    rng = np.random.default_rng(4)
    prompts = TRUTH[:3] + rng.standard_normal((400, 3)) * [8.0, 9.0, 7.0]
    whole = line_reading(prompts, level=LEVEL)
    published = summary_line(prompts.mean(axis=0), prompts.std(axis=0, ddof=1) / 20, level=LEVEL)
    assert published.beta.value == pytest.approx(whole.beta.value)
    assert published.log_inverse_alpha.value == pytest.approx(whole.log_inverse_alpha.value)
    assert published.ratio is not None
    assert whole.ratio is not None
    assert published.ratio.value == pytest.approx(whole.ratio.value)
    for a, b in ((published.beta, whole.beta), (published.ratio, whole.ratio)):
        assert a.width == pytest.approx(b.width, rel=0.15)


def test_fieller_limits_solve_their_equation_and_open_where_the_denominator_may_vanish() -> None:
    covariance = np.array([[0.8, 0.3], [0.3, 0.5]])
    e = fieller(30.0, 10.0, covariance, level=LEVEL, unit="sentences", method="")
    z = norm.isf((1 - LEVEL) / 2)
    for r in (e.low, e.high):
        c = np.array([1, -r])
        assert abs(30 - 10 * r) == pytest.approx(z * math.sqrt(c @ covariance @ c))
    assert math.isinf(fieller(30.0, 1.0, covariance, level=LEVEL, unit="sentences", method="").high)
    assert fieller(-30.0, 10.0, covariance, level=LEVEL, unit="sentences", method="").value == 0
    with pytest.raises(EstimateError, match="denominator is -1"):
        fieller(1.0, -1.0, covariance, level=LEVEL, unit="sentences", method="")


def test_a_rising_line_has_no_ratio() -> None:
    assert summary_line([1.0, 2.0, 4.0], [0.1] * 3, level=LEVEL).ratio is None


def test_ratio_of_limits_takes_the_corners() -> None:
    band = summary_band([4.0, 2.0, 3.0], [0.2] * 3, [1, 2, 3], level=LEVEL, unit="nats")
    top, bottom = largest(band), smallest(band, name="β")
    e = ratio_of_limits(top, bottom, level=LEVEL, unit="ratio", words="", least=1.0)
    assert (e.value, e.low, e.high) == (2.0, top.low / bottom.high, top.high / bottom.low)
    wide = smallest(summary_band([4.0, 2.0], [2.0] * 2, [1, 2], level=LEVEL, unit="nats"), name="β")
    assert math.isinf(ratio_of_limits(top, wide, level=LEVEL, unit="ratio", words="").high)


def test_nonsense_is_refused() -> None:
    with pytest.raises(EstimateError, match="positive standard errors"):
        summary_band([1.0, 2.0], [0.1, 0.0], [1, 2], level=LEVEL, unit="nats")
    with pytest.raises(EstimateError, match="one of each"):
        summary_line([1.0, 2.0], [0.1, 0.1], level=LEVEL)
    with pytest.raises(BadSpec, match="2 points and 1 weights"):
        weighted_sum([1.0, 2.0], [0.1, 0.1], [1.0], level=LEVEL, unit="nats", words="sum", independent=True)
    with pytest.raises(BadSpec, match="level"):
        summary_line([1.0, 2.0, 3.0], [0.1] * 3, level=1.5)
