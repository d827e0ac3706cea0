"""σ²: coverage with Gaussian, skewed and heavier-tailed log ratios."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, nct, t

from beb.errors import BadSpec, TooFewPrompts
from beb.estimate.similarity import sigma_squared, variance_band, variance_trend
from intervals import RARE, assert_cannot_be_halved, half_covers

RUNS, LEVEL, N = 400, 0.9, 8
LENGTHS = np.arange(1, N + 1)
STEPS = {
    "gaussian": (lambda rng, size: rng.normal(3.0, 2.0, size), 4.0),
    "skewed": (lambda rng, size: rng.gamma(1.0, 2.0, size), 4.0),
    "laplace": (lambda rng, size: rng.laplace(1.0, np.sqrt(2.0), size), 4.0),
}


@pytest.mark.parametrize("n", [12, 24])
@pytest.mark.parametrize("kind", STEPS)
def test_variance_band_and_maximum_cover(kind, n, rng, assert_covers, holds):
    draw, truth = STEPS[kind]
    hits, tops, halved = [], [], []
    for _ in range(RUNS):
        band = variance_band(np.cumsum(draw(rng, (n, N)), axis=1), LENGTHS, level=LEVEL, rng=rng, n_draws=500)
        hits.append(max(band.low) <= truth <= min(band.high))
        tops.append(holds(sigma_squared(band), truth))
        halved.append(half_covers(*(np.log(side) for side in (band.value, band.low, band.high)), np.log(truth)))
    assert_covers(hits)
    assert_covers(tops)
    assert_cannot_be_halved(halved, LEVEL)


def test_correlated_sentences_raise_the_trend(rng, assert_covers, holds):
    flat, rising = [], []
    for _ in range(RUNS):
        steps = rng.gamma(2.0, 1.0, (24, N))
        flat.append(variance_trend(np.cumsum(steps, axis=1), LENGTHS, level=LEVEL, rng=rng, n_draws=500))
        drift = rng.normal(0.0, 1.5, (24, 1))  # a prompt-wide drift: Varₙ/n = 2 + 2.25 n
        rising.append(variance_trend(np.cumsum(steps + drift, axis=1), LENGTHS, level=LEVEL, rng=rng, n_draws=500))
    assert_covers([holds(e, 0.0) for e in flat])
    assert_covers([holds(e, 2.25) for e in rising])
    # The slope is a mean over prompts: as powerful as Student's t on normal values of the same mean and spread (which
    # are those of a million prompts), less what chance allows.
    many = np.cumsum(rng.gamma(2.0, 1.0, (10**6, N)) + rng.normal(0.0, 1.5, (10**6, 1)), axis=1)
    centred = LENGTHS - LENGTHS.mean()
    per_prompt = ((many - 2.0 * LENGTHS) ** 2 / LENGTHS) @ (centred / (centred @ centred))
    power = nct.sf(t.isf((1 - LEVEL) / 2, 23), 23, np.sqrt(24) * 2.25 / per_prompt.std())
    assert sum(e.low > 0 for e in rising) >= binom.ppf(RARE, RUNS, power)


def test_scale_enters_squared(rng):
    x = np.cumsum(rng.normal(size=(24, N)), axis=1)
    one, ten = (variance_band(c * x + 5, LENGTHS, level=0.9, rng=np.random.default_rng(2)) for c in (1.0, 10.0))
    assert np.array(ten.low) == pytest.approx(100 * np.array(one.low))
    assert np.array(ten.high) == pytest.approx(100 * np.array(one.high))
    assert np.array(one.value) == pytest.approx(x.var(axis=0, ddof=1) / LENGTHS)


def test_no_spread_is_no_knowledge(rng):
    x = np.cumsum(rng.normal(size=(24, 3)), axis=1)
    x[:, 0] = 1.5
    band = variance_band(x, [1, 2, 3], level=0.9, rng=rng)
    assert (band.value[0], band.low[0]) == (0.0, 0.0)
    assert band.high[0] == np.inf
    assert band.high[1] < np.inf


def test_refusals(rng):
    with pytest.raises(TooFewPrompts, match="sigma2 has 2 prompts and needs at least 3"):
        variance_band(rng.normal(size=(2, 3)), [1, 2, 3], level=0.9, rng=rng)
    with pytest.raises(BadSpec, match="start at 1"):
        variance_band(rng.normal(size=(5, 3)), [0, 1, 2], level=0.9, rng=rng)
