"""log 1/α: the cap, the evidence plateau, and the straight line of Wolf et al."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from beb.core.estimate import Band, Estimate
from beb.errors import BadSpec
from beb.estimate.bands import mean_band
from beb.estimate.checks import Array, check_lengths, check_level, matrix
from beb.estimate.means import is_constant, mean
from beb.estimate.ratio import fieller_limits
from beb.estimate.studentised import BOOTSTRAP_T, critical_value

NATS = "nats"
PER_SENTENCE = "nats per sentence"
Verdict = Literal["mixture contradicted", "mixture not contradicted", "undecided"]


@dataclass(frozen=True, slots=True)
class Plateau:
    """Where the evidence comes to rest, and whether it rests.

    log_inverse_alpha: intercept at length 0 of the line through the window, nats. kappa: its slope, the proxy gap.
    first: first length of the window. effective_log_inverse_weight: E[L0] per length. transition_slope: slope an exact
    mixture would still show there (None without the log ratio, or if no prompt shows w > 0). verdict: see `plateau`.
    """

    log_inverse_alpha: Estimate
    kappa: Estimate
    first: int
    effective_log_inverse_weight: Band
    transition_slope: Estimate | None
    verdict: Verdict

    @property
    def allowance(self) -> float:
        """Largest slope that the approach to the plateau explains, nats per sentence."""
        return 0.0 if self.transition_slope is None else max(0.0, self.transition_slope.high)


@dataclass(frozen=True, slots=True)
class LineReading:
    """The straight line through the first three points of KL(P₋‖P): intercept, falling slope, and their ratio.

    log_inverse_alpha: nats. beta: minus the slope, nats per sentence. ratio: log(1/α)/β in sentences, None if the
    line does not fall.
    """

    log_inverse_alpha: Estimate
    beta: Estimate
    ratio: Estimate | None


def cap(evidence: Any, lengths: Sequence[int]) -> tuple[Estimate, ...]:
    """Lower limit of log 1/α at each length, without statistics.

    evidence: (n_prompts, N) L0 = log P₋/P of the first n sentences, nats. P >= αP₋ pointwise, so log 1/α >= L0(s) for
    every s, and log 1/α >= 0 since α <= 1. Holds for any text, however it was chosen.
    Returns: per length the largest L0 as value and low limit, level 1, high limit infinite.
    Raises: EstimateError, BadSpec. Assumes: P is a mixture that contains P₋. Source: derived in docs/maths.md.
    """
    x = matrix(evidence, name="evidence", minimum=1)
    check_lengths(lengths, x.shape[1], name="evidence")
    words = "cap: largest log P₋/P over prompts, pointwise, no statistics"
    tops = (max(0.0, float(top)) for top in x.max(axis=0))
    return tuple(Estimate(top, top, math.inf, 1.0, x.shape[0], NATS, words) for top in tops)


def plateau(
    evidence: Any,
    lengths: Sequence[int],
    *,
    level: float,
    first: int | None = None,
    log_ratio: Any | None = None,
    rng: np.random.Generator | None = None,
) -> Plateau:
    """Plateau and slope of the evidence over the lengths >= `first` (default: the last half, at least 3 points).

    evidence: (n_prompts, N) L0 = log P₋/P, nats, prompts from P₋. log_ratio: (n_prompts, N) L = log P₋/P₊, same cells.
    Each prompt's least-squares line is linear in its evidence, so intercept and slope are means over prompts.

    An exact mixture P = αP₋ + (1-α)P₊ has posterior weight w = αP₋/P, hence L0 = log 1/α - log 1/w: the evidence
    rises until w = 1 and no further. With d = L - L0 = log P/P₊ also w = 1 - (1-α) e^{-d}, which does not use L0: the
    slope that the mixture still shows in the window is that of -log 1/w(d). The smaller α, the faster log 1/w falls
    in d; every cell gives α >= (1 - e^{-d}) e^{-L0} (since 1 - e^{-d} <= w), and the cell of largest evidence is taken.
    If w = 1 is reached there, this is α itself, and under an exact mixture each prompt's transition slope then
    equals its evidence slope; otherwise the transition slope errs upwards. Verdict: "mixture contradicted" if
    kappa.low > max(0, transition_slope.high); "undecided" if kappa.low > 0 without a usable transition slope.
    Raises: TooFewPrompts, EstimateError, BadSpec. Assumes: prompts independent. Source: derived in docs/maths.md.
    """
    check_level(level)
    x = matrix(evidence, name="evidence")
    n = check_lengths(lengths, x.shape[1], name="evidence")
    start = _window(n, first)
    intercept, slope = (line @ x[:, start:].T for line in _least_squares(n[start:]))
    kappa = _coefficient(slope, level, PER_SENTENCE, "slope of the evidence (proxy gap)")
    transition = None
    if log_ratio is not None:
        other = matrix(log_ratio, name="log_ratio")
        if other.shape != x.shape:
            raise BadSpec(f"log_ratio has shape {other.shape} and evidence {x.shape}; give the same cells")
        transition = _transition(x, other, n, start, level)
    verdict: Verdict = "mixture not contradicted"
    if kappa.low > 0 and transition is None:
        verdict = "undecided"
    elif transition is not None and kappa.low > max(0.0, transition.high):
        verdict = "mixture contradicted"
    # Without a generator the band's draws come from a fixed stream: limits then depend on the evidence alone.
    stream = np.random.default_rng(0) if rng is None else rng
    band = mean_band(x, lengths, level=level, rng=stream, unit=NATS, name="evidence", deterministic=(0,))
    words = f"intercept at 0 of the evidence line over n >= {int(n[start])}"
    return Plateau(_coefficient(intercept, level, NATS, words), kappa, int(n[start]), band, transition, verdict)


def _window(n: Array, first: int | None) -> int:
    """Index of the first length of the window."""
    if n.size < 3:
        raise BadSpec(f"the plateau has {n.size} lengths and needs at least 3; raise --sentences")
    if first is None:
        return min(n.size - 3, n.size // 2)
    start = int(np.searchsorted(n, first))
    if n.size - start < 3:
        raise BadSpec(f"lengths from {first} on are {n.size - start}; the plateau needs at least 3, lower `first`")
    return start


def _least_squares(n: Array) -> Array:
    """(2, N) weights whose products with a curve are its line's intercept at 0 and slope."""
    return np.linalg.pinv(np.column_stack([np.ones_like(n), n]))


