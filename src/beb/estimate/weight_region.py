"""All weights of P = Σᵢ wᵢPᵢ that texts leave possible: what single texts exclude for certain, and what is unlikely."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats

from beb.core.logspace import floats
from beb.errors import BadSpec
from beb.estimate.checks import Array, check_level
from beb.estimate.mixture_limits import ROUNDING_NATS, MixtureLimits
from beb.estimate.weights import fit_weights

LEAST_WEIGHT = 1e-9
_MOST_STEPS = 60
_FEASIBLE = 1e-6
_CLEAR = 0.1  # log P/Pⱼ from which on rounding does not matter in P − Pⱼ

Function = Callable[[Array], tuple[float, Array]]
"""Weights (n_components,) to a number and its gradient (n_components,)."""


def certain_limits(log_p_target: Any, log_probs: Any) -> tuple[MixtureLimits, ...]:
    """Limits of each log 1/wᵢ that hold without statistics if P = Σᵢ wᵢPᵢ, nats.

    log_p_target: (n_texts,) log P(s) of any texts, however they were found. log_probs: (n_texts, n_components) log Pᵢ.
    P ≥ wᵢPᵢ at every text: log 1/wᵢ ≥ log Pᵢ/P. And P ≤ wᵢPᵢ + max_{j≠i} Pⱼ: where P exceeds all others,
    log 1/wᵢ ≤ log Pᵢ/(P − max_{j≠i} Pⱼ). `ROUNDING_NATS` are granted on either side.
    Returns: one MixtureLimits per component; refuted (the same for all, and no upper limits then) if no weights are
    left: a text less likely under P than under every component or likelier than under each, upper limits of the weights
    that sum to less than 1, lower ones to more than 1, or crossing limits. refuting: texts that do so by themselves.
    Raises: BadSpec on other shapes or infinite log P. Source: derived in docs/maths.md, "Personas measured".
    """
    target, logs = floats("log_p_target", log_p_target), floats("log_probs", log_probs)
    if logs.ndim != 2 or logs.shape[1] < 2 or target.shape != logs.shape[:1] or not np.isfinite(target).all():
        raise BadSpec(
            f"log_p_target has shape {target.shape} for log_probs {logs.shape}; give one finite number a text"
        )
    evidence = logs - target[:, None]
    low, high = np.maximum((evidence - ROUNDING_NATS).max(axis=0), 0.0), np.full(logs.shape[1], math.inf)
    for i in range(logs.shape[1]):
        above = target - np.delete(logs, i, axis=1).max(axis=1)
        clear = above >= _CLEAR
        if clear.any():
            high[i] = (evidence[clear, i] - np.log(-np.expm1(-above[clear])) + ROUNDING_NATS).min()
    alone = (evidence.min(axis=1) > ROUNDING_NATS) | (evidence.max(axis=1) < -ROUNDING_NATS)
    crossing = (np.maximum(high, 0) < low).any()
    refuted = bool(alone.any() or crossing or np.exp(-low).sum() < 1 or np.exp(-high).sum() > 1)
    ceiling = np.full_like(high, math.inf) if refuted else high
    return tuple(
        MixtureLimits(float(a), float(b), int(alone.sum()), target.size, refuted)
        for a, b in zip(low, ceiling, strict=True)
    )


@dataclass(frozen=True, slots=True, eq=False)
class WeightRegion:
    """Weights by their likelihood, within certain limits.

    best: (n_components,) of the largest likelihood within the limits. low, high: (n_components,) certain limits.
    likelihoods: (n_texts, n_components) up to a factor per text. ends: per component, weights nearly all its own.
    """

    best: Array
    low: Array
    high: Array
    likelihoods: Array
    ends: tuple[Array, ...]

    @classmethod
    def of(cls, log_probs: Any, limits: tuple[MixtureLimits, ...] = ()) -> WeightRegion:
        """From unprompted texts of the target.

        log_probs: (n_texts, n_components), nats. limits: of log 1/wᵢ; none or refuted ones exclude no weights.
        Raises: as `fit_weights`.
        """
        logs = np.asarray(log_probs, dtype=np.float64)
        best = fit_weights(logs).weights
        low, high = np.full_like(best, LEAST_WEIGHT), np.ones_like(best)
        if limits and not limits[0].refuted:
            low = np.maximum([math.exp(-each.high) for each in limits], LEAST_WEIGHT)
            high = np.maximum([math.exp(-each.low) for each in limits], low)
        likelihoods = np.exp(logs - logs.max(axis=1, keepdims=True))
        free = cls(best, low, high, likelihoods, ())
        inside = free.nearest(best)
        if not np.allclose(inside, best, atol=1e-6):
            inside = free._maximise(free._log_likelihood, inside, ())
        ends = tuple(free.nearest(0.999 * end + 0.001 * inside) for end in np.eye(best.size))
        return cls(inside, low, high, likelihoods, ends)

    def nearest(self, weights: Array) -> Array:
        """Weights within the certain limits that sum to 1: the given ones, cut off and scaled."""

        def cut(log_scale: float) -> Array:
            return np.asarray(np.clip(math.exp(log_scale) * np.maximum(weights, LEAST_WEIGHT), self.low, self.high))

        if cut(-40.0).sum() >= 1 or cut(40.0).sum() <= 1:
            found = cut(0.0)
        else:
            found = cut(float(optimize.brentq(lambda x: float(cut(x).sum()) - 1, -40.0, 40.0)))
        return np.asarray(found / found.sum())

    def deviance(self, weights: Array) -> float:
        """2 (max ℓ − ℓ(w)) of all texts; asymptotically χ² for the true weights."""
        with np.errstate(divide="ignore"):
            lost = np.log(self.likelihoods @ self.best) - np.log(self.likelihoods @ weights)
        return 2 * float(lost.sum())

    def range(self, function: Function, start: Array, *, level: float) -> tuple[float, float]:
        """Smallest and largest value of a function of the weights: its profile-likelihood interval.

        start: weights (n_components,). The function's values at all weights whose deviance is at most t², Student's t
        with n_texts − 1 degrees of freedom: one degree of freedom, as it is one number whose interval is wanted. The
        search begins at the most extreme point towards a component and never does worse than that.
        Raises: BadSpec for a level outside (0, 1). Source: Venzon & Moolgavkar 1988, Pawitan 2001 (§3.4).
        """
        check_level(level)
        allowed = float(stats.t.isf((1 - level) / 2, max(self.likelihoods.shape[0] - 1, 1))) ** 2
        inside = self._towards(self.best, self.nearest(start), allowed)
        points = [self.best, inside, *(self._towards(self.best, end, allowed) for end in self.ends)]
        values = np.array([function(point)[0] for point in points])
        limit = {"type": "ineq", "fun": lambda w: allowed - self.deviance(w), "jac": self._deviance_slope}
        found = []
        for sign, at in ((1, int(values.argmin())), (-1, int(values.argmax()))):
            turned = _turned(function, -sign)
            point = self._towards(self.best, self._maximise(turned, points[at], (limit,)), allowed)
            found.append(sign * min(sign * float(values[at]), sign * function(point)[0]))
        return found[0], found[1]

    def _log_likelihood(self, weights: Array) -> tuple[float, Array]:
        mixture = self.likelihoods @ weights
        return float(np.log(mixture).sum()), (1 / mixture) @ self.likelihoods

    def _deviance_slope(self, weights: Array) -> Array:
        return np.asarray(2 * self._log_likelihood(weights)[1])

    def _towards(self, start: Array, end: Array, allowed: float) -> Array:
        """The point furthest from `start` on the way to `end` whose deviance is allowed."""

        def excess(share: float) -> float:
            return min(self.deviance(start + share * (end - start)), 1e6) - allowed

        if excess(1.0) <= 0:
            return end
        share = float(optimize.brentq(excess, 0.0, 1.0, xtol=1e-6))
        return np.asarray(start + share * (1 - _FEASIBLE) * (end - start))

    def _maximise(self, function: Function, start: Array, limits: tuple[dict[str, Any], ...]) -> Array:
        """A local maximum of the function within the certain limits and further ones."""
        one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
        found = optimize.minimize(  # type: ignore[call-overload]
            _turned(function, -1), start, jac=True, method="SLSQP", bounds=list(zip(self.low, self.high, strict=True)),
            constraints=(one, *limits), options={"maxiter": _MOST_STEPS, "ftol": 1e-7},
        )  # fmt: skip
        return self.nearest(np.asarray(found.x)) if np.isfinite(found.x).all() else start


def _turned(function: Function, sign: int) -> Function:
    def turned(weights: Array) -> tuple[float, Array]:
        value, slope = function(weights)
        return sign * value, sign * slope

    return turned
