"""Weights of the components of P = Σᵢ wᵢPᵢ by maximum likelihood, certified; and what they leave unexplained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats

from beb.core.estimate import Estimate
from beb.core.logspace import floats
from beb.errors import BadSpec
from beb.estimate.checks import Array, check_level, too_few
from beb.estimate.means import is_constant, mean

SAME = 1e-9
PER_SENTENCE = "nats per sentence"


@dataclass(frozen=True, slots=True, eq=False)
class WeightFit:
    """Mixture weights at the maximum of the likelihood.

    weights, log_weights: (n_components,) wᵢ, summing to 1, and log wᵢ in nats (−inf where wᵢ = 0).
    certificate: maxᵢ mean_s Pᵢ(s)/Σⱼ wⱼPⱼ(s) − 1 >= 0; no weights whatever have a log-likelihood that exceeds this
    one's by more than log(1 + certificate) nats per text. log_likelihood: mean over texts of log Σ wᵢPᵢ, nats.
    iterations: steps taken. converged: certificate <= tolerance.
    """

    weights: Array
    log_weights: Array
    certificate: float
    log_likelihood: float
    iterations: int
    converged: bool


def fit_weights(
    log_probs: Any, *, tolerance: float = 1e-8, max_iterations: int = 1000, names: Sequence[str] | None = None
) -> WeightFit:
    """Weights that make texts of the target likeliest under the mixture of the components.

    log_probs: (n_texts, n_components) log Pᵢ(s) of unprompted texts of the target, nats; −inf where a component cannot
    have written a text. names: of the components, for messages (default: their positions from 0).
    Active-set Newton steps (each a nonnegative least-squares problem), EM steps where Newton does not rise; the problem
    is concave, so the certificate bounds the distance to the optimum: log is concave, hence
    mean log(P_v/P_w) <= log mean(P_v/P_w) <= log(1 + certificate) for all weights v.
    Raises: BadSpec on NaN, +inf, identical components, or a text that no component can have written; TooFewPrompts
    without texts.
    Assumes: texts independent draws from the target. Components that are mixtures of each other have no unique weights.
    Source: Lindsay 1983 (optimality condition); Kim, Carbonetto, Stephens & Anitescu 2020 (mix-SQP).
    """
    logs = _checked(log_probs, names)
    likelihoods, shifts = _scaled(logs)
    weights, iterations = _maximise(likelihoods, np.full(logs.shape[1], 1 / logs.shape[1]), tolerance, max_iterations)
    certificate = float(_gains(likelihoods, weights).max()) - 1
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    value = float((np.log(likelihoods @ weights) + shifts).mean())
    return WeightFit(weights, log_weights, max(certificate, 0.0), value, iterations, certificate <= tolerance)


def weight_intervals(
    log_probs: Any, *, level: float, components: Sequence[int] | None = None, names: Sequence[str] | None = None
) -> tuple[Estimate, ...]:
    """Interval of each component's weight, by itself, that stays honest at weight 0.

    log_probs, names: as `fit_weights`. components: positions wanted (default: all, in order).
    The profile-likelihood set {c : 2 n (max ℓ − max_{wᵢ=c} ℓ) <= t²}, t Student's with n − 1 degrees of freedom: it
    needs no standard error, which a weight at 0 does not have. A likelihood ratio is only approximate where very few
    texts are the component's (with 0 of n it stops at 1.9/n, where 3.7/n is right), so the set is widened to the
    Clopper–Pearson limits of the texts credited to the component, Σ_s wᵢPᵢ(s)/Σⱼ wⱼPⱼ(s), of n; these are exact for
    components that are told apart without doubt.
    Returns: one Estimate per component, unit "share". Each covers at `level` by itself; for m weights together give
    1 − (1 − level)/m.
    Raises: as `fit_weights`; BadSpec for a level outside (0, 1). Assumes: as `fit_weights`.
    Source: Venzon & Moolgavkar 1988; Self & Liang 1987 (parameters on a boundary); Clopper & Pearson 1934.
    """
    check_level(level)
    logs = _checked(log_probs, names)
    wanted = range(logs.shape[1]) if components is None else components
    if any(not 0 <= i < logs.shape[1] for i in wanted):
        raise BadSpec(f"components {list(wanted)} wanted; accepted: 0 to {logs.shape[1] - 1}")
    if logs.shape[0] < 2:
        raise too_few("weights", logs.shape[0])
    likelihoods, _ = _scaled(logs)
    best, _ = _maximise(likelihoods, np.full(logs.shape[1], 1 / logs.shape[1]), 1e-9, 1000)
    return tuple(_interval(likelihoods, best, i, level) for i in wanted)


def unexplained(
    log_p_target: Any,
    log_probs: Any,
    log_weights: Any | None = None,
    *,
    level: float,
    sentences: Any = 1.0,
    n_folds: int = 10,
    rng: np.random.Generator | None = None,
) -> Estimate:
    """How far the mixture is from the target: E_P[log P(s) − log Σᵢ wᵢPᵢ(s)] >= 0, nats per sentence.

    log_p_target: (n_texts,) log P(s), nats. log_probs: (n_texts, n_components) log Pᵢ(s). sentences: per text, one
    number or (n_texts,). log_weights: (n_components,) fitted on *other* texts, or None: then the estimand is the
    smallest divergence that any weights reach, and `rng` deals the texts into folds. Weights fitted on the same texts
    would flatter themselves, so the value and the upper limit come from weights fitted without the text at hand (half a
    text added to each component, so that none is excluded), which err upwards; the lower limit comes from the
    weights fitted on all texts, which err downwards.
    Returns: value, low and high cut to >= 0; infinite high where all texts agree.
    Raises: BadSpec on other shapes, NaN or infinite log P, a text that the mixture cannot have written; TooFewPrompts.
    Assumes: texts independent draws from the target. The two directions: leaving a text out of its own fit can only
    raise the sum of surprises above the smallest sum, and any weights' divergence is at least the smallest one.
    """
    check_level(level)
    target = floats("log_p_target", log_p_target)
    logs = _checked(log_probs, None, distinct=log_weights is None)
    length = np.broadcast_to(floats("sentences", sentences), target.shape) if np.ndim(target) == 1 else np.zeros(0)
    if target.shape != logs.shape[:1] or not np.isfinite(target).all() or not (length > 0).all():
        raise BadSpec(
            f"log_p_target has shape {target.shape} for {logs.shape[0]} texts; accepted: one finite number a text, and "
            "a positive number of sentences for each"
        )
    if target.size < 2:
        raise too_few("the unexplained part", target.size)
    if log_weights is not None:
        surprise = target - _mixture(logs, floats("log_weights", log_weights))
        return _nonnegative(surprise, surprise, length, level, "given weights")
    if rng is None or not 2 <= n_folds <= target.size:
        raise BadSpec(f"cross-fitting needs rng and 2 to {target.size} folds (texts); given {n_folds} folds, rng {rng}")
    likelihoods, shifts = _scaled(logs)
    start = np.full(logs.shape[1], 1 / logs.shape[1])
    everywhere, _ = _maximise(likelihoods, start, 1e-9, 1000)
    held_out = np.empty_like(target)
    fold = rng.permutation(np.arange(target.size) % n_folds)
    for k in range(n_folds):
        out = fold == k
        n = int((~out).sum())
        fitted, _ = _maximise(likelihoods[~out], everywhere + start / n, 1e-9, 1000)
        held_out[out] = likelihoods[out] @ ((n * fitted + 0.5) / (n + 0.5 * start.size))
    optimistic = target - shifts - np.log(likelihoods @ everywhere)
    honest = target - shifts - np.log(held_out)
    return _nonnegative(honest, optimistic, length, level, f"weights cross-fitted in {n_folds} folds")


def _checked(log_probs: Any, names: Sequence[str] | None, *, distinct: bool = True) -> Array:
    """(n_texts, n_components) of which every row is possible and no two columns agree."""
    logs = floats("log_probs", log_probs)
    if logs.ndim != 2 or logs.shape[1] == 0:
        raise BadSpec(f"log_probs has shape {logs.shape}; accepted: (n_texts, n_components)")
    if logs.shape[0] == 0:
        raise too_few("weights", 0, 1)
    if np.isposinf(logs).any():
        raise BadSpec("log_probs reaches +inf; logarithms of probabilities are accepted")
    impossible = np.flatnonzero(np.isneginf(logs).all(axis=1))
    if impossible.size:
        raise BadSpec(
            f"text {impossible[0]} (of {impossible.size}) has probability 0 under every component; leave such texts "
            "out or add a component that can have written them"
        )
    labels = [str(i) for i in range(logs.shape[1])] if names is None else list(names)
    if len(labels) != logs.shape[1]:
        raise BadSpec(f"{len(labels)} names for {logs.shape[1]} components; give one name a component")
    for i in range(logs.shape[1] if distinct else 0):
        for j in range(i):
            if np.isclose(logs[:, i], logs[:, j], rtol=SAME, atol=SAME).all():
                raise BadSpec(
                    f"personas {labels[j]} and {labels[i]} are identical on all {logs.shape[0]} texts, so their "
                    "weights cannot be told apart; leave one out"
                )
    return logs


def _scaled(logs: Array) -> tuple[Array, Array]:
    """Likelihoods relative to each text's largest, and the logarithms divided out; the optimum does not change."""
    shifts = logs.max(axis=1)
    return np.exp(logs - shifts[:, None]), shifts


