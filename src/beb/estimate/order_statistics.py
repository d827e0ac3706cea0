"""Best of n from one set of responses: the expected largest of n draws, unbiased for every n at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import gammaln

from beb.core.estimate import Band, Estimate
from beb.errors import BadSpec, EstimateError
from beb.estimate.bands import mean_band
from beb.estimate.checks import Array, Bounds
from beb.estimate.means import cluster_mean


def best_of(scores: Any, sizes: Sequence[int]) -> Array:
    """Unbiased estimate of E[max of n draws] for each prompt, from its R responses.

    The mean of the maximum over all C(R, n) subsets of the responses: Σᵢ B₍ᵢ₎ C(i−1, n−1)/C(R, n), since
    C(i, n) − C(i−1, n) = C(i−1, n−1) subsets have the i-th smallest response as their largest.
    scores: (n_prompts, R) or (n_prompts, k, R), NaN where a response is missing. sizes: (m,) numbers n >= 1.
    Returns: (n_prompts, [k,] m) in the scores' unit; a prompt uses its own number of responses and is NaN where it has
    fewer than n.
    Raises: BadSpec if a size is below 1 or exceeds R; EstimateError for another shape or infinite scores.
    Assumes: the responses to one prompt are independent draws; missing ones are missing for reasons unrelated to their
    scores (else see `worst_case_best_of`).
    Source: Wolf et al. 2024, Theorem 4 (best of n); Hoeffding 1948 (a mean over subsets is unbiased).
    """
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim not in (2, 3) or x.size == 0:
        raise EstimateError(f"scores have shape {x.shape}; needs (n_prompts, R) or (n_prompts, k, R)")
    if np.isinf(x).any():
        raise EstimateError("scores hold infinite values; drop the responses that failed before estimating")
    sizes = _checked(sizes, x.shape[-1])
    ordered = np.sort(x, axis=-1)  # NaN last
    known = (~np.isnan(x)).sum(axis=-1)
    answer = np.full((*known.shape, len(sizes)), math.nan)
    for n_responses in np.unique(known[known > 0]):
        cells = known == n_responses
        present = ordered[cells][:, :n_responses]
        # Rounding must not carry a mean beyond the scores that it is of.
        answer[cells] = np.clip(present @ rank_weights(int(n_responses), sizes), present[:, :1], present[:, -1:])
    return answer


def best_of_band(
    scores: Any,
    sizes: Sequence[int],
    *,
    level: float,
    rng: np.random.Generator,
    unit: str = "behavior",
    bounds: Bounds | None = None,
    n_draws: int = 2000,
) -> Band:
    """E[max of n] averaged over prompts, as a curve over n with pointwise and simultaneous limits.

    scores: (n_prompts, R), NaN where missing. sizes: (m,) increasing; they stand where a curve has its lengths.
    bounds: range of every score. Raises: TooFewPrompts if fewer than 2 prompts have n responses; as `best_of` and
    `mean_band`. Assumes: prompts independent; as `best_of`.
    """
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 2:
        raise EstimateError(f"scores have shape {x.shape}; the curve over n needs (n_prompts, R)")
    best = best_of(x, sizes)
    return mean_band(
        best, sizes, level=level, rng=rng, unit=unit, bounds=bounds, n_draws=n_draws, name=f"best of {max(sizes)}"
    )


def worst_case_best_of(
    scores: Any, size: int, bounds: Bounds, *, level: float = 0.95, unit: str = "behavior"
) -> Estimate:
    """Limits of E[max of n] whatever the missing responses were.

    The expected maximum rises with every score, so its extremes are at the extremes of the missing scores.
    scores: (n_prompts, R), NaN where missing. bounds: finite range of every score.
    Returns: the middle of the two extreme means; the lower limit of the lower one and the upper of the upper one.
    Raises: as `best_of` and `cluster_mean`; BadSpec if the bounds are not finite.
    Assumes: prompts independent; nothing about why responses are missing.
    """
    x = np.asarray(scores, dtype=np.float64)
    if not all(map(math.isfinite, bounds)):
        raise BadSpec(f"bounds {bounds} are not finite; the worst case needs the range of the scores")
    missing = np.isnan(x)
    name = f"best of {size}"
    worst, best = (
        cluster_mean(best_of(np.where(missing, fill, x), [size]), level=level, unit=unit, bounds=bounds, name=name)
        for fill in bounds
    )
    words = (
        f"worst case of the best of {size} over {int(missing.sum())} of {x.size} responses missing; "
        f"means in [{worst.value:g}, {best.value:g}]"
    )
    return Estimate((worst.value + best.value) / 2, worst.low, best.high, level, worst.n, unit, words)


def rank_weights(n_responses: int, sizes: Sequence[int]) -> Array:
    """(R, m) weight C(i−1, n−1)/C(R, n) of the i-th smallest of R responses in the best of n; NaN where n > R."""
    rank = np.arange(1.0, n_responses + 1)[:, None]
    weights = np.full((n_responses, len(sizes)), math.nan)
    enough = np.asarray(sizes) <= n_responses
    n = np.asarray(sizes, dtype=np.float64)[enough]
    share = np.exp(_log_choose(rank - 1, n - 1) - _log_choose(np.array(float(n_responses)), n))
    weights[:, enough] = share / share.sum(axis=0)  # the sum is 1 but for rounding
    return weights


def _log_choose(total: Array, chosen: Array) -> Array:
    """log C(total, chosen), −inf where chosen > total."""
    inside = np.where(chosen <= total, chosen, 0.0)
    value = gammaln(total + 1.0) - gammaln(inside + 1.0) - gammaln(total - inside + 1.0)
    return np.where(chosen <= total, value, -math.inf)


def _checked(sizes: Sequence[int], n_responses: int) -> list[int]:
    """Raises: BadSpec unless all sizes are whole numbers between 1 and the number of responses."""
    if len(sizes) == 0 or any(size != int(size) or size < 1 for size in sizes):
        raise BadSpec(f"sizes of the best of n are {list(sizes)}; give one or more whole numbers >= 1")
    largest = int(max(sizes))
    if largest > n_responses:
        raise BadSpec(
            f"best of {largest} needs at least {largest} responses per prompt and has {n_responses}; raise --responses"
        )
    return [int(size) for size in sizes]
