"""Prompts sampled from P₋ that go on for a few tokens after every prefix that is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from beb.experiments.spec import derive_seed
from beb.interfaces.language_model import Completion, SampleRequest, TokenIds
from beb.models.huggingface import HuggingFaceModel
from beb.models.sentences import MINIMUM_TOKENS

WINDOW_TOKENS = 8
MORE_SENTENCES = -(-WINDOW_TOKENS // (MINIMUM_TOKENS + 1)) - 1
"""Sentences sampled beyond a prompt's own, so that its last one is followed by enough for a window from its start."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Sampled text. ends: exclusive token index of each sentence's end. stopped: whether the text ended by itself."""

    token_ids: TokenIds
    ends: tuple[int, ...]
    stopped: bool

    def prefixes(self, sentences: int) -> list[int]:
        """Tokens in the first 0, 1, ... sentences - 1 sentences, as far as the text goes on after them."""
        lengths = [0, *self.ends][:sentences]
        return [n for n in lengths if n < len(self.token_ids)]

    def scored(self, sentences: int) -> TokenIds:
        """The first sentences, and what else the window after the last prefix needs."""
        stop = self.ends[min(sentences, len(self.ends)) - 1]
        return self.token_ids[: max(stop, self.prefixes(sentences)[-1] + WINDOW_TOKENS)]

    def first(self, sentences: int) -> TokenIds:
        """The first sentences alone."""
        return self.token_ids[: self.ends[min(sentences, len(self.ends)) - 1]]


def sample_prompts(
    model: HuggingFaceModel, n: int, *, sentences: int, max_sentence_tokens: int = 40, seed: int = 0
) -> list[Prompt]:
    """n prompts of a component, with `MORE_SENTENCES` sentences more than they are said to have."""
    requests = [
        SampleRequest(
            model.start_ids, sentences + MORE_SENTENCES, max_sentence_tokens, derive_seed(seed, "benchmark", i)
        )
        for i in range(n)
    ]
    texts = [text for text in model.sample(requests) if isinstance(text, Completion)]
    return [Prompt(text.token_ids, text.sentence_ends, text.token_ids[-1] in model.rule.stops) for text in texts]


def nested_requests(
    model: HuggingFaceModel, prompts: Sequence[TokenIds], ends: Sequence[Sequence[int]], *, responses: int
) -> list[SampleRequest]:
    """Requests for one sentence after each prefix of 0, 1, ... whole sentences of each prompt, as a run asks."""
    return [
        SampleRequest(model.start_ids + ids[:end], 1, 40, derive_seed(0, "response", i, end, response))
        for i, (ids, cuts) in enumerate(zip(prompts, ends, strict=True))
        for end in (0, *cuts)
        for response in range(responses)
    ]
