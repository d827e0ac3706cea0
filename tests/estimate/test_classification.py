"""Misclassification correction: unbiased scores, and coverage with estimated error rates."""

from __future__ import annotations

import numpy as np
import pytest

from beb.errors import BadSpec, EstimateError, TooFewPrompts
from beb.estimate.classification import corrected_band, corrected_mean, corrected_scores
from beb.estimate.means import cluster_mean
from intervals import assert_cannot_be_halved, half_band_holds, half_holds

RUNS, LEVEL = 400, 0.9
RATES = np.array([[0.85, 0.1, 0.05], [0.15, 0.75, 0.1], [0.02, 0.13, 0.85]])
VALUES = np.array([-1.0, 0.0, 1.0])


def world(n, k, rng, share_of_positive, n_labelled=60):
    """Predicted classes (n, k, 4) of responses whose true class depends on the prompt; a confusion table."""
    share = share_of_positive * rng.beta(4.0, 1.0, (n, 1, 1)) / 0.8
    u = rng.random((n, k, 4))
    true = np.where(u < share, 2, np.where(u < share + 0.1, 1, 0))
    predicted = (rng.random((n, k, 4, 1)) > np.cumsum(RATES, axis=1)[true]).sum(axis=-1).clip(0, 2)
    confusion = np.stack([rng.multinomial(n_labelled, row) for row in RATES])
    return predicted, confusion, 2 * share_of_positive - 0.9


def test_scores_undo_the_expected_error():
    counts = np.round(RATES * 1e6)
    assert RATES @ corrected_scores(counts) == pytest.approx(VALUES, abs=1e-5)
    perfect = corrected_scores(np.diag([1000, 1000, 1000]))
    assert perfect == pytest.approx(VALUES, abs=0.002)


@pytest.mark.parametrize("n", [12, 24])
@pytest.mark.parametrize("share", [0.15, 0.6])
def test_corrected_mean_covers_and_the_raw_one_does_not(share, n, rng, assert_covers, holds):
    hits, halved, raw = [], [], []
    for _ in range(RUNS):
        predicted, confusion, truth = world(n, 1, rng, share)
        predicted[rng.random(predicted.shape) < 0.05] = -1
        e = corrected_mean(predicted[:, 0], confusion, level=LEVEL, unit="B")
        hits.append(holds(e, truth))
        halved.append(half_holds(e, truth))
        scores = np.where(predicted[:, 0] < 0, np.nan, predicted[:, 0] - 1.0)
        raw.append(holds(cluster_mean(scores, level=LEVEL, unit="B"), truth))
    assert_covers(hits)
    assert_cannot_be_halved(halved, LEVEL)
    if n == 24 and share < 0.5:
        assert np.mean(raw) < np.mean(hits)


def test_error_rates_dominate_when_responses_are_many(rng, assert_covers, holds):
    """With 100 clusters the clusters' own error is negligible: the interval must still cover."""
    hits = []
    for _ in range(RUNS):
        predicted, confusion, truth = world(100, 1, rng, 0.5, 25)
        hits.append(holds(corrected_mean(predicted[:, 0], confusion, level=LEVEL, unit="B"), truth))
    assert_covers(hits)


@pytest.mark.parametrize("n", [12, 24])
def test_corrected_band_covers_the_curve(n, rng, assert_covers):
    hits, halved = [], []
    for _ in range(RUNS):
        predicted, confusion, truth = world(n, 5, rng, 0.4)
        band = corrected_band(predicted, confusion, range(5), level=LEVEL, rng=rng, unit="B", n_draws=400)
        hits.append(max(band.low) <= truth <= min(band.high))
        halved.append(half_band_holds(band, truth))
    assert_covers(hits)
    assert_cannot_be_halved(halved, LEVEL)


def test_agreeing_predictions_keep_both_uncertainties():
    confusion = [[59, 1, 0], [1, 58, 1], [0, 1, 59]]
    few, many = (np.zeros((24, 4), dtype=int), np.zeros((2400, 4), dtype=int))
    a, b = (corrected_mean(x, confusion, level=0.95, unit="B") for x in (few, many))
    assert a.value == a.low == -1
    assert b.high < a.high < 0
    band = corrected_band(
        np.zeros((24, 2, 4), dtype=int), confusion, [0, 1], level=0.95, rng=np.random.default_rng(0), unit="B"
    )
    assert a.high == pytest.approx(band.pointwise_high[0])
    assert band.high[0] > a.high


def test_interval_stays_inside_the_range():
    confusion = [[30, 10, 10], [10, 30, 10], [10, 10, 30]]
    e = corrected_mean(np.array([[2, 2, 2, 2], [2, 2, 2, 1]] * 12), confusion, level=0.95, unit="B")
    assert -1 <= e.low < e.high == 1
    assert e.value == 1


def test_refusals(rng):
    good = np.round(RATES * 60)
    with pytest.raises(EstimateError, match=r"near-singular.*better scorer"):
        corrected_scores([[20, 20, 20], [20, 20, 20], [20, 20, 20]])
    with pytest.raises(EstimateError, match="label texts of every class"):
        corrected_scores([[20, 0, 0], [0, 0, 0], [0, 0, 20]])
    with pytest.raises(BadSpec, match="shape"):
        corrected_scores([[1, 2], [3, 4]])
    with pytest.raises(BadSpec, match="class indices"):
        corrected_mean([[3, 0], [1, 2]], good, level=0.95, unit="B")
    with pytest.raises(TooFewPrompts):
        corrected_mean([[1, 0], [-1, -1]], good, level=0.95, unit="B")
    with pytest.raises(TooFewPrompts):
        corrected_band([[[1, 0], [-1, -1]], [[1, 2], [-1, -1]]], good, [0, 1], level=0.95, rng=rng, unit="B")
