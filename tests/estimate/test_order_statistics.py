import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beb.errors import BadSpec, EstimateError, TooFewPrompts
from beb.estimate.order_statistics import best_of, best_of_band, rank_weights, worst_case_best_of
from intervals import assert_cannot_be_halved, half_band_holds, most_misses

VALUES, SHARES = np.array([-1.0, 0.0, 0.4, 1.0]), np.array([0.5, 0.2, 0.2, 0.1])


def expected_best(n: int, values: np.ndarray = VALUES, shares: np.ndarray = SHARES) -> float:
    """E[max of n] from the distribution function."""
    cdf = np.cumsum(shares) ** n
    return float(values @ np.diff(cdf, prepend=0.0))


SCORES = st.lists(st.sampled_from([-1.0, -0.3, 0.0, 0.5, 1.0]), min_size=1, max_size=8)


@given(SCORES)
@settings(deadline=None, max_examples=60)
def test_it_is_the_mean_over_all_subsets_ties_included(scores: list[float]) -> None:
    sizes = range(1, len(scores) + 1)
    by_hand = [np.mean([max(subset) for subset in itertools.combinations(scores, n)]) for n in sizes]
    got = best_of(np.array([scores]), list(sizes))[0]
    assert got == pytest.approx(by_hand, abs=1e-12)
    assert got[0] == pytest.approx(np.mean(scores), abs=1e-12)
    assert got[-1] == max(scores)
    assert (np.diff(got) >= -1e-12).all()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_unbiased_by_enumeration_of_every_sample(n: int) -> None:
    n_responses = 4
    samples = np.array(list(itertools.product(range(4), repeat=n_responses)))
    probability = SHARES[samples].prod(axis=1)
    assert probability @ best_of(VALUES[samples], [n])[:, 0] == pytest.approx(expected_best(n), abs=1e-12)


def test_weights_stay_exact_where_binomials_overflow() -> None:
    weights = rank_weights(5000, [1, 2, 2500, 5000])
    assert weights.sum(axis=0) == pytest.approx(np.ones(4), abs=1e-12)
    assert weights[:, 0] == pytest.approx(np.full(5000, 1 / 5000), rel=1e-9)
    # C(i−1, 1)/C(5000, 2) for the second column; only the whole sample's maximum for the last.
    assert weights[:, 1] == pytest.approx(np.arange(5000) / math.comb(5000, 2), rel=1e-9)
    assert weights[:, 3].tolist() == [0.0] * 4999 + [1.0]
    assert weights[-1, 2] == pytest.approx(0.5, rel=1e-9)


def test_curves_over_lengths_and_missing_responses() -> None:
    scores = np.array([[[0.0, 1.0, np.nan], [np.nan, np.nan, np.nan]], [[-1.0, 0.0, 1.0], [0.5, np.nan, np.nan]]])
    got = best_of(scores, [1, 2, 3])
    assert got.shape == (2, 2, 3)
    assert got[0, 0] == pytest.approx([0.5, 1.0, np.nan], nan_ok=True)
    assert np.isnan(got[0, 1]).all()
    assert got[1, 0] == pytest.approx([0.0, 2 / 3, 1.0])
    assert got[1, 1] == pytest.approx([0.5, np.nan, np.nan], nan_ok=True)


def test_refusals() -> None:
    with pytest.raises(BadSpec, match=r"best of 8 needs at least 8 responses per prompt and has 4; raise --responses"):
        best_of(np.zeros((3, 4)), [1, 8])
    with pytest.raises(BadSpec, match="whole numbers"):
        best_of(np.zeros((3, 4)), [0])
    with pytest.raises(BadSpec, match="whole numbers"):
        best_of(np.zeros((3, 4)), [])
    with pytest.raises(EstimateError, match="shape"):
        best_of(np.zeros(4), [1])
    with pytest.raises(EstimateError, match="infinite"):
        best_of(np.full((2, 2), np.inf), [1])
    with pytest.raises(EstimateError, match="n_prompts, R"):
        best_of_band(np.zeros((3, 2, 4)), [1], level=0.9, rng=np.random.default_rng(0))
    half = np.array([[1.0, 0.0], [0.0, np.nan], [0.5, np.nan]])
    with pytest.raises(TooFewPrompts, match="best of 2 has 1 prompt"):
        best_of_band(half, [1, 2], level=0.9, rng=np.random.default_rng(0))


def test_band_covers_the_whole_curve() -> None:
    runs, level, sizes, n_prompts = 200, 0.9, [1, 2, 4, 6], 24
    rng = np.random.default_rng(20)
    # Prompts differ: each is one of two distributions of scores, so that responses of one prompt are a cluster.
    other = SHARES[::-1]
    truth = np.array([(expected_best(n) + expected_best(n, shares=other)) / 2 for n in sizes])
    missed, halved = 0, []
    for _ in range(runs):
        kind = rng.random(n_prompts) < 0.5
        first, second = (rng.choice(VALUES, p=p, size=(n_prompts, 6)) for p in (SHARES, other))
        scores = np.where(kind[:, None], first, second)
        scores[rng.random(scores.shape) < 0.03] = np.nan
        band = best_of_band(scores, sizes, level=level, rng=rng, bounds=(-1.0, 1.0), n_draws=400)
        missed += not all(lo <= t <= hi for lo, t, hi in zip(band.low, truth, band.high, strict=True))
        halved.append(half_band_holds(band, truth))
    assert missed <= most_misses(runs, level)
    assert_cannot_be_halved(halved, level)


def test_worst_case_holds_every_filling() -> None:
    rng = np.random.default_rng(3)
    full = rng.choice(VALUES, p=SHARES, size=(12, 5))
    scores = full.copy()
    scores[rng.random(full.shape) < 0.2] = np.nan
    e = worst_case_best_of(scores, 3, (-1.0, 1.0), level=0.9)
    for _ in range(50):
        filled = np.where(np.isnan(scores), rng.uniform(-1, 1, scores.shape), scores)
        assert e.low < best_of(filled, [3]).mean() < e.high
    assert e.n == 12
    assert "60 responses missing" in e.method
    nothing_missing = worst_case_best_of(full, 3, (-1.0, 1.0), level=0.9)
    assert nothing_missing.value == pytest.approx(best_of(full, [3]).mean())
    with pytest.raises(BadSpec, match="not finite"):
        worst_case_best_of(scores, 3, (-1.0, math.inf))


def test_rounding_never_carries_the_best_beyond_the_scores() -> None:
    for n_responses in range(2, 40):
        best = best_of(np.full((1, n_responses), 1.0), range(1, n_responses + 1))
        assert (best == 1.0).all()
