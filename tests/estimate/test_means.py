"""Means: coverage on skewed and clustered data, and what must be refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq
from scipy.special import rel_entr

from beb.errors import BadSpec, EstimateError, TooFewPrompts
from beb.estimate.bounded import N_BETS
from beb.estimate.means import cluster_mean, mean, paired_difference, proportion, worst_case_mean
from intervals import assert_cannot_be_halved, half_holds

RUNS, LEVEL = 400, 0.9


@pytest.mark.parametrize("n", [12, 24])
@pytest.mark.parametrize("shape", [1.0, 5.0])
def test_t_covers_skewed_means(n, shape, rng, assert_covers, holds):
    estimates = [mean(rng.gamma(shape, 1.0, n), level=LEVEL, unit="nats") for _ in range(RUNS)]
    assert_covers([holds(e, shape) for e in estimates])
    assert_cannot_be_halved([half_holds(e, shape) for e in estimates], LEVEL)


@pytest.mark.parametrize("method", ["empirical-bernstein", "betting"])
@pytest.mark.parametrize("p", [0.02, 0.5])
def test_finite_sample_intervals_cover_at_every_sample_size(method, p, rng, assert_covers, holds):
    samples = [rng.choice([-1.0, 1.0], p=[1 - p, p], size=n) for n in (2, 12, 24, 100) for _ in range(RUNS // 4)]
    bounds = (-1.0, 1.0)
    estimates = [mean(x, level=LEVEL, unit="B", bounds=bounds, method=method) for x in samples]
    assert_covers([holds(e, 2 * p - 1) for e in estimates])
    largest = [e.width for e in estimates[-RUNS // 4 :]]
    assert np.median(largest) <= {"betting": best_bet_width, "empirical-bernstein": bernstein_width}[method](100, p)


def bernstein_width(n: int, p: float) -> float:
    """Maurer & Pontil's two limits (Theorem 4, range 2, each at half the error) at the expected sample variance."""
    log_term, variance = np.log(4 / (1 - LEVEL)), 4 * p * (1 - p) * n / (n - 1)
    return float(2 * np.sqrt(2 * variance * log_term / n) + 2 * 7 * 2 * log_term / (3 * (n - 1)))


def best_bet_width(n: int, p: float) -> float:
    """Width, times the range 2, of {m : n kl(p ‖ m) <= log(2 N_BETS/(1 − level))}.

    On values 0 and 1 the best constant bet against m earns n kl(x̄ ‖ m) nats (Kelly); the capital is a mean over two
    directions of N_BETS bets, hence at least that bet's share of it.
    """
    earned = np.log(2 * N_BETS / (1 - LEVEL)) / n
    low, high = (
        brentq(lambda m: rel_entr(p, m) + rel_entr(1 - p, 1 - m) - earned, *ends)
        for ends in ((1e-12, p), (p, 1 - 1e-12))
    )
    return 2 * (high - low)


def test_betting_is_narrower_than_hoeffding_for_small_spread(rng):
    x = rng.uniform(0.45, 0.55, 200)
    hoeffding = np.sqrt(2 * np.log(2 / 0.05) / x.size)
    assert mean(x, level=0.95, unit="B", bounds=(0, 1), method="betting").width < hoeffding / 2


def responses(n, rng):
    """(n, 4) B in {-1, 0, 1} of prompts that differ; the mean over prompts is 0.4 - 0.6 · 2/3 = 0."""
    share = rng.beta(2.0, 1.0, n)[:, None]
    return np.where(rng.random((n, 4)) < share, rng.choice([-1, 0], p=[0.6, 0.4], size=(n, 4)), 1.0)


@pytest.mark.parametrize("n", [12, 24])
def test_cluster_mean_covers_unequal_clusters(n, rng, assert_covers, holds):
    truth = 2 / 3 * -0.6 + 1 / 3
    hits, halved = [], []
    for _ in range(RUNS):
        x = responses(n, rng)
        x[rng.random(x.shape) < 0.2] = np.nan
        e = cluster_mean(x, level=LEVEL, unit="B", bounds=(-1, 1))
        hits.append(holds(e, truth))
        halved.append(half_holds(e, truth))
    assert_covers(hits)
    assert_cannot_be_halved(halved, LEVEL)


def test_cluster_mean_weighs_prompts_equally():
    x = np.array([[1.0, 1.0, 1.0], [-1.0, np.nan, np.nan], [np.nan] * 3])
    e = cluster_mean(x, level=0.95, unit="B", bounds=(-1, 1))
    assert e.value == 0
    assert e.n == 2
    assert "2 of 3 clusters" in e.method


