"""Differences of logistic fits: coverage where the law is true, pairing, and what is not identified."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit

from beb.errors import BadSpec
from beb.estimate.logistic_contrast import FittedSample, LogisticDifference, logistic_difference
from intervals import most_misses

LEVEL, RUNS = 0.95, 60
LENGTHS, PROMPTS, RESPONSES = tuple(range(7)), 40, 4
LOW, HIGH = -0.8, 0.7


def sample(rng: np.random.Generator, uniforms: np.ndarray, *, midpoint: float, slope: float) -> FittedSample:
    """Responses of ±1 whose mean follows the law exactly; equal uniforms make two samples dependent."""
    curve = HIGH + (LOW - HIGH) * expit(slope * (np.array(LENGTHS) - midpoint))
    behavior = np.where(uniforms < (1 + curve[None, :, None]) / 2, 1.0, -1.0).mean(axis=2)
    own = np.where(rng.random((len(uniforms), 6)) < (1 + LOW) / 2, 1.0, -1.0).mean(axis=1)
    return FittedSample(behavior, own)


def two(
    seed: int, *, paired: bool, before: tuple[float, float] = (2.0, 1.5), after: tuple[float, float] = (3.5, 1.2)
) -> LogisticDifference:
    rng = np.random.default_rng(seed)
    uniforms = [rng.random((PROMPTS, len(LENGTHS), RESPONSES)) for _ in range(2)]
    sides = [sample(rng, uniforms[0 if paired else i], midpoint=m, slope=s) for i, (m, s) in enumerate((before, after))]
    return logistic_difference(*sides, LENGTHS, paired=paired, level=LEVEL, rng=np.random.default_rng([seed, 1]))


@pytest.fixture(scope="module")
def found() -> dict[bool, list[LogisticDifference]]:
    return {paired: [two(seed, paired=paired) for seed in range(RUNS)] for paired in (True, False)}


@pytest.mark.parametrize("paired", [True, False])
def test_every_difference_covers_the_truth(found: dict[bool, list[LogisticDifference]], paired: bool) -> None:
    true = {"midpoint": 1.5, "slope": -0.3, "log_inverse_alpha": np.logaddexp(0, 4.2) - np.logaddexp(0, 3.0)}
    for name, value in true.items():
        intervals = [getattr(each, name) for each in found[paired]]
        misses = sum(not e.low <= value <= e.high for e in intervals)
        assert misses <= most_misses(RUNS, LEVEL), name
    for i, value in enumerate((3.0, 4.2)):
        readings = [each.readings[i] for each in found[paired]]
        misses = sum(not e.low <= np.logaddexp(0, value) <= e.high for e in readings)
        assert misses <= most_misses(RUNS, LEVEL)


def test_a_midpoint_is_found_to_less_than_a_sentence_and_better_in_pairs(
    found: dict[bool, list[LogisticDifference]],
) -> None:
    widths = {
        paired: float(np.median([each.midpoint.width for each in each_kind])) for paired, each_kind in found.items()
    }
    assert widths[True] < widths[False] < 1.5
    assert any("jackknife" in each.midpoint.method for each in found[True])


def test_a_curve_that_does_not_fall_leaves_its_midpoint_unlimited() -> None:
    one = two(0, paired=True, after=(40.0, 1.0))
    assert one.midpoint.high == math.inf
    assert "two intervals" in one.midpoint.method
    assert one.log_inverse_alpha.high == math.inf
    assert math.isfinite(one.midpoint.value)


def test_a_level_must_be_one() -> None:
    rng = np.random.default_rng(0)
    side = sample(rng, rng.random((PROMPTS, len(LENGTHS), RESPONSES)), midpoint=2.0, slope=1.0)
    with pytest.raises(BadSpec, match="confidence level"):
        logistic_difference(side, side, LENGTHS, paired=True, level=95.0, rng=rng)
