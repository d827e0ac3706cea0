import math

import numpy as np
import pytest

from beb.core.bounds import propagate, relaxed
from beb.errors import BadSpec, EstimateError, TooFewPrompts
from beb.estimate.bands import mean_band
from beb.estimate.decay import ETA_TOP, beta_under, fit_decay
from intervals import assert_cannot_be_halved, half_holds, most_misses

SENTENCES = range(1, 9)


def divergences(rng: np.random.Generator, beta: float, eta: float, n_prompts: int) -> np.ndarray:
    """(n_prompts, 8) skewed positive values with mean β/k^η; sentences of one prompt share a factor."""
    shared = rng.gamma(8.0, 1 / 8.0, size=(n_prompts, 1))
    own = rng.gamma(3.0, 1 / 3.0, size=(n_prompts, 8))
    return beta * np.arange(1, 9) ** -eta * shared * own


def test_an_exact_law_is_found_exactly() -> None:
    rng = np.random.default_rng(0)
    exact = 5 * np.arange(1.0, 9) ** -0.4
    # Each prompt has a factor of its own, so that the mean curve is the law times the mean factor.
    factors = rng.uniform(0.5, 1.5, size=(20, 1))
    fit = fit_decay(exact * factors, SENTENCES, level=0.9, rng=rng)
    assert fit.eta_measured.value == pytest.approx(0.4, abs=1e-9)
    assert fit.beta.value == pytest.approx(5 * factors.mean(), rel=1e-9)
    assert fit.fitted == pytest.approx(tuple(exact * factors.mean()), rel=1e-9)
    assert fit.note == ""
    assert fit.beta.unit == "nats per sentence"


@pytest.mark.parametrize(("beta", "eta", "n_prompts"), [(4.0, 0.35, 20), (4.0, 0.0, 20), (0.5, 0.9, 40)])
def test_limits_cover_alone_and_together_and_carry_into_the_bound(beta: float, eta: float, n_prompts: int) -> None:
    runs, level = 200, 0.9
    rng = np.random.default_rng(int(100 * eta) + n_prompts)
    fixed = {"log_inverse_alpha": 6.0, "gamma": -0.5, "epsilon": 0.2}
    truth = relaxed(beta=beta, eta=eta, **fixed).sharp
    missed, halved, finite = np.zeros(5), [], 0
    for _ in range(runs):
        fit = fit_decay(divergences(rng, beta, eta, n_prompts), SENTENCES, level=level, rng=rng, n_draws=400)
        joint = fit.eta_joint.low <= eta <= fit.eta_joint.high and fit.beta_joint.low <= beta <= fit.beta_joint.high
        length = propagate(relaxed, {"eta": fit.eta_joint, "beta": fit.beta_joint}, fixed).sharp
        missed += [
            not fit.eta.low <= eta <= fit.eta.high,
            not fit.eta_measured.low <= eta <= fit.eta_measured.high,
            not fit.beta.low <= beta <= fit.beta.high,
            not joint,
            not length.low <= truth <= length.high,
        ]
        halved.append(
            [
                half_holds(fit.eta_measured, eta),
                half_holds(fit.beta, beta),
                half_holds(fit.eta_joint, eta) and half_holds(fit.beta_joint, beta),
            ]
        )
        finite += math.isfinite(length.high)
        assert 0 <= fit.eta.low < fit.eta.high < 1
        assert bool(fit.note) == (not 0 < fit.eta_measured.value < 1)
    assert (missed <= most_misses(runs, level)).all(), missed
    for each in zip(*halved, strict=True):
        assert_cannot_be_halved(each, level)
    assert finite == runs


def test_exponents_outside_the_theorem_are_cut_and_said() -> None:
    rng = np.random.default_rng(4)
    rising = fit_decay(divergences(rng, 2.0, -0.5, 60), SENTENCES, level=0.9, rng=rng)
    assert rising.eta_measured.high < 0
    assert (rising.eta.value, rising.eta.low) == (0.0, 0.0)
    assert rising.eta.high > 0
    assert "does not fall" in rising.note
    steep = fit_decay(divergences(rng, 2.0, 1.6, 60), SENTENCES, level=0.9, rng=rng)
    assert steep.eta_measured.low > 1
    assert steep.eta.value == steep.eta.high == ETA_TOP
    assert "no bound" in steep.note


def test_the_same_prompts_in_another_order_give_the_same_limits() -> None:
    y = divergences(np.random.default_rng(2), 3.0, 0.3, 15)
    first, second = (
        fit_decay(rows, SENTENCES, level=0.9, rng=np.random.default_rng(1), n_draws=300) for rows in (y, y[::-1])
    )
    assert first == second


def test_beta_under_holds_at_every_sentence_whatever_eta() -> None:
    runs, level, beta = 150, 0.9, 4.0
    rng = np.random.default_rng(17)
    missed, lows = 0, []
    for _ in range(runs):
        y = divergences(rng, beta, 0.35, 24)
        band = mean_band(y, range(8), level=level, rng=rng, unit="nats", n_draws=400, bounds=(0.0, math.inf))
        # η after seeing the curve: the worst of several must still be right, as the promise is for all η at once.
        curve = beta * np.arange(1, 9) ** -0.35
        wrong = False
        for eta in (0.0, 0.2, 0.35, 0.6):
            e = beta_under(band, eta)
            truth = float((curve * np.arange(1, 9) ** eta).min())
            wrong |= not e.low <= truth <= e.high
            if eta == 0.35:
                lows.append(e.low)
        missed += wrong
    assert missed <= most_misses(runs, level)
    assert np.median(lows) > beta / 3
    with pytest.raises(BadSpec, match="eta"):
        beta_under(band, 1.0)


def test_refusals() -> None:
    rng = np.random.default_rng(0)
    y = divergences(rng, 3.0, 0.3, 10)
    with pytest.raises(BadSpec, match="needs at least 2"):
        fit_decay(y[:, :1], [1], level=0.9, rng=rng)
    with pytest.raises(BadSpec, match="start at 1"):
        fit_decay(y, range(8), level=0.9, rng=rng)
    with pytest.raises(TooFewPrompts):
        fit_decay(y[:2], SENTENCES, level=0.9, rng=rng)
    with pytest.raises(EstimateError, match="sentence 3 is -1 nats"):
        fit_decay(np.where(np.arange(8) == 2, -1.0, y), SENTENCES, level=0.9, rng=rng)
    with pytest.raises(EstimateError, match="all 10 prompts agree"):
        fit_decay(np.tile(y[:1], (10, 1)), SENTENCES, level=0.9, rng=rng)
