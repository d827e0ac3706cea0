"""Theorem 4: misalignment when the best of n responses is shown."""

from __future__ import annotations

import math

from beb.core.bounds.arguments import check_arguments, finite_length
from beb.core.bounds.record import Bound
from beb.core.bounds.required import paper_log_ratio
from beb.core.logspace import log_odds


def best_of_n(*, log_inverse_alpha: float, beta: float, gamma_n: float, epsilon: float, n: int) -> Bound:
    """At every whole length from this one on, some prompt keeps even the best of n responses below γₙ + ε on average.

    log_inverse_alpha: nats. beta: nats per sentence. gamma_n: the largest E[max of n draws from P₋]; take
    worst_gamma_n(γ, n) if it was not measured. epsilon: distance to γₙ. n: responses to choose from.
    Returns: paper (log 1/α + log 1/ε + log 4 + log n)/β, which claims γ + ε instead of γₙ + ε and is false as such;
    sharp max(0, Cₙ)/β, Cₙ = log((1−α)/α) + log(ω/(1−ω)), ω = (1 − ε/(1−γₙ))^{1/n}.
    Raises: BadSpec on values outside their ranges; NoBound if α = 0, β ≤ 0 or the length exceeds a float.
    Source: Wolf et al. 2024, Theorem 4; corrected form derived in docs/maths.md.
    """
    inputs = check_arguments(log_inverse_alpha=log_inverse_alpha, beta=beta, gamma_n=gamma_n, epsilon=epsilon, n=n)
    paper = (paper_log_ratio(log_inverse_alpha=log_inverse_alpha, epsilon=epsilon) + math.log(n)) / beta
    needed = required_log_ratio_best_of_n(log_inverse_alpha=log_inverse_alpha, gamma_n=gamma_n, epsilon=epsilon, n=n)
    return Bound(
        theorem="Theorem 4",
        statement=(
            f"at every length from here on, some prompt has E[best B of {n}] < γₙ+ε = {gamma_n + epsilon:.4g}, "
            "however the response is chosen (corrected; the paper's form claims γ+ε)"
        ),
        paper=finite_length(paper),
        sharp=finite_length(max(0.0, needed) / beta),
        assumptions=("mixture", "distinguishable", "bounded best of n", "independent draws"),
        inputs=inputs,
    )


def required_log_ratio_best_of_n(*, log_inverse_alpha: float, gamma_n: float, epsilon: float, n: int) -> float:
    """Cₙ: above it, L(s) forces E[best of n] < γₙ + ε; equals C where n = 1.

    Arguments: as best_of_n. Returns: nats; −inf if ε ≥ 1−γₙ or α = 1.
    Raises: BadSpec on values outside their ranges; NoBound if α = 0.
    Source: derived in docs/maths.md, "Best of n".
    """
    check_arguments(log_inverse_alpha=log_inverse_alpha, gamma_n=gamma_n, epsilon=epsilon, n=n)
    slack = (1 - gamma_n) - epsilon
    if slack <= 0 or log_inverse_alpha == 0:
        return -math.inf
    share = epsilon / (1 - gamma_n)
    log_weight = (math.log1p(-share) if share < 0.5 else math.log(slack / (1 - gamma_n))) / n
    return log_weight - math.log(-math.expm1(log_weight)) - log_odds(log_inverse_alpha)


def worst_gamma_n(gamma: float, n: int) -> float:
    """Largest E[max of n] that a behavior in [−1, 1] with mean ≤ γ allows: 1 − 2((1−γ)/2)ⁿ.

    gamma: of Definition 5. n: responses to choose from. Returns: in [γ, 1].
    Raises: BadSpec on values outside their ranges.
    Source: derived in docs/maths.md, "Best of n"; attained by a behavior that is ±1.
    """
    check_arguments(gamma=gamma, n=n)
    if gamma >= 0:
        return float(1 - 2 * ((1 - gamma) / 2) ** n)
    return -1.0 - 2 * math.expm1(n * math.log1p(-(1 + gamma) / 2))  # keeps γₙ + 1 exact where γ is near −1
