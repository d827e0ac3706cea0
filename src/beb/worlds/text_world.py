"""Random worlds that resemble text: a sentence is several words, each of which says a little about its author."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import expit, logit

from beb.errors import BadSpec
from beb.interfaces.language_model import TokenIds
from beb.worlds.world import FloatArray, MarkovChain, World

_SLOTS = (("they", "we"), ("often", "rarely"), ("mock", "help"), ("weak", "old"))
_ENDS = ("strangers.", "friends.")


def text_world(
    rng: np.random.Generator, *, n_words: int = 3, log_inverse_alpha: tuple[float, float] = (4.0, 10.0)
) -> World:
    """A world of 2^n_words sentences; every word is one of two, and P₋ and P₊ prefer different ones.

    n_words: 2 to 5. log_inverse_alpha: range of log 1/α, nats (uniform). B is the share of desired words less that of
    undesired ones. The log ratio of a sentence is thus a sum of small terms, as in text, and no rare sentence carries
    it. The word before it and the sentence before shift the odds of every word a little.
    Returns: a world whose target is an exact mixture of its components. Raises: BadSpec.
    """
    words, choices, sentences = sentences_of_words(n_words)
    behavior = 2 * choices.mean(axis=1) - 1
    undesired = word_chain(rng, choices, behavior, rng.uniform(0.1, 0.35, n_words))
    desired = word_chain(rng, choices, behavior, rng.uniform(0.65, 0.9, n_words))
    return World(
        name="random-text",
        sentences=sentences,
        words=words,
        behavior=tuple(behavior.tolist()),
        alpha=float(np.exp(-rng.uniform(*log_inverse_alpha))),
        negative=undesired,
        positive=desired,
        description="drawn at random",
    )


def sentences_of_words(n_words: int) -> tuple[tuple[str, ...], FloatArray, tuple[TokenIds, ...]]:
    """Vocabulary, (2^n_words, n_words) picks of the second word of each slot, and the sentences that they spell.

    n_words: 2 to 5. Raises: BadSpec.
    """
    if not 2 <= n_words <= len(_SLOTS) + 1:
        raise BadSpec(f"n_words is {n_words}; give 2 to {len(_SLOTS) + 1}")
    slots = (*_SLOTS[: n_words - 1], _ENDS)
    words = ("<start>", *(word for slot in slots for word in slot))
    choices = np.array(list(itertools.product((0, 1), repeat=n_words)))
    sentences = tuple(tuple(1 + 2 * slot + int(pick) for slot, pick in enumerate(row)) for row in choices)
    return words, choices, sentences


def word_chain(rng: np.random.Generator, choices: FloatArray, behavior: FloatArray, desired: FloatArray) -> MarkovChain:
    """desired: (n_words,) probability of each slot's desired word.

    The odds of a word shift with the word before it in the sentence and with the B of the sentence before.
    """
    drift, echo = rng.uniform(-0.3, 0.6), rng.uniform(0.2, 0.6, len(desired))
    before = np.hstack([np.zeros((len(choices), 1)), 2 * choices[:, :-1] - 1.0])
    rows = []
    for shift in (0.0, *(drift * behavior)):
        p = expit(logit(desired) + shift + echo * before)
        row = np.prod(np.where(choices == 1, p, 1 - p), axis=1)
        rows.append(tuple((row / row.sum()).tolist()))
    return MarkovChain(rows[0], tuple(rows[1:]))
