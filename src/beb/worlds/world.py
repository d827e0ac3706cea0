"""A finite world: a few sentences, two Markov chains over them, and the mixture that is the target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from beb.errors import BadSpec, UnknownName
from beb.worlds.alphabet import FiniteWorld, FloatArray

__all__ = ["FloatArray", "MarkovChain", "Role", "World"]

Role = Literal["target", "negative", "positive"]
_SUM_TOLERANCE = 1e-12


def _check_distribution(probabilities: tuple[float, ...], where: str) -> None:
    if not all(p > 0 for p in probabilities) or abs(math.fsum(probabilities) - 1) > _SUM_TOLERANCE:
        raise BadSpec(f"{where} is {probabilities}; give positive probabilities that sum to 1")


@dataclass(frozen=True, slots=True)
class MarkovChain:
    """A distribution over endless sequences of sentences.

    initial: (n_sentences,) probabilities of the first sentence. transition: (n_sentences, n_sentences), row i the
    probabilities of the sentence after sentence i. All are positive, so that every divergence is finite.
    Raises: BadSpec on a wrong shape, a probability that is not positive, or a sum other than 1.
    """

    initial: tuple[float, ...]
    transition: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        size = len(self.initial)
        if len(self.transition) != size or any(len(row) != size for row in self.transition):
            raise BadSpec(f"transition is not {size} x {size}, as {size} initial probabilities require")
        _check_distribution(self.initial, "initial")
        for i, row in enumerate(self.transition):
            _check_distribution(row, f"transition row {i}")

    @classmethod
    def iid(cls, probabilities: tuple[float, ...]) -> MarkovChain:
        """The chain whose sentences are independent draws from `probabilities`."""
        return cls(probabilities, (probabilities,) * len(probabilities))

    @property
    def is_iid(self) -> bool:
        """Whether no sentence depends on the one before it."""
        return all(row == self.initial for row in self.transition)

    def table(self) -> FloatArray:
        """(1 + n_sentences, n_sentences) probabilities of the next sentence: row 0 at the start, row 1 + i after i."""
        return np.array((self.initial, *self.transition), dtype=np.float64)

    def stationary(self) -> FloatArray:
        """(n_sentences,) long-run share of each sentence; it exists because all transitions are positive."""
        transition = self.table()[1:]
        size = len(transition)
        equations = np.vstack((transition.T - np.eye(size), np.ones(size)))
        solution = np.linalg.lstsq(equations, np.append(np.zeros(size), 1.0), rcond=None)[0]
        return np.asarray(solution, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class World(FiniteWorld):
    """A target P = α·P₋ + (1−α)·P₊ over whole sequences of sentences, known exactly.

    alpha: weight of the negative component, in (0, 1).
    negative, positive: the components as they are handed out (P₋, P₊).
    target_negative: what the target really contains, where the P₋ that is handed out is only a proxy of it; None where
    P₋ is contained itself. description: what the world is for, one line.
    Raises: BadSpec on anything inconsistent.
    Source: Wolf et al. 2024, Section 2 (mixture), Definition 1 (behavior expectation).
    """

    alpha: float
    negative: MarkovChain
    positive: MarkovChain
    target_negative: MarkovChain | None = None
    description: str = ""

    def __post_init__(self) -> None:
        FiniteWorld.__post_init__(self)
        if not 0 < self.alpha < 1:
            raise BadSpec(f"alpha is {self.alpha}; give a weight inside (0, 1)")
        self.check_chains(self.chains("target") + self.chains("negative"))

    @property
    def log_inverse_alpha(self) -> float:
        """log 1/α, nats: where the evidence for a contained P₋ levels off."""
        return -math.log(self.alpha)

    @property
    def is_mixture(self) -> bool:
        """Whether the target contains the very P₋ that is handed out."""
        return self.target_negative is None

    def chains(self, role: str) -> tuple[MarkovChain, ...]:
        """The chains that a role mixes: (what the target contains, P₊) for the target, one chain for a component.

        Raises: UnknownName.
        """
        if role == "target":
            return (self.target_negative or self.negative, self.positive)
        if role in ("negative", "positive"):
            return (self.negative if role == "negative" else self.positive,)
        raise UnknownName.of("role in a world", role, get_args(Role))

    def log_weights(self, role: str) -> tuple[float, ...]:
        """(n_chains,) log of the weights of `chains(role)`, nats."""
        return (math.log(self.alpha), math.log1p(-self.alpha)) if role == "target" else (0.0,)
