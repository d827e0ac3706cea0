"""σ²: how much the log ratio of the components varies per sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from beb.core.estimate import Band, Estimate
from beb.estimate.bands import curve_band, log_limits, mean_band
from beb.estimate.checks import Array, check_lengths, check_level, matrix
from beb.estimate.distinguishability import largest
from beb.estimate.studentised import METHOD, PromptSet, simultaneous_limits

UNIT = "nats² per sentence"


def _checked(log_ratio: Any, lengths: Sequence[int]) -> tuple[Array, Array]:
    """(n_prompts, N) log ratios and (N,) lengths."""
    x = matrix(log_ratio, name="sigma2", minimum=3)
    return x, check_lengths(lengths, x.shape[1], name="sigma2", smallest=1)


def variance_band(
    log_ratio: Any, lengths: Sequence[int], *, level: float, rng: np.random.Generator, n_draws: int = 2000
) -> Band:
    """Varₙ/n, the variance of the cumulative log ratio per sentence.

    log_ratio: (n_prompts, N) log P₋/P₊ of the first n sentences, nats; lengths: (N,) those n, from 1.
    Limits: log scale, standard errors from fourth moments, studentised maximum over the lengths.
    Returns: Band in nats² per sentence. Raises: TooFewPrompts below 3, EstimateError, BadSpec.
    Assumes: prompts independent; finite fourth moment. Source: Wolf et al. 2024, Definition 4.
    """
    check_level(level)
    x, n = _checked(log_ratio, lengths)
    per_root = x / np.sqrt(n)
    sets = [PromptSet.of(per_root, log_variance=np.ones(n.size, dtype=bool))]
    (limits,) = simultaneous_limits(sets, level=level, rng=rng, n_draws=n_draws)
    scale = np.where(limits.agree, 1.0, limits.scale)
    value, *pointwise = log_limits(limits.value, limits.pointwise * scale)
    _, *together = log_limits(limits.value, limits.simultaneous * scale)
    return curve_band(
        lengths,
        [value, *pointwise, *together],
        level=level,
        n=x.shape[0],
        unit=UNIT,
        method=f"variance per sentence, log scale; {METHOD}",
    )


def sigma_squared(band: Band) -> Estimate:
    """σ² = maxₙ Varₙ/n, with the limits of the simultaneous band. Source: Wolf et al. 2024, Definition 4."""
    return largest(band, name="sigma2")


def variance_trend(
    log_ratio: Any, lengths: Sequence[int], *, level: float, rng: np.random.Generator, n_draws: int = 2000
) -> Estimate:
    """Slope of Varₙ/n against n: positive limits say that no nσ² bounds the variance at longer prompts.

    log_ratio: (n_prompts, N), N >= 2; lengths: (N,) from 1. The least-squares slope of the sample variances is the mean
    over prompts of uᵢ = n/(n-1) Σₙ cₙ (Lᵢₙ - mean)²/n, and its interval that of a mean of u.
    Returns: Estimate in nats² per sentence². Raises: as `variance_band`. Source: Wolf et al. 2024, Definition 4.
    """
    check_level(level)
    x, n = _checked(log_ratio, lengths)
    slope_weights = (n - n.mean()) / ((n - n.mean()) ** 2).sum()
    n_prompts = x.shape[0]
    influence = ((x - x.mean(axis=0)) ** 2 / n) @ slope_weights * n_prompts / (n_prompts - 1)
    band = mean_band(
        influence[:, None], [1], level=level, rng=rng, unit=f"{UNIT}²", n_draws=n_draws, name="variance trend"
    )
    return band.at(1)
