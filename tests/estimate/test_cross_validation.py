"""Accuracies by cross-validation: limits, chance, and choosing without looking."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from beb.errors import BadSpec, TooFewPrompts
from beb.estimate.cross_validation import accuracy_band, chance_p, effective_texts, nested_choice, pooled_accuracy


def right_of(rng: np.random.Generator, n: int, accuracies: list[float], correlation: float = 0.0) -> np.ndarray:
    """(n, k) judgements that are right with the given probabilities, correlated between columns by a shared normal."""
    shared = rng.standard_normal((n, 1)) * np.sqrt(correlation)
    own = rng.standard_normal((n, len(accuracies))) * np.sqrt(1 - correlation)
    return shared + own < norm.ppf(accuracies)


def test_one_accuracy_is_wilsons_at_the_effective_number() -> None:
    right = np.arange(180) < 126
    found = pooled_accuracy(right, n_folds=5, level=0.95, unit="share")
    wilson = binomtest(70, 100).proportion_ci(method="wilson")
    assert (found.value, found.n) == (0.7, 180)
    assert found.low == pytest.approx(wilson.low)
    assert found.high == pytest.approx(wilson.high)
    assert effective_texts(180, 5) == pytest.approx(100)


def test_the_band_is_wider_than_each_point_and_less_wide_the_more_alike_the_columns() -> None:
    rng = np.random.default_rng(0)
    accuracies = [0.7] * 30
    widths = {}
    for correlation in (0.0, 0.95):
        right = right_of(rng, 300, accuracies, correlation)
        band = accuracy_band(right, range(30), n_folds=5, level=0.95, rng=rng, unit="share")
        assert all(a < b for a, b in zip(band.low, band.pointwise_low, strict=True))
        assert all(a > b for a, b in zip(band.high, band.pointwise_high, strict=True))
        widths[correlation] = np.mean(np.subtract(band.high, band.low))
    own = np.mean(np.subtract(band.pointwise_high, band.pointwise_low))
    assert own < widths[0.95] < widths[0.0] < own * norm.isf(0.025 / 30) / norm.isf(0.025) * 1.05


def test_a_column_without_errors_has_a_lower_limit_below_one() -> None:
    right = np.ones((100, 3))
    band = accuracy_band(right, range(3), n_folds=5, level=0.95, rng=np.random.default_rng(1), unit="share")
    assert band.high == (1.0, 1.0, 1.0)
    assert all(0.85 < low < point < 1 for low, point in zip(band.low, band.pointwise_low, strict=True))


def test_chance_counts_the_columns() -> None:
    right = np.zeros((180, 1))
    right[:105] = 1
    (one, many) = (chance_p(np.repeat(right, k, axis=1), n_folds=5) for k in (1, 20))
    assert one == pytest.approx(norm.sf((105 / 180 - 0.5) * 2 * 10))
    assert many == pytest.approx(20 * one)
    assert chance_p(np.zeros((50, 4)), n_folds=5) == 1.0


def test_a_column_that_is_only_lucky_where_it_is_judged_is_not_chosen() -> None:
    folds = np.repeat(np.arange(5), 20)
    outer = np.zeros((100, 6), dtype=bool)
    outer[:, 5] = np.arange(100) % 10 < 7  # a true accuracy of 0.7
    for fold in range(5):
        outer[folds == fold, fold] = True  # always right in one fold, never elsewhere
    inner = np.broadcast_to(outer, (5, 100, 6))
    chosen, right = nested_choice(inner, outer, folds)
    assert chosen.tolist() == [5] * 5
    assert right.mean() == pytest.approx(0.7)


def test_too_little_is_refused() -> None:
    with pytest.raises(BadSpec, match="6 folds of 5 texts"):
        pooled_accuracy([True] * 5, n_folds=6, level=0.95, unit="share")
    with pytest.raises(TooFewPrompts):
        pooled_accuracy([True], n_folds=5, level=0.95, unit="share")
    with pytest.raises(BadSpec, match="3 columns and 2 layers"):
        accuracy_band(np.ones((9, 3)), [0, 1], n_folds=3, level=0.9, rng=np.random.default_rng(0), unit="share")
