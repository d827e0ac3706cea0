"""Several curves of the same prompts: their bands hold all together."""

from __future__ import annotations

import numpy as np
import pytest

from beb.errors import BadSpec, TooFewPrompts
from beb.estimate.bands import mean_band
from beb.estimate.families import mean_bands
from intervals import most_misses

LENGTHS = (0, 1, 2)
OPTIONS = {"level": 0.9, "unit": "behavior", "bounds": (-1.0, 1.0)}


def curves(rng: np.random.Generator, n_prompts: int = 16) -> dict[int, np.ndarray]:
    """Two curves, the second the better of two draws: dependent, skewed, bounded."""
    draws = rng.beta(2, 5, size=(n_prompts, 3, 2)) * 2 - 1
    return {1: draws[:, :, 0], 2: draws.max(axis=2)}


def test_all_curves_are_covered_together() -> None:
    runs = 120
    truth = {
        1: 2 * 2 / 7 - 1,
        2: float(np.mean(np.random.default_rng(0).beta(2, 5, (2_000_000, 2)).max(axis=1)) * 2 - 1),
    }
    missed, widths = 0, []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        found = mean_bands(curves(rng), LENGTHS, rng=rng, **OPTIONS)
        missed += any(
            not lo <= truth[key] <= hi
            for key, band in found.items()
            for lo, hi in zip(band.low, band.high, strict=True)
        )
        widths.append(np.median(np.subtract(found[2].high, found[2].low)))
    assert missed <= most_misses(runs, 0.9)
    assert np.median(widths) < 0.6


def test_one_curve_alone_is_its_band() -> None:
    values = curves(np.random.default_rng(1))[1]
    (alone,) = mean_bands({"x": values}, LENGTHS, rng=np.random.default_rng(2), **OPTIONS).values()
    band = mean_band(values, LENGTHS, rng=np.random.default_rng(2), **OPTIONS)
    assert alone.value == pytest.approx(band.value)
    assert alone.pointwise_low == pytest.approx(band.pointwise_low)
    assert alone.low == pytest.approx(band.low)
    assert alone.high == pytest.approx(band.high)


def test_a_family_is_wider_than_its_members_and_agreement_is_not_certainty() -> None:
    values = curves(np.random.default_rng(3))
    values[2][:, 1] = 1.0
    both = mean_bands(values, LENGTHS, rng=np.random.default_rng(4), **OPTIONS)
    alone = mean_bands({1: values[1]}, LENGTHS, rng=np.random.default_rng(4), **OPTIONS)
    assert all(a <= b for a, b in zip(both[1].low, alone[1].low, strict=True))
    assert both[2].high[1] == 1.0
    assert -0.5 < both[2].low[1] < 0.9


def test_rare_departures_from_a_bound_are_not_missed() -> None:
    # One prompt in twelve departs from 1, by up to 2: a sample of 16 holds few, from which a studentised interval takes
    # its width.
    runs, missed = 120, 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        y = np.where(rng.random((16, 3)) < 1 / 12, 1 - 2 * rng.random((16, 3)), 1.0)
        (band,) = mean_bands({"x": y}, LENGTHS, rng=rng, **OPTIONS).values()
        truth = 11 / 12
        missed += not max(band.low) <= truth <= min(band.high)
    assert missed <= most_misses(runs, 0.9)


def test_refusals() -> None:
    values = curves(np.random.default_rng(5))
    with pytest.raises(BadSpec, match="same prompts and lengths"):
        mean_bands({1: values[1], 2: values[2][:8]}, LENGTHS, rng=np.random.default_rng(0), **OPTIONS)
    values[2][1:, 0] = np.nan
    with pytest.raises(TooFewPrompts):
        mean_bands(values, LENGTHS, rng=np.random.default_rng(0), **OPTIONS)
