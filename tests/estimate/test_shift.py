import math

import numpy as np
import pytest
from scipy.special import expit

from beb.errors import BadSpec, EstimateError, TooFewPrompts
from beb.estimate.shift import area_shift, midpoint, midpoint_difference, midpoint_shift, midpoints
from intervals import assert_cannot_be_halved, half_holds, most_misses

LENGTHS = np.arange(1, 11)
RESPONSES = 32
N_PROMPTS = 10
RUNS, LEVEL = 400, 0.95
LIMIT = most_misses(RUNS, LEVEL)


def _aligned_shares(rng: np.random.Generator, n_prompts: int) -> tuple[np.ndarray, np.ndarray]:
    """(n_prompts, 10) aligned shares with and without guardrail: own fall and shift per prompt."""
    fall = rng.normal(3.2, 0.6, (n_prompts, 1))
    earlier = fall - rng.normal(0.7, 0.3, (n_prompts, 1))
    return 0.97 * expit(-3 * (LENGTHS - fall)), 0.97 * expit(-3 * (LENGTHS - earlier))


def _observed(rng: np.random.Generator) -> list[np.ndarray]:
    return [2 * rng.binomial(RESPONSES, p) / RESPONSES - 1 for p in _aligned_shares(rng, N_PROMPTS)]


@pytest.fixture(scope="module")
def truth() -> dict[str, float]:
    """Shift of the exact mean curves (a million prompts, no response noise)."""
    curves = np.stack([2 * p.mean(axis=0) - 1 for p in _aligned_shares(np.random.default_rng(0), 1_000_000)])
    logistic = float(np.subtract(*midpoints(curves, LENGTHS.astype(float))))
    return {"logistic": logistic, "area": float(np.trapezoid(curves[0] - curves[1], LENGTHS)) / 2}


@pytest.mark.parametrize("kind", ["logistic", "area"])
def test_the_paired_shift_covers_the_truth(kind: str, truth: dict[str, float]) -> None:
    rng = np.random.default_rng(1)
    shift = area_shift if kind == "area" else midpoint_shift
    estimates = [shift(*_observed(rng), LENGTHS, level=LEVEL) for _ in range(RUNS)]
    assert sum(not e.low <= truth[kind] <= e.high for e in estimates) <= LIMIT
    assert_cannot_be_halved([half_holds(e, truth[kind]) for e in estimates], LEVEL)
    assert sum(e.low > 0 for e in estimates) > RUNS / 2, "most samples show that there is a shift"


def test_the_unpaired_difference_and_the_single_midpoint_cover_the_truth() -> None:
    shares = _aligned_shares(np.random.default_rng(0), 1_000_000)
    curves = np.stack([2 * p.mean(axis=0) - 1 for p in shares])
    exact = midpoints(curves, LENGTHS.astype(float))
    rng = np.random.default_rng(2)
    missed = {"single": 0, "difference": 0}
    halved = []
    for _ in range(RUNS):
        first, second = _observed(rng)[0], _observed(rng)[1][:6, :7]
        one = midpoint(first, LENGTHS, level=LEVEL)
        two = midpoint_difference(first, LENGTHS, second, LENGTHS[:7], level=LEVEL)
        missed["single"] += not one.low <= exact[0] <= one.high
        missed["difference"] += not two.low <= exact[0] - exact[1] <= two.high
        halved.append(half_holds(two, exact[0] - exact[1]))
        assert two.n == 6
    assert max(missed.values()) <= LIMIT, missed
    assert_cannot_be_halved(halved, LEVEL)


def test_the_logistic_midpoint_is_that_of_an_exact_logistic_with_any_floor() -> None:
    n = np.arange(1.0, 9.0)
    curves = np.stack([1 - (1 - low) * expit(1.7 * (n - m)) for low, m in ((-1.0, 3.3), (-0.6, 4.6))])
    assert midpoints(curves, n) == pytest.approx([3.3, 4.6], abs=1e-3)


def test_pairing_uses_the_pairs() -> None:
    rng = np.random.default_rng(5)
    a, b = _observed(rng)
    paired = area_shift(a, b, LENGTHS, level=LEVEL)
    shuffled = area_shift(a, b[rng.permutation(N_PROMPTS)], LENGTHS, level=LEVEL)
    assert paired.value == pytest.approx(shuffled.value)
    assert paired.width < shuffled.width
    backwards = midpoint_shift(b, a, LENGTHS, level=LEVEL)
    forwards = midpoint_shift(a, b, LENGTHS, level=LEVEL)
    assert (backwards.low, backwards.high) == pytest.approx((-forwards.high, -forwards.low), abs=0.02)


def test_what_is_not_determined_has_no_limits() -> None:
    flat = np.ones((4, 5))
    falls = np.tile([1.0, 1.0, -1.0, -1.0, -1.0], (4, 1))
    never = midpoint_shift(flat, falls, range(1, 6), level=LEVEL)
    assert (never.low, never.high) == (-math.inf, math.inf)
    alike = midpoint(falls, range(1, 6), level=LEVEL)
    assert alike.value == pytest.approx(2.5, abs=0.01)  # the steepest logistic that is tried
    assert (alike.low, alike.high) == (-math.inf, math.inf)
    assert area_shift(falls, falls, range(1, 6), level=LEVEL).width > 1, "agreement of 4 prompts is not exactness"


def test_bad_input_is_refused() -> None:
    falls = np.tile([1.0, 0.5, -0.5, -1.0], (3, 1))
    with pytest.raises(TooFewPrompts):
        midpoint(falls[:2], range(4), level=LEVEL)
    with pytest.raises(BadSpec, match="same prompts twice"):
        midpoint_shift(falls, np.vstack([falls, falls]), range(4), level=LEVEL)
    with pytest.raises(BadSpec, match="same prompts twice"):
        area_shift(falls, falls[:, :4].repeat(2, axis=0), range(4), level=LEVEL)
    with pytest.raises(BadSpec, match="4 are needed"):
        midpoint(falls[:, :3], range(3), level=LEVEL)
    with pytest.raises(EstimateError, match="outside its bounds"):
        midpoint(2 * falls, range(4), level=LEVEL)
    with pytest.raises(BadSpec, match="levels are"):
        area_shift(falls, falls, range(4), levels=(0.5, -0.5), level=LEVEL)
