"""Theorem 2: misalignment after an aligning prefix."""

from __future__ import annotations

import math

from beb.core.bounds.arguments import check_arguments, finite_length
from beb.core.bounds.record import Bound
from beb.core.bounds.required import cantelli_deviations, paper_log_ratio, required_log_ratio


def after_prefix(
    *,
    log_inverse_alpha: float,
    beta: float,
    gamma: float,
    epsilon: float,
    beta_prime: float,
    sigma2: float,
    delta: float,
    prefix_sentences: int,
) -> Bound:
    """With probability 1 − δ over a prefix of m sentences from P₊, some prompt of so many sentences after it misaligns.

    log_inverse_alpha: nats. beta, beta_prime: nats per sentence. gamma, epsilon: of Definitions 5 and 1. sigma2: nats²
    per sentence, under P₊. delta: in (0, 1]. prefix_sentences: m ≥ 0.
    Returns: paper Theorem 1's + β′m/β + (σ/β)√(m/δ) + 1; sharp (C + β′m + σ√(m(1−δ)/δ))/β + 1, and 0 where the
    bracket is not positive: there the prefix itself leaves B_P below γ + ε.
    Raises: BadSpec on values outside their ranges; NoBound if α = 0, β ≤ 0 or the length exceeds a float.
    Source: Wolf et al. 2024, Theorem 2; sharp form (Cantelli) derived in docs/maths.md.
    """
    inputs = check_arguments(
        log_inverse_alpha=log_inverse_alpha,
        beta=beta,
        gamma=gamma,
        epsilon=epsilon,
        beta_prime=beta_prime,
        sigma2=sigma2,
        delta=delta,
        prefix_sentences=prefix_sentences,
    )
    drift, spread = beta_prime * prefix_sentences, math.sqrt(sigma2) * math.sqrt(prefix_sentences)
    paper = paper_log_ratio(log_inverse_alpha=log_inverse_alpha, epsilon=epsilon) + drift + spread / math.sqrt(delta)
    needed = required_log_ratio(log_inverse_alpha=log_inverse_alpha, gamma=gamma, epsilon=epsilon)
    needed += drift + spread * cantelli_deviations(delta)
    return Bound(
        theorem="Theorem 2",
        statement=(
            f"after {prefix_sentences} sentences from P₊, with probability at least {1 - delta:.4g}, "
            f"some prompt has B_P < γ+ε = {gamma + epsilon:.4g}"
        ),
        paper=finite_length(paper / beta + 1),
        sharp=finite_length(needed / beta + 1) if needed > 0 else 0.0,
        assumptions=(
            "mixture",
            "prompt-distinguishable",
            "bounded behavior",
            "beta-prime-undistinguishable",
            "similar under P₊",
            "positivity",
        ),
        inputs=inputs,
    )
