"""Many components: P = Σᵢ wᵢ Pᵢ, and its reading as one persona against the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, softmax

from beb.core.logspace import Floats, floats
from beb.errors import BadSpec


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


def log_ratio_range(
    index: int, low: npt.ArrayLike, high: npt.ArrayLike, sentence_log_probs: npt.ArrayLike
) -> tuple[Floats, Floats]:
    """Limits of log Pᵢ/P₊ of each sentence given those before it, whatever weights in a box the others have.

    index: persona i; P₊ are the others, renormalised. low, high: (n_personas,) limits of the weights, 0 ≤ low ≤ high,
    high > 0. sentence_log_probs: (..., n_sentences, n_personas) log Pⱼ of each sentence given those before, nats; NaN
    after the end of a text stays NaN.
    Given the sentences before, P₊ is a mean of the others with weights wⱼPⱼ(before); over a box such a mean is largest
    where the likeliest k of the others have their upper and the rest their lower limits, for one of the k.
    Returns: (..., n_sentences) twice, nats. Raises: BadSpec on limits that are no box.
    Source: derived in docs/maths.md, "Personas measured".
    """
    low, high = floats("low", low), floats("high", high)
    rows = np.asarray(sentence_log_probs, dtype=np.float64)
    if low.shape != high.shape or rows.shape[-1:] != low.shape or not ((low >= 0) & (low <= high) & (high > 0)).all():
        raise BadSpec(
            f"limits of {low.size} and {high.size} weights for texts {rows.shape}; accepted: 0 ≤ low ≤ high > 0"
        )
    before = np.cumsum(rows, axis=-2) - rows
    others = np.delete(rows, index, axis=-1)
    order = np.argsort(-others, axis=-1)
    picked, joint = (np.take_along_axis(x, order, axis=-1) for x in (others, np.delete(before, index, axis=-1)))
    with np.errstate(divide="ignore"):
        floor, ceiling = (np.log(np.delete(side, index))[order] for side in (low, high))
    largest = _extreme_mean(joint + ceiling, joint + floor, picked)
    smallest = -_extreme_mean((joint + ceiling)[..., ::-1], (joint + floor)[..., ::-1], picked[..., ::-1], sign=-1)
    own = rows[..., index]
    return own - largest, own - smallest


def _extreme_mean(ceiling: Floats, floor: Floats, values: Floats, *, sign: int = 1) -> Floats:
    """Largest (sign 1) log Σ wⱼe^{vⱼ}/Σ wⱼ over the boxes of weights, or minus the smallest (sign −1).

    ceiling, floor, values: (..., m), log limits of the weights and vⱼ, ordered so that the first should weigh most.
    """
    top = [np.logaddexp.accumulate(part, axis=-1) for part in (ceiling + values, ceiling)]
    tail = [np.logaddexp.accumulate(part[..., ::-1], axis=-1)[..., ::-1] for part in (floor + values, floor)]
    nothing = np.full((*values.shape[:-1], 1), -np.inf)
    tail = [np.concatenate([part[..., 1:], nothing], axis=-1) for part in tail]
    means = [np.logaddexp(a, b) for a, b in zip(top, tail, strict=True)]
    return np.asarray((sign * (means[0] - means[1])).max(axis=-1), dtype=np.float64)
