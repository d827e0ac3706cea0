"""Several texts in one row without padding: each attends to itself alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.cache_utils import DynamicCache, DynamicLayer

from beb.models.agreement import agree, check_texts
from beb.models.attention import attending_by
from beb.models.memory import is_out_of_memory

if TYPE_CHECKING:
    from beb.models.weights import Weights

ATTENTION = "packed_texts"
_UNKNOWN = ("sliding_window", "softcap", "s_aux", "sinks", "position_bias", "indices", "block_indices")
"""What some architectures ask of attention besides a scale."""


def packed(lengths: Sequence[int], *, tokens: int) -> list[list[int]]:
    """Indices in batches of at most `tokens` tokens, longest first; a longer sequence stands alone.

    Each goes into the first batch that has room for it, so that all but the last few are nearly full. Assumes: none is
    empty.
    """
    batches: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        at = next((k for k, left in enumerate(room) if lengths[i] <= left), None)
        if at is None:
            batches.append([])
            room.append(tokens)
            at = len(room) - 1
        batches[at].append(i)
        room[at] -= lengths[i]
    return batches


def packed_states(weights: Weights, texts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """Final hidden states of texts run in one row, (n_tokens, width) each. Assumes: `supports_packing`."""
    with packed_attention(weights.decoder.config):
        states = weights.decoder(**packed_inputs(texts, weights.device), use_cache=False).last_hidden_state[0]
    return list(states.split([len(ids) for ids in texts]))


def packed_inputs(texts: Sequence[Sequence[int]], device: torch.device) -> dict[str, Any]:
    """What a decoder takes for texts in one row; inside `packed_attention` only."""
    lengths = [len(ids) for ids in texts]
    positions = torch.cat([torch.arange(n) for n in lengths])
    return {
        "input_ids": torch.tensor([[token for ids in texts for token in ids]], dtype=torch.long, device=device),
        "position_ids": positions[None].to(device),
        # A mask of four dimensions is handed on as it is, and none is made; nothing reads this one.
        "attention_mask": torch.zeros((1, 1, 1, 1), dtype=torch.bool, device=device),
        "text_lengths": lengths,
    }


def packed_attention(config: Any) -> AbstractContextManager[None]:
    """Let the blocks of a model attend within each text; its forward pass takes the keyword `text_lengths`."""
    return attending_by(config, ATTENTION, _attention)


def supports_packing(weights: Weights) -> bool:
    """Whether packed texts have the model's own next-token distributions: checked by running two short texts.

    On a processor only: a GPU would rather have one product for many padded texts than one for each. What changes with
    a text's length alone, such as positions that are stretched beyond some length, no short text shows: a packed pass
    is short as well (`weights.TOKENS_PER_CPU_PASS`), and its positions begin anew with each text.
    """
    config = weights.module.config
    if weights.device.type != "cpu" or not weights.splits or config._attn_implementation != "sdpa":
        return False
    texts = check_texts(weights.vocabulary_size)
    try:
        if any(type(layer) is not DynamicLayer for layer in DynamicCache(config=config).layers):
            return False
        with torch.inference_mode():
            together = weights.logits(torch.cat(packed_states(weights, [*texts, texts[1]])))
            whole = torch.cat([weights.full_logits(texts[i]) for i in (0, 1, 1)])
            return agree(weights, whole, together, texts[0])
    except (RuntimeError, TypeError, AttributeError, ValueError, IndexError, KeyError) as error:
        if is_out_of_memory(error):
            raise
        return False


def _attention(
    module: Any,  # noqa: ARG001 - the library's signature
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,  # noqa: ARG001
    *,
    text_lengths: Sequence[int],
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """query: (1, heads, n_tokens, width); key, value: (1, shared heads, n_tokens, width)."""
    if any(others.get(name) is not None for name in _UNKNOWN):
        raise ValueError(f"packed texts know nothing of {' or '.join(_UNKNOWN)}")
    shared = query.shape[1] != key.shape[1]
    parts = []
    start = 0
    for length, alike in groupby(text_lengths):
        n = len(list(alike))
        stop = start + n * length
        # (texts, heads, length, width)
        q, k, v = (
            states[0, :, start:stop].reshape(states.shape[1], n, length, -1).transpose(0, 1)
            for states in (query, key, value)
        )
        part = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=shared)
        parts.append(part.transpose(1, 2).flatten(0, 1))
        start = stop
    return torch.cat(parts)[None], None
