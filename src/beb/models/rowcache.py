"""A key-value cache whose rows are independent: each has its own length, and can be copied, moved or replaced."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from beb.errors import OutOfMemory
from beb.models.agreement import agree, check_texts
from beb.models.cells import GROWTH
from beb.models.memory import PASS, is_out_of_memory
from beb.models.sharing import Seat, Seating, shared_attention
from beb.models.sizes import kv_bytes, token_bytes
from beb.models.weights import Weights


class _Frame:
    """Where the tokens of the current pass are written: shared by the layers of one cache."""

    def __init__(self, max_rows: int, columns: int) -> None:
        self.max_rows = max_rows
        self.columns = columns
        self.width = 0
        self.first = 0
        self.rows = torch.empty(0, dtype=torch.long)
        self.targets = torch.empty(0, 0, dtype=torch.long)


class _RowLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one block, (max_rows, heads, columns, width), written in place at each row's own column."""

    is_initialized: bool

    def __init__(self, frame: _Frame) -> None:
        super().__init__()
        self.frame = frame

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[Any, Any]:
        if not self.is_initialized:
            self.keys, self.values = (self._buffer(states) for states in (key_states, value_states))
            self.is_initialized = True
        # The blocks of a model that is spread over several devices keep their keys and values where they are.
        where, columns = (index.to(key_states.device) for index in (self.frame.rows, self.frame.targets))
        rows = slice(self.frame.first, self.frame.first + len(key_states))
        self.keys[where[:, None], :, columns] = key_states.transpose(1, 2)
        self.values[where[:, None], :, columns] = value_states.transpose(1, 2)
        return self.keys[rows, :, : self.frame.width], self.values[rows, :, : self.frame.width]

    def _buffer(self, like: torch.Tensor) -> torch.Tensor:
        shape = (self.frame.max_rows, like.shape[1], self.frame.columns, like.shape[3])
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def get_seq_length(self) -> int:
        return self.frame.width

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002  # the base's signature
        return self.frame.width, 0


