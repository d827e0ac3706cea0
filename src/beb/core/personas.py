"""Many components: P = Σᵢ wᵢ Pᵢ, and its reading as one persona against the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, softmax

from beb.core.logspace import Floats, floats
from beb.errors import BadSpec

MOST_NATS = 500.0
"""A persona of weight 0 may be likelier than all others by more than a float holds; its gradient stops there."""


def persona_weights(log_weights: npt.ArrayLike, log_probs: npt.ArrayLike) -> Floats:
    """Posterior weights of the personas after a prompt, softmaxᵢ(log wᵢ + log Pᵢ(s)).

    log_weights: (n_personas,), log wᵢ, summing to 1 in probability. log_probs: (..., n_personas), log Pᵢ(s), nats.
    Returns: (..., n_personas), summing to 1 over the last axis.
    Raises: BadSpec if the weights do not sum to 1 within 1e-6, or if no persona can have produced some prompt.
    Source: Wolf et al. 2023, arXiv 2304.11082v2, persona section; derived in docs/maths.md, "Personas".
    """
    log_joint = _log_joint(log_weights, log_probs)
    if np.isneginf(log_joint).all(axis=-1).any():
        raise BadSpec("log_probs is -inf for every persona of some prompt; leave out prompts that P cannot produce")
    return np.asarray(softmax(log_joint, axis=-1), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class OneAgainstRest:
    """Persona i as P₋ and the other components, renormalised, as P₊.

    log_inverse_alpha: log 1/wᵢ, nats. log_p_negative, log_p_positive: (...), log-probabilities of the prompts, nats.
    """

    log_inverse_alpha: float
    log_p_negative: Floats
    log_p_positive: Floats

    @property
    def log_ratio(self) -> Floats:
        """(...), L = log P₋(s)/P₊(s), nats."""
        return self.log_p_negative - self.log_p_positive


def one_against_rest(index: int, log_weights: npt.ArrayLike, log_probs: npt.ArrayLike) -> OneAgainstRest:
    """Two-component reading of P = Σᵢ wᵢ Pᵢ for persona `index`: α = wᵢ, P₊ = Σ_{j≠i} wⱼPⱼ/(1−wᵢ).

    index: 0 … n_personas − 1. log_weights, log_probs: as in persona_weights.
    Returns: OneAgainstRest; the mixture of its two parts is P again.
    Raises: BadSpec on an index outside the range, wᵢ = 0 or wᵢ = 1.
    Source: derived in docs/maths.md, "Personas".
    """
    log_weights = floats("log_weights", log_weights)
    if not 0 <= index < log_weights.size:
        raise BadSpec(f"persona index is {index}; accepted: 0 to {log_weights.size - 1}")
    log_weight = float(log_weights[index])
    if not -np.inf < log_weight < 0:
        raise BadSpec(f"persona {index} has weight {np.exp(log_weight):g}; accepted: strictly between 0 and 1")
    rest = np.delete(_log_joint(log_weights, log_probs), index, axis=-1)
    log_rest = float(logsumexp(np.delete(log_weights, index)))  # 1 − wᵢ without cancellation
    log_p_positive = np.asarray(logsumexp(rest, axis=-1)) - log_rest
    return OneAgainstRest(-log_weight, floats("log_probs", log_probs)[..., index], log_p_positive)


def _log_joint(log_weights: npt.ArrayLike, log_probs: npt.ArrayLike) -> Floats:
    log_weights, log_probs = floats("log_weights", log_weights), floats("log_probs", log_probs)
    if log_weights.ndim != 1 or log_probs.ndim == 0 or log_probs.shape[-1] != log_weights.size:
        raise BadSpec(
            f"log_probs has shape {log_probs.shape}; accepted: (..., {log_weights.size}), one column a persona"
        )
    total = float(np.exp(logsumexp(log_weights)))
    if not abs(total - 1) < 1e-6:
        raise BadSpec(f"the personas' weights sum to {total:.9g}; accepted: 1 within 1e-6")
    return log_weights + log_probs


def sentence_log_ratio(index: int, weights: npt.ArrayLike, sentence_log_probs: npt.ArrayLike) -> tuple[Floats, Floats]:
    """log Pᵢ/P₊ of each sentence given those before, and how it changes with the weights.

    index: persona i; P₊ are the others, renormalised. weights: (n_personas,) >= 0, not all others 0; only their ratios
    matter. sentence_log_probs: (..., n_sentences, n_personas) log Pⱼ of each sentence given those before, nats; NaN
    after the end of a text stays NaN.
    Given the sentences before, P₊ is a mean of the others with weights wⱼPⱼ(before).
    Returns: (..., n_sentences) nats, and its gradient (..., n_sentences, n_personas). Raises: BadSpec.
    Source: derived in docs/maths.md, "Personas measured".
    """
    shares, rows = floats("weights", weights), np.asarray(sentence_log_probs, dtype=np.float64)
    if shares.ndim != 1 or rows.ndim < 2 or rows.shape[-1:] != shares.shape:
        raise BadSpec(f"{shares.shape} weights for texts {rows.shape}; accepted: (..., n_sentences, n_personas)")
    others = shares * (np.arange(shares.size) != index)
    if not (shares >= 0).all() or not others.sum() > 0:
        raise BadSpec(f"weights are {shares.tolist()}; accepted: none below 0, and one of the others above")
    goes_on = ~np.isnan(rows).any(axis=-1)
    after = np.cumsum(rows, axis=-2)
    ratio, slope = np.full(goes_on.shape, np.nan), np.full(rows.shape, np.nan)
    ratio[goes_on] = rows[goes_on][:, index]
    slope[goes_on] = 0.0
    for joint, sign in ((after, -1), (after - rows, 1)):
        log_p = joint[goes_on]
        top = np.where(others > 0, log_p, -np.inf).max(axis=-1, keepdims=True)
        likelihood = np.exp(np.minimum(log_p - top, MOST_NATS)) * (np.arange(shares.size) != index)
        mixture = likelihood @ others
        ratio[goes_on] += sign * (np.log(mixture) + top[:, 0])
        slope[goes_on] += sign * likelihood / mixture[:, None]
    return ratio, slope
