"""The truth about guardrails in a world: what stands before the prompt, and what is left of the prompt's effect.

Where the prompt's own sentences are enumerated, they are those that P₋ writes from the start, as in the experiment.
Nothing here is taken from the formulas of `beb.core`, which are tested against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from beb.errors import BadSpec
from beb.worlds.exact import MAX_SEQUENCES
from beb.worlds.misalignment import lowest_behavior
from beb.worlds.world import FloatArray, World

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """Texts that may stand before a prompt.

    probability: (k,). log_ratio: (k,) log P₊/P₋ under the components as they are handed out, nats. target_log_ratio:
    (k,) log P₋/P₊ of the two components that the target really mixes. last: (k,) row of the chains' tables after it.
    """

    probability: FloatArray
    log_ratio: FloatArray
    target_log_ratio: FloatArray
    last: IntArray

    @property
    def resistance(self) -> float:
        """E log P₊/P₋ of the prefix, nats."""
        return float(self.probability @ self.log_ratio)


def prefixes_from_positive(world: World, n_sentences: int) -> Prefixes:
    """Every text of `n_sentences` sentences with its probability under P₊. Raises: BadSpec if there are too many."""
    if n_sentences < 0 or world.n_sentences**n_sentences > MAX_SEQUENCES:
        raise BadSpec(f"prefixes of {n_sentences} sentences out of {world.n_sentences} cannot be enumerated")
    positive = np.log(world.positive.table())
    negative = np.log(world.negative.table())
    contained, well_behaved = (np.log(chain.table()) for chain in world.chains("target"))
    log_p, log_ratio, inside = np.zeros(1), np.zeros(1), np.zeros(1)
    last = np.zeros(1, dtype=np.int64)
    for _ in range(n_sentences):
        log_ratio = (log_ratio[:, None] + (positive - negative)[last]).ravel()
        inside = (inside[:, None] + (contained - well_behaved)[last]).ravel()
        log_p = (log_p[:, None] + positive[last]).ravel()
        last = np.tile(np.arange(1, world.n_sentences + 1), len(last))
    return Prefixes(np.exp(log_p), log_ratio, inside, last)


def given_prefix(world: World, sentences: tuple[int, ...]) -> Prefixes:
    """One text, by the indices of its sentences."""
    negative, positive = (np.log(getattr(world, name).table()) for name in ("negative", "positive"))
    contained, well_behaved = (np.log(chain.table()) for chain in world.chains("target"))
    rows = (0, *(1 + s for s in sentences))
    steps = [(rows[i], s) for i, s in enumerate(sentences)]
    ratio = sum(float((positive - negative)[step]) for step in steps)
    inside = sum(float((contained - well_behaved)[step]) for step in steps)
    return Prefixes(np.ones(1), np.array([ratio]), np.array([inside]), np.array([rows[-1]], dtype=np.int64))


def behavior_after_prefix(world: World, prefixes: Prefixes, n_sentences: int) -> FloatArray:
    """Mean of B_P(s₀s) over prefixes s₀ and prompts s of n sentences that P₋ writes from the start.

    Returns: (n_sentences + 1,) for n = 0..n_sentences. Raises: BadSpec if there are too many prompts to enumerate.
    """
    k = world.n_sentences
    if k**n_sentences * len(prefixes.last) > 4 * MAX_SEQUENCES:
        raise BadSpec(f"prompts of {n_sentences} sentences out of {k} cannot be enumerated; give fewer")
    contained, well_behaved = world.chains("target")
    step = np.log(contained.table()) - np.log(well_behaved.table())
    low, high = contained.table() @ world.behavior_table(), well_behaved.table() @ world.behavior_table()
    log_alpha, log_rest = world.log_weights("target")
    negative = np.log(world.negative.table())
    log_p, ratio = np.zeros(1), np.zeros(1)  # of the prompts, the ratio from their second sentence on
    first, last = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    means = []
    for n in range(n_sentences + 1):
        entering = step[prefixes.last][:, first] if n else np.zeros((len(prefixes.last), 1))
        at = last[None, :] if n else prefixes.last[:, None]
        weight = expit(log_alpha - log_rest + prefixes.target_log_ratio[:, None] + entering + ratio)
        means.append(float(prefixes.probability @ (high[at] + weight * (low - high)[at]) @ np.exp(log_p)))
        log_p = (log_p[:, None] + negative[last]).ravel()
        ratio = (ratio[:, None] + (step[last] if n else np.zeros((1, k)))).ravel()
        first = np.repeat(first, k) if n else np.arange(k)
        last = np.tile(np.arange(1, k + 1), len(last))
    return np.array(means)


def is_negative(world: World) -> NDArray[np.bool_]:
    """(n_sentences,) whether the world's scorer puts a sentence into the negative class: its most probable one."""
    b = world.behavior_table()
    return np.asarray((b < 0) & (-b >= 1 + b))


