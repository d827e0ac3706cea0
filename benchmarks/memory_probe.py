"""One job in a fresh process, whose peak memory is then known: python -m benchmarks.memory_probe JSON."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import numpy as np
import torch

from beb.interfaces.language_model import SampleRequest, TokenIds
from beb.models.components import with_lead
from beb.models.embedded import smollm2_gguf
from beb.models.gguf import converted_folder
from beb.models.huggingface import HuggingFaceModel, wrap
from beb.models.memory import peak_bytes
from beb.models.quiet import quiet_loading
from beb.models.scoring import score_sequences

CONTEXT = 8192


def build(vocabulary: int, budget: int) -> HuggingFaceModel:
    """A random llama with a large vocabulary, of which the embedded model's tokenizer knows the first tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, tie_word_embeddings=True, bos_token_id=1,
        eos_token_id=2, initializer_range=0.1,
    )  # fmt: skip
    with quiet_loading():
        module = AutoModelForCausalLM.from_config(config)
    hardware = importlib.import_module("beb.models.hardware")
    options: dict[str, Any] = {"hardware": hardware.Hardware("cpu", budget)}
    tokenizer = AutoTokenizer.from_pretrained(converted_folder(smollm2_gguf()))
    return wrap(module, tokenizer, name="random", fingerprint=f"random-{vocabulary}", **options)


def work(model: HuggingFaceModel, what: str, tokens: int) -> None:
    """Score texts under two components, or answer after nested beginnings."""
    rng = np.random.default_rng(0)

    def text(n: int) -> TokenIds:
        return tuple(int(i) for i in rng.integers(5, 40_000, n))

    if what == "scoring":
        models = {"p": model, "q": with_lead(model, "Here is what I think.\n")}
        score_sequences([text(tokens) for _ in range(8)], models, divergences=[("p", "q")])
        return
    long = [model.start_ids + text(tokens) for _ in range(4)]
    nested = [ids[: len(ids) * part // 4] for ids in long for part in (1, 2, 3, 4)]
    model.sample([SampleRequest(prefix, 1, 40, seed) for seed, prefix in enumerate(nested * 4)])


def main() -> None:
    """Print the peak above what the process had with its weights loaded."""
    asked = json.loads(sys.argv[1])
    model = build(asked["vocabulary"], asked["budget"])
    _ = model.row_cache
    before = peak_bytes()
    work(model, asked["what"], asked["tokens"])
    sys.stdout.write(json.dumps({"weights": before, "peak": peak_bytes()}) + "\n")


if __name__ == "__main__":
    main()
