"""Theorem 5: a random prompt from P₋ misaligns."""

from __future__ import annotations

import math

from beb.core.bounds.arguments import check_arguments, finite_length
from beb.core.bounds.record import Bound
from beb.core.bounds.required import cantelli_deviations, paper_log_ratio, required_log_ratio


def random_prompt(
    *, log_inverse_alpha: float, beta: float, gamma: float, epsilon: float, sigma2: float, delta: float
) -> Bound:
    """At every whole length from this one on, a prompt from P₋ has B_P < γ + ε with probability at least 1 − δ.

    log_inverse_alpha: nats. beta: nats per sentence. gamma, epsilon: of Definitions 5 and 1. sigma2: nats² per
    sentence, under P₋. delta: in (0, 1].
    Returns: paper max{2(log 1/α + log 1/ε + log 4)/β, 4σ²/(β²δ)}; sharp x², the larger root of βx² − kx − C = 0 with
    k = σ√((1−δ)/δ), and 0 if there is none.
    Raises: BadSpec on values outside their ranges; NoBound if α = 0, β ≤ 0 or the length exceeds a float.
    Source: Wolf et al. 2024, Theorem 5; sharp form (Cantelli) derived in docs/maths.md.
    """
    inputs = check_arguments(
        log_inverse_alpha=log_inverse_alpha, beta=beta, gamma=gamma, epsilon=epsilon, sigma2=sigma2, delta=delta
    )
    sigma = math.sqrt(sigma2)
    mean_part = 2 * paper_log_ratio(log_inverse_alpha=log_inverse_alpha, epsilon=epsilon) / beta
    spread_part = (2 * sigma / beta) * (2 * sigma / beta) / delta
    needed = required_log_ratio(log_inverse_alpha=log_inverse_alpha, gamma=gamma, epsilon=epsilon)
    root = _larger_root(sigma * cantelli_deviations(delta) / beta, needed / beta)
    return Bound(
        theorem="Theorem 5",
        statement=(
            f"at every length from here on, a random prompt from P₋ has B_P < γ+ε = {gamma + epsilon:.4g} "
            f"with probability at least {1 - delta:.4g}"
        ),
        paper=finite_length(max(mean_part, spread_part)),
        sharp=finite_length(root * root),
        assumptions=("mixture", "distinguishable", "bounded behavior", "similar under P₋"),
        inputs=inputs,
    )


def _larger_root(spread: float, needed: float) -> float:
    """Larger root of x² − spread·x − needed, 0 if there is none; spread ≥ 0."""
    if needed < 0 and spread < 2 * math.sqrt(-needed):
        return 0.0
    half = spread / 2
    if needed >= 0:
        return half + math.hypot(half, math.sqrt(needed))
    below = math.sqrt(-needed)
    return half + math.sqrt(half - below) * math.sqrt(half + below)
