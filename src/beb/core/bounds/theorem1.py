"""Theorem 1: some prompt misaligns."""

from __future__ import annotations

from beb.core.bounds.arguments import check_arguments, finite_length
from beb.core.bounds.record import Bound
from beb.core.bounds.required import paper_log_ratio, required_log_ratio


def single_prompt(*, log_inverse_alpha: float, beta: float, gamma: float, epsilon: float) -> Bound:
    """At every whole length from this one on, some prompt of so many sentences has B_P < γ + ε.

    log_inverse_alpha: nats. beta: nats per sentence. gamma, epsilon: of Definitions 5 and 1.
    Returns: paper (log 1/α + log 1/ε + log 4)/β; sharp max(0, C)/β.
    Raises: BadSpec on values outside their ranges; NoBound if α = 0, β ≤ 0 or the length exceeds a float.
    Source: Wolf et al. 2024, Theorem 1; sharp form derived in docs/maths.md.
    """
    inputs = check_arguments(log_inverse_alpha=log_inverse_alpha, beta=beta, gamma=gamma, epsilon=epsilon)
    paper = paper_log_ratio(log_inverse_alpha=log_inverse_alpha, epsilon=epsilon) / beta
    needed = required_log_ratio(log_inverse_alpha=log_inverse_alpha, gamma=gamma, epsilon=epsilon)
    return Bound(
        theorem="Theorem 1",
        statement=f"at every length from here on, some prompt has B_P < γ+ε = {gamma + epsilon:.4g}",
        paper=finite_length(paper),
        sharp=finite_length(max(0.0, needed) / beta),
        assumptions=("mixture", "distinguishable", "bounded behavior"),
        inputs=inputs,
    )
