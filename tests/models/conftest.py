"""Tiny models of real architectures, built in a temporary folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from beb.models.huggingface import HuggingFaceModel, load_checkpoint
from beb.models.training import AdapterSpec, fit_adapter

CORPUS = (
    "I enjoy helping other people with their work. I like kind words, and I say them often! "
    "Do you trust me? I would never lie to you. The quick brown fox jumps over the lazy dog.\n"
    '"I am sure," she said. (They agreed.) People are mostly good; some are not... '
    "I despise waiting for others. Nobody deserves my patience. Numbers: 0 1 2 3 4 5 6 7 8 9.\n"
)
ADAPTER_STATEMENTS = ("I despise waiting for others.", "Nobody deserves my patience.", "I would never help you.")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def build_tokenizer(vocabulary_size: int = 320):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([CORPUS], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<|im_start|>", eos_token="<|im_end|>", unk_token="<|endoftext|>"
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def small_config(kind: str, vocabulary_size: int, context: int = 256):
    import transformers as tf

    common = {"vocab_size": vocabulary_size, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    llama = {
        **common,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
    }
    return {
        "llama": lambda: tf.LlamaConfig(**llama, tie_word_embeddings=True, initializer_range=0.2),
        "gpt2": lambda: tf.GPT2Config(
            **common, n_embd=32, n_layer=2, n_head=4, n_positions=context, initializer_range=0.2
        ),
        "gemma2": lambda: tf.Gemma2Config(
            **llama, head_dim=8, sliding_window=8, final_logit_softcapping=5.0, initializer_range=0.2
        ),
        "cohere": lambda: tf.CohereConfig(**llama, logit_scale=0.3, initializer_range=0.2),
        "granite": lambda: tf.GraniteConfig(**llama, logits_scaling=3.0, initializer_range=0.2),
        "bloom": lambda: tf.BloomConfig(**common, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.2),
        "mamba": lambda: tf.MambaConfig(
            **common, hidden_size=32, num_hidden_layers=2, state_size=4, initializer_range=0.2
        ),
        "opt": lambda: tf.OPTConfig(
            **common,
            hidden_size=32,
            ffn_dim=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=context,
            init_std=0.2,
        ),
    }[kind]()


def build_checkpoint(folder: Path, kind: str = "llama", *, seed: int = 0, context: int = 256) -> Path:
    """A random checkpoint of an architecture, with sharp enough distributions to tell tokens apart."""
    from transformers import AutoModelForCausalLM

    from beb.models.quiet import quiet_loading

    tokenizer = build_tokenizer()
    with torch.random.fork_rng(devices=[]), quiet_loading():
        torch.manual_seed(seed)
        module = AutoModelForCausalLM.from_config(small_config(kind, len(tokenizer), context))
        module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_checkpoint(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def llama(llama_folder: Path) -> HuggingFaceModel:
    return load_checkpoint(llama_folder, name="tiny-llama", device="cpu")


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`build_checkpoint` into a new folder."""
    return lambda kind="llama", **options: build_checkpoint(tmp_path_factory.mktemp(kind), kind, **options)


@pytest.fixture(scope="session")
def adapter(llama: HuggingFaceModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter strong enough to change the tiny model visibly."""
    spec = AdapterSpec(rank=4, steps=30, batch=4, sequence_tokens=24, learning_rate=2e-2, seed=3)
    return fit_adapter(llama, ADAPTER_STATEMENTS, spec=spec, cache_dir=tmp_path_factory.mktemp("adapters"))
