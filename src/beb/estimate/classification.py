"""Behavior means corrected for a scorer's misclassifications, its error rates being uncertain themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from beb.core.estimate import Band, Estimate
from beb.errors import BadSpec, EstimateError
from beb.estimate.bounded import BETTING, betting_interval
from beb.estimate.checks import Array, check_lengths, check_level, too_few
from beb.estimate.means import is_constant, mean
from beb.estimate.studentised import BOOTSTRAP_T, METHOD, PromptSet, simultaneous_limits

CLASS_VALUES = np.array([-1.0, 0.0, 1.0])
SMOOTHING = 0.5
WORST_CONDITION = 20.0


def _error_rates(confusion: Any) -> tuple[Array, Array]:
    """(3, 3) smoothed P(predicted | true) and (3,) texts per true class."""
    counts = np.asarray(confusion, dtype=np.float64)
    if counts.shape != (3, 3) or (counts < 0).any() or not np.isfinite(counts).all():
        raise BadSpec(f"confusion has shape {counts.shape}; needs (3, 3) counts, true class by predicted class")
    totals = counts.sum(axis=1)
    if (totals == 0).any():
        raise EstimateError(
            f"the confusion counts hold {totals.astype(int).tolist()} texts per true class; label texts of every class"
        )
    return (counts + SMOOTHING) / (totals + 3 * SMOOTHING)[:, None], totals


def corrected_scores(confusion: Any) -> Array:
    """Score a of each predicted class such that its mean is B: M a = (-1, 0, 1).

    confusion: (3, 3) counts, true class by predicted class. M: row-normalised after adding ½ to each cell (Jeffreys'
    prior for each row), which keeps M regular and error rates off 0 and biases each rate by at most 1/n_class.
    Returns: (3,); E[a(predicted) | true class c] = value of c. Raises: BadSpec; EstimateError if a row is empty or M is
    near-singular (condition number above 20). Source: Rogan & Gladen 1978, for three classes.
    """
    rates, totals = _error_rates(confusion)
    condition = float(np.linalg.cond(rates))
    if condition > WORST_CONDITION:
        raise EstimateError(
            f"the scorer's confusion matrix is near-singular (condition {condition:.3g}, limit {WORST_CONDITION:g}, "
            f"{totals.astype(int).tolist()} texts per class); use a better scorer or report uncorrected B"
        )
    return np.linalg.solve(rates, CLASS_VALUES)


def _class_shares(predicted: Any, name: str) -> tuple[Array, Array]:
    """(n_clusters, ..., 3) share of each predicted class in each cluster, NaN for a cluster without predictions."""
    classes = np.asarray(predicted)
    if not np.isin(classes, (-1, 0, 1, 2)).all():
        raise BadSpec(f"{name} holds class indices other than 0, 1, 2 and -1 (missing)")
    counts = (classes[..., None] == np.arange(3)).sum(axis=-2).astype(np.float64)
    total = counts.sum(axis=-1, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), np.nan), total[..., 0]


def _rate_loadings(shares: Array, confusion: Any, scores: Array) -> Array:
    """(..., 3) standard deviation that each true class's error rates give the mean.

    shares: (..., 3) mean shares of predicted classes. From M a = v: pᵀda = -πᵀ dM a with πᵀ = pᵀM⁻¹ the corrected class
    shares, and the rows of dM are independent multinomial errors: Var = Σ_c π_c² Var_c(a(predicted))/n_c.
    """
    rates, totals = _error_rates(confusion)
    true_shares = np.linalg.solve(rates.T, shares[..., None])[..., 0]
    per_row = rates @ scores**2 - (rates @ scores) ** 2
    return np.asarray(true_shares * np.sqrt(per_row / totals), dtype=np.float64)


def corrected_values(predicted: Any, confusion: Any, *, name: str = "corrected behavior") -> tuple[Array, Array]:
    """Per-prompt values whose mean is the corrected behavior, and how the rates' errors move that mean.

    predicted: (n_clusters, k, n_responses) class indices, -1 where missing. confusion: as `corrected_scores`.
    Returns: (n_clusters, k), NaN for a cluster without predictions; (k, 3) standard deviation that each true class's
    error rates give the means: the difference of two means that share their scorer has the difference of these.
    Raises: TooFewPrompts, EstimateError, BadSpec.
    """
    scores = corrected_scores(confusion)
    shares, _ = _class_shares(predicted, name)
    if shares.ndim != 3:
        raise BadSpec(f"{name} has shape {np.shape(predicted)}; needs (n_clusters, n_lengths, n_responses)")
    x = shares @ scores
    fewest = int((~np.isnan(x)).sum(axis=0).min())
    if fewest < 2:
        raise too_few(name, fewest)
    return x, _rate_loadings(np.nanmean(shares, axis=0), confusion, scores)


def corrected_mean(
    predicted: Any, confusion: Any, *, level: float, unit: str, name: str = "corrected behavior"
) -> Estimate:
    """Mean behavior over prompts, corrected for misclassification.

    predicted: (n_clusters, k) class index 0, 1, 2 of each response, -1 where missing. confusion: as `corrected_scores`.
    Interval: √(Var over clusters + Σ_c π_c² Var_c(a)/n_c) times the bootstrap-t critical value of the clusters, cut to
    [-1, 1]; the clusters are nearly always the smaller of the two samples, so their critical value is the larger. If
    all clusters agree they get a betting interval at half the error, and the rates a normal one at the other half.
    Raises: TooFewPrompts, EstimateError, BadSpec.
    Assumes: clusters independent; the error rates on held-out texts are those on responses.
    """
    check_level(level)
    scores = corrected_scores(confusion)
    shares, _ = _class_shares(predicted, name)
    if shares.ndim != 2:
        raise BadSpec(f"{name} has shape {np.shape(predicted)}; needs (n_clusters, n_responses)")
    shares = shares[~np.isnan(shares[:, 0])]
    if shares.shape[0] < 2:
        raise too_few(name, shares.shape[0])
    x = shares @ scores
    error = float(np.linalg.norm(_rate_loadings(shares.mean(axis=0), confusion, scores)))
    value = float(x.mean())
    if is_constant(x):
        low, high = _agreeing_limits(x, scores, error, level)
        words = f"all clusters agree: {BETTING}"
    else:
        inner = mean(x, level=level, unit=unit, name=name)
        stretch = math.hypot(1.0, error * math.sqrt(x.size) / float(x.std(ddof=1)))
        low, high = (inner.value + (limit - inner.value) * stretch for limit in (inner.low, inner.high))
        words = BOOTSTRAP_T
    low, value, high = _within_range(low, value, high)
    return Estimate(value, low, high, level, x.size, unit, f"corrected for misclassification; {words}")


def _agreeing_limits(x: Array, scores: Array, error: float, level: float) -> tuple[float, float]:
    """Limits where all clusters agree: betting for the clusters and normal for the rates, half of the error each."""
    half_level = (1 + level) / 2
    span = (float(scores.min()), float(scores.max()))
    low, high = betting_interval(np.clip(x, *span), span, half_level)
    half = float(stats.norm.isf((1 - half_level) / 2)) * error
    return low - half, high + half


def _within_range(low: float, value: float, high: float) -> tuple[float, float, float]:
    """Cut to [-1, 1]; an interval wholly outside becomes its mirror image inside, never an empty one."""
    if low >= 1:
        low = 2 - high if high < 3 else -1.0
    if high <= -1:
        high = -2 - low if low > -3 else 1.0
    low, high = max(low, -1.0), min(high, 1.0)
    return low, min(max(value, low), high), high


def corrected_band(
    predicted: Any,
    confusion: Any,
    lengths: Sequence[int],
    *,
    level: float,
    rng: np.random.Generator,
    unit: str,
    n_draws: int = 2000,
    name: str = "corrected behavior",
) -> Band:
    """Corrected behavior curve, with a band over the lengths.

    predicted: (n_clusters, k, n_responses) class indices, -1 where missing. The errors of the rates are common to all
    lengths: they enter every bootstrap draw as three shared normal errors with the delta-method loadings, so that the
    studentised maximum sees their correlation instead of paying for it at each length.
    Raises, assumes: as `corrected_mean`.
    """
    check_level(level)
    scores = corrected_scores(confusion)
    x, loadings = corrected_values(predicted, confusion, name=name)
    check_lengths(lengths, x.shape[1], name=name)
    (limits,) = simultaneous_limits([PromptSet.of(x, shared=loadings)], level=level, rng=rng, n_draws=n_draws)
    pointwise: list[tuple[float, float, float]] = []
    together: list[tuple[float, float, float]] = []
    for j, column in enumerate(x.T):
        value = float(limits.value[j])
        for cut, critical, own in (
            (pointwise, limits.pointwise[j], level),
            (together, limits.simultaneous[j], limits.share),
        ):
            half = float(critical * limits.scale[j])
            low, high = value - half, value + half
            if limits.agree[j]:
                error = float(np.linalg.norm(loadings[j]))
                low, high = _agreeing_limits(column[~np.isnan(column)], scores, error, own)
            cut.append(_within_range(low, value, high))
    return Band(
        tuple(int(n) for n in lengths),
        tuple(t[1] for t in together),
        tuple(min(t[0], u[1]) for t, u in zip(pointwise, together, strict=True)),
        tuple(max(t[2], u[1]) for t, u in zip(pointwise, together, strict=True)),
        tuple(t[0] for t in together),
        tuple(t[2] for t in together),
        level,
        x.shape[0],
        unit,
        f"corrected for misclassification; {METHOD}",
    )
