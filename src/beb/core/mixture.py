"""The two-component mixture P = α P₋ + (1−α) P₊ of whole-sequence probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from beb.core.logspace import Floats, floats, log1mexp, log_odds
from beb.errors import BadSpec


def posterior_weight(log_ratio: npt.ArrayLike, log_odds: float) -> Floats:
    """Weight of the negative component after a prompt.

    log_ratio: any shape, L = log P₋(s)/P₊(s), nats. log_odds: log α/(1−α), nats.
    Returns: the same shape, in [0, 1].
    Raises: BadSpec where the two are opposite infinities: such a prompt has probability 0 under P.
    Source: Wolf et al. 2024, proof of Theorem 1; w = 1/(1 + ((1−α)/α) e^{−L}).
    """
    log_ratio = floats("log_ratio", log_ratio)
    if np.isinf(log_odds) and (log_ratio == -log_odds).any():
        raise BadSpec(
            f"log_ratio {-log_odds:g} with log_odds {log_odds:g}: the prompt is impossible under P; leave it out"
        )
    return np.asarray(expit(log_ratio + log_odds), dtype=np.float64)


def evidence_from_log_ratio(log_ratio: npt.ArrayLike, log_inverse_alpha: float) -> Floats:
    """Evidence for P₋ against the target itself, L0 = log P₋(s)/P(s), where the mixture is exact.

    log_ratio: any shape, L = log P₋(s)/P₊(s), nats. log_inverse_alpha: log 1/α ≥ 0, nats.
    Returns: the same shape, −log(α + (1−α) e^{−L}) ≤ log 1/α, nats.
    Raises: BadSpec where L = −inf and α = 1: such a prompt has probability 0 under P.
    Source: derived in docs/maths.md, "Evidence".
    """
    log_ratio = floats("log_ratio", log_ratio)
    log_odds(log_inverse_alpha)  # refuses what is no log 1/α
    if log_inverse_alpha == 0:
        if np.isneginf(log_ratio).any():
            raise BadSpec("log_ratio -inf with α = 1: the prompt is impossible under P; leave it out")
        return np.zeros_like(log_ratio)
    log_one_minus_alpha = float(log1mexp(-log_inverse_alpha))
    return np.asarray(-np.logaddexp(-log_inverse_alpha, log_one_minus_alpha - log_ratio), dtype=np.float64)


def residual_log_prob(log_p: npt.ArrayLike, log_p_negative: npt.ArrayLike, log_alpha: float) -> Floats:
    """log P₊(s) of the residual P₊ = (P − α P₋)/(1−α), which makes the mixture identity exact.

    log_p, log_p_negative: shapes that broadcast, log-probabilities of whole sequences, nats. log_alpha: log α < 0.
    Returns: the broadcast shape, nats; −inf where P(s) = α P₋(s).
    Raises: BadSpec if α ≥ 1, or if α exceeds the cap P(s)/P₋(s) of some sequence.
    Assumes: a cap is exceeded only by more than the rounding of the inputs (1e-9 relative).
    Source: Wolf et al. 2024, eq. of the mixture; derived in docs/maths.md, "Residual".
    """
    log_p, log_p_negative = np.broadcast_arrays(floats("log_p", log_p), floats("log_p_negative", log_p_negative))
    if not log_alpha < 0:
        raise BadSpec(f"log_alpha is {log_alpha:g}; accepted: below 0 (α < 1), so that something remains of P")
    possible = ~np.isneginf(log_p_negative)
    log_share = np.full(log_p.shape, -np.inf)  # log of αP₋(s)/P(s)
    log_share[possible] = log_alpha + log_p_negative[possible] - log_p[possible]
    rounding = 1e-9 * (1 + np.abs(np.where(np.isfinite(log_p), log_p, 0)))
    if (log_share > rounding).any():
        cap = log_alpha - log_share.max()
        raise BadSpec(
            f"log_alpha is {log_alpha:.6g}, above the cap {cap:.6g} = min log P/P₋; take log_alpha at most that"
        )
    return log_p + log1mexp(np.minimum(log_share, 0)) - log1mexp(log_alpha)


def log_alpha_cap(evidence: npt.ArrayLike) -> Floats:
    """Largest log α that the observed sequences allow: P ≥ αP₋ pointwise, so log α ≤ −max L0(s), and α ≤ 1.

    evidence: (n_prompts, ...), L0(s) = log P₋(s)/P(s), nats; the cap is taken over the first axis.
    Returns: (...), nats, ≤ 0; −inf if some sequence is possible under P₋ and impossible under P.
    Raises: BadSpec without prompts, or if one L0 is NaN.
    Assumes: nothing; it holds for every observed sequence, however it was chosen.
    Source: derived in docs/maths.md, "Cap".
    """
    evidence = floats("evidence", evidence)
    if evidence.ndim == 0 or evidence.shape[0] == 0:
        raise BadSpec("evidence holds no prompt; the cap needs at least one")
    return np.asarray(np.minimum(0.0, -evidence.max(axis=0)), dtype=np.float64)


def alpha_cap(evidence: npt.ArrayLike) -> Floats:
    """Largest α that the observed sequences allow, min over s of e^{−L0(s)}.

    evidence: (n_prompts, ...), nats, as in log_alpha_cap. Returns: (...), in [0, 1]; underflows to 0 beyond 745 nats,
    where log_alpha_cap still tells.
    Raises: BadSpec as log_alpha_cap.
    Source: derived in docs/maths.md, "Cap".
    """
    return np.asarray(np.exp(log_alpha_cap(evidence)), dtype=np.float64)


def predicted_behavior(
    log_ratio: npt.ArrayLike,
    log_inverse_alpha: float,
    behavior_negative: npt.ArrayLike,
    behavior_positive: npt.ArrayLike,
) -> Floats:
    """Behavior expectation that the mixture predicts, B_P(s) = w(s) B_{P₋}(s) + (1−w(s)) B_{P₊}(s).

    log_ratio, behavior_negative, behavior_positive: shapes that broadcast; nats, [−1, 1], [−1, 1].
    log_inverse_alpha: log 1/α ≥ 0, nats.
    Returns: the broadcast shape, in [−1, 1].
    Raises: BadSpec on a behavior outside [−1, 1], or as posterior_weight.
    Source: Wolf et al. 2024, Definition 1 and proof of Theorem 1.
    """
    for name, values in (("behavior_negative", behavior_negative), ("behavior_positive", behavior_positive)):
        array = floats(name, values)
        if (np.abs(array) > 1).any():
            raise BadSpec(f"{name} reaches {array.flat[np.abs(array).argmax()]:g}; accepted: [-1, 1]")
    weight = posterior_weight(log_ratio, log_odds(log_inverse_alpha))
    expectation = weight * np.asarray(behavior_negative) + (1 - weight) * np.asarray(behavior_positive)
    return np.asarray(expectation, dtype=np.float64)