class RowCache:
    """Prefixes or growing texts, one a row; rows 0..n-1 are in use."""

    def __init__(self, weights: Weights, max_rows: int, columns: int) -> None:
        self.weights = weights
        self.frame = _Frame(max_rows, columns)
        n_layers = int(weights.module.config.get_text_config().num_hidden_layers)
        self.layers = [_RowLayer(self.frame) for _ in range(n_layers)]
        self.cache = Cache(layers=self.layers)
        self.lengths: list[int] = [0] * max_rows

    @property
    def n_bytes(self) -> int:
        """Bytes of all keys and values."""
        return self.frame.max_rows * self.frame.columns * kv_bytes_per_token(self.weights)

    def extend(
        self, tokens: Sequence[Sequence[int]], *, first: int = 0, seating: Seating | None = None
    ) -> torch.Tensor:
        """Append tokens to n rows from the first on; (n, longest, width) hidden states, right-padded.

        In one pass, or in several of as many tokens a row as fit into the memory budget.
        seating: what the rows stand behind.
        """
        longest = max(len(t) for t in tokens)
        width = max(self.lengths[first : first + len(tokens)]) + longest
        self._reserve(width)
        each = row_pass_bytes(self.weights, width, seating)
        size = self.weights.memory.fits(PASS, each * len(tokens), at_most=longest)
        if size >= longest:
            return self._extend(tokens, first, seating)
        parts = [
            self._extend([row[at : at + size] for row in tokens], first, seating) for at in range(0, longest, size)
        ]
        return torch.cat(parts, 1)

    def _extend(self, tokens: Sequence[Sequence[int]], first: int, seating: Seating | None) -> torch.Tensor:
        n, longest = len(tokens), max(len(t) for t in tokens)
        device = self.weights.device
        past = torch.tensor(self.lengths[first : first + n], dtype=torch.long)
        columns = past[:, None] + torch.arange(longest)
        width = int(columns.max()) + 1
        ids = torch.zeros((n, longest), dtype=torch.long)
        for row, row_tokens in enumerate(tokens):
            ids[row, : len(row_tokens)] = torch.tensor(list(row_tokens), dtype=torch.long)
        # A padding token sits at a column after its row's last real one, where the next real token overwrites it.
        visible = torch.arange(width) <= columns[:, None, :, None]
        frame = self.frame
        frame.first, frame.width = first, width
        frame.rows, frame.targets = torch.arange(first, first + n, device=device), columns.to(device)
        hidden = self._pass(ids, columns, visible, seating)
        for row, row_tokens in enumerate(tokens, start=first):
            self.lengths[row] += len(row_tokens)
        return hidden

    def _pass(
        self, ids: torch.Tensor, positions: torch.Tensor, visible: torch.Tensor, seating: Seating | None
    ) -> torch.Tensor:
        device = self.weights.device
        attention: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        extra: dict[str, Any] = {}
        if seating is not None:
            positions = positions + seating.lengths[:, None]
            before = seating.visible[:, None, None].expand(-1, -1, visible.shape[2], -1)
            visible = torch.cat([before, visible], -1)
            attention, extra = shared_attention(self.weights.decoder.config), {"seating": seating}
        with torch.inference_mode(), attention:
            output = self.weights.decoder(
                input_ids=ids.to(device),
                attention_mask=self._mask(visible.to(device)),
                position_ids=positions.to(device),
                past_key_values=self.cache,
                use_cache=True,
                **extra,
            )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    def copy_rows(
        self, source: RowCache, source_rows: Sequence[int], lengths: Sequence[int], rows: Sequence[int]
    ) -> None:
        """Rows of this cache become the first `lengths` tokens of rows of another."""
        longest = max(lengths)
        self._reserve(longest)
        index = torch.tensor(list(source_rows), device=self.weights.device)
        target = torch.tensor(list(rows), device=self.weights.device)
        with torch.inference_mode():
            for mine, theirs in zip(self.layers, source.layers, strict=True):
                if not mine.is_initialized:
                    mine.keys, mine.values = mine._buffer(theirs.keys), mine._buffer(theirs.values)
                    mine.is_initialized = True
                mine.keys[target, :, :longest] = theirs.keys[index, :, :longest]
                mine.values[target, :, :longest] = theirs.values[index, :, :longest]
        for row, length in zip(rows, lengths, strict=True):
            self.lengths[row] = length

    def move_rows(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Move rows into the places of rows no longer needed."""
        for source, target in zip(sources, targets, strict=True):
            length = self.lengths[source]
            for layer in self.layers if length else ():
                layer.keys[target, :, :length] = layer.keys[source, :, :length]
                layer.values[target, :, :length] = layer.values[source, :, :length]
            self.lengths[target] = length

    def _reserve(self, width: int) -> None:
        if width <= self.frame.columns:
            return
        old = self.frame.columns
        self.frame.columns = width + GROWTH
        for layer in self.layers:
            if layer.is_initialized:
                for name in ("keys", "values"):
                    before: torch.Tensor = getattr(layer, name)
                    after = layer._buffer(before)
                    after[:, :, :old] = before
                    setattr(layer, name, after)

    def _mask(self, visible: torch.Tensor) -> torch.Tensor:
        """The 4-d mask in the form that the attention implementation takes: boolean, or added to the scores."""
        if self.weights.module.config._attn_implementation == "sdpa":
            return visible
        lowest = torch.finfo(self.weights.dtype).min
        return torch.zeros(visible.shape, dtype=self.weights.dtype, device=visible.device).masked_fill_(
            ~visible, lowest
        )


def kv_bytes_per_token(weights: Weights) -> int:
    """Bytes of keys and values that one token needs."""
    return kv_bytes(weights.module, itemsize=weights.dtype.itemsize)


def row_pass_bytes(weights: Weights, columns: int, seating: Seating | None = None) -> float:
    """Bytes of a pass for each token of a row that has so many columns of its own, and sits behind others."""
    shared = seating.columns if seating is not None else 0
    size = token_bytes(weights.module, itemsize=weights.dtype.itemsize, columns=columns + shared)
    return size + (seating.score_bytes(columns, weights.module.config.get_text_config()) if seating is not None else 0)


def supports_rows(weights: Weights) -> bool:
    """Whether row caches reproduce the model's own logits: checked by running both on two short texts.

    Models with sliding windows, recurrent states or positions that are no input answer False and are sampled with
    the cache they bring themselves.
    """
    config = weights.module.config
    accepted = inspect.signature(weights.decoder.forward).parameters
    layers = DynamicCache(config=config).layers
    if (
        not weights.splits
        or config._attn_implementation not in ("sdpa", "eager")
        or not {"position_ids", "past_key_values", "attention_mask"} <= set(accepted)
        or not layers
        or any(type(layer) is not DynamicLayer for layer in layers)
    ):
        return False
    texts = check_texts(weights.vocabulary_size)
    try:
        beginnings, cache = RowCache(weights, 1, 2), RowCache(weights, 2, 2)
        beginnings.extend([texts[0][:2]])
        beginnings.extend([texts[0][2:4]])
        seating = Seating([Seat(beginnings, 0, 4), Seat(beginnings, 0, 3)], weights.device)
        before = cache.extend([texts[0][4:8], texts[1][3:5]], seating=seating)
        last = cache.extend([texts[0][8:], texts[1][5:]], seating=seating)
        rows = weights.logits(torch.cat([before[0], last[0], before[1, :2], last[1]]))
        whole = torch.cat([weights.full_logits(texts[0])[4:], weights.full_logits(texts[1])[3:]])
        return agree(weights, whole, rows, texts[0])
    except (RuntimeError, TypeError, AttributeError, ValueError, IndexError) as error:
        if is_out_of_memory(error):
            raise OutOfMemory(
                f"{weights.name}: out of memory on the first {len(texts[0])} tokens; use dtype bf16"
            ) from error
        return False