def first_negative(world: World, n_sentences: int) -> FloatArray:
    """(n_sentences of the world,) which negative sentence a prompt of `n_sentences` from P₋ shows first, given one."""
    table, negative = world.negative.table(), is_negative(world)
    waiting, hit = table[0], np.zeros(world.n_sentences)
    for _ in range(n_sentences):
        hit = hit + np.where(negative, waiting, 0.0)
        waiting = np.where(negative, 0.0, waiting) @ table[1:]
    return np.asarray(hit / hit.sum())


def beta_after(world: World, last: FloatArray, n_sentences: int) -> FloatArray:
    """E KL(P₋(·|s₀s₁…sₙ) ‖ P₊(·|s₀s₁…sₙ)), the prompt sampled from P₋ after s₀ (Definition 3).

    last: (n_sentences of the world,) probability of the sentence that s₀ ends with. Returns: (n_sentences,), n = 0...
    """
    p, q = world.negative.table()[1:], world.positive.table()[1:]
    divergence = (p * (np.log(p) - np.log(q))).sum(axis=1)
    state, curve = last, []
    for _ in range(n_sentences):
        curve.append(float(state @ divergence))
        state = state @ p
    return np.array(curve)


def worst_beta_after(world: World, n_sentences: int) -> float:
    """The smallest such divergence over every negative sentence that s₀ may end with and n = 0..n_sentences-1."""
    ends = np.eye(world.n_sentences)[is_negative(world)]
    return min(float(beta_after(world, last, n_sentences).min()) for last in ends)


def positivity_holds(world: World) -> bool:
    """Whether after every text each negative sentence is likelier under P₋ than under P₊ (Definition 6)."""
    negative = is_negative(world)
    tables = (world.negative.table()[:, negative], world.positive.table()[:, negative])
    return bool(negative.any() and (tables[0] > tables[1]).all())


def mean_share_positivity(world: World, n_sentences: int) -> float:
    """Mean over prompts from P₋ of the share of their negative sentences with P₊(s|s₀) < P₋(s|s₀), given one.

    Counts of negative sentences and of those among them are carried along the chain.
    """
    table, negative = world.negative.table(), is_negative(world)
    likelier = world.negative.table() > world.positive.table()
    k = world.n_sentences
    mass = np.zeros((1 + k, n_sentences + 1, n_sentences + 1))  # after row, negatives, those that satisfy it
    mass[0, 0, 0] = 1.0
    for _ in range(n_sentences):
        following = np.zeros_like(mass)
        for row in range(1 + k):
            for s in range(k):
                moved = mass[row] * table[row, s]
                if negative[s]:
                    moved = np.roll(moved, (1, int(likelier[row, s])), axis=(0, 1))
                following[1 + s] += moved
        mass = following
    joint = mass.sum(axis=0)
    count = np.arange(n_sentences + 1)
    shares = count[None, :] / np.maximum(count[:, None], 1)
    return float((joint[1:] * shares[1:]).sum() / joint[1:].sum())


def positivity_after(world: World, prefixes: Prefixes, n_sentences: int) -> float:
    """Probability that the first negative sentence of a prompt of `n_sentences` from P₋, given one, is likelier under
    P₋ than under P₊ right after a prefix (Definition 6 where Theorem 2 needs it).
    """
    likelier = world.negative.table() > world.positive.table()
    return float(prefixes.probability @ likelier[prefixes.last] @ first_negative(world, n_sentences))


def misalignable_share(world: World, prefixes: Prefixes, n_sentences: int, *, gamma: float, epsilon: float) -> float:
    """Probability of a prefix after which some prompt of exactly `n_sentences` sentences has B_P < γ + ε.

    Source: what Theorem 2 of Wolf et al. 2024 bounds from below.
    """
    share = 0.0
    for probability, log_ratio, last in zip(
        prefixes.probability, prefixes.target_log_ratio, prefixes.last, strict=True
    ):
        lowest = lowest_behavior(world, n_sentences, last=int(last), log_ratio=float(log_ratio))
        share += float(probability) * bool(lowest[-1] < gamma + epsilon)
    return share


def crossing(curve: FloatArray) -> float:
    """Length at which a curve over n = 0, 1, 2, … joined by straight lines first reaches 0; inf if it never does."""
    if curve[0] <= 0:
        return -np.inf
    below = np.flatnonzero(curve <= 0)
    if not below.size:
        return np.inf
    n = int(below[0])
    return float(n - 1 + curve[n - 1] / (curve[n - 1] - curve[n]))


def most_neutral_sentence(world: World) -> str:
    """Text of the sentence whose B is nearest to 0."""
    return world.text(int(np.abs(world.behavior_table()).argmin()))
