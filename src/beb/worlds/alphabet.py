"""What every finite world has: a few sentences, their token ids, and B of each."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from beb.errors import BadSpec
from beb.interfaces.language_model import TokenIds

if TYPE_CHECKING:
    from beb.worlds.world import MarkovChain

FloatArray = NDArray[np.float64]
START_TOKEN = 0


@dataclass(frozen=True, slots=True)
class FiniteWorld(ABC):
    """Sentences with their B, and roles, each a mixture of Markov chains over them.

    sentences: (n_sentences,) token ids of each; the last token of one ends it and stands nowhere else in any, which
    makes the set prefix-free. words: (vocabulary_size,) text of each token; token 0 is the start token.
    behavior: (n_sentences,) B of each, in [-1, 1].
    Raises: BadSpec on anything inconsistent.
    Source: Wolf et al. 2024, Definition 1 (behavior expectation).
    """

    name: str
    sentences: tuple[TokenIds, ...]
    words: tuple[str, ...]
    behavior: tuple[float, ...]

    def __post_init__(self) -> None:
        self._check_words()
        self._check_sentences()
        if len(self.behavior) != self.n_sentences or not all(-1 <= b <= 1 for b in self.behavior):
            raise BadSpec(f"behavior is {self.behavior}; give {self.n_sentences} numbers in [-1, 1]")

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

    def check_chains(self, chains: tuple[MarkovChain, ...]) -> None:
        """Refuse chains over another number of sentences. Raises: BadSpec."""
        for chain in chains:
            if len(chain.initial) != self.n_sentences:
                raise BadSpec(f"a component has {len(chain.initial)} sentences where the world has {self.n_sentences}")

    @abstractmethod
    def chains(self, role: str) -> tuple[MarkovChain, ...]:
        """The chains that a role mixes. Raises: UnknownName."""

    @abstractmethod
    def log_weights(self, role: str) -> tuple[float, ...]:
        """(n_chains,) log of the weights of `chains(role)`, nats."""

    @property
    def n_sentences(self) -> int:
        """Number of sentences in the alphabet."""
        return len(self.sentences)

    @property
    def terminators(self) -> frozenset[int]:
        """The tokens that end a sentence."""
        return frozenset(sentence[-1] for sentence in self.sentences)

    def behavior_table(self) -> FloatArray:
        """(n_sentences,) B of each sentence."""
        return np.array(self.behavior, dtype=np.float64)

    def text(self, sentence: int) -> str:
        """Text of a sentence of the alphabet."""
        return " ".join(self.words[token] for token in self.sentences[sentence])

    def tokenizer_fingerprint(self) -> str:
        """Hash of the vocabulary and of the tokens that end a sentence: all models of a world share it."""
        return _digest(self.words, sorted(self.terminators))

    def behavior_fingerprint(self) -> str:
        """Hash of what the sentences say and of their B: worlds that share it are about one behavior."""
        return _digest([self.text(i) for i in range(self.n_sentences)], self.behavior)

    def fingerprint(self, role: str) -> str:
        """Hash of everything that determines the probabilities of a role."""
        return _digest(self.tokenizer_fingerprint(), self.sentences, self.log_weights(role), self.chains(role))


def _digest(*parts: object) -> str:
    # repr of a float gives back the same float, so that equal hashes mean equal probabilities.
    return hashlib.sha256(repr(parts).encode()).hexdigest()
