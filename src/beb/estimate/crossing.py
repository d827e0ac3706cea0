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
from beb.estimate.shift import LEAST_PROMPTS, UNIT, midpoints

MOST_GRID_POINTS = 600
POINTS_PER_SENTENCE = 50
_WORDS = "length at which the mean curve, joined by straight lines, first reaches 0"
_SET = "lengths at which a t test does not exclude 0 (four pseudo-prompts at the corners added)"
# Prompts at the corners of [-1, 1]², so that prompts which all agree do not pass for certainty (Agresti & Coull).
_CORNERS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])


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
    value = float(midpoints(y.mean(axis=0)[None], n, "crossing")[0])
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
    x, weights = _grid(n)
    accepted = _hotelling(a, b, weights) <= t_quantile(level, len(a) - 1) ** 2
    found = midpoints(np.stack([a.mean(axis=0), b.mean(axis=0)]), n, "crossing")
    value = float(np.subtract(*np.clip(found, n[0], n[-1])))
    differences = (x[:, None] - x[None, :])[accepted]
    up = bool(accepted[-1].any() or accepted[:, 0].any() or found[0] == math.inf or found[1] == -math.inf)
    down = bool(accepted[0].any() or accepted[:, -1].any() or found[0] == -math.inf or found[1] == math.inf)
    step = float(x[1] - x[0])
    low = -math.inf if down else min(value, float(differences.min(initial=value))) - step
    high = math.inf if up else max(value, float(differences.max(initial=value))) + step
    return Estimate(value, low, high, level, len(a), UNIT, f"difference of: {_WORDS}; paired, {_SET}")


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


def _hotelling(a: Array, b: Array, weights: Array) -> Array:
    """(g, g) T² of the pair of means (a at x, b at x') against 0."""
    k = weights.shape[1]
    rows = np.vstack([np.hstack([a, b]), np.repeat(_CORNERS, k, axis=1)])
    mean, covariance = rows.mean(axis=0), np.cov(rows, rowvar=False) / len(rows)
    means = weights @ mean[:k], weights @ mean[k:]
    va = np.einsum("gk,kl,gl->g", weights, covariance[:k, :k], weights)[:, None]
    vb = np.einsum("gk,kl,gl->g", weights, covariance[k:, k:], weights)[None, :]
    c = weights @ covariance[:k, k:] @ weights.T
    ma, mb = means[0][:, None], means[1][None, :]
    answer: Array = (ma**2 * vb - 2 * ma * mb * c + mb**2 * va) / (va * vb - c**2)
    return answer
