"""What texts say of mixture weights: certain limits, and intervals of functions of the weights."""

from __future__ import annotations

import math

import numpy as np
import pytest

from beb.errors import BadSpec
from beb.estimate.weight_region import WeightRegion, certain_limits
from intervals import most_misses

LEVEL = 0.95


def parts(rng: np.random.Generator, k: int = 3, size: int = 12, spread: float = 1.0) -> np.ndarray:
    """(size, k) probabilities of texts under k components."""
    return np.asarray(rng.dirichlet(np.full(size, spread), size=k).T)


def drawn(rng: np.random.Generator, p: np.ndarray, weights: np.ndarray, n: int) -> np.ndarray:
    """(n, k) log-probabilities of texts of the mixture."""
    return np.asarray(np.log(p[rng.choice(len(p), size=n, p=p @ weights)]))


def test_certain_limits_hold_the_weights_of_every_mixture() -> None:
    widths = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        p, weights = parts(rng, spread=0.3) + 1e-9, rng.dirichlet(np.ones(3))
        p /= p.sum(axis=0)
        found = certain_limits(np.log(p @ weights), np.log(p))
        for i, each in enumerate(found):
            assert not each.refuted
            assert each.low <= -math.log(weights[i]) <= each.high
        widths += [each.high - each.low for each in found]
    assert np.median(widths) < 1


def test_what_no_mixture_can_be_is_refuted() -> None:
    p = np.array([[0.7, 0.1], [0.2, 0.3], [0.1, 0.6]])
    below, above = np.array([0.1, 0.15, 0.75]), np.array([0.2, 0.5, 0.3])
    for target in (below, above):
        found = certain_limits(np.log(target), np.log(p))
        assert all(each.refuted and math.isinf(each.high) and each.refuting > 0 for each in found)
    mixture = certain_limits(np.log(p @ [0.4, 0.6]), np.log(p))
    assert not mixture[0].refuted
    assert mixture[0].refuting == 0
    # Each text by itself lies between the components, but together they leave no weights.
    crossing = certain_limits(np.log([0.4, 0.21, 0.55]), np.log([[0.7, 0.1], [0.2, 0.3], [0.1, 0.6]]))
    assert crossing[0].refuted
    assert crossing[0].refuting == 0


def test_certain_limits_refuse_what_does_not_fit() -> None:
    with pytest.raises(BadSpec, match="finite number a text"):
        certain_limits(np.zeros(3), np.zeros((2, 2)))
    with pytest.raises(BadSpec, match="level"):
        WeightRegion.of(np.log(parts(np.random.default_rng(0)))).range(
            lambda w: (w[0], np.eye(3)[0]), np.ones(3), level=2
        )


def log_odds(weights: np.ndarray) -> tuple[float, np.ndarray]:
    """A function of the weights that is neither linear nor of one weight, and its gradient."""
    share = float(weights[1] / (weights[1] + weights[2]))
    slope = np.array([0.0, weights[2], -weights[1]]) / (weights[1] + weights[2]) ** 2
    return share, slope


def test_the_range_is_the_largest_and_smallest_value_of_a_grid() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        p, weights = parts(rng), rng.dirichlet(np.ones(3))
        region = WeightRegion.of(drawn(rng, p, weights, 80))
        low, high = region.range(log_odds, weights, level=LEVEL)
        grid = [
            np.array([a, b, 1 - a - b]) for a in np.linspace(0.001, 0.998, 220) for b in np.linspace(0.001, 0.998, 220)
            if a + b < 0.999
        ]  # fmt: skip
        inside = [log_odds(w)[0] for w in grid if region.deviance(w) <= 3.96]  # t² with 79 degrees of freedom
        assert low == pytest.approx(min(inside), abs=0.02)
        assert high == pytest.approx(max(inside), abs=0.02)


def test_certain_limits_narrow_the_range() -> None:
    rng = np.random.default_rng(3)
    p, weights = parts(rng, spread=0.3) + 1e-6, np.array([0.5, 0.3, 0.2])
    p /= p.sum(axis=0)
    texts = drawn(rng, p, weights, 40)
    free, limited = WeightRegion.of(texts), WeightRegion.of(texts, certain_limits(np.log(p @ weights), np.log(p)))
    wide, narrow = (each.range(log_odds, weights, level=LEVEL) for each in (free, limited))
    assert narrow[0] - 1e-6 <= log_odds(weights)[0] <= narrow[1] + 1e-6
    assert narrow[1] - narrow[0] < 0.5 * (wide[1] - wide[0])
    assert limited.best.sum() == pytest.approx(1)
    assert (limited.best >= limited.low - 1e-9).all()
    assert (limited.best <= limited.high + 1e-9).all()


def test_the_range_covers_the_truth() -> None:
    runs, misses, widths = 400, 0, []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        p, weights = parts(rng), rng.dirichlet(np.full(3, 2.0))
        low, high = WeightRegion.of(drawn(rng, p, weights, 60)).range(log_odds, weights, level=LEVEL)
        misses += not low - 1e-9 <= log_odds(weights)[0] <= high + 1e-9
        widths.append(high - low)
    assert misses <= most_misses(runs, LEVEL)
    assert np.median(widths) < 0.7
