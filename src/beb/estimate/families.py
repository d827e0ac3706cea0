"""Several curves measured on the same prompts, whose bands hold all together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from beb.core.estimate import Band
from beb.errors import BadSpec
from beb.estimate.bands import mean_limits_band
from beb.estimate.bounded import betting_interval
from beb.estimate.checks import Array, Bounds, check_bounds, check_lengths, check_level, matrix, too_few
from beb.estimate.studentised import Limits, PromptSet, simultaneous_limits

Key = TypeVar("Key")
FEWEST_DEPARTURES = 5  # expected, for a studentised interval


def mean_bands(
    values: Mapping[Key, Array],
    lengths: Sequence[int],
    *,
    level: float,
    rng: np.random.Generator,
    unit: str,
    bounds: Bounds | None = None,
    n_draws: int = 2000,
    name: str = "curves",
) -> dict[Key, Band]:
    """One band per curve; the simultaneous limits of all curves hold together with probability `level`.

    values: per curve (n_prompts, k), the same prompts in the same rows, NaN where missing. lengths: (k,) of all curves.
    bounds: range of every value.
    Returns: pointwise limits as in `mean_band`, and the same treatment of lengths at which all prompts agree. Where
    `near_bound` says so, the limit away from the bound is at least as far as the betting interval's, at the Bonferroni
    share of one point.
    Raises: TooFewPrompts, EstimateError, BadSpec. Assumes: as `mean_band`.
    """
    check_level(level)
    columns = {key: matrix(x, name=f"{name}, {key}", missing=True) for key, x in values.items()}
    shapes = {x.shape for x in columns.values()}
    if len(shapes) != 1:
        raise BadSpec(f"{name} have shapes {sorted(shapes)}; give one or more curves of the same prompts and lengths")
    ((_, k),) = shapes
    check_lengths(lengths, k, name=name)
    whole = np.hstack(list(columns.values()))
    check_bounds(whole, bounds, name)
    fewest = int((~np.isnan(whole)).sum(axis=0).min())
    if fewest < 2:
        raise too_few(name, fewest)
    block = [str(key) for key in columns for _ in range(k)]
    (limits,) = simultaneous_limits([PromptSet.of(whole, block=block)], level=level, rng=rng, n_draws=n_draws)
    nowhere = np.zeros(k, dtype=bool)
    bands = {}
    for i, (key, x) in enumerate(columns.items()):
        part = _part(limits, slice(i * k, (i + 1) * k))
        band = mean_limits_band(x, lengths, part, level=level, unit=unit, bounds=bounds, exact=nowhere)
        bands[key] = band if bounds is None else _with_unseen_tail(x, band, part, bounds)
    return bands


def near_bound(values: Array, bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
    """(k,) twice: does the mean lie so near the lower, the upper bound that few prompts can depart from it?

    If a share p of the prompts departs by a, the mean is pa from the bound and its standard error a√(p/n): their ratio
    is √(np). Below five expected departures a sample may well hold too few, and a studentised interval, which takes its
    width from them, is then too narrow on the side away from the bound.
    """
    n = np.maximum((~np.isnan(values)).sum(axis=0), 2)
    mean = np.nanmean(values, axis=0)
    reach = math.sqrt(FEWEST_DEPARTURES) * np.nanstd(values, axis=0, ddof=1) / np.sqrt(n)
    return mean - bounds[0] < reach, bounds[1] - mean < reach


def _with_unseen_tail(x: Array, band: Band, limits: Limits, bounds: Bounds) -> Band:
    at_bottom, at_top = near_bound(x, bounds)
    low, high = list(band.low), list(band.high)
    for j in np.flatnonzero((at_bottom | at_top) & ~limits.agree):
        column = x[:, j]
        down, up = betting_interval(column[~np.isnan(column)], bounds, limits.share)
        low[j] = min(low[j], down) if at_top[j] else low[j]
        high[j] = max(high[j], up) if at_bottom[j] else high[j]
    return replace(band, low=tuple(low), high=tuple(high))


def _part(limits: Limits, where: slice) -> Limits:
    return Limits(
        limits.value[where],
        limits.scale[where],
        limits.agree[where],
        limits.pointwise[where],
        limits.simultaneous[where],
        limits.share,
    )
