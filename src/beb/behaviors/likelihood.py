"""A behavior's scorer from the log-likelihood ratio of the two components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from beb.behaviors.behavior import Behavior, Statements
from beb.behaviors.classifier import TextClassifier, fit_text_classifier
from beb.behaviors.evaluation import labelled_statements
from beb.errors import ModelError
from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import Score, Scorer

INVERSE_PENALTY = 1.0
"""Three standardised features and some hundred statements: scikit-learn's default hardly shrinks anything."""


class LogRatio(Protocol):
    """Texts to the log-ratio of the components."""

    fingerprint: str

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(n,) log P₋(text)/P₊(text) in nats, of n non-blank texts."""


class LikelihoodRatioScorer(Scorer):
    """Class probabilities by logistic regression on r = log P₋(x)/P₊(x), |r| and r per word.

    With equal prior odds and no neutral texts, Bayes gives p₋ = σ(r), so B = −tanh(r/2) (`uncalibrated_behavior`).
    That is overconfident, since the components are proxies, and it has no neutral class; hence the regression, whose
    |r| opens a neutral zone around r = 0 and whose r per word tells a long weak text from a short strong one.
    """

    def __init__(self, *, name: str, classifier: TextClassifier, log_ratio: LogRatio) -> None:
        self.classifier = classifier
        self._log_ratio = log_ratio
        self.info = classifier.info(name=name, kind="likelihood ratio", upstream=log_ratio.fingerprint)

    def score(self, texts: Sequence[str]) -> list[Score | Failure]:
        """Class probabilities of each text; blank texts are neutral, texts with a non-finite ratio are failures."""
        return self.classifier.score(texts, lambda said: _features(said, self._log_ratio))


def fit_likelihood_ratio(behavior: Behavior | Statements, log_ratio: LogRatio, *, seed: int) -> LikelihoodRatioScorer:
    """Calibrate the ratio on statements and measure its errors by cross-validation.

    behavior: statements of the three classes that the components were NOT fitted on (`Behavior.split().held_out`), or
    the calibration is overconfident. log_ratio: of the components. seed: of the shuffle into folds.
    Raises: NumericalFailure; BadStatements if a class has too few distinct statements.
    Source: Platt 1999, with three classes; the components are those of Wolf et al. 2024, Definition 2.
    """
    texts, labels = labelled_statements(behavior)
    classifier = fit_text_classifier(
        texts, labels, _features(texts, log_ratio), inverse_penalty=INVERSE_PENALTY, seed=seed
    )
    name = f"likelihood ratio for {behavior.name}"
    return LikelihoodRatioScorer(name=name, classifier=classifier, log_ratio=log_ratio)


def uncalibrated_behavior(log_ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """B = P₊/(P₋+P₊) − P₋/(P₋+P₊) = −tanh(r/2) for components with equal prior odds.

    log_ratio: (n,) r = log P₋(x)/P₊(x), nats. Returns: (n,) in [−1, 1].
    """
    return np.asarray(-np.tanh(log_ratio / 2), dtype=np.float64)


def _features(texts: Sequence[str], log_ratio: LogRatio) -> NDArray[np.float64]:
    ratios = np.asarray(log_ratio(texts), dtype=np.float64)
    if ratios.shape != (len(texts),):
        raise ModelError(f"log_ratio returned shape {ratios.shape} for {len(texts)} texts; return one number for each")
    n_words = np.array([max(len(text.split()), 1) for text in texts])
    return np.stack([ratios, np.abs(ratios), ratios / n_words], axis=1)
