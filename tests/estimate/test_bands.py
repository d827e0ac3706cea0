"""Simultaneous bands and boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beb.errors import BadSpec, EstimateError, TooFewPrompts
from beb.estimate.bands import joint_box, mean_band
from beb.estimate.diagnostics import first_length_below
from beb.estimate.distinguishability import largest, smallest
from beb.estimate.means import mean
from beb.estimate.studentised import draws_for
from intervals import assert_cannot_be_halved, half_band_holds, half_covers

RUNS, LEVEL, K = 400, 0.9, 8
LENGTHS = range(K)


def curve(n, rng, kind):
    """(n, K) per-prompt curves and their true mean."""
    if kind == "skewed":  # gamma, skewness 2, as single-sentence divergences
        return rng.gamma(1.0, 1.0, (n, K)) * np.arange(1, K + 1), np.arange(1, K + 1) * 1.0
    if kind == "dependent":  # prefixes of one prompt
        return np.cumsum(rng.gamma(2.0, 1.0, (n, K)), axis=1), 2.0 * np.arange(1, K + 1)
    share = np.linspace(0.9, 0.2, K)  # B in {-1, 0, 1}, four responses to a prompt
    x = np.where(rng.random((n, K, 4)) < share[:, None], rng.choice([0.0, 1.0], p=[0.2, 0.8], size=(n, K, 4)), -1.0)
    return x.mean(axis=2), share * 0.8 - (1 - share)


@pytest.mark.parametrize("n", [12, 24])
@pytest.mark.parametrize("kind", ["skewed", "dependent", "behavior"])
def test_band_covers_the_whole_curve(kind, n, rng, assert_covers):
    hits, points, halved, extremes = [], [], [], []
    bounds = (-1.0, 1.0) if kind == "behavior" else None
    for _ in range(RUNS):
        x, truth = curve(n, rng, kind)
        band = mean_band(x, LENGTHS, level=LEVEL, rng=rng, unit="u", n_draws=500, bounds=bounds)
        low, high = np.array(band.low), np.array(band.high)
        hits.append(bool(((low <= truth) & (truth <= high)).all()))
        points.append(band.pointwise_low[2] <= truth[2] <= band.pointwise_high[2])
        halved.append(half_band_holds(band, truth))
        beta, top = smallest(band, name="beta"), largest(band)
        extremes.append(beta.low <= truth.min() <= beta.high and top.low <= truth.max() <= top.high)
    for found in (hits, points, extremes):
        assert_covers(found)
    assert_cannot_be_halved(halved, LEVEL)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-20, 20), st.floats(0.1, 20), st.integers(2, 30))
def test_band_moves_with_affine_maps_ignores_order_and_holds_the_points(seed, shift, scale, n):
    generator = np.random.default_rng(seed)
    x = generator.gamma(2.0, 1.0, (n, 4))
    band, moved = (
        mean_band(y, range(4), level=0.9, rng=np.random.default_rng(1), unit="u", n_draws=300)
        for y in (x, shift + scale * x[generator.permutation(n)])
    )
    for name in ("value", "low", "high", "pointwise_low", "pointwise_high"):
        expected = shift + scale * np.array(getattr(band, name))
        assert np.array(getattr(moved, name)) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert all(a <= b for a, b in zip(band.low, band.pointwise_low, strict=True))
    assert all(a >= b for a, b in zip(band.high, band.pointwise_high, strict=True))


def test_missing_responses_leave_the_other_lengths_alone(rng, assert_covers):
    hits = []
    for _ in range(RUNS):
        x, truth = curve(24, rng, "dependent")
        x[rng.random(x.shape) < 0.15] = np.nan
        band = mean_band(x, LENGTHS, level=LEVEL, rng=rng, unit="u", n_draws=400)
        hits.append(bool(((np.array(band.low) <= truth) & (truth <= np.array(band.high))).all()))
    assert_covers(hits)


def test_agreeing_prompts_are_not_exact_unless_said_so(rng):
    x = rng.uniform(-1, 1, (24, 3))
    x[:, 1] = -1.0
    kwargs = {"level": 0.95, "unit": "B", "n_draws": 2000}
    bounded = mean_band(x, [0, 1, 2], rng=rng, bounds=(-1, 1), **kwargs)
    assert bounded.low[1] == -1
    assert -0.75 < bounded.pointwise_high[1] < bounded.high[1] < 0
    unbounded = mean_band(x, [0, 1, 2], rng=rng, **kwargs)
    assert (unbounded.low[1], unbounded.high[1]) == (-math.inf, math.inf)
    assert math.isfinite(unbounded.high[0])
    known = mean_band(x, [0, 1, 2], rng=rng, deterministic=(1,), **kwargs)
    assert known.at(1).exact
    assert known.at(1).value == -1


@pytest.mark.parametrize("p", [0.02, 0.1])
def test_nearly_saturated_behavior_is_covered(p, rng, assert_covers):
    hits, halved = [], []
    for _ in range(RUNS):
        x = rng.choice([-1.0, 1.0], p=[1 - p, p], size=(24, 4))
        band = mean_band(x, range(4), level=LEVEL, rng=rng, unit="B", n_draws=400, bounds=(-1, 1))
        hits.append(min(band.high) >= 2 * p - 1 >= max(band.low))
        halved.append(half_band_holds(band, 2 * p - 1))
    assert_covers(hits)
    assert_cannot_be_halved(halved, LEVEL)


def test_joint_box_holds_means_and_variances_of_two_prompt_sets(rng, assert_covers):
    hits, halved = [], []
    lengths = np.arange(1, 5)
    for _ in range(RUNS):
        negative, positive = rng.gamma(2.0, 1.0, (24, 4)), rng.normal(-1.0, 1.5, (18, 4))
        box = joint_box(
            {"beta": negative, "beta_prime": positive},
            {"sigma2": np.cumsum(negative, axis=1) / np.sqrt(lengths)},
            level=LEVEL,
            rng=rng,
            n_draws=500,
            prompt_sets={"beta_prime": "P+"},
        )
        truths = {"beta": 2.0, "beta_prime": -1.0, "sigma2": 2.0}
        hits.append(all(((box.low[k] <= t) & (t <= box.high[k])).all() for k, t in truths.items()))
        halved.append(all(half_covers(box.value[k], box.low[k], box.high[k], t) for k, t in truths.items()))
    assert_covers(hits)
    assert_cannot_be_halved(halved, LEVEL)
    assert box.n == {"beta": 24, "beta_prime": 18, "sigma2": 24}


def test_box_of_one_curve_is_its_band(rng):
    x, _ = curve(24, rng, "dependent")
    band = mean_band(x, LENGTHS, level=0.9, rng=np.random.default_rng(3), unit="u")
    box = joint_box({"a": x}, {}, level=0.9, rng=np.random.default_rng(3))
    assert box.low["a"] == pytest.approx(band.low)
    assert box.high["a"] == pytest.approx(band.high)


def test_points_of_a_band_are_the_means_of_their_columns(rng):
    x = rng.uniform(-1, 1, (24, 4)) ** 3
    x[:, 1] = -1.0
    x[1:, 2] = 0.5
    x[:5, 3] = np.nan
    band = mean_band(x, range(4), level=0.9, rng=rng, unit="B", bounds=(-1, 1))
    for j, column in enumerate(x.T):
        one = mean(column[~np.isnan(column)], level=0.9, unit="B", bounds=(-1, 1))
        assert (band.at(j).low, band.at(j).high) == pytest.approx((one.low, one.high))


def test_heavy_curve_does_not_widen_the_light_one(rng):
    light, heavy = rng.normal(size=(24, 3)), rng.lognormal(0, 1.5, (24, 3))
    alone = joint_box({"light": light}, {}, level=0.9, rng=rng)
    both = joint_box({"light": light}, {"heavy": heavy}, level=0.9, rng=rng)
    ratio = (both.high["light"] - both.low["light"]) / (alone.high["light"] - alone.low["light"])
    assert (ratio > 1).all()
    assert (ratio < 1.35).all()


def test_first_length_below_reads_the_simultaneous_limit(rng):
    x = rng.normal(size=(24, 4)) * 0.01 + np.array([0.9, 0.5, -0.5, -0.9])
    band = mean_band(x, [0, 2, 4, 6], level=0.95, rng=rng, unit="B")
    assert first_length_below(band, 0.0) == 4
    assert first_length_below(band, -0.95) is None
    assert first_length_below(band, band.high[1]) == 4


def test_refusals(rng):
    kwargs = {"level": 0.95, "rng": rng, "unit": "nats"}
    with pytest.raises(TooFewPrompts, match="beta has 1 prompt and needs at least 2; raise --prompts"):
        mean_band(np.ones((1, 3)), [0, 1, 2], name="beta", **kwargs)
    with pytest.raises(TooFewPrompts):
        mean_band([[1.0, np.nan], [2.0, np.nan]], [0, 1], **kwargs)
    with pytest.raises(EstimateError, match="infinite"):
        mean_band([[1.0, np.inf], [2.0, 0.0]], [0, 1], **kwargs)
    with pytest.raises(BadSpec, match="one length per column"):
        mean_band(rng.normal(size=(5, 3)), [0, 1], **kwargs)
    with pytest.raises(BadSpec, match="increase"):
        mean_band(rng.normal(size=(5, 3)), [0, 2, 1], **kwargs)
    with pytest.raises(BadSpec, match="name the prompt sets"):
        joint_box({"a": np.ones((5, 2)), "b": np.ones((6, 2))}, {}, level=0.95, rng=rng)
    with pytest.raises(BadSpec, match="distinct"):
        joint_box({"a": np.ones((5, 2))}, {"a": np.ones((5, 2))}, level=0.95, rng=rng)


@pytest.mark.parametrize("level", [0.999, 0.9996, 0.99995])
def test_draws_follow_the_level(level, rng):
    x = rng.gamma(2.0, 1.0, (24, 3))
    usual, strict = (mean_band(x, range(3), level=one, rng=np.random.default_rng(1), unit="") for one in (0.95, level))
    assert np.isfinite([strict.low, strict.high, strict.pointwise_low, strict.pointwise_high]).all()
    assert all(a < b for a, b in zip(usual.high, strict.high, strict=True))
    assert draws_for(level) * (1 - level) >= 10 * (1 - 1e-6)
    with pytest.raises(BadSpec, match="lower --level"):
        draws_for(1 - 1e-6)
