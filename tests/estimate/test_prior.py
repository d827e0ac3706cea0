"""log 1/α on exact mixtures (known by enumeration) and on proxies that are no component."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from beb.errors import BadSpec, TooFewPrompts
from beb.estimate.prior import cap, line_reading, plateau
from intervals import assert_cannot_be_halved, half_holds

RUNS, LEVEL, N = 400, 0.9, 8
LENGTHS = np.arange(1, N + 1)


@pytest.fixture
def world(mixture_world):
    return mixture_world(0.05, N)


def proxy_evidence(world, texts):
    """L0 = log Q/P of a proxy Q that is not the component: prompts come from `world.start[0]`, P holds another P₋."""
    other = replace(world, step=np.stack([world.step[0][[1, 2, 0]], world.step[1]]))
    proxy = world.log_probs(texts)[0]
    inside, positive = other.log_probs(texts)
    target = np.logaddexp(np.log(world.alpha) + inside, np.log1p(-world.alpha) + positive)
    return proxy - target, proxy - positive


def test_cap_never_exceeds_the_truth(world, rng):
    texts, _ = world.every_text()
    limits = cap(world.evidence(texts), LENGTHS)
    truth = math.log(1 / world.alpha)
    assert all(0 <= e.low == e.value <= truth for e in limits)
    assert limits[-1].low > truth - 0.1
    assert all(e.high == math.inf and e.level == 1 for e in limits)
    assert cap(-np.ones((1, 2)), [1, 2])[0].value == 0


@pytest.mark.parametrize("n", [12, 24])
def test_plateau_covers_its_line_and_never_contradicts_a_mixture(n, world, rng, assert_covers, holds):
    texts, p = world.every_text()
    evidence = p @ world.evidence(texts)
    slope, intercept = np.polyfit(LENGTHS[4:], evidence[4:], 1)
    found, halved = {"intercept": [], "kappa": [], "band": [], "transition": []}, []
    verdicts = []
    for _ in range(RUNS):
        s = world.sample(n, rng)
        fit = plateau(world.evidence(s), LENGTHS, level=LEVEL, log_ratio=world.log_ratio(s), rng=rng)
        band = fit.effective_log_inverse_weight
        found["intercept"].append(holds(fit.log_inverse_alpha, intercept))
        found["kappa"].append(holds(fit.kappa, slope))
        found["band"].append(bool(((np.array(band.low) <= evidence) & (evidence <= np.array(band.high))).all()))
        found["transition"].append(fit.allowance >= slope)
        halved.append(half_holds(fit.kappa, slope))
        verdicts.append(fit.verdict)
    for hits in found.values():
        assert_covers(hits)
    assert fit.first == 5
    assert_cannot_be_halved(halved, LEVEL)
    assert np.mean([v == "mixture contradicted" for v in verdicts]) <= 0.01


def affinity(world, n):
    """Σ √(P₋P₊) over all texts of n sentences."""
    steps = np.linalg.matrix_power(np.sqrt(world.step.prod(axis=0)), n - 1)
    return float(np.sqrt(world.start.prod(axis=0)) @ steps @ np.ones(3))


def test_reached_plateau_reads_alpha(mixture_world, rng):
    """At α = ½, log 1/α − L0 = log 1/w = log(1 + e^{−L}) <= e^{−L/2}, whose mean under P₋ is the affinity.

    The texts are so long that the affinities of a window of 11 lengths sum to 1e-9; by Markov's inequality the means
    of log 1/w over it then sum to more than 1e-3 with a probability of at most 1e-6.
    """
    window, within = 11, 1e-3
    n = next(
        n for n in range(window, 1000) if window * affinity(mixture_world(0.5, n), n - window + 1) <= 1e-6 * within
    )
    world, lengths = mixture_world(0.5, n), np.arange(1, n + 1)
    s = world.sample(24, rng)
    fit = plateau(world.evidence(s), lengths, level=0.95, first=n - window + 1, log_ratio=world.log_ratio(s))
    assert math.log(2) - within <= fit.effective_log_inverse_weight.value[-1] <= math.log(2) + 1e-12
    centred = np.arange(window) - (window - 1) / 2
    assert abs(fit.kappa.value) <= within * np.abs(centred / (centred @ centred)).max()
    assert fit.verdict != "mixture contradicted"


def test_proxy_gap_is_found(world, rng, assert_covers, holds):
    texts, p = world.every_text()
    evidence = p @ proxy_evidence(world, texts)[0]
    slope = np.polyfit(LENGTHS[4:], evidence[4:], 1)[0]
    hits = []
    for _ in range(RUNS):
        l0, ratio = proxy_evidence(world, world.sample(24, rng))
        hits.append(holds(plateau(l0, LENGTHS, level=LEVEL, log_ratio=ratio, rng=rng).kappa, slope))
    assert_covers(hits)


def test_steady_slope_contradicts_and_transition_does_not(rng):
    """Target far from P₊ on these texts (w = 1) while the evidence keeps rising: no mixture does that."""
    steps = rng.gamma(2.0, 1.0, (24, N))
    rising = 3 + np.cumsum(0.5 + 0.1 * rng.normal(size=(24, N)), axis=1)
    far = np.cumsum(steps, axis=1) + 10 + rising
    contradicted = plateau(rising, LENGTHS, level=0.95, log_ratio=far)
    assert contradicted.verdict == "mixture contradicted"
    assert contradicted.kappa.low > contradicted.allowance
    assert plateau(rising, LENGTHS, level=0.95).verdict == "undecided"
    no_sign = plateau(rising, LENGTHS, level=0.95, log_ratio=rising - 0.1)
    assert no_sign.transition_slope is None
    assert no_sign.verdict == "undecided"
    flat = plateau(3 + rng.normal(size=(24, N)), LENGTHS, level=0.95)
    assert flat.verdict == "mixture not contradicted"


@pytest.mark.parametrize("n", [12, 24])
def test_line_reading_covers(n, world, rng, assert_covers, holds):
    texts, p = world.every_text()
    truth = p @ world.kl_to_target(texts)[:, :3]
    slope, intercept = np.polyfit(np.arange(3), truth, 1)
    found, halved = {"intercept": [], "beta": [], "ratio": []}, []
    for _ in range(RUNS):
        fit = line_reading(world.kl_to_target(world.sample(n, rng)), level=LEVEL)
        found["intercept"].append(holds(fit.log_inverse_alpha, intercept))
        found["beta"].append(holds(fit.beta, -slope))
        found["ratio"].append(fit.ratio is None or holds(fit.ratio, -intercept / slope))
        halved.append(half_holds(fit.log_inverse_alpha, intercept))
    for hits in found.values():
        assert_covers(hits)
    assert_cannot_be_halved(halved, LEVEL)


def test_fieller_covers_skewed_ratios_and_opens_when_the_slope_is_unclear(rng, assert_covers, holds):
    hits, halved = [], []
    for _ in range(RUNS):
        a, b = 10 + rng.gamma(1.0, 2.0, 24), 2 + rng.gamma(1.0, 1.0, 24)
        e = line_reading(np.column_stack([a, a - b, a - 2 * b]), level=LEVEL).ratio
        hits.append(holds(e, 12 / 3))
        halved.append(half_holds(e, 12 / 3))
    assert_covers(hits)
    assert_cannot_be_halved(halved, LEVEL)
    unclear = rng.normal(0.1, 3.0, 24)
    unclear += max(0.0, 0.05 - unclear.mean())
    fit = line_reading(np.column_stack([a, a - unclear, a - 2 * unclear]), level=0.95)
    assert fit.ratio is not None
    assert fit.ratio.high == math.inf
    rising = line_reading(np.column_stack([a, a + b, a + 2 * b]), level=0.95)
    assert rising.ratio is None
    assert rising.beta.high < 0


def test_refusals(rng):
    x = rng.normal(size=(5, 4))
    with pytest.raises(TooFewPrompts, match="evidence has 1 prompt"):
        plateau(x[:1], [1, 2, 3, 4], level=0.95)
    with pytest.raises(BadSpec, match="at least 3"):
        plateau(x[:, :2], [1, 2], level=0.95)
    with pytest.raises(BadSpec, match="lower `first`"):
        plateau(x, [1, 2, 3, 4], level=0.95, first=3)
    with pytest.raises(BadSpec, match="same cells"):
        plateau(x, [1, 2, 3, 4], level=0.95, log_ratio=x[:, :3])
    with pytest.raises(BadSpec, match="has 2 points"):
        line_reading(x[:, :2], level=0.95)
