"""What a language model is to the rest of the program: token ids in, ids and log-probabilities out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TokenIds = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What identifies a model and says what it can do.

    name: as the user would recognise it. kind: "checkpoint", "lora", "persona", "residual", "served", "world".
    fingerprint: hash of everything that determines its probabilities. tokenizer: hash of the tokenizer.
    context: what stands before the first sentence, in words (for example "start token only").
    context_length: tokens, start context included. dtype: of the weights. remark: what a reader must know of it, or "".
    """

    name: str
    kind: str
    fingerprint: str
    tokenizer: str
    vocabulary_size: int
    context_length: int
    dtype: str
    context: str
    has_chat_template: bool
    remark: str = ""

    @property
    def kind_in_words(self) -> str:
        """The kind with its article, as a message says it."""
        words = {"lora": "an adapter", "residual": "a residual component", "served": "a served model",
                 "world": "an exact world"}  # fmt: skip
        return words.get(self.kind, f"a {self.kind}")


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One continuation to sample at temperature 1 from the whole distribution.

    prefix: every token that stands before the sample, start context included.
    n_sentences: stop after so many sentences. max_sentence_tokens: a sentence is cut there.
    seed: the stream of uniforms of this request alone, so that its text depends on no other request.
    """

    prefix: TokenIds
    n_sentences: int
    max_sentence_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Completion:
    """A sampled continuation.

    token_ids: (n_tokens,) as sampled. log_probs: (n_tokens,) nats, under the sampling distribution.
    sentence_ends: exclusive token index of each sentence's end. n_cut: sentences cut at the token limit.
    text: the decoded ids, special tokens left out.
    """

    token_ids: TokenIds
    log_probs: tuple[float, ...]
    sentence_ends: tuple[int, ...]
    n_cut: int
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that brought no text; never counted as an answer. kind: short and countable; detail: one line."""

    kind: str
    detail: str


class Distributions(ABC):
    """Next-token distributions along several token sequences, row after row, in the backend's most compact form."""

    n_rows: int

    @abstractmethod
    def log_probs(self, start: int, stop: int) -> Any:
        """(stop - start, vocabulary) natural-log probabilities in fp32 or better: a numpy array or a torch tensor."""


class LanguageModel(ABC):
    """A distribution over token-id sequences; also a component of one.

    The text after `start_ids` is what is sampled and scored; `start_ids` itself (a start token, a persona
    description, a system prompt) is given and never scored.
    """

    info: ModelInfo

    @property
    @abstractmethod
    def start_ids(self) -> TokenIds:
        """Tokens before the first sentence."""

    @abstractmethod
    def encode(self, text: str) -> TokenIds:
        """Token ids of a text, without special tokens added."""

    @abstractmethod
    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of token ids, special tokens left out."""

    @abstractmethod
    def ends_sentence(self, token_id: int) -> bool:
        """Whether a sentence ends with this token (a stopping time: it depends on nothing that follows)."""

    @abstractmethod
    def chat_frame(self, system: str | None = None) -> tuple[TokenIds, TokenIds]:
        """Token ids before and after the content of one user turn, up to where the reply begins.

        Raises: NoChatTemplate.
        """

    @abstractmethod
    def sample(self, requests: Sequence[SampleRequest]) -> list[Completion | Failure]:
        """Sample every request, in order, as one batch."""

    @abstractmethod
    def distributions(self, sequences: Sequence[TokenIds]) -> Distributions:
        """Row by row, for each sequence, the distribution of token t given `start_ids` and tokens 0..t-1.

        The rows of all sequences follow one another; n_rows is the total number of tokens.
        Raises: ContextTooShort, NumericalFailure.
        """


def sentence_spans(ends: Sequence[int]) -> list[tuple[int, int]]:
    """(start, stop) token indices of each sentence from the exclusive ends."""
    return list(zip((0, *ends[:-1]), ends, strict=True)) if ends else []
