"""How far two measurements of the same quantity lie apart, on the same prompts or on different ones.

Everything is reduced to rows whose mean is the difference (`difference_rows`), so that the limits of a difference are
those of a mean, and to joint limits of both curves and of their difference where an extreme is compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from beb.core.estimate import Band, Estimate
from beb.errors import BadSpec
from beb.estimate.bands import JointBox, joint_box, mean_limits_band
from beb.estimate.checks import Array, Bounds, check_lengths, check_level, matrix, too_few
from beb.estimate.means import is_constant, mean
from beb.estimate.studentised import PromptSet, simultaneous_limits

Extreme = Literal["smallest", "largest"]
PAIRED, INDEPENDENT = "paired by prompt", "independent prompts, paired by Scheffé's construction"
_BEFORE, _AFTER, _CHANGE = "before", "after", "change"


@dataclass(frozen=True, slots=True, eq=False)
class TwoSamples:
    """One quantity measured twice, a row per prompt and a column per length; differences are after - before.

    before, after: (n, k), (m, k). paired: row i of both belongs together (the same prompt, or the same random stream)
    and n = m; otherwise the two sets of prompts are independent.
    shared_before, shared_after: (k, r) how the same r errors (a scorer's rates) move the two means, or None.
    """

    before: Array
    after: Array
    paired: bool
    shared_before: Array | None = None
    shared_after: Array | None = None

    @property
    def rows(self) -> Array:
        """(min(n, m), k) rows whose mean is the difference of the means; see `difference_rows`."""
        return difference_rows(self.before, self.after, paired=self.paired)

    @property
    def shared(self) -> Array | None:
        """(k, r) how the shared errors move the difference."""
        if self.shared_before is None or self.shared_after is None:
            return None
        return self.shared_after - self.shared_before

    @property
    def words(self) -> str:
        """How the rows were compared."""
        return PAIRED if self.paired else INDEPENDENT


def difference_rows(before: Any, after: Any, *, paired: bool) -> Array:
    """Rows whose mean is mean(after) - mean(before) and whose variance, over their number, is that of this difference.

    before, after: (n, k), (m, k); NaN is passed on where paired and refused elsewhere.
    Unpaired, with x the smaller sample (n rows) and y the larger (m):
    dᵢ = xᵢ - √(n/m) yᵢ + Σ_{j<=n} yⱼ/√(nm) - mean(y), and the opposite sign where x is `before`. They are uncorrelated,
    with the variance Var x + (n/m) Var y, so that Student's t with n - 1 degrees of freedom holds for normal samples
    whatever their variances; for n = m they are the plain differences of the rows.
    Raises: BadSpec for samples of other shapes; TooFewPrompts.
    Source: Scheffé 1943, Annals of Mathematical Statistics 14:35-44.
    """
    a, b = (matrix(side, name="difference", missing=paired) for side in (before, after))
    if a.shape[1] != b.shape[1] or (paired and a.shape != b.shape):
        raise BadSpec(f"a difference of samples of shapes {a.shape} and {b.shape}; give the same columns (and prompts)")
    if paired or a.shape == b.shape:
        return b - a
    sign, x, y = (1.0, b, a) if b.shape[0] < a.shape[0] else (-1.0, a, b)
    n, m = x.shape[0], y.shape[0]
    rows: Array = x - math.sqrt(n / m) * y[:n] + y[:n].sum(axis=0) / math.sqrt(n * m) - y.mean(axis=0)
    return sign * rows


def mean_difference(
    two: TwoSamples, *, level: float, unit: str, bounds: Bounds | None = None, name: str = "difference"
) -> Estimate:
    """Difference of two means, of one column each.

    bounds: range of the difference. Interval: bootstrap-t, at least Student's t; where all rows agree the betting
    interval within finite bounds, and otherwise no limits: equal values alone prove nothing.
    Raises: TooFewPrompts, EstimateError, BadSpec. Assumes: prompts independent.
    """
    d = two.rows[:, 0]
    d = d[~np.isnan(d)]
    if d.size < 2:
        raise too_few(name, d.size)
    if is_constant(d) and not (bounds is not None and all(map(math.isfinite, bounds))):
        words = f"difference of means; {two.words}; all prompts agree"
        return Estimate(float(d.mean()), -math.inf, math.inf, level, d.size, unit, words)
    e = mean(d, level=level, unit=unit, bounds=bounds, name=name)
    words = f"difference of means; {two.words};{e.method.partition(';')[2]}"
    return Estimate(e.value, e.low, e.high, level, e.n, unit, words)


def difference_band(
    two: TwoSamples,
    lengths: Sequence[int],
    *,
    level: float,
    rng: np.random.Generator,
    unit: str,
    bounds: Bounds | None = None,
    name: str = "difference",
) -> Band:
    """Difference of two mean curves, with a band over the lengths.

    lengths: (k,). bounds: range of the difference of two rows; limits are cut to it.
    Raises: TooFewPrompts, EstimateError, BadSpec. Assumes: prompts independent; values missing at random.
    """
    check_level(level)
    rows = two.rows
    check_lengths(lengths, rows.shape[1], name=name)
    fewest = int((~np.isnan(rows)).sum(axis=0).min())
    if fewest < 2:
        raise too_few(name, fewest)
    (limits,) = simultaneous_limits([PromptSet.of(rows, shared=two.shared)], level=level, rng=rng)
    # Where all prompts agree but the rates err, the finite-sample limits of the prompts alone would be too narrow.
    erring = two.shared is not None and bool((limits.agree & (np.abs(two.shared).sum(axis=1) > 0)).any())
    band = mean_limits_band(
        rows, lengths, limits, level=level, unit=unit, bounds=None if erring else bounds,
        exact=np.zeros(rows.shape[1], dtype=bool),
    )  # fmt: skip
    words = f"difference of means; {two.words};{band.method.partition(';')[2]}"
    columns = (band.value, band.pointwise_low, band.pointwise_high, band.low, band.high)
    return Band(band.lengths, *columns, level, band.n, unit, words)


def extreme_difference(
    two: TwoSamples,
    kind: Extreme,
    *,
    level: float,
    rng: np.random.Generator,
    unit: str,
    least: float = -math.inf,
    name: str = "difference",
) -> Estimate:
    """Difference of the extremes of two mean curves, for β = min, β′ = max and γ = max over the lengths.

    least: what the curves themselves cannot be below. Joint limits of both curves and of their difference, then the
    exact range that the difference of the extremes has inside them (`extreme_range`).
    Raises: TooFewPrompts, EstimateError, BadSpec. Assumes: prompts independent; lengths beyond are not covered.
    Source: derived in docs/maths.md.
    """
    means = {_BEFORE: two.before, _AFTER: two.after, _CHANGE: two.rows}
    loads = {_BEFORE: two.shared_before, _AFTER: two.shared_after, _CHANGE: two.shared}
    shared = {key: value for key, value in loads.items() if value is not None}
    box = joint_box(means, {}, level=level, rng=rng, prompt_sets=_sets(two.paired), shared=shared)
    return _extreme(box, kind, unit, least, f"{name}: difference of the {kind} over the lengths; {two.words}")


def variance_difference(
    two: TwoSamples, lengths: Sequence[int], *, level: float, rng: np.random.Generator, unit: str
) -> Estimate:
    """Difference of σ² = maxₙ Varₙ/n of two cumulative log ratios.

    two: (n, N), (m, N) cumulative log ratios, nats. lengths: (N,) from 1. Each curve of variances has limits on the log
    scale; their difference is that of the means of uᵢ = n/(n-1) (Lᵢ - mean)²/length, which are the sample variances.
    Raises, assumes: as `extreme_difference`, and finite fourth moments. Source: derived in docs/maths.md.
    """
    per_root = {
        _BEFORE: matrix(two.before, name="sigma2", minimum=3) / np.sqrt(lengths),
        _AFTER: matrix(two.after, name="sigma2", minimum=3) / np.sqrt(lengths),
    }
    squares = [(x - x.mean(axis=0)) ** 2 * (x.shape[0] / (x.shape[0] - 1)) for x in per_root.values()]
    change = difference_rows(*squares, paired=two.paired)
    box = joint_box({_CHANGE: change}, per_root, level=level, rng=rng, prompt_sets=_sets(two.paired))
    return _extreme(box, "largest", unit, 0.0, f"σ²: difference of the largest over the lengths; {two.words}")


def _sets(paired: bool) -> Mapping[str, str]:
    """Paired curves share their prompts. Unpaired, each is a set of its own: the rows of the difference are made from
    both samples, but taking jointly normal parts as independent only widens the box (Royen 2014)."""
    return {} if paired else {key: key for key in (_BEFORE, _AFTER, _CHANGE)}


def _extreme(box: JointBox, kind: Extreme, unit: str, least: float, words: str) -> Estimate:
    sign = 1.0 if kind == "smallest" else -1.0
    sides = {
        key: _signed(sign, box.low[key], box.high[key], least if key != _CHANGE else -math.inf) for key in box.value
    }
    low, high = extreme_range(sides[_BEFORE], sides[_AFTER], sides[_CHANGE])
    value = (sign * box.value[_AFTER]).min() - (sign * box.value[_BEFORE]).min()
    low, value, high = sorted((sign * low, sign * float(value), sign * high))
    n = min(box.n.values())
    if low == high:
        low, high = -math.inf, math.inf
    return Estimate(value, low, high, box.level, n, unit, f"{words}; {box.method}")


def _signed(sign: float, low: Array, high: Array, least: float) -> tuple[Array, Array]:
    low = np.maximum(low, least)
    return (low, high) if sign > 0 else (-high, -low)


def extreme_range(
    before: tuple[Array, Array], after: tuple[Array, Array], change: tuple[Array, Array]
) -> tuple[float, float]:
    """Smallest and largest value of min b - min a over all curves a, b within their limits with b - a within its own.

    before, after, change: (low, high) of a, b and b - a, (k,) each; infinite limits allowed.
    The range over (a, change), that over (b, change) and that over (a, b) are each found exactly; all three hold, so
    their intersection does.
    Source: derived in docs/maths.md.
    """
    lowest_a, highest_a = _range_of_change(before, change)
    backward = _range_of_change(after, (-change[1], -change[0]))
    lows = (lowest_a, -backward[1], float(after[0].min() - before[1].min()))
    highs = (highest_a, -backward[0], float(after[1].min() - before[0].min()))
    return max(lows), min(highs)


def _range_of_change(base: tuple[Array, Array], change: tuple[Array, Array]) -> tuple[float, float]:
    """Range of min(a + d) - min a over a and d within their limits.

    Lowest, with k the place of min(a + d): d_k + max(0, a_k - min of the other a), least at a_k low, the others high.
    Highest, with m the place of min a: min(d_m, min over the others of a + d - a_m), largest at a_m low, others high.
    """
    low, high = base
    others = _smallest_other(high)
    lowest = change[0] + np.maximum(0.0, low - others)
    highest = np.minimum(change[1], _smallest_other(high + change[1]) - low)
    return float(lowest.min()), float(highest.max())


def _smallest_other(values: Array) -> Array:
    """(k,) smallest of the other entries; infinite for a single one."""
    order = np.sort(np.append(values, math.inf))
    answer: Array = np.where(values > order[0], order[0], order[1])
    return answer