def _mixture(logs: Array, log_weights: Array) -> Array:
    """(n_texts,) log Σ wᵢPᵢ(s)."""
    if log_weights.shape != logs.shape[1:] or not abs(float(np.exp(log_weights).sum()) - 1) < 1e-6:
        raise BadSpec(f"log_weights has shape {log_weights.shape} for {logs.shape[1]} components; they must sum to 1")
    mixture = np.logaddexp.reduce(logs + log_weights, axis=1)
    if np.isneginf(mixture).any():
        raise BadSpec("the mixture gives some text probability 0; give every component that wrote texts a weight > 0")
    return np.asarray(mixture, dtype=np.float64)


def _gains(likelihoods: Array, weights: Array) -> Array:
    """(n_components,) mean_s Pᵢ(s)/Σⱼ wⱼPⱼ(s): 1 where wᵢ > 0 and at most 1 elsewhere, at the optimum."""
    return np.asarray((1 / (likelihoods @ weights)) @ likelihoods / likelihoods.shape[0], dtype=np.float64)


def _maximise(likelihoods: Array, weights: Array, tolerance: float, max_iterations: int) -> tuple[Array, int]:
    """Weights at the maximum, and the number of steps. weights: start, > 0 in total.

    Newton's method on −mean log(Aw) + Σw over w >= 0, whose minimum has Σw = 1 by itself.
    """

    def loss(candidate: Array) -> float:
        mixture = likelihoods @ candidate
        if mixture.min() <= 0:
            return math.inf
        return float(candidate.sum() - np.log(mixture).mean())

    weights = weights / weights.sum()
    value = loss(weights)
    for iteration in range(max_iterations):
        gains = _gains(likelihoods, weights)
        if gains.max() - 1 <= tolerance:
            return weights, iteration
        candidate = _newton(likelihoods, weights, gains, loss, value)
        if candidate is None:
            candidate = weights * gains  # EM: never lowers the likelihood
            if not loss(candidate) < value:
                return weights, iteration
        weights = candidate / candidate.sum()
        value = loss(weights)
    return weights, max_iterations


