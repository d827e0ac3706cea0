"""A model that a vLLM server holds: sampled and scored over HTTP, token ids in and out."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np

from beb.errors import ContextTooShort, NoDistribution
from beb.interfaces.given_tokens import TokenScores
from beb.interfaces.language_model import (
    Completion,
    Distributions,
    Failure,
    LanguageModel,
    ModelInfo,
    SampleRequest,
    TokenIds,
)
from beb.models.replies import Continuation, read_continuation, read_scores
from beb.models.requests import no_room, refuse_unusable
from beb.models.sentences import SentenceRule, SentenceTracker
from beb.models.tokenization import chat_parts, plain_ids
from beb.models.transport import Transport

COMPLETIONS = "/v1/completions"
WHOLE_DISTRIBUTION = {
    "temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}  # fmt: skip
"""Stated in every request: what is left out comes from the checkpoint's generation_config.json, which may truncate."""


class ServedModel(LanguageModel):
    """A model, or a LoRA module, of a vLLM server, with the tokenizer that the server uses.

    name: as the server knows it. The log-probabilities are of given tokens: `score_tokens`, not `distributions`.
    """

    def __init__(
        self,
        transport: Transport,
        name: str,
        tokenizer: Any,
        rule: SentenceRule,
        *,
        info: ModelInfo,
        start_ids: TokenIds,
    ) -> None:
        self.transport, self.name, self.tokenizer, self.rule, self.info = transport, name, tokenizer, rule, info
        self._start_ids = start_ids
        self._stop_ids = np.flatnonzero(rule.terminators).tolist()

    @property
    def start_ids(self) -> TokenIds:
        return self._start_ids

    @property
    def sampling_key(self) -> tuple[str, str]:
        """Equal for components that differ in their start context alone: their `sample` is the same function."""
        return self.transport.address.url, self.name

    def component(self, info: ModelInfo, *, start_ids: TokenIds) -> ServedModel:
        """The same model after another start context."""
        return ServedModel(self.transport, self.name, self.tokenizer, self.rule, info=info, start_ids=start_ids)

    def encode(self, text: str) -> TokenIds:
        return plain_ids(self.tokenizer, text)

    def decode(self, token_ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def ends_sentence(self, token_id: int) -> bool:
        return bool(self.rule.terminators[token_id])

    def chat_frame(self, system: str | None = None) -> tuple[TokenIds, TokenIds]:
        return chat_parts(self.tokenizer, self.info.name, system)

    def sample(self, requests: Sequence[SampleRequest]) -> list[Completion | Failure]:
        """Sentence by sentence: the server stops at a token that may end one, and goes on where the rule says so.

        A stopping time depends on nothing after it, so the text has the model's own distribution.
        Raises: BadSpec, ServerFailed.
        """
        refuse_unusable(requests)
        results: list[Completion | Failure | None] = [no_room(each, self.info.context_length) for each in requests]
        waiting = [i for i, result in enumerate(results) if result is None]
        for i, text in zip(waiting, self.transport.map(self._text, [requests[i] for i in waiting]), strict=True):
            results[i] = text
        return [result for result in results if result is not None]

    def distributions(self, sequences: Sequence[TokenIds]) -> Distributions:
        """Raises: NoDistribution, always."""
        raise NoDistribution(
            f"{self.info.name} is behind a server, which tells log-probabilities of given tokens and not the whole "
            f"next-token distributions that these {len(sequences)} texts need; use --kl monte-carlo or --kl top-k in "
            "beb measure, or load the model locally"
        )

    def score_tokens(self, sequences: Sequence[TokenIds], *, top: int = 0) -> list[TokenScores | Failure]:
        """Scores of each sequence after the start context, in order. top: alternatives to tell at each place."""
        for ids in sequences:
            n_tokens = len(self._start_ids) + len(ids)
            if n_tokens > self.info.context_length:
                raise ContextTooShort(
                    f"{self.info.name} has a context of {self.info.context_length} tokens and the text with its start "
                    f"context has {n_tokens}; use fewer or shorter sentences"
                )
        asked = [tuple(ids) for ids in sequences if ids]
        answers = iter(self.transport.map(functools.partial(self._scores, top=top), asked))
        empty = TokenScores(np.empty(0))
        return [next(answers) if ids else empty for ids in sequences]

    def _scores(self, ids: TokenIds, top: int) -> TokenScores | Failure:
        prompt = [*self._start_ids, *ids]
        body = {
            "model": self.name, "prompt": prompt, "max_tokens": 1, "prompt_logprobs": top, **WHOLE_DISTRIBUTION,
            # Log-probabilities of a prompt whose beginning is cached have been wrong in some versions: share nothing.
            "cache_salt": secrets.token_urlsafe(16),
        }  # fmt: skip
        n_start = len(self._start_ids)
        return self.transport.post(COMPLETIONS, body, lambda reply: read_scores(reply, prompt, n_start, top))

    def _text(self, request: SampleRequest) -> Completion | Failure:
        tracker = SentenceTracker(self.rule, request.max_sentence_tokens)
        ids: list[int] = []
        log_probs: list[float] = []
        part = 0
        while not tracker.stopped and len(tracker.ends) < request.n_sentences:
            begun = len(ids) - (tracker.ends[-1] if tracker.ends else 0)
            found = self._continue((*request.prefix, *ids), request.max_sentence_tokens - begun, request.seed, part)
            if isinstance(found, Failure):
                return found
            part += 1
            for token_id, log_prob in zip(found.token_ids, found.log_probs, strict=True):
                ids.append(token_id)
                log_probs.append(log_prob)
                tracker.add(token_id)
                if tracker.stopped or len(tracker.ends) >= request.n_sentences:
                    break
        return Completion(tuple(ids), tuple(log_probs), tuple(tracker.ends), tracker.n_cut, self.decode(ids))

    def _continue(self, prefix: TokenIds, most: int, seed: int, part: int) -> Continuation | Failure:
        # A seed of its own: with the same one, every part of the text would be drawn from the same random numbers.
        stream = int(np.random.SeedSequence([seed, part]).generate_state(1, np.uint64)[0]) >> 1
        body = {
            "model": self.name, "prompt": list(prefix), "max_tokens": most, "seed": stream, "logprobs": 0,
            "return_token_ids": True, "stop_token_ids": self._stop_ids, "ignore_eos": True, "watermarking": False,
            "skip_special_tokens": False, **WHOLE_DISTRIBUTION,
        }  # fmt: skip
        size = self.info.vocabulary_size
        return self.transport.post(COMPLETIONS, body, lambda reply: read_continuation(reply, most, size))
