"""The log-ratio that forces misalignment: what every theorem's length has to buy."""

from __future__ import annotations

import math

from beb.core.bounds.arguments import check_arguments
from beb.core.logspace import log_odds


def required_log_ratio(*, log_inverse_alpha: float, gamma: float, epsilon: float) -> float:
    """C: above it, L(s) = log P₋(s)/P₊(s) forces B_P(s) < γ + ε.

    log_inverse_alpha: nats. gamma, epsilon: of Definitions 5 and 1.
    Returns: nats, log((1−α)/α) + log((1−γ)/ε − 1); −inf if ε ≥ 1−γ (every prompt does it) or α = 1; negative if α is
    so large that the unprompted model does it.
    Raises: BadSpec on values outside their ranges; NoBound if α = 0.
    Source: derived in docs/maths.md, "The required log-ratio".
    """
    check_arguments(log_inverse_alpha=log_inverse_alpha, gamma=gamma, epsilon=epsilon)
    slack = (1 - gamma) - epsilon
    if slack <= 0 or log_inverse_alpha == 0:
        return -math.inf
    return math.log(slack / epsilon) - log_odds(log_inverse_alpha)


def cantelli_deviations(delta: float) -> float:
    """Standard deviations below the mean that a variable exceeds with probability at least 1 − δ.

    delta: in (0, 1]. Returns: √((1−δ)/δ).
    Raises: BadSpec on a value outside the range.
    Source: Cantelli's inequality, P(X ≤ μ − t) ≤ v/(v + t²).
    """
    check_arguments(delta=delta)
    return math.sqrt(1 - delta) / math.sqrt(delta)


def paper_log_ratio(*, log_inverse_alpha: float, epsilon: float) -> float:
    """The paper's log 1/α + log 1/ε + log 4, nats; exceeds C by at least log 2.

    Raises: BadSpec on values outside their ranges; NoBound if α = 0.
    Source: Wolf et al. 2024, Theorem 1.
    """
    check_arguments(log_inverse_alpha=log_inverse_alpha, epsilon=epsilon)
    return log_inverse_alpha - math.log(epsilon) + math.log(4)
