"""Where the sentences of a given text end, by the rule that sampling uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from beb.interfaces.language_model import LanguageModel

if TYPE_CHECKING:
    from beb.models.sentences import SentenceRule


def split_sentences(model: LanguageModel, token_ids: Sequence[int]) -> tuple[int, ...]:
    """Exclusive token index of the end of each sentence; an unfinished tail is a sentence too.

    A model without a rule of its own (a world) says of every token whether it ends a sentence.
    """
    rule: SentenceRule | None = getattr(model, "rule", None)
    if rule is None:
        ends = tuple(i + 1 for i, token in enumerate(token_ids) if model.ends_sentence(token))
    else:
        from beb.models.sentences import sentence_ends

        ends = sentence_ends(token_ids, rule)
    n = len(token_ids)
    return ends if not n or (ends and ends[-1] == n) else (*ends, n)
