"""A model and a scorer without weights: texts of the usual lengths, and a count of the tokens that they would read."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beb.interfaces.language_model import (
    Completion,
    Distributions,
    Failure,
    LanguageModel,
    ModelInfo,
    SampleRequest,
    TokenIds,
)
from beb.interfaces.responder import Reply, ReplyRequest, Responder, ResponderInfo
from beb.interfaces.scorer import Score, Scorer, ScorerInfo
from beb.models.cells import GROUP_TOKENS, most_cells
from beb.models.prefixes import plan_prefixes

START, END, REPLY = 0, 1, 2  # begins a text, ends a sentence, ends what stands before a chat's reply
FIRST_WORD, VOCABULARY = 3, 256
SHARED_START = 16  # a start context at least so long is read once for all texts
NOISE_NATS = 1e-4  # models are told apart by so little that their divergences are zero but for rounding


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long texts are, in tokens.

    plain, chat: of sentences sampled after running text and as a chat's reply, drawn from at random. start: before a
    text. frame: around a chat's user turn, without a system text. characters: per token.
    """

    plain: tuple[int, ...] = (14,)
    chat: tuple[int, ...] = (20,)
    start: int = 8
    frame: tuple[int, int] = (24, 6)
    characters: float = 4.5


@dataclass(slots=True)
class Tally:
    """Tokens so far. read: in forward passes over given text. sampled: one by one. judged: read by a scorer.

    cells: tokens whose keys and values were held at once while sampling, the most since they were last set to 0.
    """

    read: int = 0
    sampled: int = 0
    judged: int = 0
    cells: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.read + self.sampled + self.judged

    def minus(self, other: Tally) -> Tally:
        """What has come since `other`."""
        return Tally(self.read - other.read, self.sampled - other.sampled, self.judged - other.judged, self.cells)

    def copy(self) -> Tally:
        """As it is now."""
        return Tally(self.read, self.sampled, self.judged, self.cells)


class _Level(Distributions):
    """Uniform distributions, all but for a little noise of each row."""

    def __init__(self, n_rows: int, seed: int) -> None:
        self.n_rows = n_rows
        rng = np.random.default_rng(seed)
        self._rows = -np.log(VOCABULARY) - NOISE_NATS * rng.random(n_rows)

    def log_probs(self, start: int, stop: int) -> Any:
        return np.repeat(self._rows[start:stop, None], VOCABULARY, axis=1)


