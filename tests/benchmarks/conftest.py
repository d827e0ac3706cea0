"""Two random models of few words on one tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from beb.models.huggingface import HuggingFaceModel, load_checkpoint
from beb.models.quiet import quiet_loading
from checkpoints import build_tokenizer


def tiny(folder: Path, *, seed: int) -> HuggingFaceModel:
    """A random llama of few words that ends its texts now and then."""
    import transformers as tf

    tokenizer = build_tokenizer("I like kind words. Do you trust me? I would never lie. Nobody deserves it! " * 3, 290)
    config = tf.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=128, tie_word_embeddings=False, initializer_range=0.35,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), quiet_loading():
        torch.manual_seed(seed)
        module = tf.AutoModelForCausalLM.from_config(config)
        module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_checkpoint(folder, name=f"tiny-{seed}", device="cpu")


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[HuggingFaceModel, HuggingFaceModel]:
    first, second = (tiny(tmp_path_factory.mktemp("tiny"), seed=seed) for seed in (0, 1))
    return first, second
