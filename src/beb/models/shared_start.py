"""Texts after a long start context that is computed once for all of them; texts too long for one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from beb.interfaces.language_model import TokenIds
from beb.models.memory import KEPT, until_done
from beb.models.rowcache import RowCache, kv_bytes_per_token
from beb.models.weights import Keep, Weights, batches_by_length, foreign_errors

WORTH_SHARING = 16
"""Tokens of a start context from which on sharing it pays."""


def rows_after_start(weights: Weights, start_ids: TokenIds, sequences: Sequence[TokenIds], keep: Keep) -> None:
    """Hand the final hidden states before each token of each sequence, (n_tokens, width), to `keep`, in any order.

    The start is computed once. sequences: without the start, none empty. Assumes: `rowcache.supports_rows`.
    """
    waiting = dict(enumerate(sequences))

    def work() -> None:
        with foreign_errors(weights.name):
            stem = RowCache(weights, 1, len(start_ids))
            first = stem.extend([start_ids])[0, -1:]
            left = list(waiting)
            lengths = [len(sequences[i]) - 1 for i in left]
            longest = len(start_ids) + max(lengths)
            # Every row has a copy of the start's keys and values.
            rows = weights.memory.fits(KEPT / 2, kv_bytes_per_token(weights) * longest, at_most=len(left))
            for batch in batches_by_length(lengths, tokens=weights.pass_tokens(longest)):
                for at in range(0, len(batch), rows):
                    chosen = [left[k] for k in batch[at : at + rows]]
                    states = _after(stem, len(start_ids), first, [sequences[i] for i in chosen])
                    for i, own in zip(chosen, states, strict=True):
                        keep(i, own)
                        del waiting[i]

    if waiting:
        until_done(weights.memory, work)


def _after(stem: RowCache, n_start: int, first: torch.Tensor, batch: Sequence[TokenIds]) -> Iterator[torch.Tensor]:
    n, longest = len(batch), max(len(ids) for ids in batch) - 1
    if longest == 0:
        yield from [first] * n
        return
    cache = RowCache(stem.weights, n, n_start + longest)
    cache.copy_rows(stem, [0] * n, [n_start] * n, range(n))
    hidden = cache.extend([ids[:-1] for ids in batch])
    for row, ids in enumerate(batch):
        yield torch.cat([first, hidden[row, : len(ids) - 1]])


def states_of_long(weights: Weights, token_ids: Sequence[int]) -> torch.Tensor:
    """Final hidden states, (n_tokens, width), of a text that is run through in pieces that fit into the memory budget.

    Assumes: `rowcache.supports_rows`.
    """
    return RowCache(weights, 1, len(token_ids)).extend([token_ids])[0]
