"""Curves over the number of sentences, and families of curves, with limits that hold all at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beb.core.estimate import Band
from beb.errors import BadSpec
from beb.estimate.bounded import betting_interval
from beb.estimate.checks import Array, Bounds, check_bounds, check_lengths, check_level, matrix, too_few
from beb.estimate.studentised import METHOD, Limits, PromptSet, simultaneous_limits


@dataclass(frozen=True, slots=True, eq=False)
class JointBox:
    """Several curves whose limits hold all together with probability `level`.

    value, low, high: per name an array (k,); variances are on their own scale, not its logarithm.
    n: per name the number of prompts.
    """

    value: Mapping[str, Array]
    low: Mapping[str, Array]
    high: Mapping[str, Array]
    n: Mapping[str, int]
    level: float
    method: str


def mean_band(
    values: Any,
    lengths: Sequence[int],
    *,
    level: float,
    rng: np.random.Generator,
    unit: str,
    n_draws: int = 2000,
    bounds: Bounds | None = None,
    name: str = "curve",
    deterministic: Collection[int] = (),
) -> Band:
    """Mean curve with pointwise limits and a simultaneous band.

    values: (n_prompts, k), one row per prompt, NaN where missing. lengths: (k,) numbers of sentences. bounds: range of
    every value (one side may be infinite); limits are clipped to it. deterministic: lengths at which the prompt holds
    nothing random, so that equal values are exact and not a coincidence.
    Where all prompts agree at another length, the limits are the betting interval within finite bounds (at a
    Bonferroni share for the band), and otherwise infinite: equal values alone prove nothing.
    Raises: TooFewPrompts, EstimateError, BadSpec.
    Assumes: prompts independent; finite variance; values missing at random.
    """
    check_level(level)
    x = matrix(values, name=name, missing=True)
    check_lengths(lengths, x.shape[1], name=name)
    check_bounds(x, bounds, name)
    fewest = int((~np.isnan(x)).sum(axis=0).min())
    if fewest < 2:
        raise too_few(name, fewest)
    (limits,) = simultaneous_limits([PromptSet.of(x)], level=level, rng=rng, n_draws=n_draws)
    exact = np.isin(lengths, list(deterministic)) & (limits.scale == 0)
    return mean_limits_band(x, lengths, limits, level=level, unit=unit, bounds=bounds, exact=exact)


def mean_limits_band(
    x: Array, lengths: Sequence[int], limits: Limits, *, level: float, unit: str, bounds: Bounds | None, exact: np.ndarray
) -> Band:
    """The band of means given critical values; columns without spread as in `mean_band`. exact: (k,)."""
    below, above = bounds or (-math.inf, math.inf)
    sides = []
    for critical, column_level in ((limits.pointwise, level), (limits.simultaneous, limits.share)):
        with np.errstate(invalid="ignore"):
            half = np.where(exact, 0.0, np.where(limits.scale > 0, critical * limits.scale, math.inf))
        low, high = np.maximum(limits.value - half, below), np.minimum(limits.value + half, above)
        for j in np.flatnonzero((limits.scale == 0) & ~exact):
            if math.isfinite(below) and math.isfinite(above):
                column = x[:, j]
                low[j], high[j] = betting_interval(column[~np.isnan(column)], (below, above), column_level)
        sides += [np.minimum(low, limits.value), np.maximum(high, limits.value)]
    return Band(
        tuple(int(n) for n in lengths),
        *(tuple(map(float, side)) for side in (limits.value, *sides)),
        level,
        x.shape[0],
        unit,
        f"mean; pointwise t and bootstrap-t; band: {METHOD}",
    )


def joint_box(
    means: Mapping[str, Any],
    variances: Mapping[str, Any],
    *,
    level: float,
    rng: np.random.Generator,
    n_draws: int = 2000,
    prompt_sets: Mapping[str, str] | None = None,
) -> JointBox:
    """Limits for several mean curves and variance curves that hold all together.

    means, variances: name → (n_prompts, k); names are distinct. prompt_sets: name → label of the set of prompts the
    rows come from (default: one set for all); rows of one set are the same prompts in the same order, and different
    sets are independent and resampled independently.
    Returns: JointBox; the low limit of a variance is >= 0. A column on which all prompts agree has infinite limits.
    Raises: TooFewPrompts, EstimateError, BadSpec.
    Assumes: prompts independent; finite variance (means), finite fourth moment (variances).
    """
    check_level(level)
    if set(means) & set(variances) or not (means or variances):
        raise BadSpec(f"means {sorted(means)} and variances {sorted(variances)} need distinct names, at least one in all")
    labels = {name: "" for name in (*means, *variances)} | dict(prompt_sets or {})
    columns = {name: matrix(x, name=name) for name, x in (means | variances if False else {**means, **variances}).items()}
    sets = []
    order: list[tuple[str, int, slice]] = []
    for index, label in enumerate(sorted(set(labels.values()))):
        mine = [[name for name in kind if labels[name] == label] for kind in (means, variances)]
        rows = {columns[name].shape[0] for kind in mine for name in kind}
        if len(rows) > 1:
            raise BadSpec(f"{sum(mine, [])} share a prompt set but have {sorted(rows)} rows; name their prompt sets")
        start = 0
        for name in mine[0] + mine[1]:
            order.append((name, index, slice(start, start + columns[name].shape[1])))
            start += columns[name].shape[1]
        empty = np.zeros((rows.pop(), 0))
        sets.append(PromptSet.of(*(np.hstack([empty, *(columns[name] for name in kind)]) for kind in mine)))
    solved = simultaneous_limits(sets, level=level, rng=rng, n_draws=n_draws)
    boxes = {name: _box(solved[index], where, name in variances) for name, index, where in order}
    return JointBox(
        *({name: box[i] for name, box in boxes.items()} for i in range(3)),
        {name: x.shape[0] for name, x in columns.items()},
        level,
        METHOD,
    )


def _box(limits: Limits, where: slice, log_scale: bool) -> tuple[Array, Array, Array]:
    """Value, low and high of one name's columns."""
    value, scale = limits.value[where], limits.scale[where]
    half = np.where(scale > 0, limits.simultaneous[where] * np.where(scale > 0, scale, 1.0), math.inf)
    if not log_scale:
        return value, value - half, value + half
    known = np.exp(value)
    return known, known * np.exp(-half), np.where(np.isinf(half), math.inf, known * np.exp(np.minimum(half, 700)))
