"""The converse: a length below which no prompt of a family misaligns."""

from __future__ import annotations

import math

from beb.core.bounds.arguments import check_arguments
from beb.core.bounds.record import Bound
from beb.core.logspace import log_odds


def converse(
    *,
    log_inverse_alpha: float,
    max_log_ratio_per_sentence: float,
    behavior_floor_positive: float,
    gamma: float,
    epsilon: float,
    behavior_floor_negative: float = -1.0,
) -> Bound:
    """Below this length no prompt of the family has B_P < γ + ε.

    log_inverse_alpha: nats. max_log_ratio_per_sentence: Λ, log P₋(s)/P₊(s) ≤ Λn over the family.
    behavior_floor_positive, behavior_floor_negative: least B_{P₊} and B_{P₋} over the family.
    gamma, epsilon: the level is γ + ε.
    Returns: paper None; sharp max(0, log((1−α)/α) + log(ω/(1−ω)))/Λ, ω = (g₊−γ−ε)/(g₊−g₋); 0 if the floor g₊ is below
    the level; inf if no length suffices.
    Raises: BadSpec on values outside their ranges; NoBound if α = 0.
    Source: derived in docs/maths.md, "Converse".
    """
    inputs = check_arguments(
        log_inverse_alpha=log_inverse_alpha,
        max_log_ratio_per_sentence=max_log_ratio_per_sentence,
        behavior_floor_positive=behavior_floor_positive,
        behavior_floor_negative=behavior_floor_negative,
        gamma=gamma,
        epsilon=epsilon,
    )
    level = gamma + epsilon
    # B_P is an average of the two behaviors, so P₋'s floor can only help where it is the lower one.
    fall = behavior_floor_positive - min(behavior_floor_negative, behavior_floor_positive)
    distance = behavior_floor_positive - level
    if distance < 0:
        sharp = 0.0
    elif distance >= fall:
        sharp = math.inf
    else:
        needed = _log_odds_of_share(distance, fall) - log_odds(log_inverse_alpha)
        sharp = _first_length(needed, max_log_ratio_per_sentence)
    return Bound(
        theorem="Converse",
        statement=f"below this length no prompt of the family has B_P < γ+ε = {level:.4g}",
        paper=None,
        sharp=sharp,
        assumptions=("mixture", "log-ratio limit", "behavior floors"),
        inputs=inputs,
    )


def _log_odds_of_share(part: float, whole: float) -> float:
    """log of (part/whole)/(1 − part/whole)."""
    return math.log(part / (whole - part)) if part > 0 else -math.inf


def _first_length(needed: float, per_sentence: float) -> float:
    """Length up to which n·per_sentence stays at or below `needed`; 0 if the empty prompt exceeds it."""
    if needed < 0:
        return 0.0
    return needed / per_sentence if per_sentence > 0 else math.inf
