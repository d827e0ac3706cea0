"""Confusion, Brier score, calibration, near-duplicates and folds."""

from __future__ import annotations

import numpy as np
import pytest

from beb.behaviors.evaluation import (
    evaluate_classifier,
    fold_numbers,
    near_duplicate_groups,
    out_of_fold_probabilities,
)
from beb.behaviors.softmax import SoftmaxRegression, fit_softmax_regression
from beb.errors import BadStatements


def test_figures_of_four_texts_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2, 0.0], [0.25, 0.5, 0.25], [0.0, 0.6, 0.4], [0.0, 0.0, 1.0]])
    figures = evaluate_classifier(probabilities, np.array([0, 1, 2, 2]))
    assert figures.confusion == ((1, 0, 0), (0, 1, 0), (0, 1, 1))
    assert (figures.n, figures.accuracy) == (4, 0.75)
    assert figures.brier == pytest.approx((0.08 + 0.375 + 0.72 + 0.0) / 4)
    # four bins of one text each: |0.8-1|, |0.5-1|, |0.6-0|, |1-1|
    assert figures.calibration_error == pytest.approx((0.2 + 0.5 + 0.6 + 0.0) / 4)


@pytest.mark.parametrize("sharpness", [1.0, 3.0])
def test_calibration_error_tells_true_probabilities_from_overconfident_ones(sharpness: float) -> None:
    rng = np.random.default_rng(5)
    n = 20_000
    truth = rng.dirichlet([1.0, 1.0, 1.0], size=n)
    labels = (rng.random((n, 1)) > truth.cumsum(axis=1)).sum(axis=1).astype(np.int64)
    said = truth**sharpness / (truth**sharpness).sum(axis=1, keepdims=True)
    figures = evaluate_classifier(said, labels)
    # per bin the excess is a sum of independent terms of variance <= 1/4: by Hoeffding each of the 10 bins stays below
    # sqrt(n_b log(2 * 10 / 1e-6) / 2), whose sum over bins is greatest for equal bins
    chance = np.sqrt(10 * np.log(20 / 1e-6) / 2 / n)
    expected = float(np.abs(said.max(axis=1) - truth.max(axis=1)).mean())
    assert figures.calibration_error <= expected + chance
    if sharpness > 1:
        assert figures.calibration_error >= expected - chance > chance


def test_near_duplicates_are_grouped_through_others() -> None:
    texts = [
        "I always help my old neighbours carry shopping home.",
        "I always help my old neighbours carry shopping home today.",
        "I always help my old neighbours carry parcels home today!",
        "The moon is far.",
        "The moon is very far, far.",
        "...",
    ]
    groups = near_duplicate_groups(texts)
    assert groups[0] == groups[1] == groups[2]
    assert groups[3] == groups[4]
    assert len({groups[0], groups[3], groups[5]}) == 3


def test_blocks_do_not_change_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(list("abcdefgh"), size=5)) for _ in range(60)]
    whole = near_duplicate_groups(texts)
    monkeypatch.setattr("beb.behaviors.evaluation._BLOCK", 7)
    assert (near_duplicate_groups(texts) == whole).all()
    assert 1 < len(set(whole.tolist())) < 60


def test_folds_are_stratified_and_keep_groups_whole() -> None:
    labels = np.repeat([0, 1, 2], [50, 80, 60])
    groups = np.arange(190)
    groups[::10] = groups[1::10]
    folds = fold_numbers(labels, groups, n_folds=5, seed=3)
    assert all(len(set(folds[groups == group].tolist())) == 1 for group in groups)
    for index in range(3):
        sizes = np.bincount(folds[labels == index], minlength=5)
        assert sizes.max() - sizes.min() <= 3
    assert (fold_numbers(labels, groups, n_folds=5, seed=3) == folds).all()
    assert (fold_numbers(labels, groups, n_folds=5, seed=4) != folds).any()


def test_a_class_of_near_duplicates_is_refused() -> None:
    labels = np.repeat([0, 1, 2], 20)
    groups = np.where(labels == 2, 999, np.arange(60))
    with pytest.raises(BadStatements) as caught:
        fold_numbers(labels, groups, n_folds=5, seed=0)
    assert str(caught.value) == ("only 1 of the positive statements are distinct; cross-validation needs 5; add others")


def test_no_text_is_judged_by_a_fit_that_saw_it() -> None:
    features = np.arange(30.0)[:, None]
    labels = np.tile([0, 1, 2], 10)
    folds = np.repeat(np.arange(5), 6)
    seen: list[set[float]] = []

    def fit(rows: np.ndarray, classes: np.ndarray) -> SoftmaxRegression:
        seen.append(set(rows[:, 0].tolist()))
        return fit_softmax_regression(rows, classes, inverse_penalty=1.0)

    probabilities = out_of_fold_probabilities(features, labels, folds, fit)
    assert probabilities.shape == (30, 3)
    for number, rows in enumerate(seen):
        assert rows == set(features[folds != number, 0].tolist())


def test_probabilities_of_a_text_do_not_depend_on_its_batch() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(64, 576))
    regression = fit_softmax_regression(features, rng.integers(0, 3, 64), inverse_penalty=0.1)
    together = regression.probabilities(features)
    apart = np.concatenate([regression.probabilities(row[None]) for row in features])
    assert (together == apart).all()
    assert together.sum(axis=1) == pytest.approx(np.ones(64))
