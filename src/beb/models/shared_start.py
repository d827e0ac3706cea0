"""Texts after a long start context that is computed once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from beb.interfaces.language_model import TokenIds
from beb.models.rowcache import RowCache
from beb.models.weights import Weights, batches_by_length, foreign_errors

WORTH_SHARING = 16
"""Tokens of a start context from which on sharing it pays."""


def rows_after_start(weights: Weights, start_ids: TokenIds, sequences: Sequence[TokenIds]) -> list[torch.Tensor]:
    """Final hidden states before each token of each sequence, (n_tokens, width), the start computed once.

    sequences: without the start, none empty. Assumes: `rowcache.supports_rows`.
    """
    rows: dict[int, torch.Tensor] = {}
    with foreign_errors(weights.name):
        stem = RowCache(weights, 1, len(start_ids))
        first = stem.extend([start_ids])[0, -1:]
        for batch in batches_by_length([len(ids) - 1 for ids in sequences]):
            longest = max(len(sequences[i]) for i in batch) - 1
            if longest == 0:
                rows |= dict.fromkeys(batch, first)
                continue
            cache = RowCache(weights, len(batch), len(start_ids) + longest)
            n = len(batch)
            cache.copy_rows(stem, [0] * n, [len(start_ids)] * n, range(n))
            hidden = cache.extend([sequences[i][:-1] for i in batch])
            for row, i in enumerate(batch):
                rows[i] = torch.cat([first, hidden[row, : len(sequences[i]) - 1]])
    return [rows[i] for i in range(len(sequences))]
