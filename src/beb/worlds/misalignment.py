"""How long a prompt must be to misalign a world: exact answers by dynamic programming over the log ratio.

Nothing here is taken from the formulas of `beb.core`, which are tested against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from beb.errors import BadSpec
from beb.worlds.grammar import IntArray
from beb.worlds.world import FloatArray, World

_FINEST_GRID = 1e-9
_MAX_STATES = 1 << 17


@dataclass(frozen=True, slots=True)
class ProbabilityRange:
    """Limits between which a probability lies for certain."""

    low: float
    high: float


class _Ratio:
    """B_P(s) as a function of the log ratio L(s) of the target's two components and of the last sentence of s."""

    def __init__(self, world: World) -> None:
        contained, positive = world.chains("target")
        log_alpha, log_rest = world.log_weights("target")
        self.log_odds = log_alpha - log_rest
        self.increments: FloatArray = np.log(contained.table()) - np.log(positive.table())
        self.contained_behavior: FloatArray = contained.table() @ world.behavior_table()
        self.positive_behavior: FloatArray = positive.table() @ world.behavior_table()

    def behavior(self, log_ratio: FloatArray, last: IntArray) -> FloatArray:
        weight = np.exp(-np.logaddexp(0.0, -(self.log_odds + log_ratio)))
        low, high = self.contained_behavior[last], self.positive_behavior[last]
        return np.asarray(weight * low + (1 - weight) * high, dtype=np.float64)


def lowest_behavior(world: World, n_sentences: int, *, last: int = 0, log_ratio: float = 0.0) -> FloatArray:
    """The smallest B_P(s) over all prompts of each length.

    last, log_ratio: where the prompts begin: after a prefix with this log ratio (nats) of the target's two components
    that ends in sentence last - 1; by default at the start.

    After a given last sentence B_P is monotone in the log ratio, so only the largest and the smallest log ratio of the
    prompts that end in it matter; both follow from those of the prompts one sentence shorter.
    Returns: (n_sentences + 1,) for n = 0..n_sentences.
    Raises: BadSpec if n_sentences < 0.
    """
    if n_sentences < 0:
        raise BadSpec(f"n_sentences is {n_sentences}; give 0 or more")
    ratio = _Ratio(world)
    after = np.arange(1, world.n_sentences + 1)
    lowest = [float(ratio.behavior(np.array([log_ratio]), np.array([last]))[0])]
    largest = smallest = log_ratio + ratio.increments[last]
    for n in range(1, n_sentences + 1):
        if n > 1:
            largest = (largest[:, None] + ratio.increments[1:]).max(axis=0)
            smallest = (smallest[:, None] + ratio.increments[1:]).min(axis=0)
        lowest.append(float(min(ratio.behavior(largest, after).min(), ratio.behavior(smallest, after).min())))
    return np.array(lowest)


def min_misaligning_length(world: World, *, gamma: float, epsilon: float, limit: int = 10_000) -> int | None:
    """The fewest sentences for which some prompt has B_P(s) < γ + ε.

    Returns: the length, or None if no prompt of up to `limit` sentences has it.
    Source: Wolf et al. 2024, Definition 1; what Theorem 1 bounds from above.
    """
    n_sentences = 16
    while True:
        below = np.flatnonzero(lowest_behavior(world, min(n_sentences, limit)) < gamma + epsilon)
        if below.size:
            return int(below[0])
        if n_sentences >= limit:
            return None
        n_sentences *= 8


def misaligning_probability(world: World, n_sentences: int, *, gamma: float, epsilon: float) -> ProbabilityRange:
    """The probability that a prompt of `n_sentences` sentences sampled from P₋ has B_P(s) < γ + ε.

    Prompts with the same last sentence and the same log ratio are merged. Log ratios are rounded to 1e-9 nats, and to
    a coarser grid when too many differ; the range allows for the rounding, and is a point where no log ratio lies
    that close to the threshold.
    Raises: BadSpec if n_sentences < 0.
    Source: Wolf et al. 2024, Theorem 5 bounds the length from which this is at least 1 - δ.
    """
    if n_sentences < 0:
        raise BadSpec(f"n_sentences is {n_sentences}; give 0 or more")
    ratio = _Ratio(world)
    states = _Merged(world.negative.table(), ratio.increments)
    for _ in range(n_sentences):
        states.step()
    edges = np.stack([ratio.behavior(states.log_ratio + shift, states.last) for shift in (-states.slack, states.slack)])
    threshold = gamma + epsilon
    # B_P is monotone in the log ratio: its extremes over the rounding interval are at the interval's ends.
    certain = states.probability[(edges < threshold).all(axis=0)]
    possible = states.probability[(edges < threshold).any(axis=0)]
    return ProbabilityRange(min(math.fsum(certain), 1.0), min(math.fsum(possible), 1.0))


class _Merged:
    """The joint distribution of (log ratio, last sentence) of a prompt from P₋.

    log_ratio, last, probability: (n_states,). slack: nats by which rounding can have moved a log ratio at most.
    """

    def __init__(self, table: FloatArray, increments: FloatArray) -> None:
        self._table = table
        self._increments = increments
        self._grid = _FINEST_GRID
        self.slack = 0.0
        self.log_ratio: FloatArray = np.zeros(1)
        self.last: IntArray = np.zeros(1, dtype=np.int64)
        self.probability: FloatArray = np.ones(1)

    def step(self) -> None:
        """One sentence more."""
        n_sentences = self._table.shape[1]
        log_ratio = (self.log_ratio[:, None] + self._increments[self.last]).ravel()
        probability = (self.probability[:, None] * self._table[self.last]).ravel()
        last = np.tile(np.arange(1, n_sentences + 1), len(self.last))
        while True:
            cells = np.rint(log_ratio / self._grid).astype(np.int64)
            keys, inverse = np.unique(cells * (n_sentences + 1) + last, return_inverse=True)
            if len(keys) <= _MAX_STATES:
                break
            self._grid *= 10
        self.slack += self._grid / 2
        self.last = keys % (n_sentences + 1)
        self.log_ratio = (keys // (n_sentences + 1)).astype(np.float64) * self._grid
        self.probability = np.zeros(len(keys))
        np.add.at(self.probability, inverse, probability)
