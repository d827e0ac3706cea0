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
from beb.estimate.studentised import BOOTSTRAP_T, METHOD, Limits, PromptSet, resampled, simultaneous_limits


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
    exact = np.isin(lengths, list(deterministic)) & limits.agree
    return mean_limits_band(x, lengths, limits, level=level, unit=unit, bounds=bounds, exact=exact)


def mean_limits_band(
    x: Array,
    lengths: Sequence[int],
    limits: Limits,
    *,
    level: float,
    unit: str,
    bounds: Bounds | None,
    exact: np.ndarray,
) -> Band:
    """The band of means given critical values; columns without spread as in `mean_band`. exact: (k,)."""
    below, above = bounds or (-math.inf, math.inf)
    sides = []
    for critical, column_level in ((limits.pointwise, level), (limits.simultaneous, limits.share)):
        with np.errstate(invalid="ignore"):
            half = np.where(exact, 0.0, np.where(limits.agree, math.inf, critical * limits.scale))
        low, high = np.maximum(limits.value - half, below), np.minimum(limits.value + half, above)
        for j in np.flatnonzero(limits.agree & ~exact):
            if math.isfinite(below) and math.isfinite(above):
                column = x[:, j]
                low[j], high[j] = betting_interval(column[~np.isnan(column)], (below, above), column_level)
        sides += [np.minimum(low, limits.value), np.maximum(high, limits.value)]
    words = f"mean; pointwise {BOOTSTRAP_T}; band: {METHOD}"
    return curve_band(lengths, [limits.value, *sides], level=level, n=x.shape[0], unit=unit, method=words)


def curve_band(
    lengths: Sequence[int], columns: Sequence[Array], *, level: float, n: int, unit: str, method: str
) -> Band:
    """Band from its five arrays: value, pointwise low and high, simultaneous low and high."""
    value, *limits = (tuple(map(float, column)) for column in columns)
    point_low, point_high, low, high = limits
    where = tuple(int(length) for length in lengths)
    return Band(where, value, point_low, point_high, low, high, level, n, unit, method)


def joint_box(
    means: Mapping[str, Any],
    variances: Mapping[str, Any],
    *,
    level: float,
    rng: np.random.Generator,
    n_draws: int = 2000,
    prompt_sets: Mapping[str, str] | None = None,
    shared: Mapping[str, Array] | None = None,
) -> JointBox:
    """Limits for several mean curves and variance curves that hold all together.

    means, variances: name → (n_prompts, k); names are distinct. prompt_sets: name → label of the set of prompts the
    rows come from (default: one set for all); rows of one set are the same prompts in the same order, and different
    sets are independent and resampled independently. shared: name → (k, r) standard deviations per unit normal of r
    error sources that all prompts share, such as a scorer's error rates (default: none).
    Returns: JointBox; the low limit of a variance is >= 0. A column on which all prompts agree has infinite limits.
    Every curve gets the critical value that its own tails ask for (balanced), all of them holding together.
    Raises: TooFewPrompts, EstimateError, BadSpec.
    Assumes: prompts independent; finite variance (means), finite fourth moment (variances).
    """
    check_level(level)
    columns = _named_columns(means, variances, missing=False)
    sets, places = _sets_of_prompts(columns, variances, prompt_sets or {}, shared or {})
    solved = simultaneous_limits(sets, level=level, rng=rng, n_draws=n_draws)
    boxes = {name: _box(solved[i], where, name in variances) for name, (i, where) in places.items()}
    value, low, high = ({name: boxes[name][i] for name in columns} for i in range(3))
    return JointBox(value, low, high, {name: x.shape[0] for name, x in columns.items()}, level, METHOD)


def joint_draws(
    means: Mapping[str, Any],
    variances: Mapping[str, Any],
    *,
    rng: np.random.Generator,
    n_draws: int,
    prompt_sets: Mapping[str, str] | None = None,
    shared: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """The curves themselves in joint resamples of the prompts, as `joint_box` resamples them.

    Arguments as of `joint_box`, but means may be NaN where missing; error sources are common to all sets of prompts.
    Returns: name → (n_draws, k); row d of every name is of the same resample, variances on their own scale.
    Raises: TooFewPrompts where a column has fewer prompts than resampling needs, EstimateError, BadSpec.
    Assumes: as `joint_box`. The draws show a spread; they are not studentised and their quantiles are no limits.
    """
    columns = _named_columns(means, variances, missing=True)
    sets, places = _sets_of_prompts(columns, variances, prompt_sets or {}, shared or {})
    drawn = resampled(sets, rng=rng, n_draws=n_draws)
    found = {name: drawn[i][:, where] for name, (i, where) in places.items()}
    return {name: np.exp(found[name]) if name in variances else found[name] for name in columns}


def _named_columns(means: Mapping[str, Any], variances: Mapping[str, Any], *, missing: bool) -> dict[str, Array]:
    if set(means) & set(variances) or not (means or variances):
        raise BadSpec(
            f"means {sorted(means)} and variances {sorted(variances)} need distinct names, at least one in all"
        )
    return {name: matrix(x, name=name, missing=missing and name in means) for name, x in {**means, **variances}.items()}


def _sets_of_prompts(
    columns: Mapping[str, Array],
    variances: Mapping[str, Any],
    prompt_sets: Mapping[str, str],
    shared: Mapping[str, Array],
) -> tuple[list[PromptSet], dict[str, tuple[int, slice]]]:
    """The sets, and of every name the number of its set and where its columns are there."""
    labels = {name: prompt_sets.get(name, "") for name in columns}
    members = [[name for name in columns if labels[name] == label] for label in sorted(set(labels.values()))]
    places: dict[str, tuple[int, slice]] = {}
    for i, names in enumerate(members):
        ends = np.cumsum([columns[name].shape[1] for name in names])
        places |= {name: (i, slice(end - columns[name].shape[1], end)) for name, end in zip(names, ends, strict=True)}
    return [_one_set({name: columns[name] for name in names}, variances, shared) for names in members], places


def _one_set(columns: Mapping[str, Array], variances: Mapping[str, Any], shared: Mapping[str, Array]) -> PromptSet:
    """The columns that share their prompts, side by side."""
    rows = {name: x.shape[0] for name, x in columns.items()}
    if len(set(rows.values())) > 1:
        raise BadSpec(f"one set of prompts has different numbers of rows: {rows}; name the prompt sets")
    log_variance = np.concatenate([np.full(x.shape[1], name in variances) for name, x in columns.items()])
    block = [name for name, x in columns.items() for _ in range(x.shape[1])]
    sources = max((one.shape[1] for one in shared.values()), default=0)
    loads = np.vstack([shared.get(name, np.zeros((x.shape[1], sources))) for name, x in columns.items()])
    return PromptSet.of(np.hstack(list(columns.values())), log_variance=log_variance, shared=loads, block=block)


def _box(limits: Limits, where: slice, log_scale: bool) -> tuple[Array, Array, Array]:
    """Value, low and high of one name's columns."""
    value, critical = limits.value[where], limits.simultaneous[where]
    scale = np.where(limits.agree[where], 1.0, limits.scale[where])
    return (
        log_limits(value, critical * scale)
        if log_scale
        else (value, value - critical * scale, value + critical * scale)
    )


def log_limits(log_value: Array, half: Array) -> tuple[Array, Array, Array]:
    """exp of value, value - half and value + half; half may be infinite."""
    value = np.exp(log_value)
    return value, value * np.exp(-half), np.where(half < 700, value * np.exp(np.minimum(half, 700)), math.inf)
