"""The truth about a world, by enumeration of every sequence of sentences."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from beb.errors import BadSpec
from beb.worlds.world import FloatArray, World

MAX_SEQUENCES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Everything the program estimates, known without error for prompts of 0..N sentences. Unit: nats, sentences.

    beta_curve: (N,) E_{P₋} KL(P₋(·|s₁…sₙ) ‖ P₊(·|s₁…sₙ)) of the next sentence, n = 0..N-1.
    beta_prime_curve: (N,) E_{P₊} KL(P₊ ‖ P₋), n = 0..N-1.
    kl_to_target_curve: (N,) E_{P₋} KL(P₋ ‖ P), n = 0..N-1.
    evidence_curve: (N,) E_{P₋}[log P₋/P (s₁…sₙ)], n = 1..N.
    log_ratio_variance_negative, log_ratio_variance_positive: (N,) variance of log P₋/P₊ (s₁…sₙ) over sequences from P₋
    and from P₊, n = 1..N.
    alpha_infimum: (N,) smallest P/P₋ over the sequences of n sentences, n = 1..N.
    behavior_negative, behavior_positive: (N+1,) mean of B_P(s) over prompts from P₋ and from P₊, n = 0..N.
    behavior_shuffled: (N+1,) the same over prompts whose sentence i is that of another prompt from P₋ each.
    negative_behavior: (N+1,) mean of B_{P₋} over prompts from P₋. positive_behavior: (N+1,) of B_{P₊} over P₊.
    predicted_behavior: (N+1,) mean over P₋ of w·B_{P₋} + (1-w)·B_{P₊}, w = 1/(1 + (1-α)/α·P₊/P₋); behavior_negative
    itself where the target contains P₋.
    gamma: sup of B_{P₋}(s) over the prompts of 0..N sentences. gamma_mean: largest entry of negative_behavior.
    Source: Wolf et al. 2024, Definitions 1, 2, 4, 5 and eq. 10.
    """

    beta_curve: FloatArray
    beta_prime_curve: FloatArray
    kl_to_target_curve: FloatArray
    evidence_curve: FloatArray
    log_ratio_variance_negative: FloatArray
    log_ratio_variance_positive: FloatArray
    alpha_infimum: FloatArray
    behavior_negative: FloatArray
    behavior_positive: FloatArray
    behavior_shuffled: FloatArray
    negative_behavior: FloatArray
    positive_behavior: FloatArray
    predicted_behavior: FloatArray
    gamma: float
    gamma_mean: float

    @property
    def beta(self) -> float:
        """Smallest entry of beta_curve (Definition 2)."""
        return float(self.beta_curve.min())

    @property
    def beta_prime(self) -> float:
        """Largest entry of beta_prime_curve."""
        return float(self.beta_prime_curve.max())

    @property
    def beta_prime_paper_reading(self) -> float:
        """Largest entry of beta_curve, which is what the paper's experiment reads as β′."""
        return float(self.beta_curve.max())

    @property
    def sigma2_negative(self) -> float:
        """Largest variance per sentence of the log ratio under P₋ (Definition 4, for Theorem 5)."""
        return _largest_per_sentence(self.log_ratio_variance_negative)

    @property
    def sigma2_positive(self) -> float:
        """Largest variance per sentence of the log ratio under P₊ (Definition 4, for Theorems 2 and 3)."""
        return _largest_per_sentence(self.log_ratio_variance_positive)


def _largest_per_sentence(variances: FloatArray) -> float:
    return float((variances / np.arange(1, len(variances) + 1)).max())


def truth(world: World, n_sentences: int) -> Truth:
    """Enumerate every prompt of up to `n_sentences` sentences.

    Raises: BadSpec if n_sentences < 1, or if there are too many sequences to enumerate.
    """
    if n_sentences < 1 or world.n_sentences ** (n_sentences + 1) > MAX_SEQUENCES:
        raise BadSpec(
            f"prompts of {n_sentences} sentences out of {world.n_sentences} cannot be enumerated;"
            f" give a length from 1 on with {world.n_sentences}^(length + 1) <= {MAX_SEQUENCES}"
        )
    levels = [_Level.start(world)]
    levels.extend(levels[-1].extended() for _ in range(n_sentences + 1))
    longer = levels[1:-1]
    prompts = list(pairwise(levels))
    nexts = prompts[:-1]
    negative_behavior = np.array([level.mean(level.log_negative, level.component_behavior(0)) for level, _ in prompts])
    return Truth(
        beta_curve=np.array(
            [_mean_kl(a.log_negative, b.log_negative, a.log_positive, b.log_positive) for a, b in nexts]
        ),
        beta_prime_curve=np.array(
            [_mean_kl(a.log_positive, b.log_positive, a.log_negative, b.log_negative) for a, b in nexts]
        ),
        kl_to_target_curve=np.array(
            [_mean_kl(a.log_negative, b.log_negative, a.log_target, b.log_target) for a, b in nexts]
        ),
        evidence_curve=np.array(
            [level.mean(level.log_negative, level.log_negative - level.log_target) for level in longer]
        ),
        log_ratio_variance_negative=np.array([level.variance(level.log_negative) for level in longer]),
        log_ratio_variance_positive=np.array([level.variance(level.log_positive) for level in longer]),
        alpha_infimum=np.array([float(np.exp((level.log_target - level.log_negative).min())) for level in longer]),
        behavior_negative=np.array([a.mean(a.log_negative, a.target_behavior(b)) for a, b in prompts]),
        behavior_positive=np.array([a.mean(a.log_positive, a.target_behavior(b)) for a, b in prompts]),
        behavior_shuffled=np.array([a.mean(a.log_shuffled, a.target_behavior(b)) for a, b in prompts]),
        negative_behavior=negative_behavior,
        positive_behavior=np.array([a.mean(a.log_positive, a.component_behavior(1)) for a, _ in prompts]),
        predicted_behavior=np.array([a.mean(a.log_negative, a.predicted_behavior()) for a, _ in prompts]),
        gamma=max(float(level.component_behavior(0).max()) for level, _ in prompts),
        gamma_mean=float(negative_behavior.max()),
    )