def _newton(
    likelihoods: Array, weights: Array, gains: Array, loss: Callable[[Array], float], value: float
) -> Array | None:
    """The minimiser of the quadratic model over w >= 0, damped until the loss falls; None if it does not.

    The model ½xᵀHx − xᵀ(2·gains − 1), H = BᵀB, B = A/(Aw)/√n, is ½‖Rx − r‖² up to a constant, H = RᵀR.
    """
    scaled = likelihoods / (likelihoods @ weights)[:, None]
    hessian = scaled.T @ scaled / likelihoods.shape[0]
    hessian[np.diag_indices_from(hessian)] += 1e-10 * float(np.trace(hessian))
    root = np.linalg.cholesky(hessian).T
    try:
        target, _ = optimize.nnls(root, np.linalg.solve(root.T, 2 * gains - 1))
    except RuntimeError:  # too many active-set changes
        return None
    step = target - weights
    slope = float((1 - gains) @ step)
    if not slope < 0:
        return None
    for size in 0.5 ** np.arange(12):
        candidate: Array = weights + size * step
        if loss(candidate) <= value + 1e-4 * size * slope:
            return candidate
    return None


def _interval(likelihoods: Array, best: Array, index: int, level: float) -> Estimate:
    """Profile-likelihood limits of one weight, widened to Clopper–Pearson's for the texts credited to it."""
    n, n_components = likelihoods.shape
    value = float(best[index])
    top = float(np.log(likelihoods @ best).mean())
    critical = float(stats.t.isf((1 - level) / 2, n - 1))
    rest = np.delete(best, index)
    rest = np.full(n_components - 1, 1.0) if rest.sum() <= 0 else rest + 1e-3 * rest.sum() / rest.size
    others = np.delete(likelihoods, index, axis=1)

    def excess(share: float) -> float:
        """Signed-root likelihood ratio beyond its critical value; large where the share is impossible."""
        columns = share * likelihoods[:, [index]] + (1 - share) * others
        possible = columns.max(axis=1, initial=0.0) > 0
        if not possible.all():
            return 1e6
        fitted, _ = _maximise(columns, rest, 1e-7, 200)
        lost = top - float(np.log(columns @ fitted).mean())
        return math.sqrt(max(2 * n * lost, 0.0)) - critical

    credited = min(max(n * value, 0.0), float(n))
    tail = (1 - level) / 2
    low = float(stats.beta.ppf(tail, credited, n - credited + 1)) if credited > 0 else 0.0
    high = float(stats.beta.isf(tail, credited + 1, n - credited)) if credited < n else 1.0
    if n_components == 1:
        return Estimate(1.0, 1.0, 1.0, level, n, "share", "the only component", exact=True)
    low, high = _crossing(excess, value, low, 0.0), _crossing(excess, value, high, 1.0)
    words = "maximum likelihood; profile likelihood, at least Clopper–Pearson of the texts credited"
    return Estimate(value, min(low, value), max(high, value), level, n, "share", words)


