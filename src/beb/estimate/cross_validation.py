"""Accuracy by cross-validation: folds share their training texts, so fewer texts count than were judged.

Each fold's accuracy errs by its own texts and by its training set, and K training sets overlap. With the correlation
of two folds' errors taken as the share of texts held out, 1/K (Nadeau and Bengio 2003), the pooled accuracy has the
variance p(1-p)/n · (1 + (K-1)/K): as of n / (2 - 1/K) independent texts. Simulated variances of linear classifiers of
Gaussian classes are 0.9 to 1.8 times p(1-p)/n (5 folds, 40 to 300 texts, 4 to 576 features, Bayes accuracy 0.5 to
0.95), highest where texts are few for their features; 2 - 1/5 = 1.8 covers them, Wilson's interval on n does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from beb.core.estimate import Band, Estimate
from beb.errors import BadSpec
from beb.estimate.checks import Array, check_level, matrix
from beb.estimate.quantiles import upper_order_statistic
from beb.estimate.studentised import draws_for
from beb.estimate.summaries import normal_quantile

METHOD = "texts judged by classifiers fitted without their fold; Wilson at n/(2 - 1/folds)"
N_DRAWS = 4000


def effective_texts(n: int, n_folds: int) -> float:
    """How many independent texts carry as much about an accuracy as n texts judged in n_folds folds."""
    if not 2 <= n_folds <= n:
        raise BadSpec(f"{n_folds} folds of {n} texts; give at least 2 folds and as many texts as folds")
    return n / (2 - 1 / n_folds)


def pooled_accuracy(right: Sequence[bool] | np.ndarray, *, n_folds: int, level: float, unit: str) -> Estimate:
    """Accuracy of classifiers of texts that they were not fitted on.

    right: (n,) whether each text was judged right by the classifier fitted without its fold.
    Interval: for the mean accuracy of the fitted classifiers on new texts, and of such classifiers in general.
    Raises: TooFewPrompts, BadSpec. Assumes: texts independent; folds of about equal size.
    """
    band = accuracy_band(
        np.asarray(right, dtype=np.float64)[:, None],
        [0],
        n_folds=n_folds,
        level=level,
        unit=unit,
        rng=np.random.default_rng(0),
    )
    return band.at(0)


def accuracy_band(
    right: np.ndarray,
    layers: Sequence[int],
    *,
    n_folds: int,
    level: float,
    rng: np.random.Generator,
    unit: str,
) -> Band:
    """Accuracies of k classifiers of the same texts, with limits for each and for all at once.

    right: (n, k) whether each text was judged right. layers: (k,) what tells the classifiers apart.
    Simultaneous limits: Wilson's at the quantile of the largest of k normal errors that are correlated as the columns
    of `right` are (Gaussian multipliers); a column without errors counts as independent of all others.
    Raises: TooFewPrompts, EstimateError, BadSpec. Assumes: as `pooled_accuracy`.
    Source: Wilson 1927; Nadeau and Bengio 2003 for the number of texts; Hothorn, Bretz and Westfall 2008 for max-t.
    """
    check_level(level)
    x = matrix(right, name="accuracy")
    n, k = x.shape
    if len(layers) != k:
        raise BadSpec(f"accuracy has {k} columns and {len(layers)} layers; give one layer per column")
    effective = effective_texts(n, n_folds)
    value = x.mean(axis=0)
    own = normal_quantile(level)
    joint = max(own, _largest_error(x - value, level, rng)) if k > 1 else own
    pointwise, together = (_wilson(value, effective, z) for z in (own, joint))
    shown = [tuple(map(float, column)) for column in (value, *pointwise, *together)]
    return Band(tuple(layers), shown[0], shown[1], shown[2], shown[3], shown[4], level, n, unit, METHOD)


def chance_p(right: np.ndarray, *, n_folds: int) -> float:
    """How probable an accuracy as high as the best of k would be if no classifier knew anything.

    right: (n, k) of two equally frequent classes. Returns: min(1, k · upper normal tail) at the effective number of
    texts: corrected for choosing the best column (Bonferroni) and for the dependence of the folds.
    """
    x = matrix(right, name="accuracy")
    excess = float(x.mean(axis=0).max()) - 0.5
    z = 2 * excess * math.sqrt(effective_texts(x.shape[0], n_folds))
    return min(1.0, int(x.shape[1]) * float(stats.norm.sf(z)))


def nested_choice(inner_right: np.ndarray, outer_right: np.ndarray, folds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Judgements by the classifier that would have been chosen without seeing the judged fold.

    inner_right: (n_folds, n, k) whether text i is judged right by column j fitted without fold f and without i's own
    fold (entries of texts in f are ignored). outer_right: (n, k). folds: (n,).
    Returns: (n_folds,) chosen column of each fold (the first of equals), and (n,) whether each text was judged right.
    Source: Varma and Simon 2006 (nested cross-validation).
    """
    chosen = np.array([inner_right[fold, folds != fold].mean(axis=0).argmax() for fold in range(len(inner_right))])
    return chosen, outer_right[np.arange(len(folds)), chosen[folds]]


def _largest_error(residual: Array, level: float, rng: np.random.Generator) -> float:
    size = np.sqrt((residual**2).sum(axis=0))
    scaled = np.divide(residual, size, out=np.zeros_like(residual), where=size > 0)
    n_draws = draws_for(level, least=N_DRAWS)
    drawn = rng.standard_normal((n_draws, len(residual))) @ scaled
    drawn[:, size == 0] = rng.standard_normal((n_draws, int((size == 0).sum())))
    return upper_order_statistic(np.abs(drawn).max(axis=1), level)


def _wilson(value: Array, n: float, z: float) -> tuple[Array, Array]:
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(value * (1 - value) / n + (z / (2 * n)) ** 2)
    low, high = np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)
    return np.minimum(low, value), np.maximum(high, value)
