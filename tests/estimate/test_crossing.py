"""Crossings of behavior curves: coverage where the true curve is known, one-sided answers, and refusals."""

import math

import numpy as np
import pytest
from scipy.special import expit

from beb.errors import BadSpec, EstimateError, TooFewPrompts
from beb.estimate.crossing import crossing, crossing_difference, crossing_shift, first_crossings
from intervals import most_misses

LENGTHS = np.arange(6)
RUNS, LEVEL = 600, 0.9
LIMIT = most_misses(RUNS, LEVEL)


def shares(rng: np.random.Generator, n_prompts: int, steepness: float) -> tuple[np.ndarray, np.ndarray]:
    """(n_prompts, 6) probability of a good response with and without guardrail; each prompt falls at its own length."""
    fall = rng.normal(3.3, 0.7, (n_prompts, 1))
    earlier = fall - rng.normal(1.2, 0.4, (n_prompts, 1))
    return 0.95 * expit(-steepness * (LENGTHS - fall)), 0.95 * expit(-steepness * (LENGTHS - earlier))


def exact(steepness: float) -> np.ndarray:
    curves = np.stack([2 * p.mean(axis=0) - 1 for p in shares(np.random.default_rng(0), 400_000, steepness)])
    return first_crossings(curves, LENGTHS.astype(float))


@pytest.mark.parametrize("responses", [1, 8])
@pytest.mark.parametrize("steepness", [0.8, 3.0])
@pytest.mark.parametrize("n_prompts", [12, 40])
def test_crossing_and_paired_shift_cover_the_truth(n_prompts: int, steepness: float, responses: int) -> None:
    rng, true = np.random.default_rng(1), exact(steepness)
    missed, widths = {"one": 0, "shift": 0, "difference": 0}, []
    for _ in range(RUNS):
        moved, base = (2 * rng.binomial(responses, p) / responses - 1 for p in shares(rng, n_prompts, steepness))
        one, shift = crossing(moved, LENGTHS, level=LEVEL), crossing_shift(moved, base, LENGTHS, level=LEVEL)
        missed["one"] += not one.low <= true[0] <= one.high
        missed["shift"] += not shift.low <= true[0] - true[1] <= shift.high
        others = 2 * rng.binomial(responses, shares(rng, n_prompts, steepness)[1][: n_prompts // 2, :5]) / responses - 1
        apart = crossing_difference(moved, LENGTHS, others, LENGTHS[:5], level=LEVEL)
        missed["difference"] += not apart.low <= true[0] - true[1] <= apart.high
        assert apart.n == n_prompts // 2
        widths.append(shift.width)
    assert max(missed.values()) <= LIMIT, missed
    if n_prompts == 40 and steepness == 3:
        assert np.median(widths) < 1


def test_crossing_interpolates_and_says_when_there_is_none() -> None:
    curves = np.array([[1.0, 0.5, -0.5, -1.0], [0.9, 0.8, 0.7, 0.6], [-0.1, -0.2, -1.0, -1.0], [1.0, 0.0, 0.5, -1.0]])
    found = first_crossings(curves, np.array([1.0, 2.0, 4.0, 5.0]))
    assert found == pytest.approx([3.0, math.inf, -math.inf, 2.0])


def test_it_agrees_with_the_plain_reading() -> None:
    curve = np.tile([1.0, 0.5, -0.5, -1.0], (50, 1)) + np.random.default_rng(2).normal(0, 0.05, (50, 1))
    found = crossing(np.clip(curve, -1, 1), [1, 2, 4, 5], level=LEVEL)
    assert found.low < 3 < found.high
    assert found.width < 2
    same = crossing_shift(np.clip(curve, -1, 1), np.clip(curve, -1, 1), [1, 2, 4, 5], level=LEVEL)
    assert same.low < same.value == 0 < same.high


def test_swapping_the_curves_turns_the_sign() -> None:
    moved, base = (2 * rng_p - 1 for rng_p in shares(np.random.default_rng(3), 12, 2.0))
    there = crossing_shift(moved, base, LENGTHS, level=LEVEL)
    back = crossing_shift(base, moved, LENGTHS, level=LEVEL)
    assert (back.low, back.value, back.high) == pytest.approx((-there.high, -there.value, -there.low))


def test_pairing_uses_the_pairs() -> None:
    rng = np.random.default_rng(4)
    moved, base = (2 * p - 1 for p in shares(rng, 30, 3.0))
    order = rng.permutation(30)
    paired = crossing_shift(moved, base, LENGTHS, level=LEVEL)
    mixed = crossing_shift(moved[order], base, LENGTHS, level=LEVEL)
    assert paired.value == pytest.approx(mixed.value)
    assert paired.width < mixed.width


def test_a_curve_that_never_crosses_has_a_limit_on_one_side_only() -> None:
    rng = np.random.default_rng(5)
    high = np.where(rng.random((30, 6)) < 0.95, 1.0, -1.0)
    falls = np.tile([1.0, 1.0, -1.0, -1.0, -1.0, -1.0], (30, 1))
    never = crossing(high, LENGTHS, level=LEVEL)
    assert (never.value, never.high) == (math.inf, math.inf)
    assert never.low > 4
    held_off = crossing_shift(high, falls, LENGTHS, level=LEVEL)
    assert held_off.high == math.inf
    assert 2 < held_off.low < 5
    sunk = crossing(-high, LENGTHS, level=LEVEL)
    assert (sunk.value, sunk.low) == (-math.inf, -math.inf)
    assert sunk.high < 1
    nothing = crossing_shift(high, high, LENGTHS, level=LEVEL)
    assert (nothing.low, nothing.high) == (-math.inf, math.inf)


def test_prompts_that_all_agree_are_not_certainty() -> None:
    falls = np.tile([1.0, 1.0, -1.0, -1.0], (4, 1))
    few, many = crossing(falls, range(4), level=LEVEL), crossing(np.tile(falls, (20, 1)), range(4), level=LEVEL)
    assert few.value == many.value == 1.5
    assert 0 < many.width < few.width


def test_bad_input_is_refused() -> None:
    falls = np.tile([1.0, 0.5, -0.5, -1.0], (3, 1))
    with pytest.raises(TooFewPrompts):
        crossing(falls[:2], range(4), level=LEVEL)
    with pytest.raises(EstimateError, match="outside its bounds"):
        crossing(2 * falls, range(4), level=LEVEL)
    with pytest.raises(BadSpec, match="same prompts twice"):
        crossing_shift(falls, np.vstack([falls, falls]), range(4), level=LEVEL)
    with pytest.raises(BadSpec, match="needs 2"):
        crossing(falls[:, :1], [0], level=LEVEL)
