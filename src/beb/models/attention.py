"""Attention of another kind in the blocks of a model, for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


@contextmanager
def attending_by(config: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Let the blocks of a model with this configuration call a function, which the library then knows by a name."""
    ALL_ATTENTION_FUNCTIONS.register(name, function)
    usual = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = usual
