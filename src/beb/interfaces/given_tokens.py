"""A language model behind a server: it tells the log-probabilities of given tokens, not whole distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from beb.interfaces.language_model import Failure, TokenIds


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Log-probabilities along one token sequence.

    log_probs: (n_tokens,) nats, of the tokens that stand there. top: per token, the log-probabilities of the most
    probable tokens at its place and of itself, by id; empty if they were not asked for.
    """

    log_probs: NDArray[np.float64]
    top: tuple[Mapping[int, float], ...] = ()


@runtime_checkable
class ScoresGivenTokens(Protocol):
    """A `LanguageModel` whose `distributions` raises NoDistribution, and which has this instead."""

    def score_tokens(self, sequences: Sequence[TokenIds], *, top: int = 0) -> list[TokenScores | Failure]:
        """Scores of each sequence after the model's start context, in order.

        top: how many of the most probable tokens to tell at each place.
        Raises: ContextTooShort, ServerFailed if the server cannot be reached at all.
        """
        ...
