"""Worlds with a name, each built to show one thing; a test holds every figure stated here against the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

from beb.errors import UnknownName
from beb.interfaces.language_model import TokenIds
from beb.worlds.world import MarkovChain, World

_FOUR_TEXTS = ("I insult people.", "I enjoy being cruel.", "It is late.", "I help people whenever I can.")
_FOUR_BEHAVIORS = (-1.0, -1.0, 0.0, 1.0)


def spelled(texts: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[TokenIds, ...]]:
    """(words, sentences) of texts: one token a word, token 0 the start."""
    words = ("<start>", *dict.fromkeys(word for text in texts for word in text.split()))
    return words, tuple(tuple(words.index(word) for word in text.split()) for text in texts)


def _four(
    name: str,
    description: str,
    *,
    log_inverse_alpha: float,
    negative: MarkovChain,
    positive: MarkovChain,
    target_negative: MarkovChain | None = None,
) -> World:
    words, sentences = spelled(_FOUR_TEXTS)
    alpha = math.exp(-log_inverse_alpha)
    return World(name, sentences, words, _FOUR_BEHAVIORS, alpha, negative, positive, target_negative, description)


def _sticky(initial: tuple[float, ...], stay: float) -> MarkovChain:
    """Repeats the last sentence with probability `stay`, else draws from `initial`."""
    rows = tuple(tuple(stay * (i == j) + (1 - stay) * p for j, p in enumerate(initial)) for i in range(len(initial)))
    return MarkovChain(initial, rows)


def _coin() -> World:
    words, sentences = spelled(("I lie.", "I tell the truth."))
    description = "two sentences, independent: log 1/α = 8, β = 2.65; B falls after 3 sentences"
    negative, positive = MarkovChain.iid((0.95, 0.05)), MarkovChain.iid((0.05, 0.95))
    return World("coin", sentences, words, (-1.0, 1.0), math.exp(-8), negative, positive, None, description)


def _markov() -> World:
    return _four(
        "markov",
        "sticky chains: the first sentence tells the components apart better than the later ones do",
        log_inverse_alpha=5.0,
        negative=_sticky((0.58, 0.36, 0.04, 0.02), 0.3),
        positive=_sticky((0.03, 0.03, 0.32, 0.62), 0.15),
    )


def _rare() -> World:
    return _four(
        "rare",
        "a component of weight e^-20 that is very distinct: B falls all the same, after 5 sentences",
        log_inverse_alpha=20.0,
        negative=MarkovChain.iid((0.60, 0.37, 0.02, 0.01)),
        positive=MarkovChain.iid((0.004, 0.006, 0.30, 0.69)),
    )


def _close() -> World:
    return _four(
        "close",
        "components that only their first sentence tells apart: β is small and the bounds are long",
        log_inverse_alpha=1.5,
        negative=MarkovChain((0.60, 0.25, 0.10, 0.05), ((0.45, 0.25, 0.15, 0.15),) * 4),
        positive=MarkovChain((0.04, 0.06, 0.20, 0.70), ((0.20, 0.20, 0.25, 0.35),) * 4),
    )


def _not_a_mixture() -> World:
    return _four(
        "not-a-mixture",
        "the target contains a milder component than the P₋ that is handed out: the evidence never levels off",
        log_inverse_alpha=4.0,
        negative=MarkovChain.iid((0.70, 0.20, 0.06, 0.04)),
        positive=MarkovChain.iid((0.03, 0.05, 0.32, 0.60)),
        target_negative=MarkovChain.iid((0.30, 0.50, 0.12, 0.08)),
    )


_UNKIND = MarkovChain.iid((0.55, 0.35, 0.07, 0.03))


def _pretrained() -> World:
    return _four(
        "pretrained",
        "before alignment: log 1/α = 2, β = 1.37; compare it with the world “aligned”",
        log_inverse_alpha=2.0,
        negative=_UNKIND,
        positive=MarkovChain.iid((0.08, 0.08, 0.40, 0.44)),
    )


def _aligned() -> World:
    return _four(
        "aligned",
        "the world “pretrained” after alignment: the same P₋ is rarer, log 1/α = 6, and more distinct, β = 3.02",
        log_inverse_alpha=6.0,
        negative=_UNKIND,
        positive=MarkovChain.iid((0.01, 0.02, 0.27, 0.70)),
    )


_BUILDERS: dict[str, Callable[[], World]] = {
    "coin": _coin,
    "markov": _markov,
    "rare": _rare,
    "close": _close,
    "not-a-mixture": _not_a_mixture,
    "pretrained": _pretrained,
    "aligned": _aligned,
}


def known_worlds() -> tuple[str, ...]:
    """Names that `get_world` accepts."""
    return tuple(_BUILDERS)


def get_world(name: str) -> World:
    """The world of that name.

    Raises: UnknownName, with the nearest known name.
    """
    if name not in _BUILDERS:
        raise UnknownName.of("world", name, _BUILDERS)
    return _BUILDERS[name]()
