"""β, β′ and σ² from the published curves of P₋ against P₊."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from beb.core.estimate import Band, Estimate
from beb.estimate.distinguishability import largest, smallest
from beb.estimate.prior import PER_SENTENCE
from beb.estimate.similarity import UNIT as PER_SENTENCE_SQUARED
from beb.estimate.similarity import sigma_squared
from beb.estimate.summaries import (
    N_UNKNOWN,
    ratio_of_limits,
    summary_band,
    weighted_sum,
)
from beb.experiments.published import Published
from beb.experiments.reproduction import Reading

NONNEGATIVE = (0.0, math.inf)


def component_readings(published: Published, level: float) -> Iterator[Reading]:
    """β, β′, σ² and their ratios, from the curves of P₋ against P₊ of the aligned model."""
    section, paper = "P₋ against P₊, aligned model", published.readings
    curve = published.negative_vs_aligned_rlhf
    kl, variance = _divergence(published, level), _variance(published, level)
    beta, top, sigma2 = smallest(kl, name="β"), largest(kl, name="β′"), sigma_squared(variance)
    yield Reading(section, "β, smallest point", paper.beta, beta, _beta_note(kl, published))
    late = kl.lengths[len(kl.lengths) // 2 :]
    mean = _late_mean(curve.kl_avg, curve.kl_error, level, PER_SENTENCE, "mean KL(P₋‖P₊)")
    yield Reading(section, "β, plateau", paper.beta, mean, f"mean over n = {late[0]}..{late[-1]}")
    where = kl.lengths[int(np.argmax(kl.value))]
    note = f"top of the curve, at n = {where}; not the definition's direction"
    yield Reading(section, "β′, the paper's reading", paper.beta_prime, top, note)
    words = "largest over smallest point of one curve"
    ratio = ratio_of_limits(top, beta, level=level, unit="ratio", words=words, least=1.0)
    yield Reading(section, "β′/β", paper.beta_prime_over_beta, ratio, _spread_note(published))
    where = variance.lengths[int(np.argmax(variance.value))]
    note = f"reached at n = {where}; Varₙ/n is as small as {min(variance.value):.3g}"
    yield Reading(section, "σ², largest Varₙ/n", paper.sigma_squared, sigma2, note)
    n = np.arange(1, len(variance.lengths) + 1)
    error = np.asarray(published.log_ratio_variance.error_var[1:]) / n
    mean = _late_mean(variance.value, error.tolist(), level, PER_SENTENCE_SQUARED, "mean Varₙ/n")
    late = variance.lengths[len(variance.lengths) // 2 :]
    note = f"mean over n = {late[0]}..{late[-1]}: what Theorem 5 would need at these lengths"
    yield Reading(section, "σ², long prompts", paper.sigma_squared, mean, note)
    # β and σ² come from different curves: each gets half of the error, so that both hold together.
    share = 1 - (1 - level) / 2
    limits = (sigma_squared(_variance(published, share)), smallest(_divergence(published, share), name="β"))
    yield Reading(section, "σ/β", paper.sigma_over_beta, _sigma_over_beta(*limits, level), _sigma_note(published))


def _divergence(published: Published, level: float) -> Band:
    """KL(P₋‖P₊) over n = 1, 2, ..."""
    curve = published.negative_vs_aligned_rlhf
    lengths = range(1, len(curve.kl_avg) + 1)
    return summary_band(
        curve.kl_avg, curve.kl_error, lengths, level=level, unit=PER_SENTENCE, bounds=NONNEGATIVE, name="KL(P₋‖P₊)"
    )


def _variance(published: Published, level: float) -> Band:
    """Varₙ/n over n = 1, 2, ..."""
    variance = published.log_ratio_variance
    n = np.arange(1, len(variance.avg_var))
    value, error = (np.asarray(x[1:]) / n for x in (variance.avg_var, variance.error_var))
    unit = PER_SENTENCE_SQUARED
    return summary_band(value, error, n.tolist(), level=level, unit=unit, bounds=NONNEGATIVE, name="Varₙ/n")


def _late_mean(value: Sequence[float], error: Sequence[float], level: float, unit: str, words: str) -> Estimate:
    """Mean over the last half of the lengths."""
    first = len(value) // 2
    size = len(value) - first
    weights = [1 / size] * size
    return weighted_sum(
        value[first:], error[first:], weights, level=level, unit=unit, words=f"{words}, last half", independent=False
    )


def _sigma_over_beta(sigma2: Estimate, beta: Estimate, level: float) -> Estimate:
    value, low, high = (math.sqrt(max(x, 0.0)) for x in (sigma2.value, sigma2.low, sigma2.high))
    root = Estimate(value, low, high, sigma2.level, N_UNKNOWN, "nats per root sentence", sigma2.method)
    return ratio_of_limits(root, beta, level=level, unit="ratio", words="root of the largest Varₙ/n over smallest KL")


def _beta_note(kl: Band, published: Published) -> str:
    words = [f"over n = {kl.lengths[0]}..{kl.lengths[-1]}; Definition 2 also asks for n = 0, not published"]
    paper = published.readings.beta
    if paper is not None and paper < min(kl.value):
        words.append(f"no point is below {min(kl.value):.3g}: {paper:g} is rounded down")
    return "; ".join(words)


def _spread_note(published: Published) -> str:
    paper, common = published.readings, published.published_readings.ranges_over_behaviors.beta_prime_over_beta
    words = []
    if paper.beta and paper.beta_prime:
        words.append(f"published β′ over published β is {paper.beta_prime / paper.beta:.3g}")
    own = paper.beta_prime_over_beta
    if own is not None and common is not None and not common[0] <= own <= common[1]:
        words.append(f"the paper's own {own:g} is outside its range over behaviors, {common[0]:g}–{common[1]:g}")
    return "; ".join(words)


def _sigma_note(published: Published) -> str:
    paper = published.readings
    words = []
    if paper.beta and paper.sigma_squared:
        words.append(f"published √σ² over published β is {math.sqrt(paper.sigma_squared) / paper.beta:.3g}")
    if published.divergence_tokens is not None:
        words.append(f"σ is per whole sentence and β per {published.divergence_tokens} tokens")
    return "; ".join(words)
