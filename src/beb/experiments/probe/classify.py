"""Linear support vector machines on hidden states: who judges which statement, fitted without which folds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beb.behaviors.evaluation import N_FOLDS, fold_numbers, near_duplicate_groups
from beb.behaviors.probe import LOGIT_VARIANCE
from beb.errors import EstimateError
from beb.interfaces.scorer import CLASSES

Floats = NDArray[np.float64]
MOST_ITERATIONS = 200_000
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Separator:
    """A fitted linear classifier in the units of its features: positive where features @ weights + bias > 0."""

    weights: Floats
    bias: float

    def decide(self, features: Floats) -> Floats:
        """(n,) signed decision values of (n, d) features."""
        return np.asarray(features @ self.weights + self.bias, dtype=np.float64)


def fit_separator(features: Floats, positive: NDArray[np.bool_], *, seed: int) -> Separator:
    """A linear SVM on features standardised by these statements alone.

    features: (n, d). positive: (n,) pole of each. Squared hinge loss; C = 16/d, so that the penalty is the same prior
    on the decision value whatever the width (see `beb.behaviors.probe`).
    Raises: EstimateError if the solver does not converge.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    scaler = StandardScaler().fit(features)
    machine = LinearSVC(
        C=LOGIT_VARIANCE / features.shape[1], dual="auto", tol=TOLERANCE, max_iter=MOST_ITERATIONS, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            machine.fit(scaler.transform(features), positive)
        except ConvergenceWarning as warning:
            raise EstimateError(
                f"a linear SVM on {features.shape[0]} statements and {features.shape[1]} features did not converge in "
                f"{MOST_ITERATIONS} iterations; leave out duplicated statements or lower --statements"
            ) from warning
    weights = np.asarray(machine.coef_[0] / scaler.scale_, dtype=np.float64)
    return Separator(weights, float(machine.intercept_[0] - weights @ scaler.mean_))


def statement_folds(
    texts: Sequence[str], positive: NDArray[np.bool_], *, seed: int, independent: bool = False
) -> NDArray[np.int64]:
    """(n,) fold of each statement: stratified by pole, shuffled by `seed`, near-duplicates (of either pole) together.

    independent: the texts are independent draws, so that also equal ones are observations of their own.
    Raises: BadStatements.
    """
    labels = np.where(positive, CLASSES.index("positive"), CLASSES.index("negative")).astype(np.int64)
    groups = np.arange(len(texts)) if independent else near_duplicate_groups(texts)
    return fold_numbers(labels, groups, n_folds=N_FOLDS, seed=seed)


def decisions(features: Floats, positive: NDArray[np.bool_], folds: NDArray[np.int64], *, seed: int) -> Floats:
    """(n_folds, n) decision values: entry [f, i] is by the classifier fitted without fold f and without i's own fold.

    Where i lies in f, that is the plain out-of-fold decision. The other entries leave out pairs of folds, and serve to
    choose something (a layer) without looking at fold f: a nested cross-validation of K(K+1)/2 fits.
    """
    n_folds = int(folds.max()) + 1
    table = np.empty((n_folds, len(folds)))
    for a in range(n_folds):
        for b in range(a, n_folds):
            left_out = (folds == a) | (folds == b)
            separator = fit_separator(features[~left_out], positive[~left_out], seed=seed)
            for fold, other in ((a, b), (b, a)):
                table[fold, folds == other] = separator.decide(features[folds == other])
    return table
