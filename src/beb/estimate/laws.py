"""Which law does a curve over the number of sentences follow? Compared on prompts that the laws have not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from beb.core.estimate import Estimate
from beb.errors import BadSpec, EstimateError
from beb.estimate.checks import Array, Bounds, check_bounds, check_lengths, check_level, matrix, too_few
from beb.estimate.law_fit import Bayesian, Frame, Law, Link, Logistic, PowerLaw, Scale, solve
from beb.estimate.means import is_constant, mean
from beb.estimate.quantiles import t_quantile

NATS = "nats per prompt"
UNITS: dict[Scale, str] = {"nll": "nats per sentence", "behavior": "behavior"}
RANGES: dict[Scale, Bounds] = {"nll": (-math.inf, math.inf), "behavior": (-1.0, 1.0)}
SAME_CURVE = 1e-6
WORST_CONDITION, AT_LIMIT = 1e12, 1e-6
LARGEST_LOG, WIDEST_LOG = 700.0, 5.0


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a fitted law; the unit is the estimate's."""

    name: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class LawFit:
    """One law: its parameters and curve from all prompts, and its log-likelihood of prompts left out.

    fitted: (k,) the curve at the lengths. held_out_log_likelihood: mean over prompts, nats per prompt (all lengths).
    note: parameters that the curve does not determine, or "".
    """

    name: str
    parameters: tuple[Parameter, ...]
    fitted: tuple[float, ...]
    held_out_log_likelihood: Estimate
    note: str


@dataclass(frozen=True, slots=True)
class LawDifference:
    """Held-out log-likelihood of `first` minus that of `second`, nats per prompt.

    verdict: the name of the law that predicts better, or "undecided" where the interval holds 0.
    """

    first: str
    second: str
    difference: Estimate
    verdict: str


@dataclass(frozen=True, slots=True)
class LawComparison:
    """The laws and their pairwise differences; the differences' limits hold all together with probability `level`."""

    laws: tuple[LawFit, ...]
    differences: tuple[LawDifference, ...]
    lengths: tuple[int, ...]
    scale: Scale
    n_folds: int


def compare_laws(
    curves: Any,
    lengths: Sequence[int],
    *,
    scale: Scale,
    level: float,
    rng: np.random.Generator,
    n_folds: int = 5,
    efficiency: float | None = None,
) -> LawComparison:
    """Fit the logistic, power and Bayesian laws and compare them by cross-validation over prompts.

    curves: (n_prompts, k), k >= 5, one row per prompt: with scale "nll" the target's negative log-likelihood of
    sentence n + 1 of P₋ text, nats; with scale "behavior" mean B of the responses after n sentences. lengths: (k,) n.
    efficiency: K of the Bayesian law. Default: free on scale "nll"; 1 on scale "behavior", where with K free the
    two-component Bayesian law *is* the logistic with free levels (p = p₀ + (p₁ − p₀) σ(Kn log p₁/p₀ + log ρ/(1−ρ)));
    with K given it is a special case of it, which can lose to the logistic but not beat it by more than parsimony.
    Each fold's prompts are predicted from the others: least squares weighted by each length's precision, then a
    Gaussian with the training prompts' mean square deviation from the law at each length (one further prompt of average
    deviation counted in, so that a length on which all agree is not certain). One number per prompt, so that the
    dependence of its lengths does no harm; differences are paired, their limits at a Bonferroni share of the pairs. The
    folds share training prompts, which a plain interval ignores (90% limits then held 0 in 80% of samples where two
    laws fitted alike); the differences' variance is therefore taken 1 + n_folds/(n_folds − 1) times as large.
    The estimand is the prediction of a new prompt by laws fitted to (1 − 1/n_folds) of the prompts: of two laws that
    hold equally, the one with fewer parameters predicts a little better. Parameters: cluster-robust (sandwich) limits.
    Raises: TooFewPrompts below 2 n_folds prompts; EstimateError, BadSpec.
    Assumes: prompts independent. Source: Wolf et al. 2024, Lemma 7; Anil et al. 2024 (many-shot jailbreaking);
    Arora et al. 2024, arXiv 2410.16531; Nadeau & Bengio 2003 (variance of cross-validation).
    """
    check_level(level)
    if scale not in UNITS:
        raise BadSpec(f"scale is {scale!r}; accepted: 'nll' or 'behavior'")
    y = matrix(curves, name="curves")
    n = check_lengths(lengths, y.shape[1], name="curves")
    check_bounds(y, RANGES[scale], "curves")
    if n.size < 5:
        raise BadSpec(f"the laws have {n.size} lengths and need at least 5; raise --sentences")
    if n_folds < 2 or (efficiency is not None and not 0 < efficiency < math.inf):
        raise BadSpec(f"{n_folds} folds and efficiency {efficiency}; accepted: at least 2 folds, efficiency > 0")
    if y.shape[0] < 2 * n_folds:
        raise too_few("the comparison of laws", y.shape[0], 2 * n_folds)
    if all(is_constant(column) for column in y.T):
        raise EstimateError(
            f"all {y.shape[0]} prompts agree at every length; their spread is unknown, give more prompts"
        )
    if efficiency is None and scale == "behavior":
        efficiency = 1.0
    laws: tuple[Law, ...] = (Logistic(scale), PowerLaw(scale), Bayesian(scale, efficiency))
    y = y[np.lexsort(y.T[::-1])]  # folds depend on the prompts and the generator, not on the prompts' order
    return _compare(laws, y[rng.permutation(y.shape[0])], n, scale=scale, level=level, n_folds=n_folds)


