"""Where a behavior curve crosses 0, and how far apart two curves cross it: confidence sets by inverting a test.

A crossing is no smooth function of a noisy curve: a small change moves it into another segment, where derivatives and
pseudo-values do not look. Here each length x in turn is asked whether the mean curve, joined by straight lines, may be
0 there. At the true crossing that mean is 0, whatever the curve does elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from beb.core.estimate import Estimate
from beb.errors import BadSpec
from beb.estimate.checks import Array, check_bounds, check_lengths, check_level, matrix
from beb.estimate.curves import B_RANGE
from beb.estimate.quantiles import t_quantile
from beb.estimate.shift import LEAST_PROMPTS, UNIT

MOST_GRID_POINTS = 600
POINTS_PER_SENTENCE = 50
_WORDS = "length at which the mean curve, joined by straight lines, first reaches 0"
_SET = "lengths at which a t test does not exclude 0 (four pseudo-prompts at the corners added)"
# Prompts at the corners of [-1, 1]², so that prompts which all agree do not pass for certainty (Agresti & Coull).
_CORNERS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])


def first_crossings(curves: Array, lengths: Array) -> Array:
    """Where every curve, joined by straight lines, first reaches 0. curves: (d, k) B in [-1, 1]. lengths: (k,).

    Returns: (d,) sentences; -inf where the first point is at or below 0 and inf where all lie above.
    """
    below = curves <= 0
    after = np.maximum(below.argmax(axis=1), 1)
    rows = np.arange(curves.shape[0])
    y0, y1 = curves[rows, after - 1], curves[rows, after]
    with np.errstate(divide="ignore", invalid="ignore"):
        inner = lengths[after - 1] + y0 / (y0 - y1) * (lengths[after] - lengths[after - 1])
    answer: Array = np.where(below[:, 0], -math.inf, np.where(below.any(axis=1), inner, math.inf))
    return answer


def crossing(behavior: Any, lengths: Sequence[int], *, level: float) -> Estimate:
    """Length at which a behavior curve first reaches 0.

    behavior: (n_prompts, k) mean B of each prompt's responses after its first n sentences. lengths: (k,) those n.
    Interval: the hull of all lengths at which the mean may be 0 by a t test at `level`; a side on which that set
    reaches the end of the tested lengths has no limit. The value is infinite where the curve does not cross.
    Raises: TooFewPrompts below 3, EstimateError, BadSpec. Assumes: prompts independent.
    Source: inverted test (Fieller 1954 for straight lines); pseudo-prompts after Agresti and Coull 1998.
    """
    check_level(level)
    y, n = _curve(behavior, lengths, "behavior")
    x, weights = _grid(n)
    columns = np.vstack([y, np.repeat(_CORNERS[:, :1], n.size, axis=1)]) @ weights.T
    error = columns.std(axis=0, ddof=1) / math.sqrt(len(columns))
    accepted = x[np.abs(columns.mean(axis=0)) <= t_quantile(level, len(y) - 1) * error]
    value = float(first_crossings(y.mean(axis=0)[None], n)[0])
    step = float(x[1] - x[0])
    low = _least(accepted, n, value) - step
    high = -_least(-accepted[::-1], -n[::-1], -value) + step
    return Estimate(value, low, high, level, len(y), UNIT, f"{_WORDS}; {_SET}")


def crossing_shift(moved: Any, base: Any, lengths: Sequence[int], *, level: float) -> Estimate:
    """Crossing of `moved` less crossing of `base`, measured on the same prompts.

    moved, base: (n_prompts, k) as in `crossing`, the same prompt in the same row. lengths: as there.
    Interval: the range of x - x' over all pairs at which both means may be 0, T² <= t²: to first order the interval of
    the paired difference, by inversion as in `crossing`. A side on which a curve may cross outside the tested lengths
    has no limit; where a curve does not cross at all the value is the nearest tested one.
    Raises: TooFewPrompts below 3, EstimateError, BadSpec. Assumes: prompts independent.
    """
    check_level(level)
    a, n = _curve(moved, lengths, "moved curve")
    b, _ = _curve(base, lengths, "base curve")
    if a.shape != b.shape:
        raise BadSpec(f"paired curves have shapes {a.shape} and {b.shape}; give the same prompts twice")
    return _difference((a, n), (b, n), paired=True, level=level)


def crossing_difference(
    moved: Any, moved_lengths: Sequence[int], base: Any, base_lengths: Sequence[int], *, level: float
) -> Estimate:
    """Crossing of `moved` less crossing of `base`, measured on different prompts.

    moved, base: (n_prompts, k) and (n_prompts', k'), as in `crossing`, each with its own lengths.
    Interval: as in `crossing_shift`, without covariance, t with the degrees of freedom of the smaller sample.
    Returns: n is the smaller number of prompts. Raises: as `crossing`.
    Assumes: prompts independent, within and between the two samples.
    """
    check_level(level)
    sides = _curve(moved, moved_lengths, "moved curve"), _curve(base, base_lengths, "base curve")
    return _difference(*sides, paired=False, level=level)


_Side = tuple[Array, Array]


def _difference(moved: _Side, base: _Side, *, paired: bool, level: float) -> Estimate:
    """Range of x - x' over the accepted pairs. moved, base: (n_prompts, k) behavior and its (k,) lengths."""
    (a, n), (b, m) = moved, base
    (x, weights), (y, others) = _grid(n), _grid(m)
    n_prompts = min(len(a), len(b))
    accepted = _hotelling(a, b, weights, others, paired=paired) <= t_quantile(level, n_prompts - 1) ** 2
    upper, lower = (float(first_crossings(c.mean(axis=0)[None], z)[0]) for c, z in ((a, n), (b, m)))
    value = float(np.clip(upper, n[0], n[-1]) - np.clip(lower, m[0], m[-1]))
    differences = (x[:, None] - y[None, :])[accepted]
    up = bool(accepted[-1].any() or accepted[:, 0].any() or upper == math.inf or lower == -math.inf)
    down = bool(accepted[0].any() or accepted[:, -1].any() or upper == -math.inf or lower == math.inf)
    step = float(max(x[1] - x[0], y[1] - y[0]))
    low = -math.inf if down else min(value, float(differences.min(initial=value))) - step
    high = math.inf if up else max(value, float(differences.max(initial=value))) + step
    how = "paired" if paired else "different prompts"
    return Estimate(value, low, high, level, n_prompts, UNIT, f"difference of: {_WORDS}; {how}, {_SET}")


