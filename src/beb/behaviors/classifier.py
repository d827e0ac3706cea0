"""What the probe and the likelihood ratio share: features of a text to class probabilities with known errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from beb.behaviors.evaluation import (
    N_FOLDS,
    Evaluation,
    evaluate_classifier,
    fold_numbers,
    near_duplicate_groups,
    out_of_fold_probabilities,
)
from beb.behaviors.softmax import Array, Labels, SoftmaxRegression, fit_softmax_regression
from beb.errors import ModelError, NumericalFailure
from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import Score, ScorerInfo


@dataclass(frozen=True, slots=True)
class TextClassifier:
    """A regression fitted on all statements, and how regressions fitted without them judge held-out statements."""

    regression: SoftmaxRegression
    evaluation: Evaluation

    def info(self, *, name: str, kind: str, upstream: str) -> ScorerInfo:
        """The scorer's record. upstream: fingerprint of what makes the features."""
        return ScorerInfo(
            name=name,
            kind=kind,
            fingerprint=self.regression.fingerprint(upstream),
            confusion=self.evaluation.confusion,
            exact=False,
            brier=self.evaluation.brier,
            calibration_error=self.evaluation.calibration_error,
        )

    def score(self, texts: Sequence[str], features_of: Callable[[Sequence[str]], Array]) -> list[Score | Failure]:
        """Class probabilities of each text; blank texts are neutral, texts with non-finite features are failures."""
        spoken = [i for i, text in enumerate(texts) if text.strip()]
        scores: list[Score | Failure] = [Score(0.0, 1.0, 0.0)] * len(texts)
        if not spoken:
            return scores
        features = features_of([texts[i] for i in spoken])
        refuse_other_shape(features, n=len(spoken), d=len(self.regression.mean))
        finite = np.asarray(np.isfinite(features).all(axis=1))
        probabilities = self.regression.probabilities(np.where(finite[:, None], features, 0.0))
        for i, ok, row in zip(spoken, finite, probabilities, strict=True):
            scores[i] = Score(*map(float, row)) if ok else Failure("non-finite", "the text's features are not finite")
        return scores


def fit_text_classifier(
    texts: Sequence[str], labels: Labels, features: Array, *, inverse_penalty: float, seed: int
) -> TextClassifier:
    """Fit on all texts, and judge by cross-validation in which near-duplicates stay in one fold.

    texts, labels: (n,). features: (n, d). inverse_penalty: scikit-learn's C. seed: of the shuffle into folds.
    Raises: NumericalFailure; BadStatements if a class has too few distinct statements.
    """
    refuse_other_shape(features, n=len(texts), d=features.shape[-1])
    bad = np.asarray(~np.isfinite(features).all(axis=1))
    if bad.any():
        example = texts[int(bad.argmax())][:60]
        raise NumericalFailure(f"the features of {example!r} hold NaN or infinity; load the model in fp32")
    folds = fold_numbers(labels, near_duplicate_groups(texts), n_folds=N_FOLDS, seed=seed)

    def fit(rows: Array, classes: Labels) -> SoftmaxRegression:
        return fit_softmax_regression(rows, classes, inverse_penalty=inverse_penalty)

    evaluation = evaluate_classifier(out_of_fold_probabilities(features, labels, folds, fit), labels)
    return TextClassifier(regression=fit(features, labels), evaluation=evaluation)


def refuse_other_shape(features: Array, *, n: int, d: int) -> None:
    """Raises: ModelError if the features of n texts are not (n, d)."""
    if features.shape != (n, d):
        raise ModelError(f"features have shape {features.shape} where ({n}, {d}) is needed; check what computes them")
