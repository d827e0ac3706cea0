"""The expected best of n draws from a mixture, from draws of its two parts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from beb.errors import BadSpec, EstimateError
from beb.estimate.checks import Array


def mixture_best_of(weight: Any, first: Any, second: Any, size: int) -> Array:
    """Unbiased estimate of E[max of n draws], each from the first part with probability w, else from the second.

    With F = w F₁ + (1−w) F₂ the distribution function of one draw, E max = top − ∫ F(x)ⁿ dx, and
    Fⁿ = Σⱼ C(n, j) wʲ (1−w)ⁿ⁻ʲ F₁ʲ F₂ⁿ⁻ʲ. With c of R draws at or below x, C(c, j)/C(R, j) is unbiased for F(x)ʲ; the
    two parts' draws are independent, so that the product is unbiased too.
    weight: (...) in [0, 1]. first: (..., R₁) and second: (..., R₂) scores; NaN anywhere in a cell makes it NaN.
    size: n, at most R₁ and R₂.
    Returns: (...), in the scores' unit. Raises: BadSpec, EstimateError.
    Assumes: the weight is known; the draws of each part are independent.
    Source: derived in docs/maths.md, "Best of n of a mixture".
    """
    w, x, y = (np.asarray(each, dtype=np.float64) for each in (weight, first, second))
    if x.shape[:-1] != w.shape or y.shape[:-1] != w.shape:
        raise EstimateError(f"weights {w.shape} and draws {x.shape}, {y.shape} do not belong together")
    if size != int(size) or not 1 <= size <= min(x.shape[-1], y.shape[-1]):
        raise BadSpec(
            f"the best of {size} of a mixture needs as many draws of both parts and has {x.shape[-1]} and "
            f"{y.shape[-1]}; raise --responses"
        )
    if np.isnan(w).any() or (w.size and (w.min() < 0 or w.max() > 1)):
        raise EstimateError("a weight lies outside [0, 1]")
    points = np.sort(np.concatenate([x, y], axis=-1), axis=-1)  # (..., T)
    tables = [_shares(draws.shape[-1], size)[_at_or_below(draws, points)] for draws in (x, y)]  # (..., T, n + 1)
    j = np.arange(size + 1)
    choose = np.array([float(math.comb(size, int(i))) for i in j])
    terms = choose * w[..., None] ** j * (1 - w[..., None]) ** (size - j)  # (..., n + 1)
    power = (tables[0] * tables[1][..., ::-1] * terms[..., None, :]).sum(axis=-1)  # of F at each point
    answer = points[..., -1] - (power[..., :-1] * np.diff(points, axis=-1)).sum(axis=-1)
    answer = np.clip(answer, points[..., 0], points[..., -1])  # rounding
    missing = np.isnan(x).any(axis=-1) | np.isnan(y).any(axis=-1)
    return np.asarray(np.where(missing, np.nan, answer))


def _at_or_below(draws: Array, points: Array) -> np.ndarray:
    """(..., T) how many of the draws lie at or below each point."""
    return np.asarray((draws[..., None, :] <= points[..., :, None]).sum(axis=-1))


def _shares(n_draws: int, size: int) -> Array:
    """(R + 1, n + 1) C(c, j)/C(R, j)."""
    return np.array(
        [[math.comb(c, j) / math.comb(n_draws, j) for j in range(size + 1)] for c in range(n_draws + 1)],
        dtype=np.float64,
    )
