"""The truth about a world of several personas, by enumeration of every sequence of sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from beb.errors import BadSpec
from beb.worlds.alphabet import FloatArray
from beb.worlds.exact import MAX_SEQUENCES
from beb.worlds.persona_world import TARGET, PersonaWorld

_EM_STEPS = 20_000
_EM_TOLERANCE = 1e-13


@dataclass(frozen=True, slots=True, eq=False)
class PersonaTruth:
    """What `beb personas` estimates, known without error. K personas in the world's order; nats, sentences.

    weights: (K,) that bring the mixture closest to the target over texts of N sentences: the world's own where the
    personas account for it. unexplained: the divergence that is left, nats per sentence.
    beta_curve: (K, N) E_{Pᵢ} KL(Pᵢ ‖ the others, weighted as `weights`) of the next sentence, n = 0..N-1.
    evidence_curve: (K, N) E_{Pᵢ}[log Pᵢ/P (s₁…sₙ)], n = 1..N.
    own_behavior: (K, N) E B of Pᵢ's own next sentence after n of its sentences, n = 0..N-1.
    target_behavior: (K, N) mean of B_P(s) over s from Pᵢ, n = 1..N. unprompted: B of the target's first sentence.
    lowest_behavior: (N + 1,) the smallest B_P(s) over all prompts of n = 0..N sentences.
    gamma: (K,) largest B_{Pᵢ}(s) over all prompts of 0..N sentences.
    """

    weights: FloatArray
    unexplained: float
    beta_curve: FloatArray
    evidence_curve: FloatArray
    own_behavior: FloatArray
    target_behavior: FloatArray
    unprompted: float
    lowest_behavior: FloatArray
    gamma: FloatArray


def persona_truth(world: PersonaWorld, n_sentences: int) -> PersonaTruth:
    """Enumerate every prompt of up to `n_sentences` sentences.

    Raises: BadSpec if there are too many.
    """
    if n_sentences < 1 or world.n_sentences ** (n_sentences + 1) > MAX_SEQUENCES:
        raise BadSpec(f"prompts of {n_sentences} sentences out of {world.n_sentences} cannot be enumerated")
    levels = [_Level.start(world)]
    for _ in range(n_sentences):
        levels.append(levels[-1].extended())
    last = levels[-1]
    weights, divergence = _closest(last)
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    ratio = np.array([level.log_ratios(log_weights) for level in levels])  # (N + 1, K)
    return PersonaTruth(
        weights=weights,
        unexplained=divergence / n_sentences,
        beta_curve=np.diff(ratio, axis=0).T,
        evidence_curve=np.array([level.evidence() for level in levels[1:]]).T,
        own_behavior=np.array([level.own_means() for level in levels[:-1]]).T,
        target_behavior=np.array([level.target_means() for level in levels[1:]]).T,
        unprompted=float(levels[0].target_behavior()[0]),
        lowest_behavior=np.array([level.target_behavior().min() for level in levels]),
        gamma=np.max([level.own_behavior().max(axis=1) for level in levels], axis=0),
    )


def posterior_weights(world: PersonaWorld, sentences: tuple[int, ...], weights: FloatArray) -> FloatArray:
    """(n + 1, K) posterior weights of the personas after 0..n of the sentences, from prior weights, by Bayes' rule."""
    rows, belief, previous = [np.asarray(weights, dtype=np.float64)], np.asarray(weights, dtype=np.float64), 0
    for sentence in sentences:
        belief = belief * np.array([chain.table()[previous, sentence] for chain in world.personas])
        belief = belief / belief.sum()
        rows.append(belief)
        previous = sentence + 1
    return np.array(rows)


class _Level:
    """Every sequence of n sentences, in lexicographic order, with its log probabilities, nats.

    log_chains: (n_chains, n_sequences) under each chain of the target, the personas first. last: (n_sequences,) row of
    the chains' tables that stands after the sequence.
    """

    def __init__(self, world: PersonaWorld, log_chains: FloatArray, last: np.ndarray) -> None:
        self._world, self.log_chains, self.last = world, log_chains, last
        self.log_personas = log_chains[: len(world.names)]
        self.log_target = np.logaddexp.reduce(log_chains + np.array(world.log_weights(TARGET))[:, None], axis=0)
        self._tables = np.array([chain.table() for chain in world.chains(TARGET)])

    @classmethod
    def start(cls, world: PersonaWorld) -> _Level:
        """The empty sequence."""
        return cls(world, np.zeros((len(world.chains(TARGET)), 1)), np.zeros(1, dtype=np.int64))

    def extended(self) -> _Level:
        """Every sequence with one sentence more."""
        log_chains = self.log_chains[:, :, None] + np.log(self._tables)[:, self.last]
        after = np.tile(np.arange(1, self._world.n_sentences + 1), len(self.last))
        return _Level(self._world, log_chains.reshape(len(log_chains), -1), after)

    def log_ratios(self, log_weights: FloatArray) -> FloatArray:
        """(K,) E_{Pᵢ} of log Pᵢ/(the others, renormalised)."""
        found = []
        for i, own in enumerate(self.log_personas):
            others = np.delete(self.log_personas, i, axis=0)
            shares = np.delete(log_weights, i)
            rest = np.logaddexp.reduce(others + (shares - np.logaddexp.reduce(shares))[:, None], axis=0)
            found.append(float(np.exp(own) @ (own - rest)))
        return np.array(found)

    def evidence(self) -> FloatArray:
        """(K,) E_{Pᵢ} of log Pᵢ/P."""
        return np.array([float(np.exp(own) @ (own - self.log_target)) for own in self.log_personas])

    def own_behavior(self) -> FloatArray:
        """(K, n_sequences) B_{Pᵢ}(s)."""
        by_chain = self._tables[: len(self.log_personas)] @ self._world.behavior_table()
        return np.asarray(by_chain[:, self.last], dtype=np.float64)

    def own_means(self) -> FloatArray:
        """(K,) E_{Pᵢ} of B_{Pᵢ}(s)."""
        return np.asarray((np.exp(self.log_personas) * self.own_behavior()).sum(axis=1), dtype=np.float64)

    def target_behavior(self) -> FloatArray:
        """(n_sequences,) B_P(s)."""
        by_chain = (self._tables @ self._world.behavior_table())[:, self.last]
        log_joint = self.log_chains + np.array(self._world.log_weights(TARGET))[:, None]
        return np.asarray((np.exp(log_joint - self.log_target) * by_chain).sum(axis=0), dtype=np.float64)

    def target_means(self) -> FloatArray:
        """(K,) E_{Pᵢ} of B_P(s)."""
        return np.asarray(np.exp(self.log_personas) @ self.target_behavior(), dtype=np.float64)


def _closest(level: _Level) -> tuple[FloatArray, float]:
    """Weights of least divergence from the target and that divergence, nats: EM over all sequences at once."""
    world = level._world
    weights = np.array(world.weights)
    if world.stranger[0] is None:
        return weights, 0.0
    target, personas = np.exp(level.log_target), np.exp(level.log_personas)
    for _ in range(_EM_STEPS):
        gains = personas @ (target / (weights @ personas))
        weights = weights * gains
        if gains.max() - 1 < _EM_TOLERANCE:
            break
    return weights, float(target @ (level.log_target - np.log(weights @ personas)))
