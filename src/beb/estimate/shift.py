"""How many sentences lie between two behavior curves: fitted midpoints, and the area between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from beb.core.estimate import Estimate
from beb.errors import BadSpec
from beb.estimate.checks import Array, Bounds, check_bounds, check_lengths, check_level, matrix
from beb.estimate.curves import B_RANGE
from beb.estimate.logistic import Problem, solve
from beb.estimate.means import is_constant, mean, paired_difference
from beb.estimate.quantiles import t_quantile

UNIT = "sentences"
LEAST_PROMPTS = 3
LEAST_LENGTHS = 4
_WORDS = "midpoint of the least-squares logistic, upper level 1, lower level fitted"


@dataclass(frozen=True, slots=True, eq=False)
class _Jackknife:
    """A curve's midpoint, its pseudo-values (n_prompts,), and whether some midpoint lies outside the lengths."""

    value: float
    pseudo: Array
    beyond: bool


def _curves(behavior: Any, lengths: Sequence[int], name: str, *, least_lengths: int) -> tuple[Array, Array]:
    """(n_prompts, k) behavior and (k,) lengths. Raises: TooFewPrompts, EstimateError, BadSpec."""
    y = matrix(behavior, name=name, minimum=LEAST_PROMPTS)
    check_bounds(y, B_RANGE, name)
    n = check_lengths(lengths, y.shape[1], name=name)
    if n.size < least_lengths:
        raise BadSpec(f"{name} has {n.size} lengths and {least_lengths} are needed; raise --sentences")
    return y, n


def midpoints(curves: Array, lengths: Array) -> Array:
    """Midpoint of the least-squares logistic of every mean curve. curves: (d, k) B in [-1, 1]. lengths: (k,).

    Returns: (d,) sentences, up to one range beyond the lengths.
    """
    ones = np.ones(curves.shape[0])
    answer: Array = solve(Problem(lengths, free_low=True, free_high=False), curves, -ones, ones)[:, 1]
    return answer


def _jackknife(y: Array, n: Array) -> _Jackknife:
    """Midpoint of the mean curve and of every curve with one prompt left out."""
    n_prompts = y.shape[0]
    found = midpoints(np.vstack([y.mean(axis=0), (y.sum(axis=0) - y) / (n_prompts - 1)]), n)
    beyond = bool((found < n[0]).any() or (found > n[-1]).any())
    found = np.clip(found, n[0], n[-1])
    return _Jackknife(float(found[0]), n_prompts * found[0] - (n_prompts - 1) * found[1:], beyond)


def midpoint(behavior: Any, lengths: Sequence[int], *, level: float) -> Estimate:
    """Length at which a behavior curve is halfway down.

    behavior: (n_prompts, k) mean B of each prompt's responses after its first n sentences. lengths: (k,) those n.
    That is the midpoint of the least-squares logistic with upper level 1 and fitted lower level.
    Interval: jackknife over prompts, bootstrap-t or Student's t; infinite where the midpoint, some prompt left out,
    lies outside the lengths (no extrapolation) or where all prompts agree.
    Raises: TooFewPrompts below 3, EstimateError, BadSpec. Assumes: prompts independent.
    Source: Wolf et al. 2024, Lemma 7; Tukey 1958 (pseudo-values).
    """
    check_level(level)
    y, n = _curves(behavior, lengths, "behavior", least_lengths=LEAST_LENGTHS)
    one = _jackknife(y, n)
    half = _half_width(one.pseudo, one.beyond, level)
    return _around(one.value, half, level, y.shape[0], f"{_WORDS}; jackknife over prompts")


