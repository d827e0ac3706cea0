"""Bytes that a decoder's forward pass takes, from its configuration."""

from __future__ import annotations

from typing import Any

_FLOAT = 4


def token_bytes(module: Any, *, itemsize: int, columns: int) -> int:
    """Bytes of a forward pass for each of its tokens, an upper estimate.

    columns: tokens that it attends to. Residual stream, one block's projections and its inner layer, keys and values
    repeated for every head, and a row of the attention mask; where the attention is written out, its scores as well.
    """
    config = module.config.get_text_config()
    width = int(config.hidden_size)
    inner = max(int(getattr(config, name, None) or 0) for name in ("intermediate_size", "ffn_dim", "n_inner"))
    projections = 6 * width + 3 * (inner or 4 * width) + 8 * n_heads(config) * head_width(config)
    scores = 3 * n_heads(config) * columns if config._attn_implementation == "eager" else 0
    return itemsize * projections + _FLOAT * 3 * width + (_FLOAT + itemsize + 2) * columns + _FLOAT * scores


def kv_bytes(module: Any, *, itemsize: int) -> int:
    """Bytes of keys and values that one token needs."""
    config = module.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or n_heads(config)
    return int(2 * config.num_hidden_layers * heads * head_width(config) * itemsize)


def n_heads(config: Any) -> int:
    """Query heads of a block; 1 where a model has no attention."""
    return int(getattr(config, "num_attention_heads", None) or 1)


def head_width(config: Any) -> int:
    """Width of one head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // n_heads(config))