def test_worst_case_holds_whatever_was_missing(rng, assert_covers, holds):
    hits = []
    for _ in range(RUNS):
        x = responses(24, rng)
        x[(x > 0) & (rng.random(x.shape) < 0.5)] = np.nan  # good answers fail: the mean of the rest is far too low
        hits.append(holds(worst_case_mean(x, (-1, 1), level=LEVEL), 2 / 3 * -0.6 + 1 / 3))
    assert_covers(hits)
    full = responses(24, rng)
    complete = cluster_mean(full, level=0.95, unit="B", bounds=(-1, 1))
    worst = worst_case_mean(full, (-1, 1), level=0.95, unit="B")
    assert (worst.value, worst.low, worst.high) == pytest.approx((complete.value, complete.low, complete.high))


def test_paired_difference_uses_the_pairing(rng, assert_covers, holds):
    hits, halved = [], []
    for _ in range(RUNS):
        prompt = rng.gamma(1.0, 5.0, 24)
        a, b = prompt + rng.gamma(1.0, 1.0, 24), prompt + rng.gamma(1.0, 0.5, 24)
        e = paired_difference(a, b, level=LEVEL, unit="nats")
        hits.append(holds(e, 0.5))
        halved.append(half_holds(e, 0.5))
    assert_covers(hits)
    assert_cannot_be_halved(halved, LEVEL)


@pytest.mark.parametrize("method", ["wilson", "clopper-pearson"])
def test_proportion_covers(method, rng, assert_covers, holds):
    estimates = [
        (proportion(int(rng.binomial(40, p)), 40, level=LEVEL, unit="share", method=method), p)
        for p in (0.05, 0.2, 0.5, 0.9)
        for _ in range(RUNS)
    ]
    for start in range(0, 4 * RUNS, RUNS):
        assert_covers([holds(e, p) for e, p in estimates[start : start + RUNS]])
    assert proportion(0, 40, level=0.95, unit="share", method=method).low == 0
    assert 0.05 < proportion(0, 40, level=0.95, unit="share", method=method).high < 0.1


def test_symmetric_sample_gets_students_t():
    x = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    half = stats.t.ppf(0.975, 199) * x.std(ddof=1) / np.sqrt(200)
    assert mean(x, level=0.95, unit="u").width / 2 == pytest.approx(half, rel=0.05)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-50, 50), st.floats(0.01, 50))
def test_mean_moves_with_affine_maps_and_ignores_order(seed, shift, scale):
    generator = np.random.default_rng(seed)
    x = generator.gamma(1.0, 1.0, 15)
    e = mean(x, level=0.9, unit="u")
    moved = mean(shift + scale * generator.permutation(x), level=0.9, unit="u")
    expected = [shift + scale * part for part in (e.value, e.low, e.high)]
    assert [moved.value, moved.low, moved.high] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_equal_values_are_never_exact():
    ones = np.full(24, -1.0)
    e = mean(ones, level=0.95, unit="B", bounds=(-1, 1))
    # No valid upper limit can be below the one for values all at the bound, 1 - 2 (1 - level/...)^(1/n).
    assert -1 + 2 * (1 - 0.05 ** (1 / 24)) < e.high < -0.4
    assert e.low == -1
    with pytest.raises(EstimateError, match="all 24 values equal"):
        mean(ones, level=0.95, unit="nats")


def test_refusals():
    with pytest.raises(TooFewPrompts, match="beta has 1 prompt and needs at least 2; raise --prompts"):
        mean([1.0], level=0.95, unit="u", name="beta")
    with pytest.raises(TooFewPrompts):
        cluster_mean([[1.0, 0.0], [np.nan, np.nan]], level=0.95, unit="B")
    with pytest.raises(EstimateError, match="NaN"):
        mean([1.0, np.nan, 2.0], level=0.95, unit="u")
    with pytest.raises(EstimateError, match="outside its bounds"):
        mean([0.0, 2.0], level=0.95, unit="B", bounds=(-1, 1))
    with pytest.raises(BadSpec, match="finite bounds"):
        mean([0.0, 2.0], level=0.95, unit="B", method="betting")
    with pytest.raises(BadSpec, match="same prompts"):
        paired_difference([1.0, 2.0], [1.0, 2.0, 3.0], level=0.95, unit="B")
    with pytest.raises(EstimateError, match="0 trials"):
        proportion(0, 0, level=0.95, unit="share")
    with pytest.raises(BadSpec):
        proportion(5, 4, level=0.95, unit="share")
    with pytest.raises(BadSpec, match="level"):
        mean([0.0, 2.0], level=1.0, unit="B")
