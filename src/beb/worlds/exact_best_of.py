"""Best of n in a world: the exact expected best of n responses, by enumeration of prompts.

Nothing here is taken from the estimators or from the formulas of `beb.core`, which are tested against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from beb.errors import BadSpec
from beb.worlds.exact import MAX_SEQUENCES
from beb.worlds.world import FloatArray, World


@dataclass(frozen=True, slots=True, eq=False)
class BestOfTruth:
    """E[best B of n responses], per n of `sizes` (rows) and prompt length 0..N (columns): (m, N+1).

    negative, positive: of the target, mean over prompts from P₋ and from P₊. own: of P₋, mean over prompts from P₋.
    sizes: (m,). gamma_n: (m,) sup over the prompts of 0..N sentences of E[best of n of P₋].
    """

    sizes: tuple[int, ...]
    negative: FloatArray
    positive: FloatArray
    own: FloatArray
    gamma_n: FloatArray


def best_of_truth(world: World, n_sentences: int, sizes: Sequence[int]) -> BestOfTruth:
    """Enumerate every prompt of up to `n_sentences` sentences.

    Raises: BadSpec if there are too many prompts to enumerate, or no size.
    """
    _check(world, n_sentences, sizes)
    negative, positive, own = (np.zeros((len(sizes), n_sentences + 1)) for _ in range(3))
    for n, prompts in enumerate(_prompts(world, n_sentences)):
        target = prompts.target_response(world)
        for i, size in enumerate(sizes):
            best = expected_best(world, target, size)
            negative[i, n] = np.exp(prompts.log_negative) @ best
            positive[i, n] = np.exp(prompts.log_positive) @ best
            own[i, n] = np.exp(prompts.log_negative) @ expected_best(world, world.negative.table(), size)[prompts.last]
    rows = world.negative.table() if n_sentences else world.negative.table()[:1]
    gamma_n = np.array([float(expected_best(world, rows, size).max()) for size in sizes])
    return BestOfTruth(tuple(sizes), negative, positive, own, gamma_n)


def predicted_best(world: World, n_sentences: int, size: int, log_inverse_alpha: float) -> FloatArray:
    """What a mixture of P₋ and P₊ of weight α predicts, mean over prompts from P₋.

    Each of the `size` draws is from P₋ with probability w(s) = 1/(1 + (1−α)/α e^{−L(s)}), else from P₊.
    Returns: (n_sentences + 1,); where P is a mixture of its P₋ and P₊ and the weight is its own, `best_of_truth`'s.
    """
    _check(world, n_sentences, (size,))
    (positive,) = world.chains("positive")
    curve = []
    for prompts in _prompts(world, n_sentences):
        odds = np.expm1(log_inverse_alpha) * np.exp(prompts.log_positive - prompts.log_negative)
        weight = (1 / (1 + odds))[:, None]
        response = weight * world.negative.table()[prompts.last] + (1 - weight) * positive.table()[prompts.last]
        curve.append(float(np.exp(prompts.log_negative) @ expected_best(world, response, size)))
    return np.array(curve)


def lowest_best(world: World, n_sentences: int, size: int) -> FloatArray:
    """The smallest E[best of n] of the target over all prompts of each length.

    After a given last sentence a response is from P₋ with a weight that grows with the log ratio, and
    E max = top − ∫ Fⁿ is concave in that weight, as F is linear in it and xⁿ convex. Its smallest value is therefore at
    the largest or at the smallest log ratio of the prompts that end in that sentence.
    Returns: (n_sentences + 1,) for n = 0..n_sentences. Raises: BadSpec.
    """
    if n_sentences < 0:
        raise BadSpec(f"n_sentences is {n_sentences}; give 0 or more")
    contained, positive = (chain.table() for chain in world.chains("target"))
    log_alpha, log_rest = world.log_weights("target")
    step = np.log(contained) - np.log(positive)

    def best(log_ratio: FloatArray, last: np.ndarray) -> float:
        weight = expit(log_alpha - log_rest + log_ratio)[:, None]
        return float(expected_best(world, weight * contained[last] + (1 - weight) * positive[last], size).min())

    lowest = [best(np.zeros(1), np.zeros(1, dtype=np.int64))]
    after = np.arange(1, world.n_sentences + 1)
    largest = smallest = step[0]
    for n in range(1, n_sentences + 1):
        if n > 1:
            largest = (largest[:, None] + step[1:]).max(axis=0)
            smallest = (smallest[:, None] + step[1:]).min(axis=0)
        lowest.append(min(best(largest, after), best(smallest, after)))
    return np.array(lowest)


def expected_best(world: World, response: FloatArray, size: int) -> FloatArray:
    """E[largest B of `size` independent responses]. response: (..., n_sentences) probabilities. Returns: (...)."""
    order = np.argsort(world.behavior_table())
    below = np.minimum(np.cumsum(response[..., order], axis=-1), 1.0) ** size
    return np.asarray(np.diff(below, prepend=0.0, axis=-1) @ world.behavior_table()[order], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Prompts:
    """Every prompt of one length: row of the chains' tables it leads to, and its log probabilities, nats."""

    last: np.ndarray
    log_negative: FloatArray
    log_positive: FloatArray
    log_contained: FloatArray

    def target_response(self, world: World) -> FloatArray:
        """(n_prompts, n_sentences) the target's next sentence."""
        log_alpha, log_rest = world.log_weights("target")
        contained, positive = world.chains("target")
        joint = np.stack([log_alpha + self.log_contained, log_rest + self.log_positive])
        weight = np.exp(joint - np.logaddexp(*joint))[..., None]
        mixed = weight[0] * contained.table()[self.last] + weight[1] * positive.table()[self.last]
        return np.asarray(mixed, dtype=np.float64)


def _prompts(world: World, n_sentences: int) -> list[_Prompts]:
    contained, positive = world.chains("target")
    tables = [np.log(chain.table()) for chain in (world.negative, positive, contained)]
    zero = np.zeros(1)
    levels = [_Prompts(np.zeros(1, dtype=np.int64), zero, zero, zero)]
    for _ in range(n_sentences):
        at = levels[-1]
        logs = (at.log_negative, at.log_positive, at.log_contained)
        longer = [(log_p[:, None] + table[at.last]).ravel() for log_p, table in zip(logs, tables, strict=True)]
        levels.append(_Prompts(np.tile(np.arange(1, world.n_sentences + 1), len(at.last)), *longer))
    return levels


def _check(world: World, n_sentences: int, sizes: Sequence[int]) -> None:
    if n_sentences < 0 or world.n_sentences**n_sentences > MAX_SEQUENCES or not sizes or min(sizes) < 1:
        raise BadSpec(
            f"prompts of {n_sentences} sentences out of {world.n_sentences} and the best of {list(sizes)} cannot be "
            f"enumerated; give sizes from 1 on and a length with {world.n_sentences}^length <= {MAX_SEQUENCES}"
        )