def _crossing(excess: Callable[[float], float], value: float, first: float, end: float) -> float:
    """Where `excess` becomes positive between `first` and `end`, going outwards from `value`; at least `first`."""
    inside, outside = first, first
    if excess(first) > 0:
        return first
    while outside != end:
        step = 1.5 * (outside - value)
        outside = (max if end < value else min)(end, value + step) if step else end
        if abs(outside - end) < 1e-4 * abs(end - value):
            outside = end
        if excess(outside) > 0:
            return float(optimize.brentq(excess, inside, outside, xtol=1e-7, rtol=1e-5))
        inside = outside
    return end


def _nonnegative(honest: Array, optimistic: Array, length: Array, level: float, words: str) -> Estimate:
    """Ratio of sums, cut to >= 0; lower limit from `optimistic`, upper from `honest`. All (n_texts,)."""
    value, half = _ratio(honest, length, level)
    below, half_below = (value, half) if optimistic is honest else _ratio(optimistic, length, level)
    # A negative estimate of a nonnegative number is moved to 0 with its whole half width.
    value = max(value, below, 0.0)
    method = f"mean log P − log ΣwP over texts, {words}; bootstrap-t, cut to >= 0"
    low = min(max(below - half_below, 0.0), value)
    return Estimate(value, low, value + half, level, honest.size, PER_SENTENCE, method)


def _ratio(surprise: Array, length: Array, level: float) -> tuple[float, float]:
    """Σ surprise/Σ length and the half width of its interval (linearised); infinite where all texts agree."""
    value = float(surprise.sum() / length.sum())
    influence = value + (surprise - value * length) / float(length.mean())
    if is_constant(influence):
        return value, math.inf
    return value, mean(influence, level=level, unit=PER_SENTENCE, name="unexplained part").width / 2
