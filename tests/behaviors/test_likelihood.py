"""The calibrated likelihood ratio against ratios whose distribution is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, norm

from beb.behaviors.behavior import Statements
from beb.behaviors.likelihood import fit_likelihood_ratio, uncalibrated_behavior
from beb.errors import ModelError, NumericalFailure
from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import Score

RARE = 1e-6
CENTRES = {"negative": 1.0, "neutral": 0.0, "positive": -1.0}


class Ratios:
    """log P₋/P₊ ~ N(±centre, spread²) for the poles and N(0, spread²) for neutral texts; the second word tells."""

    def __init__(self, *, centre: float, spread: float, fingerprint: str = "ratios") -> None:
        self.centre, self.spread, self.fingerprint = centre, spread, fingerprint

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([self._ratio(*text.rstrip(".").split()[1:3]) for text in texts])

    def _ratio(self, pole: str, number: str) -> float:
        if number == "inf":
            return float("inf")
        noise = np.random.default_rng([len(pole), ord(pole[2]), int(number)]).normal()
        return self.centre * CENTRES[pole] + self.spread * float(noise)


def statements(n: int) -> Statements:
    poles = {pole: tuple(f"Some {pole} {i} a{i} b{i} c{i}." for i in range(n)) for pole in CENTRES}
    return Statements(name="line", **poles)


def test_components_of_equal_odds_give_a_tanh() -> None:
    r = np.array([-800.0, -2.0, 0.0, 2.0, 800.0])
    negative = np.array([0.0, 1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-2)), 1.0])
    assert uncalibrated_behavior(r) == pytest.approx(1 - 2 * negative)


@pytest.mark.parametrize(("centre", "spread"), [(10.0, 1.0), (40.0, 20.0), (40.0, 60.0)])
def test_calibrated_classes_reach_the_bayes_rule_whatever_the_scale_of_the_ratio(centre: float, spread: float) -> None:
    n = 500
    scorer = fit_likelihood_ratio(statements(n), Ratios(centre=centre, spread=spread), seed=0)
    bayes = 1 - 4 / 3 * norm.cdf(-centre / spread / 2)
    hits = round(scorer.classifier.evaluation.accuracy * 3 * n)
    # the excess error of a fit of 8 coefficients is O(8/n); what is left is binomial
    assert binom.ppf(RARE, 3 * n, bayes - 8 / n) <= hits <= binom.isf(RARE, 3 * n, bayes)
    assert scorer.info.calibration_error is not None
    assert scorer.info.calibration_error < np.sqrt(10 * np.log(20 / RARE) / 2 / (3 * n))  # Hoeffding over 10 bins


def test_the_raw_ratio_would_be_overconfident() -> None:
    n, centre, spread = 500, 40.0, 60.0
    ratios = Ratios(centre=centre, spread=spread)
    scorer = fit_likelihood_ratio(statements(n), ratios, seed=0)
    texts = statements(n).negative
    wrong = np.array(ratios(texts)) < 0
    raw = uncalibrated_behavior(ratios(texts))
    calibrated = np.array([score.behavior for score in scorer.score(texts) if isinstance(score, Score)])
    assert (
        binom.ppf(RARE, n, norm.cdf(-centre / spread)) <= wrong.sum() <= binom.isf(RARE, n, norm.cdf(-centre / spread))
    )
    assert np.median(raw[wrong]) > 0.99  # certain, and wrong
    assert np.median(calibrated[wrong]) < 0.6


def test_scores_fall_with_the_ratio_and_zero_is_neutral() -> None:
    scorer = fit_likelihood_ratio(statements(200), Ratios(centre=40.0, spread=10.0), seed=0)

    class Fixed:
        fingerprint = "fixed"

        def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
            return np.array([float(text.split()[0]) for text in texts])

    fixed = type(scorer)(name="x", classifier=scorer.classifier, log_ratio=Fixed())
    scores = [s for s in fixed.score([f"{r} a b c d e." for r in range(-90, 91, 5)]) if isinstance(s, Score)]
    behaviors = np.array([score.behavior for score in scores])
    assert len(scores) == 37
    assert (np.diff(behaviors) <= 0).all()
    assert behaviors[0] > 0.95
    assert behaviors[-1] < -0.95
    assert scores[18].predicted == 1
    assert fixed.info.fingerprint != scorer.info.fingerprint


def test_blank_texts_are_neutral_and_infinite_ratios_fail() -> None:
    scorer = fit_likelihood_ratio(statements(30), Ratios(centre=10.0, spread=2.0), seed=0)
    blank, infinite, negative = scorer.score(["", "Some negative inf.", "Some negative 7."])
    assert blank == Score(0.0, 1.0, 0.0)
    assert infinite == Failure("non-finite", "the text's features are not finite")
    assert isinstance(negative, Score)
    assert negative.predicted == 0
    broken = Statements("line", ("Some negative inf a.", *statements(30).negative), *[statements(30).positive] * 2)
    with pytest.raises(NumericalFailure, match=r"^the features of 'Some negative inf a\.' hold NaN or infinity"):
        fit_likelihood_ratio(broken, Ratios(centre=10.0, spread=2.0), seed=0)


def test_a_ratio_of_the_wrong_shape_is_refused() -> None:
    class Wrong(Ratios):
        def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
            return super().__call__(texts)[:-1]

    with pytest.raises(
        ModelError, match=r"^log_ratio returned shape \(89,\) for 90 texts; return one number for each$"
    ):
        fit_likelihood_ratio(statements(30), Wrong(centre=1.0, spread=1.0), seed=0)