@dataclass(slots=True)
class ImaginaryModel(LanguageModel):
    """Samples sentences of the given lengths, and counts into `tally` what a model with a prefix cache would do.

    persona: a system text that it has before every text. passes: models that it is made of.
    """

    name: str
    lengths: Lengths
    tally: Tally
    can_chat: bool
    persona: str = ""
    passes: int = 1

    @property
    def info(self) -> ModelInfo:  # type: ignore[override]
        """Everything fits."""
        return ModelInfo(self.name, "imaginary", self.name, "imaginary", VOCABULARY, 2**30, "none", "", self.can_chat)

    @property
    def sampling_key(self) -> int:
        """All of them share their weights, and are sampled together."""
        return id(self.tally)

    @property
    def start_ids(self) -> TokenIds:
        return (*(START,) * self.lengths.start, *(self.encode(self.persona) if self.persona else ()))

    def encode(self, text: str) -> TokenIds:
        n = max(1, round(len(text) / self.lengths.characters))
        rng = np.random.default_rng(zlib.crc32(text.encode()))
        return (*rng.integers(FIRST_WORD, VOCABULARY, n - 1).tolist(), END)

    def decode(self, token_ids: Sequence[int]) -> str:
        return "x" * round(len(token_ids) * self.lengths.characters)

    def ends_sentence(self, token_id: int) -> bool:
        return token_id == END

    def chat_frame(self, system: str | None = None) -> tuple[TokenIds, TokenIds]:
        before, after = self.lengths.frame
        opening = (*(START,) * before, *(self.encode(system) if system else ()))
        return opening, (*(START,) * (after - 1), REPLY)

    def sample(self, requests: Sequence[SampleRequest]) -> list[Completion | Failure]:
        plan = plan_prefixes([request.prefix for request in requests], group_tokens=GROUP_TOKENS)
        trunks = [trunk for group in plan.groups for trunk in group]
        read = sum(trunk.cost_tokens for trunk in trunks) - (len(trunks) - 1) * len(plan.stem) if trunks else 0
        texts = [self._text(request) for request in requests]
        sampled = sum(len(text.token_ids) for text in texts)
        self.tally.sampled += sampled
        self.tally.read += self.passes * read + (self.passes - 1) * sampled
        if requests:
            to_come = max(request.n_sentences * request.max_sentence_tokens for request in requests)
            rests = {i: len(b.rest) for trunk in trunks for b in trunk.branches for i in b.requests}
            longest = max(rests[i] + len(text.token_ids) for i, text in enumerate(texts))
            self.tally.cells = max(self.tally.cells, most_cells(plan, to_come, longest))
        return list(texts)

    def _text(self, request: SampleRequest) -> Completion:
        rng = np.random.default_rng(request.seed)
        pool = self.lengths.chat if request.prefix[-1] == REPLY else self.lengths.plain
        each = np.minimum(rng.choice(pool, request.n_sentences), request.max_sentence_tokens)
        token_ids: list[int] = []
        for length in each.tolist():
            token_ids += [*rng.integers(FIRST_WORD, VOCABULARY, length - 1).tolist(), END]
        ends = tuple(np.cumsum(each).tolist())
        return Completion(tuple(token_ids), (-1.0,) * len(token_ids), ends, 0, self.decode(token_ids))

    def distributions(self, sequences: Sequence[TokenIds]) -> Distributions:
        n_start, texts = len(self.start_ids), [ids for ids in sequences if ids]
        once = n_start >= SHARED_START and len(texts) > 1
        before = n_start if once else n_start * len(texts)
        self.tally.read += self.passes * (before + sum(len(ids) - 1 for ids in texts))
        return _Level(sum(map(len, texts)), zlib.crc32(self.name.encode()))


class ImaginaryResponder(Responder):
    """Counts what a server would read and sample; nothing that two requests share is read once."""

    info = ResponderInfo("imaginary", "imaginary", "")

    def __init__(self, lengths: Lengths, tally: Tally) -> None:
        self._lengths, self._tally = lengths, tally

    def reply(self, requests: Sequence[ReplyRequest]) -> list[Reply | Failure]:
        replies: list[Reply | Failure] = []
        for request in requests:
            drawn = np.random.default_rng(request.seed).choice(self._lengths.chat)
            length = min(int(drawn), request.max_tokens)
            self._tally.read += sum(self._lengths.frame) + round(len(request.user) / self._lengths.characters)
            self._tally.sampled += length
            replies.append(Reply("x" * round(length * self._lengths.characters), cut=False))
        return replies


class ImaginaryScorer(Scorer):
    """Counts what it is given; every other text is negative."""

    info = ScorerInfo("imaginary", "imaginary", "imaginary", None, True, None, None)

    def __init__(self, characters: float, tally: Tally) -> None:
        self._characters, self._tally = characters, tally

    def score(self, texts: Sequence[str]) -> list[Score | Failure]:
        self._tally.judged += sum(max(1, round(len(text) / self._characters)) for text in texts)
        return [Score(*((0.8, 0.1, 0.1) if i % 2 else (0.1, 0.1, 0.8))) for i in range(len(texts))]


def imaginary_models(
    names: Mapping[str, str], lengths: Lengths, tally: Tally, *, can_chat: bool
) -> dict[str, ImaginaryModel]:
    """Components that share one tally. names: with the system text of each, "" for none."""
    return {name: ImaginaryModel(name, lengths, tally, can_chat, persona) for name, persona in names.items()}
