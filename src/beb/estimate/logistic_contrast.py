"""How far two fitted logistic curves lie apart: their midpoints, their slopes, and their readings of log 1/α."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from beb.core.estimate import Estimate
from beb.estimate.checks import Array, check_lengths, check_level
from beb.estimate.contrast import TwoSamples, mean_difference
from beb.estimate.curves import LogisticFit, fit_logistic
from beb.estimate.logistic import Problem, solve

SENTENCES, NATS, PER_SENTENCE = "sentences", "nats", "nats per sentence"
_APART = "two intervals that hold together"
_JACKKNIFE = "jackknife over prompts"


@dataclass(frozen=True, slots=True, eq=False)
class FittedSample:
    """A behavior curve and the lower level of its logistic law, both of the same prompts.

    behavior: (n, k) mean B of each prompt's responses per length. own: (n,) mean B of P₋ itself along each prompt.
    """

    behavior: Array
    own: Array


@dataclass(frozen=True, slots=True)
class LogisticDifference:
    """after - before. midpoint: sentences. slope: nats per sentence. log_inverse_alpha: nats, from slope × midpoint.

    readings: log 1/α before and after, each from the corners of its slope's and midpoint's joint limits.
    """

    midpoint: Estimate
    slope: Estimate
    log_inverse_alpha: Estimate
    readings: tuple[Estimate, Estimate]


def logistic_difference(
    before: FittedSample,
    after: FittedSample,
    lengths: Sequence[int],
    *,
    paired: bool,
    level: float,
    rng: np.random.Generator,
) -> LogisticDifference:
    """Differences of two logistic fits (lower level measured, upper level fitted; see `curves.fit_logistic`).

    paired: row i of both samples belongs together. Slope and log 1/α = log(1 + e^(slope × midpoint)): each curve's own
    interval at half (a quarter) of the error, which holds however the curves depend on each other. Midpoint: where both
    fits are resolved and every curve with one prompt left out has its midpoint within the lengths, the difference of
    the jackknife's pseudo-values; otherwise the two intervals.
    Raises: TooFewPrompts below 3, EstimateError, BadSpec. Assumes: prompts independent.
    Source: Wolf et al. 2024, Lemma 7; derived in docs/maths.md.
    """
    check_level(level)
    n = check_lengths(lengths, before.behavior.shape[1], name="behavior")
    half, quarter = ([_fit(one, lengths, 1 - (1 - level) / parts, rng) for one in (before, after)] for parts in (2, 4))
    least = min(one.behavior.shape[0] for one in (before, after))
    midpoint = _difference([_censored(fit.midpoint, n) for fit in half], level, least, SENTENCES)
    if not any(fit.note for fit in half):
        midpoint = _pseudo_difference(before, after, n, paired=paired, level=level) or midpoint
    before_alpha, after_alpha = (_log_inverse_alpha(fit, level) for fit in half)
    return LogisticDifference(
        midpoint,
        _difference([fit.slope for fit in half], level, least, PER_SENTENCE),
        _difference([_log_inverse_alpha(fit, level) for fit in quarter], level, least, NATS),
        (before_alpha, after_alpha),
    )


def _fit(one: FittedSample, lengths: Sequence[int], level: float, rng: np.random.Generator) -> LogisticFit:
    return fit_logistic(one.behavior, lengths, low=one.own, level=level, rng=rng)


def _censored(e: Estimate, n: Array) -> Estimate:
    """A midpoint beyond the last length counts as the last length where its value is needed."""
    last = float(n[-1])
    if math.isfinite(e.value):
        return e
    return Estimate(last, min(e.low, last), e.high, e.level, e.n, e.unit, e.method)


def _difference(sides: Sequence[Estimate], level: float, n: int, unit: str) -> Estimate:
    before, after = sides
    low = after.low - before.high if math.isfinite(after.low) and math.isfinite(before.high) else -math.inf
    high = after.high - before.low if math.isfinite(after.high) and math.isfinite(before.low) else math.inf
    return Estimate(after.value - before.value, low, high, level, n, unit, f"difference of {_APART}; {after.method}")


def _log_inverse_alpha(fit: LogisticFit, level: float) -> Estimate:
    """log(1 + e^(slope × midpoint)) over the corners of both limits. level: with which both hold together."""
    m, b = fit.midpoint, fit.slope
    corners = [_product(x, y) for x in (m.low, m.high) for y in (b.low, b.high)]
    low, high = (_softplus(pick(corners)) for pick in (min, max))
    value = _softplus(_product(m.value if math.isfinite(m.value) else max(m.low, 0.0), b.value))
    if not low < high:
        low, high = 0.0, math.inf
    value = min(max(value, low), high)
    return Estimate(value if math.isfinite(value) else low, low, high, level, m.n, NATS, m.method)


def _product(x: float, y: float) -> float:
    """x·y with 0·∞ taken as the limit that errs outwards: a slope of 0 at an unlimited midpoint says nothing."""
    if 0.0 in (x, y) and not (math.isfinite(x) and math.isfinite(y)):
        return 0.0
    return x * y


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _pseudo_difference(
    before: FittedSample, after: FittedSample, n: Array, *, paired: bool, level: float
) -> Estimate | None:
    """None where some midpoint, a prompt left out, lies outside the lengths or at a limit of the search."""
    sides = [_pseudo_values(one, n) for one in (before, after)]
    if sides[0] is None or sides[1] is None:
        return None
    (first, a), (second, b) = sides[0], sides[1]
    two = TwoSamples(a[:, None], b[:, None], paired)
    e = mean_difference(two, level=level, unit=SENTENCES, name="midpoint")
    value = second - first
    if not math.isfinite(e.width):
        return None
    words = f"difference of midpoints; {_JACKKNIFE}; {two.words}"
    half = e.width / 2
    return Estimate(value, value - half, value + half, level, e.n, SENTENCES, words)


def _pseudo_values(one: FittedSample, n: Array) -> tuple[float, Array] | None:
    """Midpoint of the mean curve and (n_prompts,) pseudo-values, the lower level left out with its prompt."""
    problem = Problem(n, free_low=False, free_high=True)
    y, own, count = one.behavior, one.own, one.behavior.shape[0]
    without: Callable[[Array], Array] = lambda x: (x.sum(axis=0) - x) / (count - 1)  # noqa: E731
    curves = np.vstack([y.mean(axis=0), without(y)])
    low = np.concatenate([[own.mean()], without(own)])
    theta = solve(problem, curves, low, np.ones(count + 1))
    found = theta[:, 1]
    if (found < n[0]).any() or (found > n[-1]).any() or not all(problem.inside(row) for row in theta):
        return None
    return float(found[0]), count * found[0] - (count - 1) * found[1:]
