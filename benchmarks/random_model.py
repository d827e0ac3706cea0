"""Llamas with random weights, where the cost of a model matters and not what it says."""

from __future__ import annotations

import torch

from beb.models.embedded import smollm2_gguf
from beb.models.gguf import converted_folder
from beb.models.hardware import Hardware
from beb.models.huggingface import HuggingFaceModel, wrap
from beb.models.quiet import quiet_loading

CONTEXT = 8192


def random_llama(
    *, vocabulary: int, width: int, inner: int, blocks: int, heads: int, shared_heads: int,
    dtype: torch.dtype = torch.float32, budget: int | None = None,
) -> HuggingFaceModel:  # fmt: skip
    """On the processor; the embedded model's tokenizer knows the first tokens of its vocabulary.

    width, inner: of the hidden states, and inside the gated layers. heads, shared_heads: of the queries, and of keys
    and values. budget: bytes besides the weights, None for the default.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=inner, num_hidden_layers=blocks,
        num_attention_heads=heads, num_key_value_heads=shared_heads, max_position_embeddings=CONTEXT,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, initializer_range=0.1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), quiet_loading():
        torch.manual_seed(0)
        module = AutoModelForCausalLM.from_config(config, dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(converted_folder(smollm2_gguf()))
    fingerprint = f"random-{vocabulary}-{width}-{inner}-{blocks}-{heads}-{shared_heads}-{dtype}"
    return wrap(module, tokenizer, name="random", fingerprint=fingerprint, hardware=Hardware("cpu", budget))