def midpoint_shift(moved: Any, base: Any, lengths: Sequence[int], *, level: float) -> Estimate:
    """Midpoint of `moved` minus midpoint of `base`, measured on the same prompts.

    moved, base: (n_prompts, k) as in `midpoint`, the same prompt in the same row. lengths: as there.
    Interval: paired differences of the jackknife pseudo-values, bootstrap-t or Student's t; infinite as there.
    Raises: TooFewPrompts below 3, EstimateError, BadSpec. Assumes: prompts independent.
    """
    check_level(level)
    a, n = _curves(moved, lengths, "moved curve", least_lengths=LEAST_LENGTHS)
    b, _ = _curves(base, lengths, "base curve", least_lengths=LEAST_LENGTHS)
    if a.shape != b.shape:
        raise BadSpec(f"paired curves have shapes {a.shape} and {b.shape}; give the same prompts twice")
    upper, lower = _jackknife(a, n), _jackknife(b, n)
    half = _half_width(upper.pseudo - lower.pseudo, upper.beyond or lower.beyond, level)
    words = f"difference of: {_WORDS}; paired jackknife over prompts"
    return _around(upper.value - lower.value, half, level, a.shape[0], words)


def midpoint_difference(
    moved: Any, moved_lengths: Sequence[int], base: Any, base_lengths: Sequence[int], *, level: float
) -> Estimate:
    """Midpoint of `moved` minus midpoint of `base`, measured on different prompts.

    moved, base: (n_prompts, k) and (n_prompts', k'), as in `midpoint`, each with its own lengths.
    Interval: jackknife variances added, Student's t with Welch's degrees of freedom; infinite as there.
    Returns: n is the smaller number of prompts. Raises: as `midpoint`.
    Assumes: prompts independent, within and between the two samples.
    """
    check_level(level)
    a, a_lengths = _curves(moved, moved_lengths, "moved curve", least_lengths=LEAST_LENGTHS)
    b, b_lengths = _curves(base, base_lengths, "base curve", least_lengths=LEAST_LENGTHS)
    sides = (_jackknife(a, a_lengths), _jackknife(b, b_lengths))
    variances = [float(stats.sem(side.pseudo)) ** 2 for side in sides]
    half = math.inf
    if not any(side.beyond or is_constant(side.pseudo) for side in sides):
        degrees = sum(variances) ** 2 / sum(v**2 / (y.shape[0] - 1) for v, y in zip(variances, (a, b), strict=True))
        half = t_quantile(level, degrees) * math.sqrt(sum(variances))
    words = f"difference of: {_WORDS}; different prompts, jackknife, Welch's t"
    return _around(sides[0].value - sides[1].value, half, level, min(a.shape[0], b.shape[0]), words)


def area_shift(moved: Any, base: Any, lengths: Sequence[int], *, levels: Bounds = B_RANGE, level: float) -> Estimate:
    """Area between two curves over the difference of their levels, in sentences, without a law for their shape.

    moved, base, lengths: as `midpoint_shift`. levels: B at the low and the high end of both curves.
    Each prompt's area (trapezoids) is linear in its behavior, so that this is a mean of paired differences. It is the
    mean displacement of the fall if both curves begin and end at `levels` within the lengths, and less if they do not.
    Raises: TooFewPrompts, EstimateError, BadSpec. Assumes: prompts independent.
    """
    check_level(level)
    if not B_RANGE[0] <= levels[0] < levels[1] <= B_RANGE[1]:
        raise BadSpec(f"levels are {levels}; give (low, high) within [-1, 1]")
    (a, n), (b, _) = (
        _curves(y, lengths, name, least_lengths=2) for y, name in ((moved, "moved curve"), (base, "base curve"))
    )
    span = levels[1] - levels[0]
    sides = [np.trapezoid(y, n, axis=1) / span for y in (a, b)]
    reach = float(n[-1] - n[0]) / span
    estimate = paired_difference(
        *sides, level=level, unit=UNIT, bounds=(B_RANGE[0] * reach, B_RANGE[1] * reach), name="area between curves"
    )
    words = f"area between the curves; {estimate.method}"
    return Estimate(estimate.value, estimate.low, estimate.high, level, estimate.n, UNIT, words)


def _half_width(pseudo: Array, beyond: bool, level: float) -> float:
    return math.inf if beyond or is_constant(pseudo) else mean(pseudo, level=level, unit=UNIT).width / 2


def _around(value: float, half: float, level: float, n: int, words: str) -> Estimate:
    return Estimate(value, value - half, value + half, level, n, UNIT, words)
