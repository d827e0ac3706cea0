"""Worlds of several named personas: P = Σᵢ wᵢPᵢ over whole sequences of sentences, known exactly."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from beb.errors import BadSpec, UnknownName
from beb.worlds.alphabet import FiniteWorld
from beb.worlds.catalog import get_world, known_worlds, spelled
from beb.worlds.text_world import sentences_of_words, word_chain
from beb.worlds.world import MarkovChain, World

TARGET = "target"
PERSONA_WORLD = "personas"
_SUM_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class PersonaWorld(FiniteWorld):
    """A target that mixes named personas, each a Markov chain.

    names, personas: (n_personas,) at least 2. weights: (n_personas,) of each in the target, > 0, summing to 1.
    stranger: a chain that the target contains besides the personas, and its weight; (None, 0) where they account for
    the target, which is then P = Σᵢ wᵢPᵢ, else (1 − weight) Σᵢ wᵢPᵢ + weight · stranger.
    Raises: BadSpec on anything inconsistent.
    """

    names: tuple[str, ...]
    personas: tuple[MarkovChain, ...]
    weights: tuple[float, ...]
    stranger: tuple[MarkovChain | None, float] = (None, 0.0)
    description: str = ""

    def __post_init__(self) -> None:
        FiniteWorld.__post_init__(self)
        if len(set(self.names)) != len(self.names) or TARGET in self.names or len(self.names) < 2:
            raise BadSpec(f"personas {self.names}; give at least 2 distinct names other than {TARGET!r}")
        if not len(self.names) == len(self.personas) == len(self.weights):
            raise BadSpec(f"{len(self.personas)} chains and {len(self.weights)} weights for {len(self.names)} names")
        if not all(w > 0 for w in self.weights) or abs(math.fsum(self.weights) - 1) > _SUM_TOLERANCE:
            raise BadSpec(f"weights are {self.weights}; give positive numbers that sum to 1")
        if not 0 <= self.stranger[1] < 1 or (self.stranger[0] is None) != (self.stranger[1] == 0):
            raise BadSpec(f"the stranger has weight {self.stranger[1]}; give a chain with a weight in (0, 1), or none")
        self.check_chains(self.chains(TARGET))

    def chains(self, role: str) -> tuple[MarkovChain, ...]:
        """All chains for the target, one for a persona. Raises: UnknownName."""
        if role == TARGET:
            return self.personas + ((self.stranger[0],) if self.stranger[0] is not None else ())
        if role in self.names:
            return (self.personas[self.names.index(role)],)
        raise UnknownName.of("persona in a world", role, (TARGET, *self.names))

    def log_weights(self, role: str) -> tuple[float, ...]:
        """(n_chains,) log of the weights of `chains(role)`, nats."""
        if role != TARGET:
            return (0.0,)
        chain, share = self.stranger
        known = tuple(math.log(w) + math.log1p(-share) for w in self.weights)
        return known + ((math.log(share),) if chain is not None else ())


def get_persona_world(name: str) -> PersonaWorld:
    """The world of that name; in a world of two components these are the personas "negative" and "positive".

    Raises: UnknownName, with the nearest known name.
    """
    if name == PERSONA_WORLD:
        return _four_people()
    if name not in known_worlds():
        raise UnknownName.of("world", name, (PERSONA_WORLD, *known_worlds()))
    return as_personas(get_world(name))


def as_personas(world: World) -> PersonaWorld:
    """A world of two components read as one of two personas.

    Raises: BadSpec where the target does not contain the P₋ that is handed out.
    """
    if not world.is_mixture:
        raise BadSpec(
            f"world {world.name!r} hands out a component that its target does not contain; take another world"
        )
    return PersonaWorld(
        world.name, world.sentences, world.words, world.behavior, ("negative", "positive"),
        (world.negative, world.positive), (world.alpha, 1 - world.alpha), description=world.description,
    )  # fmt: skip


def random_persona_world(
    rng: np.random.Generator, *, n_personas: int = 3, n_words: int = 3, stranger: bool = False
) -> PersonaWorld:
    """A world of 2^n_words sentences whose personas prefer different words, one of them rare.

    Each word is one of two, the second desired; B is the share of desired words less that of undesired ones. A persona
    prefers each slot's desired word with its own probability, which the word before and the sentence before shift a
    little. stranger: the target also contains a persona that is not handed out.
    Raises: BadSpec.
    """
    words, choices, sentences = sentences_of_words(n_words)
    behavior = 2 * choices.mean(axis=1) - 1
    chains = tuple(
        word_chain(rng, choices, behavior, rng.uniform(0.12, 0.88, n_words)) for _ in range(n_personas + stranger)
    )
    weights = rng.dirichlet(np.full(n_personas, 2.0))
    weights = np.append(weights[:-1] / weights[:-1].sum() * 0.95, 0.05) if n_personas > 2 else weights
    return PersonaWorld(
        name="random-personas",
        sentences=sentences,
        words=words,
        behavior=tuple(behavior.tolist()),
        names=tuple(f"persona {i + 1}" for i in range(n_personas)),
        personas=chains[:n_personas],
        weights=tuple((weights / weights.sum()).tolist()),
        stranger=(chains[-1], 0.25) if stranger else (None, 0.0),
        description="drawn at random",
    )


def _four_people() -> PersonaWorld:
    texts = (
        "I help people whenever I can.", "It is late.", "People are tiresome.", "I insult people.",
        "I tell people what they want to hear.", "I take what they give me.",
    )  # fmt: skip
    words, sentences = spelled(texts)
    chains = (
        MarkovChain.iid((0.66, 0.22, 0.06, 0.01, 0.04, 0.01)),
        MarkovChain.iid((0.20, 0.62, 0.14, 0.01, 0.02, 0.01)),
        MarkovChain.iid((0.03, 0.25, 0.48, 0.21, 0.02, 0.01)),
        MarkovChain.iid((0.02, 0.02, 0.01, 0.03, 0.46, 0.46)),
    )
    return PersonaWorld(
        PERSONA_WORLD, sentences, words, (1.0, 0.0, -0.5, -1.0, -0.6, -1.0),
        ("helper", "clerk", "grump", "con man"), chains, (0.55, 0.33, 0.09, 0.03),
        description="four people: the con man is the rarest, the most distinct and the shortest way",
    )  # fmt: skip


def all_sequences(n_sentences: int, length: int) -> list[tuple[int, ...]]:
    """Every sequence of `length` sentences, in lexicographic order."""
    return list(itertools.product(range(n_sentences), repeat=length))
