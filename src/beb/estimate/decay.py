"""Decay of the divergence along a prompt: sentence k is worth β/k^η nats (Appendix I)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from beb.core.estimate import Band, Estimate
from beb.errors import BadSpec, EstimateError
from beb.estimate.checks import Array, check_lengths, check_level, matrix
from beb.estimate.quantiles import t_quantile, upper_order_statistic
from beb.estimate.studentised import draws_for

PER_SENTENCE = "nats per sentence"
ETA_TOP = math.nextafter(1.0, 0.0)  # the bound needs η < 1
BETA_MOST = math.log(1e300)


@dataclass(frozen=True, slots=True)
class Decay:
    """β/k^η through the divergence of sentences k = 1, 2, ...

    eta, beta: each with its own interval; eta is cut to [0, 1), where Appendix I holds. eta_measured: eta before the
    cut. eta_joint, beta_joint: limits that hold together, for `core.bounds.propagate`. fitted: (N,) β/k^η at the
    sentences, eta not cut, nats. note: why eta was cut, or "".
    """

    eta: Estimate
    beta: Estimate
    eta_measured: Estimate
    eta_joint: Estimate
    beta_joint: Estimate
    fitted: tuple[float, ...]
    note: str


def fit_decay(
    divergence: Any, sentences: Sequence[int], *, level: float, rng: np.random.Generator, n_draws: int = 2000
) -> Decay:
    """Fit KL of sentence k = β/k^η to the mean curve by weighted least squares of its logarithm on log k.

    divergence: (n_prompts, N) KL(P₋‖P₊) of sentence k of prompts from P₋, nats; N >= 2. sentences: (N,) the numbers
    k >= 1, increasing; the divergence *after* n sentences is that of sentence k = n + 1.
    The weights are 1/(variance of the logarithm + its average over k) in the sample, then held fixed; the estimand is
    the projection of the true mean curve, whether or not the law is true. Intervals: studentised bootstrap over prompts
    of (log β, η), stretched by Student's t over the normal quantile and at least Student's t; for the joint limits the
    larger of the two. An estimate of η outside [0, 1) is moved to the nearest end together with its interval, which
    keeps covering an η within.
    Raises: TooFewPrompts below 3 prompts; EstimateError if a mean is not positive or all prompts agree; BadSpec.
    Assumes: prompts independent. The least-squares curve lies above the measured one at some k: for a β that holds at
    every tested k see `beta_under`. Source: Wolf et al. 2024, Appendix I.
    """
    check_level(level)
    y = matrix(divergence, name="divergence", minimum=3)
    k = check_lengths(sentences, y.shape[1], name="divergence", smallest=1)
    if k.size < 2:
        raise BadSpec("the decay has 1 sentence and needs at least 2; raise --sentences")
    y = y[np.lexsort(y.T[::-1])]
    curve = y.mean(axis=0)
    if not (curve > 0).all():
        worst = int(curve.argmin())
        raise EstimateError(
            f"the mean divergence of sentence {k[worst]:g} is {curve[worst]:.3g} nats and the law needs values "
            "above 0; give more prompts or fewer sentences"
        )
    projection = _projection(k, y)
    once = np.ones((1, y.shape[0]))
    (theta,), (scale,) = _estimate(projection, y, once)
    n_draws = draws_for(level, least=n_draws)
    counts = rng.multinomial(y.shape[0], np.full(y.shape[0], 1 / y.shape[0]), size=n_draws).astype(np.float64)
    draws, draw_scales = _estimate(projection, y, counts)
    least = t_quantile(level, y.shape[0] - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = least / float(stats.norm.isf((1 - level) / 2)) * np.abs(draws - theta) / draw_scales
    studentised = np.where(np.isnan(studentised), math.inf, studentised)
    alone = [max(least, upper_order_statistic(studentised[:, i], level)) for i in range(2)]
    joint = max(*alone, upper_order_statistic(studentised.max(axis=1), level))
    return _decay(theta, scale * np.array(alone), scale * joint, k, (y.shape[0], level))


def beta_under(band: Band, eta: float) -> Estimate:
    """The largest β whose decay β/k^η stays under the whole divergence curve: min over k of KL_k k^η.

    band: of the divergence *after* n sentences (its lengths; k = n + 1), nats. eta: in [0, 1), chosen in any way, also
    after seeing the curve: the band's simultaneous limits hold for every η at once.
    Returns: β with limits from the simultaneous band, so that with probability `level` the premise of Appendix I,
    KL_k > β/k^η, holds at every tested k for all β below the lower limit.
    Raises: BadSpec if eta is outside [0, 1). Assumes: as the band. Source: Wolf et al. 2024, Appendix I.
    """
    if not 0 <= eta < 1:
        raise BadSpec(f"eta (η) is {eta:g}; accepted: [0, 1), exponent of the decay of β")
    growth = (np.array(band.lengths) + 1.0) ** eta
    value, low, high = (float((np.array(side) * growth).min()) for side in (band.value, band.low, band.high))
    words = f"largest β under the curve at η = {eta:.4g}, {len(growth)} tested sentences; {band.method}"
    return Estimate(value, low, high, band.level, band.n, PER_SENTENCE, words, exact=low == high)


def _projection(k: Array, y: Array) -> Array:
    """(2, N) matrix that maps the logarithm of a curve to (log β, η)."""
    curve = y.mean(axis=0)
    noise = y.var(axis=0, ddof=1) / curve**2
    if noise.max() <= 1e-24:
        raise EstimateError(
            f"all {y.shape[0]} prompts agree on the divergence; its error is unknown, give more prompts"
        )
    # Half way to equal weights: a skewed sample's spread rises with its mean, so that full weights err downwards.
    root = 1 / np.sqrt(noise + noise.mean())
    design = np.column_stack([np.ones_like(k), -np.log(k)])
    return np.asarray(np.linalg.pinv(design * root[:, None]) * root)


def _estimate(projection: Array, y: Array, counts: Array) -> tuple[Array, Array]:
    """(log β, η) and standard errors, (d, 2) each, of every resample; infinite errors where a mean is not positive.

    Delta method: the log of a mean has influence (yᵢ − ȳ)/ȳ, and the projection is linear in the logs.
    """
    n_prompts, k = y.shape
    curve = counts @ y / n_prompts
    positive = (curve > 0).all(axis=1)
    safe = np.where(positive[:, None], curve, 1.0)
    products = (counts @ (y[:, :, None] * y[:, None, :]).reshape(n_prompts, -1)).reshape(-1, k, k) / n_prompts
    covariance = (products - curve[:, :, None] * curve[:, None, :]) / (n_prompts - 1)
    loads = projection[None] / safe[:, None, :]
    variance = np.einsum("dpk,dkl,dpl->dp", loads, covariance, loads)
    scale = np.sqrt(np.maximum(variance, 0.0))
    theta = np.log(safe) @ projection.T
    # A resample without a logarithm counts as infinitely far away.
    theta[~positive] = math.inf
    return theta, np.where(positive[:, None], scale, 1.0)


def _decay(theta: Array, alone: Array, joint: Array, k: Array, sample: tuple[int, float]) -> Decay:
    """alone, joint: (2,) half widths of log β and η. sample: number of prompts and level."""
    log_beta, eta = map(float, theta)
    n, level = sample
    method = "weighted log-log line of the mean curve (projection), studentised bootstrap over prompts"
    together = f"{method}; joint limits of β and η"
    note = ""
    if eta <= 0:
        note = f"the divergence does not fall with k (η = {eta:.3g}): η is taken as 0, Theorem 1 itself"
    elif eta >= 1:
        note = f"the divergence falls as fast as 1/k or faster (η = {eta:.3g}): Appendix I gives no bound there"

    def of_eta(half: float, words: str, *, cut: bool) -> Estimate:
        if not cut:
            return Estimate(eta, eta - half, eta + half, level, n, "1", words)
        value = min(max(eta, 0.0), ETA_TOP)
        low, high = max(value - half, 0.0), min(value + half, ETA_TOP)
        return Estimate(value, low, high, level, n, "1", f"{words}; cut to [0, 1)")

    def of_beta(half: float, words: str) -> Estimate:
        high = math.exp(log_beta + half) if log_beta + half < BETA_MOST else math.inf
        return Estimate(math.exp(log_beta), math.exp(log_beta - half), high, level, n, PER_SENTENCE, words)

    fitted = np.exp(log_beta - eta * np.log(k))
    return Decay(
        of_eta(float(alone[1]), method, cut=True),
        of_beta(float(alone[0]), method),
        of_eta(float(alone[1]), method, cut=False),
        of_eta(float(joint[1]), together, cut=True),
        of_beta(float(joint[0]), together),
        tuple(map(float, fitted)),
        note,
    )
