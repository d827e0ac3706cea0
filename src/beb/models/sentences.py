"""Where a sentence ends, decided token by token: the one rule that sampling and counting share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

MINIMUM_TOKENS = 3
"""Tokens that must stand before a terminator may end a sentence, so that "1." or "Dr." alone is none."""

TERMINATORS = ".!?…。！？｡．"
_CLOSERS = "\"'`”’»)]}）】」』*_"


def ends_like_a_sentence(token_text: str) -> bool:
    """Whether a token's text closes a sentence: final punctuation (closing quotes aside) or a line break."""
    stripped = token_text.rstrip().rstrip(_CLOSERS).rstrip()
    return "\n" in token_text or stripped.endswith(tuple(TERMINATORS))


@dataclass(frozen=True, slots=True)
class SentenceRule:
    """A stopping time on token ids.

    terminators: (vocabulary,) True where the token may end a sentence.
    stops: ids that end the text itself (end-of-text, end-of-turn); they end a sentence of any length.
    """

    terminators: npt.NDArray[np.bool_]
    stops: frozenset[int]

    def ends(self, token_id: int, tokens_before: int) -> bool:
        """Whether the sentence ends with this token, `tokens_before` tokens of it standing before."""
        if token_id in self.stops:
            return True
        return tokens_before >= MINIMUM_TOKENS and bool(self.terminators[token_id])


@dataclass(slots=True)
class SentenceTracker:
    """Sentence ends of a growing text; a sentence is cut, and counted in `n_cut`, at `max_sentence_tokens`."""

    rule: SentenceRule
    max_sentence_tokens: int | None = None
    ends: list[int] = field(default_factory=list)
    n_cut: int = 0
    n_tokens: int = 0
    stopped: bool = False

    def add(self, token_id: int) -> None:
        """Take the next token."""
        tokens_before = self.n_tokens - (self.ends[-1] if self.ends else 0)
        self.n_tokens += 1
        self.stopped = token_id in self.rule.stops
        if self.rule.ends(token_id, tokens_before):
            self.ends.append(self.n_tokens)
        elif self.max_sentence_tokens is not None and tokens_before + 1 >= self.max_sentence_tokens:
            self.ends.append(self.n_tokens)
            self.n_cut += 1


def sentence_ends(token_ids: Sequence[int], rule: SentenceRule) -> tuple[int, ...]:
    """Exclusive token index of the end of each complete sentence; an unfinished tail has no end."""
    tracker = SentenceTracker(rule)
    for token_id in token_ids:
        tracker.add(token_id)
    return tuple(tracker.ends)