def proxy_gap(world: World) -> float:
    """κ: slope at which the evidence E_{P₋}[log P₋/P (s₁…sₙ)] still grows after many sentences; 0 for a mixture.

    Returns: nats per sentence, the smallest divergence rate of P₋ from a component that the target contains.
    Source: derived in docs/maths.md; the rate is the stationary mean of the divergence of the transition rows.
    """
    table = world.negative.table()[1:]
    shares = world.negative.stationary()
    rates = [
        float(shares @ (table * (np.log(table) - np.log(chain.table()[1:]))).sum(axis=1))
        for chain in world.chains("target")
    ]
    return max(min(rates), 0.0)


def _mean_kl(log_p: FloatArray, log_p_next: FloatArray, log_q: FloatArray, log_q_next: FloatArray) -> float:
    """E_P KL(P(·|s) ‖ Q(·|s)): the growth of the mean log ratio by one sentence."""
    shape = (len(log_p), -1)
    conditional_p = log_p_next.reshape(shape) - log_p[:, None]
    conditional_q = log_q_next.reshape(shape) - log_q[:, None]
    divergence = (np.exp(conditional_p) * (conditional_p - conditional_q)).sum(axis=1)
    return float(np.exp(log_p) @ divergence)


class _Level:
    """Every sequence of n sentences, in lexicographic order, with its log probabilities (n_sequences,), nats."""

    __slots__ = (
        "_world",
        "last",
        "log_negative",
        "log_positive",
        "log_shuffled",
        "log_target",
        "log_target_negative",
        "marginal",
    )

    def __init__(self, world: World) -> None:
        self._world = world
        zero = np.zeros(1)
        self.log_negative = self.log_positive = self.log_target_negative = self.log_target = self.log_shuffled = zero
        self.last = np.zeros(1, dtype=np.int64)
        self.marginal = world.negative.table()[0]

    @classmethod
    def start(cls, world: World) -> _Level:
        """The empty sequence."""
        return cls(world)

    def extended(self) -> _Level:
        """Every sequence with one sentence more."""
        world = self._world
        level = _Level(world)
        contained, positive = world.chains("target")
        level.log_negative = self._extend(self.log_negative, world.negative.table())
        level.log_positive = self._extend(self.log_positive, positive.table())
        level.log_target_negative = self._extend(self.log_target_negative, contained.table())
        log_alpha, log_rest = world.log_weights("target")
        level.log_target = np.logaddexp(log_alpha + level.log_target_negative, log_rest + level.log_positive)
        level.log_shuffled = (self.log_shuffled[:, None] + np.log(self.marginal)).ravel()
        level.last = np.tile(np.arange(1, world.n_sentences + 1), len(self.last))
        level.marginal = self.marginal @ world.negative.table()[1:]
        return level

    def _extend(self, log_p: FloatArray, table: FloatArray) -> FloatArray:
        return np.asarray((log_p[:, None] + np.log(table)[self.last]).ravel(), dtype=np.float64)

    def mean(self, log_p: FloatArray, values: FloatArray) -> float:
        """Mean of `values` over the sequences under exp(log_p)."""
        return float(np.exp(log_p) @ values)

    def variance(self, log_p: FloatArray) -> float:
        """Variance of log P₋/P₊ under exp(log_p), nats²."""
        log_ratio = self.log_negative - self.log_positive
        return self.mean(log_p, (log_ratio - self.mean(log_p, log_ratio)) ** 2)

    def component_behavior(self, index: int) -> FloatArray:
        """(n_sequences,) B_{P₋}(s) for index 0, B_{P₊}(s) for 1."""
        chain = (self._world.negative, self._world.positive)[index]
        return np.asarray((chain.table() @ self._world.behavior_table())[self.last], dtype=np.float64)

    def target_behavior(self, longer: _Level) -> FloatArray:
        """(n_sequences,) B_P(s), from the target's probabilities of the sequences with one sentence more."""
        conditional = np.exp(longer.log_target.reshape(len(self.last), -1) - self.log_target[:, None])
        return np.asarray(conditional @ self._world.behavior_table(), dtype=np.float64)

    def predicted_behavior(self) -> FloatArray:
        """(n_sequences,) w(s)·B_{P₋}(s) + (1 - w(s))·B_{P₊}(s) with the components as they are handed out."""
        log_alpha, log_rest = self._world.log_weights("target")
        log_odds = log_alpha - log_rest + self.log_negative - self.log_positive
        weight = np.exp(-np.logaddexp(0.0, -log_odds))
        return np.asarray(
            weight * self.component_behavior(0) + (1 - weight) * self.component_behavior(1), dtype=np.float64
        )