def _compare(laws: tuple[Law, ...], y: Array, n: Array, *, scale: Scale, level: float, n_folds: int) -> LawComparison:
    """`y` in the order that deals prompts into folds."""
    fold = np.arange(y.shape[0]) % n_folds
    # The last training set is all prompts; no prompt is left out there.
    training = np.vstack([fold != k for k in range(n_folds)] + [np.ones(y.shape[0], dtype=bool)]).astype(np.float64)
    average = y.mean(axis=0)
    spread = max(float(np.ptp(average)), float(np.sqrt(y.var(axis=0).mean())))
    frame = Frame(n, float(average.min()), float(average.max()), spread)
    fits, scores = [], []
    for law in laws:
        theta, predicted, variance = _fit(law, frame, y, training)
        residual, noise = y - predicted[fold], variance[fold]
        score = -0.5 * (np.log(2 * math.pi * noise) + np.square(residual) / noise).sum(axis=1)
        scores.append(score)
        parameters, note = _parameters(law, frame, theta[-1], y, variance[-1], scale=scale, level=level)
        held_out = mean(score, level=level, unit=NATS, name=f"held-out log-likelihood of the {law.name}")
        fits.append(LawFit(law.name, parameters, tuple(map(float, predicted[-1])), held_out, note))
    pairs = list(combinations(range(len(laws)), 2))
    share = 1 - (1 - level) / len(pairs)
    wider = math.sqrt(1 + n_folds / (n_folds - 1))
    differences = tuple(
        _difference(laws[i].name, laws[j].name, scores[i] - scores[j], levels=(level, share), wider=wider)
        for i, j in pairs
    )
    return LawComparison(tuple(fits), differences, tuple(int(length) for length in n), scale, n_folds)


def _fit(law: Law, frame: Frame, y: Array, training: Array) -> tuple[Array, Array, Array]:
    """θ (d, p), curve (d, k) and predictive variance (d, k) from each training set (d, n_prompts) of 0 and 1."""
    size = training.sum(axis=1)[:, None]
    curve = training @ y / size
    centred = y - y.mean(axis=0)  # no cancellation in the squares
    within = training @ np.square(centred) / size - np.square(training @ centred / size)
    theta = solve(law, frame, curve, size / _with_one_more(np.maximum(within, 0.0), size))
    predicted = law.curve(theta, frame.n)
    return theta, predicted, _with_one_more(np.maximum(within, 0.0) + np.square(curve - predicted), size)


def _with_one_more(squares: Array, size: Array) -> Array:
    """Mean squares per length with one further prompt of the average over lengths counted in."""
    pooled: Array = (size * squares + squares.mean(axis=1, keepdims=True)) / (size + 1)
    return pooled


