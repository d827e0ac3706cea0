"""A finite world: a few sentences, two Markov chains over them, and the mixture that is the target."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from beb.errors import BadSpec, UnknownName
from beb.interfaces.language_model import TokenIds

FloatArray = NDArray[np.float64]
Role = Literal["target", "negative", "positive"]
START_TOKEN = 0
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
class World:
    """A target P = α·P₋ + (1−α)·P₊ over whole sequences of sentences, known exactly.

    sentences: (n_sentences,) token ids of each; the last token of one ends it and stands nowhere else in any, which
    makes the set prefix-free. words: (vocabulary_size,) text of each token; token 0 is the start token.
    behavior: (n_sentences,) B of each, in [-1, 1]. alpha: weight of the negative component, in (0, 1).
    negative, positive: the components as they are handed out (P₋, P₊).
    target_negative: what the target really contains, where the P₋ that is handed out is only a proxy of it; None where
    P₋ is contained itself. description: what the world is for, one line.
    Raises: BadSpec on anything inconsistent.
    Source: Wolf et al. 2024, Section 2 (mixture), Definition 1 (behavior expectation).
    """

    name: str
    sentences: tuple[TokenIds, ...]
    words: tuple[str, ...]
    behavior: tuple[float, ...]
    alpha: float
    negative: MarkovChain
    positive: MarkovChain
    target_negative: MarkovChain | None = None
    description: str = ""

    def __post_init__(self) -> None:
        self._check_words()
        self._check_sentences()
        if len(self.behavior) != self.n_sentences or not all(-1 <= b <= 1 for b in self.behavior):
            raise BadSpec(f"behavior is {self.behavior}; give {self.n_sentences} numbers in [-1, 1]")
        if not 0 < self.alpha < 1:
            raise BadSpec(f"alpha is {self.alpha}; give a weight inside (0, 1)")
        for chain in self.chains("target") + self.chains("negative"):
            if len(chain.initial) != self.n_sentences:
                raise BadSpec(f"a component has {len(chain.initial)} sentences where the world has {self.n_sentences}")

    def _check_words(self) -> None:
        if len(set(self.words)) != len(self.words) or any(word.split() != [word] for word in self.words):
            raise BadSpec("words must be distinct, not empty and without white space")

    def _check_sentences(self) -> None:
        if len(self.sentences) < 2 or len(set(self.sentences)) != len(self.sentences):
            raise BadSpec(f"a world needs at least 2 sentences, all distinct; it has {len(self.sentences)}")
        allowed = range(START_TOKEN + 1, len(self.words))
        if not all(sentence and all(token in allowed for token in sentence) for sentence in self.sentences):
            raise BadSpec(f"sentences must hold at least one token, each in {allowed.start}..{allowed.stop - 1}")
        if any(token in self.terminators for sentence in self.sentences for token in sentence[:-1]):
            raise BadSpec(
                "a token that ends a sentence stands inside one; give the sentences tokens of their own to end with"
            )

    @property
    def n_sentences(self) -> int:
        """Number of sentences in the alphabet."""
        return len(self.sentences)

    @property
    def log_inverse_alpha(self) -> float:
        """log 1/α, nats: where the evidence for a contained P₋ levels off."""
        return -math.log(self.alpha)

    @property
    def is_mixture(self) -> bool:
        """Whether the target contains the very P₋ that is handed out."""
        return self.target_negative is None

    @property
    def terminators(self) -> frozenset[int]:
        """The tokens that end a sentence."""
        return frozenset(sentence[-1] for sentence in self.sentences)

    def chains(self, role: Role) -> tuple[MarkovChain, ...]:
        """The chains that a role mixes: (what the target contains, P₊) for the target, one chain for a component.

        Raises: UnknownName.
        """
        if role == "target":
            return (self.target_negative or self.negative, self.positive)
        if role in ("negative", "positive"):
            return (self.negative if role == "negative" else self.positive,)
        raise UnknownName.of("role in a world", role, get_args(Role))

    def log_weights(self, role: Role) -> tuple[float, ...]:
        """(n_chains,) log of the weights of `chains(role)`, nats."""
        return (math.log(self.alpha), math.log1p(-self.alpha)) if role == "target" else (0.0,)

    def behavior_table(self) -> FloatArray:
        """(n_sentences,) B of each sentence."""
        return np.array(self.behavior, dtype=np.float64)

    def text(self, sentence: int) -> str:
        """Text of a sentence of the alphabet."""
        return " ".join(self.words[token] for token in self.sentences[sentence])

    def tokenizer_fingerprint(self) -> str:
        """Hash of the vocabulary and of the tokens that end a sentence: all models of a world share it."""
        return _digest(self.words, sorted(self.terminators))

    def fingerprint(self, role: Role) -> str:
        """Hash of everything that determines the probabilities of a role."""
        return _digest(self.tokenizer_fingerprint(), self.sentences, self.log_weights(role), self.chains(role))


def _digest(*parts: object) -> str:
    # repr of a float gives back the same float, so that equal hashes mean equal probabilities.
    return hashlib.sha256(repr(parts).encode()).hexdigest()
