"""The logistic fit against the exact least-squares projection of worlds' curves."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.special import expit

from beb.errors import BadSpec, EstimateError, TooFewPrompts
from beb.estimate.curves import fit_logistic
from intervals import assert_cannot_be_halved, half_holds

RUNS, LEVEL, N = 400, 0.9, 8
NEGATIVE, POSITIVE = np.array([0.85, 0.1, 0.05]), np.array([0.05, 0.15, 0.8])
VALUES = np.array([-1.0, 0.0, 1.0])
LOW, HIGH = float(NEGATIVE @ VALUES), float(POSITIVE @ VALUES)


def logistic(theta, n, low, high):
    return high + (low - high) * expit(theta[0] * (n - theta[1]))


def behavior(world, n_prompts, rng, n_responses=4):
    """(n_prompts, N + 1) mean B of each prompt's responses."""
    w = world.weight(world.sample(n_prompts, rng))[:, :, None]
    negative = rng.random((n_prompts, N + 1, n_responses)) < w
    return np.where(
        negative,
        rng.choice(VALUES, p=NEGATIVE, size=negative.shape),
        rng.choice(VALUES, p=POSITIVE, size=negative.shape),
    ).mean(axis=2)


@pytest.fixture
def world(mixture_world):
    return mixture_world(0.15, N)


@pytest.fixture
def truth(world):
    """The exact mean curve."""
    texts, p = world.every_text()
    w = p @ world.weight(texts)
    return w * LOW + (1 - w) * HIGH


@pytest.mark.parametrize(("n", "levels"), [(12, "fixed"), (24, "measured")])
def test_fit_covers_the_projection(levels, n, world, truth, rng, assert_covers, holds):
    lengths = np.arange(N + 1)
    best = least_squares(lambda t: truth - logistic(t, lengths, LOW, HIGH), [0.5, 4.0]).x
    middles, slopes, half_middles, half_slopes = [], [], [], []
    for _ in range(RUNS):
        low, high = LOW, HIGH
        if levels == "measured":
            low, high = (rng.choice(VALUES, p=p, size=(n, 4)).mean(axis=1) for p in (NEGATIVE, POSITIVE))
        y = behavior(world, n, rng)
        fit = fit_logistic(y, lengths, low=low, high=high, level=LEVEL, rng=rng, n_draws=200)
        middles.append(holds(fit.midpoint, best[1]))
        slopes.append(holds(fit.slope, best[0]))
        half_middles.append(half_holds(fit.midpoint, best[1]))
        half_slopes.append(half_holds(fit.slope, best[0]))
    assert_covers(middles)
    assert_covers(slopes)
    assert_cannot_be_halved(half_middles, LEVEL)
    assert_cannot_be_halved(half_slopes, LEVEL)


def test_free_levels_agree_with_an_independent_optimiser(rng):
    lengths = np.arange(13)
    for slope, midpoint, low, high in ((1.0, 4.0, -0.7, 0.6), (0.6, 6.0, -0.9, 0.9), (2.0, 3.3, 0.0, 0.5)):
        y = logistic((slope, midpoint), lengths, low, high) + rng.normal(0, 0.02, (40, 13))
        y = np.clip(y, -1, 1)
        mean = y.mean(axis=0)
        best = least_squares(
            lambda t, mean=mean: mean - logistic(t, lengths, t[2], t[3]),
            [slope, midpoint, low, high],
            bounds=([0, -12, -1, -1], [20, 24, 1, 1]),
        )
        fit = fit_logistic(y, lengths, level=0.95, rng=rng, n_draws=200)
        assert fit.midpoint.value == pytest.approx(best.x[1], abs=1e-3)
        assert fit.slope.value == pytest.approx(best.x[0], rel=1e-3)
        assert ((np.array(fit.fitted) - mean) ** 2).sum() == pytest.approx(2 * best.cost, rel=1e-6)
        assert fit.converged
        assert fit.note == ""
        assert (fit.low_level, fit.high_level) == pytest.approx(tuple(best.x[2:]), abs=1e-3)


def test_curve_that_does_not_fall_has_no_midpoint(rng):
    y = np.clip(HIGH + rng.normal(0, 0.1, (24, N + 1)), -1, 1)
    fit = fit_logistic(y, range(N + 1), low=LOW, high=HIGH, level=0.95, rng=rng)
    assert fit.midpoint.value == fit.midpoint.high == math.inf
    assert fit.midpoint.low <= N
    assert "has not fallen past the middle" in fit.note
    same = fit_logistic(y, range(N + 1), low=0.5, high=0.5, level=0.95, rng=rng)
    assert same.midpoint.low == -math.inf
    assert not same.converged


def test_possible_midpoint_beyond_the_data_is_not_extrapolated(rng):
    lengths = np.arange(N + 1)
    y = np.clip(logistic((0.5, 7.8), lengths, LOW, HIGH) + rng.normal(0, 0.4, (12, N + 1)), -1, 1)
    fit = fit_logistic(y, lengths, low=LOW, high=HIGH, level=0.95, rng=rng)
    assert fit.midpoint.high == math.inf
    assert "may lie beyond 8 sentences" in fit.note


def test_step_does_not_resolve_the_slope(rng):
    y = np.where(np.arange(N + 1) < 3.5, 0.7, -0.8) + rng.normal(0, 0.05, (24, N + 1))
    fit = fit_logistic(y, range(N + 1), low=-0.8, high=0.7, level=0.95, rng=rng)
    assert fit.slope.high == math.inf
    assert fit.midpoint.low < 3.5 < fit.midpoint.high


def test_equal_prompts_give_no_interval(rng):
    y = np.tile(logistic((1.0, 4.0), np.arange(N + 1), LOW, HIGH), (24, 1))
    fit = fit_logistic(y, range(N + 1), low=LOW, high=HIGH, level=0.95, rng=rng)
    assert fit.midpoint.value == pytest.approx(4.0, abs=1e-3)
    assert (fit.midpoint.low, fit.midpoint.high) == (-math.inf, math.inf)
    assert fit.slope.high == math.inf


def test_order_of_prompts_is_irrelevant_and_the_call_is_fast(world, rng):
    y = behavior(world, 32, rng)
    started = time.perf_counter()
    one, other = (
        fit_logistic(x, range(N + 1), low=LOW, high=HIGH, level=0.95, rng=np.random.default_rng(5), n_draws=1000)
        for x in (y, y[::-1])
    )
    assert one == other
    assert time.perf_counter() - started < 3.0


def test_refusals(rng):
    y = rng.uniform(-1, 1, (5, 4))
    kwargs = {"level": 0.95, "rng": rng}
    with pytest.raises(TooFewPrompts, match="behavior has 2 prompts and needs at least 3"):
        fit_logistic(y[:2], range(4), low=-1.0, high=1.0, **kwargs)
    with pytest.raises(BadSpec, match="raise --sentences"):
        fit_logistic(y, range(4), **kwargs)
    with pytest.raises(BadSpec, match="low level"):
        fit_logistic(y, range(4), low=-2.0, high=1.0, **kwargs)
    with pytest.raises(EstimateError, match="bounds"):
        fit_logistic(3 * y, range(4), low=-1.0, high=1.0, **kwargs)