def _difference(
    first: str, second: str, per_prompt: Array, *, levels: tuple[float, float], wider: float
) -> LawDifference:
    """levels: of all differences together, and of this one by itself. wider: factor for what folds have in common."""
    words = "held-out log-likelihood, paired over prompts; limits hold for all pairs of laws together"
    if float(np.abs(per_prompt).max()) < SAME_CURVE:
        same = f"{first} and {second} give the same curves here; {words}"
        return LawDifference(
            first, second, Estimate(0.0, 0.0, 0.0, levels[0], per_prompt.size, NATS, same, exact=True), "undecided"
        )
    e = mean(per_prompt, level=levels[1], unit=NATS, name=f"{first} against {second}")
    low, high = e.value - wider * (e.value - e.low), e.value + wider * (e.high - e.value)
    words = f"{words}; {e.method}, half width times {wider:.3g} for the training prompts that folds share"
    estimate = Estimate(e.value, low, high, levels[0], e.n, NATS, words)
    verdict = first if low > 0 else second if high < 0 else "undecided"
    return LawDifference(first, second, estimate, verdict)


def _parameters(
    law: Law, frame: Frame, theta: Array, y: Array, variance: Array, *, scale: Scale, level: float
) -> tuple[tuple[Parameter, ...], str]:
    """Readable parameters with sandwich limits; infinite where the curve does not determine one.

    A prompt's influence on θ is (JᵀWJ)⁻¹ JᵀW(yᵢ − curve), W = 1/variance; Student's t with n − 1 degrees of freedom.
    Where θ lies at a limit of the quantity itself (B = −1) it has no error of its own: it is held there for the others
    and shown with infinite limits. At the edge of a search the others only make up for it, so that none is determined.
    The law is taken as linear in θ: where a logarithm is uncertain by more than a factor e^5 either way (a curve that
    may as well be flat has no slope), that fails for all parameters.
    """
    inside = np.all([theta > law.limits(frame)[0] + AT_LIMIT, theta < law.limits(frame)[1] - AT_LIMIT], axis=0)
    curve, jacobian = law.curve(theta[None], frame.n)[0], law.jacobian(theta[None], frame.n)[0][:, inside]
    weighted = jacobian / variance[:, None]
    normal = weighted.T @ jacobian
    size = np.sqrt(np.diag(normal))
    readable, labels = law.readable(theta), law.labels(UNITS[scale])
    critical = t_quantile(level, y.shape[0] - 1)
    error = np.full(theta.size, math.inf)
    usable = bool((inside | np.array(law.natural())).all() and inside.any() and (size > 0).all())
    if usable and np.linalg.cond(normal / np.outer(size, size)) < WORST_CONDITION:
        influence = (y - curve) @ weighted @ np.linalg.inv(normal)
        slopes = _slopes(law, theta)
        spread = (influence @ slopes[:, inside].T).std(axis=0, ddof=1) / math.sqrt(y.shape[0])
        held = (np.abs(slopes[:, ~inside]) > 1e-9).any(axis=1) | ~(spread > 0)
        logarithms = np.array([link != "identity" for _, _, link in labels]) & ~held
        if (critical * spread[logarithms] < WIDEST_LOG).all():
            error = np.where(held, math.inf, spread)
    method = "weighted least squares over lengths; cluster-robust (sandwich) t over prompts"
    parameters = tuple(
        Parameter(name, _estimate(float(value), float(half), link, (level, y.shape[0]), (unit, method)))
        for value, half, (name, unit, link) in zip(readable, critical * error, labels, strict=True)
    )
    free = [name for (name, _, _), e in zip(labels, error, strict=True) if math.isinf(e)]
    return (
        parameters,
        f"the curve does not determine the {law.name.removesuffix(' law')} law's {', '.join(free)}" if free else "",
    )


def _slopes(law: Law, theta: Array) -> Array:
    """(p, p) derivatives of the readable parameters, by central differences."""
    step = 1e-5 * np.maximum(np.abs(theta), 1e-3)
    sides = [
        [law.readable(theta + sign * step[i] * np.eye(theta.size)[i]) for i in range(theta.size)] for sign in (1, -1)
    ]
    slopes: Array = ((np.array(sides[0]) - np.array(sides[1])) / (2 * step[:, None])).T
    return slopes


def _estimate(value: float, half: float, link: Link, sample: tuple[float, int], words: tuple[str, str]) -> Estimate:
    """value ± half, mapped back from the scale of the link. sample: level and n. words: unit and method."""
    low, high = value - half, value + half
    if link != "identity":
        high = min(high, 0.0) if link == "log of a probability" else high
        value, low, high = math.exp(value), math.exp(low), math.exp(high) if high < LARGEST_LOG else math.inf
    return Estimate(value, min(low, value), max(high, value), *sample, *words)
