"""Attention of rows that begin with a part of the same text: its keys and values are kept, and read, once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from beb.models.attention import attending_by
from beb.models.sizes import n_heads

ATTENTION = "shared_beginnings"


class Layer(Protocol):
    """Keys and values of one block, (rows, heads, columns, width)."""

    keys: torch.Tensor
    values: torch.Tensor


class Beginnings(Protocol):
    """Texts, one a row, that rows of another cache begin with."""

    @property
    def layers(self) -> Sequence[Layer]:
        """One per block."""

    @property
    def n_bytes(self) -> int:
        """Bytes of all keys and values."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A row begins with the first `length` tokens of row `row` of a cache."""

    beginnings: Beginnings
    row: int
    length: int


@dataclass(frozen=True, slots=True)
class _Bench:
    """The rows that begin alike, as a table: one line per text, its rows side by side, empty places at the end.

    texts, columns: how much of the cache is read. rows: (m,) those that sit here. sitting: (texts, heads, places) index
    of the row and head, row * heads + head, at each place. places: (m, heads) the inverse, an index into the table.
    """

    beginnings: Beginnings
    texts: int
    columns: int
    rows: torch.Tensor
    sitting: torch.Tensor
    places: torch.Tensor

    def spread(self, of_rows: torch.Tensor) -> torch.Tensor:
        """(n, heads, m, width) of all rows as (texts, heads, places * m, width)."""
        texts, heads, _ = self.sitting.shape
        return of_rows.reshape(-1, *of_rows.shape[2:])[self.sitting].view(texts, heads, -1, of_rows.shape[-1])

    def collect(self, table: torch.Tensor, m: int) -> torch.Tensor:
        """The inverse of `spread`, for the rows that sit here."""
        return table.view(-1, m, table.shape[-1])[self.places]


class Seating:
    """What the rows of a cache begin with. lengths: (n,). visible: (n, columns) which shared columns each row reads."""

    def __init__(self, seats: Sequence[Seat], device: torch.device) -> None:
        groups: dict[int, list[int]] = {}
        for row, seat in enumerate(seats):
            groups.setdefault(id(seat.beginnings), []).append(row)
        self._benches = [_bench(seats, rows, device) for rows in groups.values()]
        self.lengths = torch.tensor([seat.length for seat in seats], dtype=torch.long)
        self.columns = max(bench.columns for bench in self._benches)
        self.visible = torch.arange(self.columns) < self.lengths[:, None]

    def score_bytes(self, own_columns: int, config: Any) -> float:
        """Bytes of scores and shares that `attend` holds for each token of a row, in one block."""
        places = max(bench.sitting.shape[0] * bench.sitting.shape[2] for bench in self._benches)
        scores = 4 * (self.columns + own_columns) + 2 * self.columns * places / len(self.lengths)
        return 4.0 * n_heads(config) * scores

    def attend(
        self, block: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Attention to the shared columns and then to the rows' own.

        query: (n, heads, m, width), scaled. key, value: (n, shared heads, own columns, width).
        mask: (n, 1, m, columns), added to the scores. Returns: (n, heads, m, width).
        """
        n, heads, m, width = query.shape
        packed = query.reshape(n, key.shape[1], -1, width)
        scores = torch.cat([self._scores(block, packed), packed @ key.transpose(2, 3)], -1)
        scores.view(*scores.shape[:2], -1, m, scores.shape[-1]).add_(mask[:, :, None])
        shares = torch.softmax(scores, -1, dtype=torch.float32).to(query.dtype)
        output = shares[..., self.columns :] @ value
        for bench in self._benches:
            values = bench.beginnings.layers[block].values[: bench.texts, :, : bench.columns]
            part = bench.collect(bench.spread(shares[..., : bench.columns]) @ values, packed.shape[2])
            output = output.add_(part) if len(bench.rows) == n else output.index_add_(0, bench.rows, part)
        return output.view(n, heads, m, width)

    def _scores(self, block: int, packed: torch.Tensor) -> torch.Tensor:
        """(n, shared heads, m, columns) products with the shared keys; 0 where a row's beginnings have no column."""
        scores = packed.new_zeros(0)
        for bench in self._benches:
            keys = bench.beginnings.layers[block].keys[: bench.texts, :, : bench.columns]
            part = bench.collect(bench.spread(packed) @ keys.transpose(2, 3), packed.shape[2])
            if len(bench.rows) == len(packed):
                return part
            if not len(scores):
                scores = packed.new_zeros(*packed.shape[:3], self.columns)
            scores[bench.rows, ..., : bench.columns] = part
        return scores


def shared_attention(config: Any) -> AbstractContextManager[None]:
    """Let the blocks of a model use `Seating.attend`; its forward pass takes the keyword `seating`."""
    return attending_by(config, ATTENTION, _attention)


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    seating: Seating,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    scaled = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    output = seating.attend(module.layer_idx, scaled, key, value, attention_mask)
    return output.transpose(1, 2).contiguous(), None


def _bench(seats: Sequence[Seat], rows: Sequence[int], device: torch.device) -> _Bench:
    beginnings = seats[rows[0]].beginnings
    lines: dict[int, list[int]] = {}
    for row in rows:
        lines.setdefault(seats[row].row, []).append(row)
    texts, width = max(lines) + 1, max(len(line) for line in lines.values())
    sitting = torch.zeros((texts, width), dtype=torch.long)
    places: dict[int, int] = {}
    n_heads = beginnings.layers[0].keys.shape[1]
    for text, line in lines.items():
        sitting[text, : len(line)] = torch.tensor(line)
        places |= {row: text * n_heads * width + place for place, row in enumerate(line)}
    heads = torch.arange(n_heads)
    return _Bench(
        beginnings,
        texts,
        max(seats[row].length for row in rows),
        torch.tensor(rows, device=device),
        (sitting[:, None] * n_heads + heads[:, None]).to(device),
        (torch.tensor([places[row] for row in rows])[:, None] + heads * width).to(device),
    )
