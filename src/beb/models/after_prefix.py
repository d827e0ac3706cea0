"""Any model, reading after a fixed prefix that is given and never scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from beb.interfaces.language_model import (
    Completion,
    Distributions,
    Failure,
    LanguageModel,
    SampleRequest,
    TokenIds,
)
from beb.models.fingerprint import combined
from beb.models.memory import Footprint, footprint_of


class AfterPrefix(LanguageModel):
    """The same distribution, conditioned on a prefix: what it says of a text is what the inner model says of the text
    after the prefix.

    prefix: token ids that stand between the inner model's start and the text. Chat frames are not changed.
    """

    def __init__(self, inner: LanguageModel, prefix: TokenIds) -> None:
        self._inner = inner
        self._prefix = tuple(prefix)
        info = inner.info
        self.info = dataclasses.replace(
            info,
            fingerprint=combined(("after prefix", info.fingerprint, *map(str, self._prefix))),
            context=f"{info.context}, then {inner.decode(self._prefix)!r}",
        )

    @property
    def start_ids(self) -> TokenIds:
        """The inner model's start and the prefix."""
        return (*self._inner.start_ids, *self._prefix)

    def encode(self, text: str) -> TokenIds:
        return self._inner.encode(text)

    def decode(self, token_ids: Sequence[int]) -> str:
        return self._inner.decode(token_ids)

    def ends_sentence(self, token_id: int) -> bool:
        return self._inner.ends_sentence(token_id)

    def chat_frame(self, system: str | None = None) -> tuple[TokenIds, TokenIds]:
        return self._inner.chat_frame(system)

    @property
    def footprint(self) -> Footprint:
        """The inner model's, with the rows of the prefix; a chunk that covers several texts is put together once."""
        size = footprint_of((self._inner,)) or Footprint(2**62, 0, 0)
        return dataclasses.replace(size, working=size.working + size.row, before=size.before + len(self._prefix))

    def sample(self, requests: Sequence[SampleRequest]) -> list[Completion | Failure]:
        return self._inner.sample(requests)

    def distributions(self, sequences: Sequence[TokenIds]) -> Distributions:
        """As the inner model's, without the rows of the prefix."""
        # An empty text needs no pass, and its prefix no room.
        texts = [ids for ids in sequences if ids]
        whole = self._inner.distributions([(*self._prefix, *ids) for ids in texts])
        return _WithoutPrefix(whole, [len(ids) for ids in texts], len(self._prefix))


class _WithoutPrefix(Distributions):
    """Rows of several texts, each of which stands after the rows of a prefix that are passed over."""

    def __init__(self, whole: Distributions, lengths: Sequence[int], n_prefix: int) -> None:
        self._whole = whole
        self._n_prefix = n_prefix
        self._edges = np.cumsum([0, *lengths])
        self.n_rows = int(self._edges[-1])

    def log_probs(self, start: int, stop: int) -> Any:
        parts = []
        for k in range(len(self._edges) - 1):
            low, high = max(start, int(self._edges[k])), min(stop, int(self._edges[k + 1]))
            if low < high:
                passed = (k + 1) * self._n_prefix
                parts.append(self._whole.log_probs(low + passed, high + passed))
        if not parts:
            return self._whole.log_probs(0, 0)
        if len(parts) == 1:
            return parts[0]
        if isinstance(parts[0], np.ndarray):
            return np.concatenate(parts)
        import torch

        return torch.cat(parts)
