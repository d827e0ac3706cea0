"""What a server's replies must hold; anything else is a BadReply."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beb.interfaces.given_tokens import TokenScores
from beb.interfaces.language_model import TokenIds
from beb.interfaces.responder import Reply
from beb.models.transport import BadReply

_ZERO_PROBABILITY = -9999.0
"""vLLM writes this where a log-probability is minus infinity, which JSON cannot hold."""
_ROUNDING_NATS = 1e-4
"""A probability of one may come out a little above it in fp32; more is no log-probability (a raw logit, say)."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """Sampled tokens: ids and log-probabilities, (n,)."""

    token_ids: TokenIds
    log_probs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """A model as the server lists it. parent: of a LoRA module, the id of its base."""

    name: str
    root: str
    parent: str
    context_length: int
    owner: str


def read_cards(reply: Any) -> list[Card]:
    """The models of GET /v1/models."""
    return [
        Card(
            str(each["id"]),
            str(each.get("root") or ""),
            str(each.get("parent") or ""),
            int(each.get("max_model_len") or 0),
            str(each.get("owned_by") or ""),
        )
        for each in reply["data"]
    ]


def read_token_ids(reply: Any) -> TokenIds:
    """The ids of POST /tokenize."""
    return tuple(_token_id(token) for token in reply["tokens"])


def read_continuation(reply: Any, most: int, vocabulary_size: int) -> Continuation:
    """The sampled ids of POST /v1/completions with `return_token_ids` and `logprobs`. most: as many were asked for."""
    choice = reply["choices"][0]
    ids = tuple(_token_id(token) for token in _list(choice.get("token_ids"), "sampled token ids (token_ids)"))
    log_probs = tuple(
        _log_prob(value) for value in _list((choice.get("logprobs") or {}).get("token_logprobs"), "log-probabilities")
    )
    if not 1 <= len(ids) <= most or len(ids) != len(log_probs):
        raise BadReply(f"{len(ids)} sampled tokens with {len(log_probs)} log-probabilities, {most} at most were asked")
    if max(ids) >= vocabulary_size:
        raise BadReply(f"token id {max(ids)} is outside the vocabulary of {vocabulary_size}")
    return Continuation(ids, log_probs)


def read_scores(reply: Any, token_ids: Sequence[int], n_start: int, top: int) -> TokenScores:
    """Scores of `token_ids` after their first `n_start`, of POST /v1/completions with `prompt_logprobs`."""
    rows = _list(reply["choices"][0].get("prompt_logprobs"), "log-probabilities of the prompt (prompt_logprobs)")
    if len(rows) != len(token_ids):
        raise BadReply(f"log-probabilities of {len(rows)} prompt tokens for {len(token_ids)} that were sent")
    wanted = [_row(row) for row in rows[n_start:]]
    missing = [i for row, i in zip(wanted, token_ids[n_start:], strict=True) if i not in row]
    if missing:
        raise BadReply(f"no log-probability of prompt token {missing[0]}; the server read other tokens")
    observed = np.array([row[i] for row, i in zip(wanted, token_ids[n_start:], strict=True)], dtype=np.float64)
    return TokenScores(observed, tuple(wanted) if top else ())


def read_reply(reply: Any) -> Reply:
    """The text of POST /v1/chat/completions. A refusal of the server (a filter) is no answer of the model."""
    choice = reply["choices"][0]
    content, reason = choice["message"].get("content"), choice.get("finish_reason")
    if not isinstance(content, str) or reason == "content_filter":
        raise BadReply(f"no text of the model (finish reason {reason!r})")
    return Reply(content, reason == "length")


def _row(row: Any) -> Mapping[int, float]:
    if not isinstance(row, dict):
        raise BadReply("a prompt token without log-probabilities")
    return {int(key): _log_prob(value["logprob"]) for key, value in row.items()}


def _token_id(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadReply(f"a token id is {value!r:.40}")
    return value


def _log_prob(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value > _ROUNDING_NATS:
        raise BadReply(f"a log-probability is {value!r:.40}; it must be a number of at most 0")
    return -math.inf if value <= _ZERO_PROBABILITY else min(float(value), 0.0)


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadReply(f"no {what} in the reply")
    return value
