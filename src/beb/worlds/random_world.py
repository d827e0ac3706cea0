"""Random worlds: a wide variety of mixtures to test theorems and intervals on."""

from __future__ import annotations

import math

import numpy as np

from beb.errors import BadSpec
from beb.interfaces.language_model import TokenIds
from beb.worlds.world import FloatArray, MarkovChain, World

_WORDS = ("<start>", "we", "you", "often", "never", "help", "harm", "now", "always")
_ENDS = ("people.", "them.", "everyone!")
_SMALLEST_PROBABILITY = 1e-3


def random_world(
    rng: np.random.Generator,
    *,
    n_sentences: int = 4,
    log_inverse_alpha: tuple[float, float] = (1.0, 10.0),
    separation: tuple[float, float] = (0.3, 2.5),
    markov: bool | None = None,
) -> World:
    """A world drawn at random, of independent or of Markov-dependent sentences.

    n_sentences: size of the alphabet. log_inverse_alpha: range of log 1/α, nats (uniform).
    separation: range of the tilt that moves P₋ towards undesired and P₊ towards desired sentences, nats per unit of B
    (log-uniform). markov: None draws one of the two at equal odds.
    Returns: a world whose target is an exact mixture of its components.
    Raises: BadSpec on an impossible range.
    """
    _check_ranges(n_sentences, log_inverse_alpha, separation)
    behavior = _behavior(rng, n_sentences)
    tilt = math.exp(rng.uniform(math.log(separation[0]), math.log(separation[1])))
    is_markov = bool(rng.random() < 0.5) if markov is None else markov
    negative = _chain(rng, -tilt * behavior, is_markov)
    positive = _chain(rng, tilt * behavior, is_markov)
    return World(
        name="random-markov" if is_markov else "random-iid",
        sentences=_sentences(rng, n_sentences),
        words=_WORDS + _ENDS,
        behavior=tuple(behavior.tolist()),
        alpha=math.exp(-rng.uniform(*log_inverse_alpha)),
        negative=negative,
        positive=positive,
        description="drawn at random",
    )


def _check_ranges(n_sentences: int, log_inverse_alpha: tuple[float, float], separation: tuple[float, float]) -> None:
    if not 2 <= n_sentences <= 32:
        raise BadSpec(f"n_sentences is {n_sentences}; give 2 to 32")
    if not 0 < log_inverse_alpha[0] <= log_inverse_alpha[1] <= 700:
        raise BadSpec(f"log_inverse_alpha is {log_inverse_alpha}; give an increasing range inside (0, 700]")
    if not 0 < separation[0] <= separation[1]:
        raise BadSpec(f"separation is {separation}; give an increasing range of positive numbers")


def _behavior(rng: np.random.Generator, n_sentences: int) -> FloatArray:
    """One sentence of each pole at least; the others of any class, or anywhere in between in half of the worlds."""
    rest = n_sentences - 2
    fractional = rng.random() < 0.5
    others = rng.uniform(-1, 1, size=rest).round(3) if fractional else rng.choice([-1.0, 0.0, 1.0], size=rest)
    return rng.permutation(np.concatenate(([-1.0, 1.0], others)))


def _chain(rng: np.random.Generator, tilt: FloatArray, is_markov: bool) -> MarkovChain:
    rows = [_tilted(rng, tilt) for _ in range(1 + (len(tilt) if is_markov else 0))]
    return MarkovChain(rows[0], tuple(rows[1:])) if is_markov else MarkovChain.iid(rows[0])


def _tilted(rng: np.random.Generator, tilt: FloatArray) -> tuple[float, ...]:
    """A Dirichlet draw times e^tilt, kept away from 0 so that log ratios stay moderate."""
    size = len(tilt)
    weights = rng.dirichlet(np.full(size, 2.0)) * np.exp(tilt)
    floor = _SMALLEST_PROBABILITY / size
    probabilities = floor + (1 - size * floor) * weights / weights.sum()
    return tuple((probabilities / probabilities.sum()).tolist())


def _sentences(rng: np.random.Generator, n_sentences: int) -> tuple[TokenIds, ...]:
    """Distinct sentences of 1 to 4 tokens; two in three start with a token that others share."""
    chosen: dict[TokenIds, None] = {}
    while len(chosen) < n_sentences:
        middle = rng.integers(3, len(_WORDS), size=rng.integers(0, 3)).tolist()
        opening = [int(rng.integers(1, 3))] if rng.random() < 2 / 3 else []
        end = len(_WORDS) + int(rng.integers(len(_ENDS)))
        chosen[(*opening, *middle, end)] = None
    return tuple(chosen)
