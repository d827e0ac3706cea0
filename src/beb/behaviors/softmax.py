"""Three-class logistic regression on standardised features, as plain arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beb.interfaces.scorer import CLASSES

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SoftmaxRegression:
    """Class probabilities softmax(W z + b) of standardised features z = (x - mean) / scale.

    mean, scale: (d,) feature units. weights: (3, d), bias: (3,), rows in the order of CLASSES.
    """

    mean: Array
    scale: Array
    weights: Array
    bias: Array

    def probabilities(self, features: Array) -> Array:
        """(n, d) -> (n, 3). Each row is summed by itself, so that its bits do not depend on the rows beside it."""
        z = (features - self.mean) / self.scale
        logits = np.stack([(z * row).sum(axis=1) for row in self.weights], axis=1) + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float64)

    def fingerprint(self, upstream: str) -> str:
        """Hash of the coefficients and of `upstream`, the fingerprint of what makes the features."""
        digest = hashlib.sha256(upstream.encode())
        for part in (self.mean, self.scale, self.weights, self.bias):
            digest.update(str(part.shape).encode() + np.ascontiguousarray(part, dtype="<f8").tobytes())
        return digest.hexdigest()


def fit_softmax_regression(features: Array, labels: Labels, *, inverse_penalty: float) -> SoftmaxRegression:
    """Fit by penalised maximum likelihood.

    features: (n, d). labels: (n,) indices in CLASSES, every class present. inverse_penalty: scikit-learn's C.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(labels)) != len(CLASSES):
        raise ValueError(f"labels hold {len(np.unique(labels))} of the {len(CLASSES)} classes")
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=2000))
    pipeline.fit(features, labels)
    scaler, classifier = (step for _, step in pipeline.steps)
    return SoftmaxRegression(
        mean=np.asarray(scaler.mean_, dtype=np.float64),
        scale=np.asarray(scaler.scale_, dtype=np.float64),
        weights=np.asarray(classifier.coef_, dtype=np.float64),
        bias=np.asarray(classifier.intercept_, dtype=np.float64),
    )
