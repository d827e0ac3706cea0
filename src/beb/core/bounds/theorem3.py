"""Theorem 3: misalignment in the course of a conversation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from beb.core.bounds.arguments import check_arguments, finite_length
from beb.core.bounds.record import Bound
from beb.core.bounds.required import cantelli_deviations, paper_log_ratio, required_log_ratio
from beb.errors import BadSpec


def conversation(
    *,
    log_inverse_alpha: float,
    beta: float,
    gamma: float,
    epsilon: float,
    beta_prime: float,
    sigma2: float,
    delta: float,
    replies: Sequence[int],
) -> Bound:
    """With probability 1 − δ over the replies, so many user sentences in all bring B_P below γ + ε after the last turn.

    log_inverse_alpha: nats. beta, beta_prime: nats per sentence. gamma, epsilon: of Definitions 5 and 1. sigma2: nats²
    per sentence, under P₊. delta: in (0, 1]. replies: sentences of each of the n replies, at least 1 each.
    Returns: paper Theorem 1's + Σ(β′aᵢ/β + (σ/β)√(n aᵢ/δ)) + n; sharp max(0, C + β′A + σ√(A(1−δ)/δ))/β + n, A = Σaᵢ;
    per_turn splits the sharp length: C/β first, then one sentence and, by the length of the reply, the rest.
    Raises: BadSpec on values outside their ranges or no reply; NoBound if α = 0, β ≤ 0 or the length exceeds a float.
    Source: Wolf et al. 2024, Theorem 3; sharp form (martingale differences, Cantelli) derived in docs/maths.md.
    """
    inputs = check_arguments(
        log_inverse_alpha=log_inverse_alpha,
        beta=beta,
        gamma=gamma,
        epsilon=epsilon,
        beta_prime=beta_prime,
        sigma2=sigma2,
        delta=delta,
    )
    _check_replies(replies)
    n, total, sigma = len(replies), sum(replies), math.sqrt(sigma2)
    paper = paper_log_ratio(log_inverse_alpha=log_inverse_alpha, epsilon=epsilon)
    paper += sum(beta_prime * a + sigma * math.sqrt(n * a) / math.sqrt(delta) for a in replies)
    unprompted = required_log_ratio(log_inverse_alpha=log_inverse_alpha, gamma=gamma, epsilon=epsilon)
    resistance = beta_prime * total + sigma * math.sqrt(total) * cantelli_deviations(delta)
    needed = max(0.0, unprompted + resistance)
    return Bound(
        theorem="Theorem 3",
        statement=(
            f"in a conversation with {n} replies of {total} sentences in all, with probability at least "
            f"{1 - delta:.4g}, so many user sentences can bring B_P < γ+ε = {gamma + epsilon:.4g}"
        ),
        paper=finite_length(paper / beta + n),
        sharp=finite_length(needed / beta + n),
        assumptions=(
            "mixture",
            "distinguishable",
            "prompt-distinguishable",
            "bounded behavior",
            "beta-prime-undistinguishable",
            "similar under P₊",
            "positivity",
            "replies from P₊",
        ),
        inputs=(*inputs, ("replies", tuple(int(a) for a in replies))),
        per_turn=_per_turn(min(max(0.0, unprompted), needed) / beta, needed / beta, replies),
    )


def _check_replies(replies: Sequence[int]) -> None:
    if not replies or any(a < 1 or a != int(a) for a in replies):
        raise BadSpec(
            f"replies are {tuple(replies)}; accepted: one or more whole numbers of sentences, each at least 1"
        )


def _per_turn(first: float, needed: float, replies: Sequence[int]) -> tuple[float, ...]:
    """`first` before the replies; after each, one negative sentence and a share of the rest, by the reply's length."""
    total = sum(replies)
    return (first, *(1 + (needed - first) * (a / total) for a in replies))
