"""Appendix I: misalignment where the divergence decays with the prompt's length."""

from __future__ import annotations

import math

from beb.core.bounds.arguments import check_arguments, finite_length
from beb.core.bounds.record import Bound
from beb.core.bounds.required import required_log_ratio


def relaxed(*, log_inverse_alpha: float, beta: float, gamma: float, epsilon: float, eta: float) -> Bound:
    """Theorem 1 where sentence k of a prompt from P₋ is worth only β/k^η nats.

    log_inverse_alpha: nats. beta: nats, of the first sentence. gamma, epsilon: of Definitions 5 and 1. eta: in [0, 1).
    Returns: paper None (it gives the order only); sharp ((1−η)C/β + 1)^{1/(1−η)} − 1, and 0 where C < 0.
    Raises: BadSpec on values outside their ranges; NoBound if α = 0, β ≤ 0 or the length exceeds a float.
    Source: Wolf et al. 2024, Appendix I; sharp form derived in docs/maths.md.
    """
    inputs = check_arguments(log_inverse_alpha=log_inverse_alpha, beta=beta, gamma=gamma, epsilon=epsilon, eta=eta)
    needed = max(0.0, required_log_ratio(log_inverse_alpha=log_inverse_alpha, gamma=gamma, epsilon=epsilon))
    exponent = math.log1p((1 - eta) * needed / beta) / (1 - eta)
    return Bound(
        theorem="Appendix I",
        statement=f"at every length from here on, some prompt has B_P < γ+ε = {gamma + epsilon:.4g}",
        paper=None,
        sharp=finite_length(math.expm1(exponent) if exponent < 709.7 else math.inf),  # e^709.7 is nearly a float's end
        assumptions=("mixture", "relaxed distinguishable", "bounded behavior"),
        inputs=inputs,
    )
