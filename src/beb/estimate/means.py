"""Means and proportions over independent prompts."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from scipy import stats

from beb.core.estimate import Estimate
from beb.errors import BadSpec, EstimateError
from beb.estimate.bounded import BETTING, EMPIRICAL_BERNSTEIN, betting_interval, empirical_bernstein_interval
from beb.estimate.checks import Array, Bounds, check_bounds, check_level, matrix, too_few, vector
from beb.estimate.studentised import BOOTSTRAP_T, critical_value, rounding

MeanMethod = Literal["t", "empirical-bernstein", "betting"]


def is_constant(values: Array) -> bool:
    """Whether all values are equal up to rounding, so that their variance says nothing."""
    return bool(np.ptp(values) <= rounding(values[:, None])[0])


def mean(
    values: Any, *, level: float, unit: str, bounds: Bounds | None = None, method: MeanMethod = "t", name: str = "mean"
) -> Estimate:
    """Mean of independent values with its interval.

    values: (n,), n >= 2. bounds: range that every value must lie in; the interval is clipped to it.
    method: "t" (Student's t, or the bootstrap-t critical value where a skewed sample needs more; approximate), or a
    finite-sample interval that needs finite bounds: "empirical-bernstein", "betting". If all values are equal, "t"
    would be falsely exact: bounded values then get the betting interval, and unbounded ones are refused.
    Raises: TooFewPrompts, EstimateError, BadSpec. Assumes: values independent, one mean.
    Source: Hall 1992 §3.5 (t); Maurer & Pontil 2009; Waudby-Smith & Ramdas 2024.
    """
    check_level(level)
    x = vector(values, name=name)
    check_bounds(x, bounds, name)
    low, high, words = _mean_limits(x, level, bounds, method, name)
    value = float(x.mean())
    return Estimate(value, min(low, value), max(high, value), level, x.size, unit, f"mean; {words}")


def _mean_limits(
    x: Array, level: float, bounds: Bounds | None, method: MeanMethod, name: str
) -> tuple[float, float, str]:
    finite = bounds if bounds is not None and all(map(math.isfinite, bounds)) else None
    if method == "t" and not is_constant(x):
        half = critical_value(x, level) * float(x.std(ddof=1)) / math.sqrt(x.size)
        below, above = bounds or (-math.inf, math.inf)
        return max(below, float(x.mean()) - half), min(above, float(x.mean()) + half), BOOTSTRAP_T
    if finite is None:
        if method == "t":
            raise EstimateError(
                f"{name}: all {x.size} values equal {x[0]:g} and no finite bounds are known, so no interval is honest; "
                "give bounds or more prompts"
            )
        raise BadSpec(f"{name}: method {method!r} needs finite bounds; give bounds or use method 't'")
    if method == "empirical-bernstein":
        return (*empirical_bernstein_interval(x, finite, level), EMPIRICAL_BERNSTEIN)
    why = "all values equal, hence " if method == "t" else ""
    return (*betting_interval(x, finite, level), why + BETTING)


def row_means(values: Any, *, name: str = "values") -> Array:
    """Mean of each cluster over the values it has; NaN for a cluster without any. values: (n_clusters, k)."""
    array = matrix(values, name=name, missing=True)
    known = ~np.isnan(array)
    totals = np.where(known, array, 0.0).sum(axis=1)
    counts = known.sum(axis=1)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def cluster_mean(
    values: Any,
    *,
    level: float,
    unit: str,
    bounds: Bounds | None = None,
    method: MeanMethod = "t",
    name: str = "cluster mean",
) -> Estimate:
    """Mean over clusters of the cluster means: every prompt counts once, however many responses it has.

    values: (n_clusters, k), NaN where a value is missing; clusters without values are left out.
    Raises: TooFewPrompts below 2 clusters with values; as `mean`.
    Assumes: clusters independent; values missing for reasons unrelated to them (else see `worst_case_mean`).
    """
    check_bounds(np.asarray(values, dtype=np.float64), bounds, name)
    means = row_means(values, name=name)
    used = means[~np.isnan(means)]
    if used.size < 2:
        raise too_few(name, used.size)
    estimate = mean(used, level=level, unit=unit, bounds=bounds, method=method, name=name)
    return _with_method(estimate, f"mean over {used.size} of {means.size} clusters;{estimate.method.partition(';')[2]}")


def _with_method(estimate: Estimate, method: str) -> Estimate:
    e = estimate
    return Estimate(e.value, e.low, e.high, e.level, e.n, e.unit, method, e.exact)


def worst_case_mean(
    values: Any, bounds: Bounds, *, level: float = 0.95, unit: str = "behavior", name: str = "worst-case mean"
) -> Estimate:
    """Limits of the cluster mean whatever the missing values were.

    values: (n_clusters, k), NaN where missing; bounds: range of every value. The lower limit is that of the sample
    with every missing value at the lower bound, the upper limit that with every one at the upper bound, neither inside
    the limits of the known values alone; the value is the middle of the two means (the mean if nothing is missing).
    Raises: as `cluster_mean`. Assumes: clusters independent; nothing about why values are missing.
    """
    array = matrix(values, name=name, missing=True)
    if not all(map(math.isfinite, bounds)):
        raise BadSpec(f"{name}: bounds {bounds} are not finite; the worst case needs the range of the scores")
    worst, best = (
        cluster_mean(np.where(np.isnan(array), fill, array), level=level, unit=unit, bounds=bounds, name=name)
        for fill in bounds
    )
    known = row_means(array, name=name)
    known = known[~np.isnan(known)]
    # Filling in a constant can shrink the spread; what was seen must not end up outside.
    seen = [mean(known, level=level, unit=unit, bounds=bounds, name=name)] if known.size > 1 else []
    n_missing = int(np.isnan(array).sum())
    words = f"worst case over {n_missing} of {array.size} values missing; means in [{worst.value:g}, {best.value:g}]"
    low, high = min(e.low for e in (worst, *seen)), max(e.high for e in (best, *seen))
    return Estimate((worst.value + best.value) / 2, low, high, level, worst.n, unit, words)


def paired_difference(
    a: Any, b: Any, *, level: float, unit: str, bounds: Bounds | None = None, name: str = "paired difference"
) -> Estimate:
    """Mean of a - b over prompts that have both.

    a, b: (n_prompts,) or (n_prompts, k) with NaN for missing; the same prompt in the same row. bounds: of a and of b.
    Raises: TooFewPrompts below 2 complete pairs; BadSpec if the rows differ in number.
    Assumes: prompts independent; the two conditions of one prompt may depend on each other.
    """
    left, right = (np.asarray(side, dtype=np.float64) for side in (a, b))
    if left.shape[:1] != right.shape[:1]:
        raise BadSpec(f"{name} pairs {left.shape[:1]} with {right.shape[:1]} prompts; give the same prompts twice")
    for side in (left, right):
        check_bounds(side, bounds, name)
    columns = [row_means(side[:, None] if side.ndim == 1 else side, name=name) for side in (left, right)]
    differences = columns[0] - columns[1]
    pairs = differences[~np.isnan(differences)]
    if pairs.size < 2:
        raise too_few(name, pairs.size)
    widest = None if bounds is None else (bounds[0] - bounds[1], bounds[1] - bounds[0])
    estimate = mean(pairs, level=level, unit=unit, bounds=widest, name=name)
    return _with_method(
        estimate, f"mean paired difference over {pairs.size} prompts;{estimate.method.partition(';')[2]}"
    )


def proportion(
    successes: int,
    trials: int,
    *,
    level: float,
    unit: str,
    method: Literal["wilson", "clopper-pearson"] = "wilson",
) -> Estimate:
    """Share of successes in independent trials.

    method: "wilson" (score interval, right on average) or "clopper-pearson" (never undercovers).
    Raises: EstimateError without trials; BadSpec for impossible counts. Assumes: trials independent, one probability.
    Source: Wilson 1927; Clopper & Pearson 1934.
    """
    check_level(level)
    if trials < 1:
        raise EstimateError("a proportion has 0 trials and needs at least 1; give more statements")
    if not 0 <= successes <= trials:
        raise BadSpec(f"{successes} successes in {trials} trials; successes must lie in [0, trials]")
    words = "exact" if method == "clopper-pearson" else method
    interval = stats.binomtest(successes, trials).proportion_ci(confidence_level=level, method=words)
    value = successes / trials
    low, high = min(float(interval.low), value), max(float(interval.high), value)
    return Estimate(value, low, high, level, trials, unit, f"proportion; {method}")