def _coefficient(per_prompt: Array, level: float, unit: str, words: str) -> Estimate:
    """Mean of per-prompt coefficients; all equal means a line known without error in every prompt seen."""
    if is_constant(per_prompt) or float(np.abs(per_prompt).max()) < 1e-12:
        value = float(per_prompt.mean())
        return Estimate(value, -math.inf, math.inf, level, per_prompt.size, unit, f"{words}; all prompts agree")
    e = mean(per_prompt, level=level, unit=unit, name=words)
    return Estimate(e.value, e.low, e.high, level, e.n, unit, f"{words}; mean of per-prompt lines, {BOOTSTRAP_T}")


def _transition(evidence: Array, log_ratio: Array, n: Array, start: int, level: float) -> Estimate | None:
    """Slope of -log 1/w over the window, from d = log P/P₊; None if the strongest cell shows no weight."""
    d = log_ratio - evidence
    strongest = np.unravel_index(int(evidence.argmax()), evidence.shape)
    if d[strongest] <= 0:
        return None
    log_alpha = float(np.log(-np.expm1(-d[strongest]))) - float(evidence[strongest])
    log_alpha = min(log_alpha, 0.0)
    weight = 1 + np.expm1(log_alpha) * np.exp(-np.maximum(d[:, start:], 0.0))
    log_weight = np.maximum(np.log(np.maximum(weight, 1e-300)), log_alpha)
    slopes = log_weight @ _least_squares(n[start:])[1]
    if np.abs(slopes).max() < 1e-12:
        return Estimate(
            0.0, 0.0, 0.0, level, slopes.size, PER_SENTENCE, "transition over: w = 1 throughout", exact=True
        )
    return _coefficient(slopes, level, PER_SENTENCE, "slope an exact mixture would still show")


def line_reading(kl_to_target: Any, *, level: float) -> LineReading:
    """Wolf et al.'s straight line KL(P₋‖P) ≈ log 1/α - βn through n = 0, 1, 2.

    kl_to_target: (n_prompts, >= 3) KL(P₋(·|s)‖P(·|s)) of the next sentence after n = 0, 1, 2, ... sentences, nats;
    later columns are not used. Ratio: Fieller's set {r : |mean(a - rβ)| <= t se(a - rβ)}, cut to r >= 0
    (log 1/α >= 0, and β > 0 is what the line means); unbounded if β is not clear of 0.
    Raises: TooFewPrompts, EstimateError, BadSpec. Assumes: prompts independent.
    Source: Wolf et al. 2024, §4 (fit of α and β); Fieller 1954.
    """
    check_level(level)
    x = matrix(kl_to_target, name="KL to target")
    if x.shape[1] < 3:
        raise BadSpec(f"the line needs KL after 0, 1 and 2 sentences and has {x.shape[1]} points; raise --sentences")
    intercept, slope = _least_squares(np.arange(3.0)) @ x[:, :3].T
    a = _coefficient(intercept, level, NATS, "intercept of the first three points")
    beta = _coefficient(-slope, level, PER_SENTENCE, "minus the slope of the first three points")
    return LineReading(a, beta, _ratio(intercept, -slope, level) if beta.value > 0 else None)


def _ratio(a: Array, b: Array, level: float) -> Estimate:
    """mean(a)/mean(b), mean(b) > 0, with Fieller's limits within [0, inf)."""
    mean_a, mean_b = float(a.mean()), float(b.mean())
    residual = a - mean_a / mean_b * b
    words = "ratio of means, Fieller"
    if is_constant(a) or is_constant(b) or np.ptp(residual) <= 1e-12 * np.abs(a).max():
        limits = (max(mean_a / mean_b, 0.0), 0.0, math.inf)
        return Estimate(*limits, level, a.size, "sentences", f"{words}: prompts agree")
    covariance = np.cov(a, b) / a.size
    limits = fieller_limits(mean_a, mean_b, covariance, critical_value(residual, level))
    return Estimate(*limits, level, a.size, "sentences", words)
