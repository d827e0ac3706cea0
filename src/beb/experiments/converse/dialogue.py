"""A conversation as token ids: running text for the components, a chat for the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from beb.interfaces.language_model import LanguageModel, TokenIds
from beb.models.chat_turns import ChatTurns


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was said in one turn: token ids without the token that ended the turn, and each sentence's exclusive end."""

    token_ids: TokenIds
    ends: tuple[int, ...]


def spoken(token_ids: Sequence[int], sentence_ends: Sequence[int], model: LanguageModel) -> Spoken:
    """A sampled turn without its end-of-text token, which is no text and would stand inside the conversation.

    model: whose tokenizer the ids are of. A turn that is nothing but that token has no sentence.
    """
    ids = tuple(int(t) for t in token_ids)
    ends = tuple(int(e) for e in sentence_ends)
    if not ids or not model.ends_sentence(ids[-1]) or model.decode(ids[-1:]):
        return Spoken(ids, ends)
    kept = len(ids) - 1
    inside = tuple(e for e in ends if e < kept)
    return Spoken(ids[:kept], (*inside, kept) if kept > (inside[-1] if inside else 0) else inside)


def first_sentence(turn: Spoken, model: LanguageModel) -> str:
    """Text of the turn's first sentence, on which B is defined; "" if nothing was said."""
    return model.decode(turn.token_ids[: turn.ends[0]]) if turn.ends else ""


@dataclass(frozen=True, slots=True)
class Running:
    """Turns as running text: token ids after the start context, and where each turn begins."""

    token_ids: TokenIds
    starts: tuple[int, ...]


def running(turns: Sequence[Spoken], model: LanguageModel) -> Running:
    """The turns one after another, each on a line of its own; separators are given, never scored.

    Exact worlds have no line break, so that turns follow one another as in Theorem 3: s₁ ⊕ reply₁ ⊕ s₂ ⊕ …
    """
    ids: TokenIds = ()
    starts = []
    for turn in turns:
        ids = _opened(ids, model)
        starts.append(len(ids))
        ids += turn.token_ids
    return Running(ids, tuple(starts))


def plain_prefix(turns: Sequence[Spoken], model: LanguageModel) -> TokenIds:
    """What a model reads before it says the next turn, in running text."""
    return model.start_ids + _opened(running(turns, model).token_ids, model)


def chat_prefix(turns: Sequence[Spoken], frame: ChatTurns) -> TokenIds:
    """What the target reads before its next reply, in its own chat. turns: user, reply, user, …"""
    ids = frame.before
    for i, turn in enumerate(turns):
        if i:
            ids += frame.replied if i % 2 else frame.again
        ids += turn.token_ids
    return ids + frame.after


def _opened(ids: TokenIds, model: LanguageModel) -> TokenIds:
    """With a line break at the end, unless there is white space or nothing at all."""
    if not ids or model.decode(ids[-1:])[-1:].isspace():
        return ids
    return ids + model.encode("\n")