def _curve(behavior: Any, lengths: Sequence[int], name: str) -> tuple[Array, Array]:
    y = matrix(behavior, name=name, minimum=LEAST_PROMPTS)
    check_bounds(y, B_RANGE, name)
    n = check_lengths(lengths, y.shape[1], name=name)
    if n.size < 2:
        raise BadSpec(f"{name} has {n.size} lengths and a crossing needs 2; raise --sentences")
    return y, n


def _grid(n: Array) -> tuple[Array, Array]:
    """Lengths between the tested ones (g,), both ends included, and their weights on the tested ones (g, k)."""
    span = float(n[-1] - n[0])
    x = np.linspace(n[0], n[-1], 1 + int(min(MOST_GRID_POINTS, math.ceil(POINTS_PER_SENTENCE * span))))
    weights = np.stack([np.interp(x, n, unit) for unit in np.eye(n.size)], axis=1)
    return x, weights


def _least(accepted: Array, n: Array, value: float) -> float:
    """Lower limit: the first accepted length; none where that is the first tested one. An upper limit is the lower one
    of the mirrored curve. If no length is accepted, a curve that does not cross is beyond the last one.
    """
    if value == -math.inf or (accepted.size and accepted[0] <= n[0]):
        return -math.inf
    if accepted.size:
        return min(float(accepted[0]), value)
    return min(value, float(n[-1]))


def _hotelling(a: Array, b: Array, weights: Array, others: Array, *, paired: bool) -> Array:
    """(g, g') T² of the pair of means (a at x, b at x') against 0; weights (g, k) of a's lengths, others (g', k')."""
    (mean_a, mean_b), (vaa, vbb, vab) = _moments(a, b, paired=paired)
    va = np.einsum("gk,kl,gl->g", weights, vaa, weights)[:, None]
    vb = np.einsum("gk,kl,gl->g", others, vbb, others)[None, :]
    c = weights @ vab @ others.T
    ma, mb = (weights @ mean_a)[:, None], (others @ mean_b)[None, :]
    answer: Array = (ma**2 * vb - 2 * ma * mb * c + mb**2 * va) / (va * vb - c**2)
    return answer


def _moments(a: Array, b: Array, *, paired: bool) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
    """Means of both samples with the pseudo-prompts, and the covariances of these means."""
    wide = [
        np.vstack([each, np.repeat(_CORNERS[:, i : i + 1], each.shape[1], axis=1)]) for i, each in enumerate((a, b))
    ]
    means = wide[0].mean(axis=0), wide[1].mean(axis=0)
    if not paired:
        own = [np.atleast_2d(np.cov(each, rowvar=False)) / len(each) for each in wide]
        return means, (own[0], own[1], np.zeros((a.shape[1], b.shape[1])))
    k, both = a.shape[1], np.cov(np.hstack(wide), rowvar=False) / len(wide[0])
    return means, (both[:k, :k], both[k:, k:], both[:k, k:])
