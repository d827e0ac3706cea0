"""Tiny models of real architectures, built in a temporary folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from beb.models.huggingface import HuggingFaceModel, load_checkpoint
from beb.models.training import AdapterSpec, fit_adapter
from checkpoints import build_tokenizer

CORPUS = (
    "I enjoy helping other people with their work. I like kind words, and I say them often! "
    "Do you trust me? I would never lie to you. The quick brown fox jumps over the lazy dog.\n"
    '"I am sure," she said. (They agreed.) People are mostly good; some are not... '
    "I despise waiting for others. Nobody deserves my patience. Numbers: 0 1 2 3 4 5 6 7 8 9.\n"
)
ADAPTER_STATEMENTS = ("I despise waiting for others.", "Nobody deserves my patience.", "I would never help you.")


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

    tokenizer = build_tokenizer(CORPUS, 320)
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


@pytest.fixture(scope="module")
def loaded(build: Callable[..., Path]) -> Callable[[str, str], HuggingFaceModel]:
    """A random checkpoint of an architecture in a dtype; one folder for each architecture."""
    folders: dict[str, Path] = {}

    def load(kind: str, dtype: str) -> HuggingFaceModel:
        folder = folders.setdefault(kind, build(kind))
        return load_checkpoint(folder, name=kind, dtype=dtype, device="cpu")

    return load


@pytest.fixture(scope="session")
def adapter(llama: HuggingFaceModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter strong enough to change the tiny model visibly."""
    spec = AdapterSpec(rank=4, steps=30, batch=4, sequence_tokens=24, learning_rate=2e-2, seed=3)
    return fit_adapter(llama, ADAPTER_STATEMENTS, spec=spec, cache_dir=tmp_path_factory.mktemp("adapters"))


def permuted(weight: np.ndarray, n_heads: int) -> np.ndarray:
    """The order of rotary rows in GGUF files of the llama architecture."""
    return weight.reshape(n_heads, 2, weight.shape[0] // n_heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(path: Path, model: HuggingFaceModel) -> None:
    """The tiny llama as an unquantised GGUF file."""
    from gguf import GGUFWriter, TokenType

    module, config = model.weights.module, model.weights.module.config
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    bpe = json.loads(model.tokenizer.backend_tokenizer.to_str())["model"]
    vocabulary = sorted(model.tokenizer.get_vocab(), key=model.tokenizer.get_vocab().__getitem__)
    special = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([TokenType.CONTROL if t in special else TokenType.NORMAL for t in vocabulary])
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in bpe["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(model.tokenizer.chat_template)
    names = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
    }
    block = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    for i in range(config.num_hidden_layers):
        names |= {f"model.layers.{i}.{ours}.weight": f"blk.{i}.{theirs}.weight" for ours, theirs in block.items()}
    for name, parameter in module.named_parameters():
        tensor = parameter.numpy()
        if "q_proj" in name:
            tensor = permuted(tensor, config.num_attention_heads)
        if "k_proj" in name:
            tensor = permuted(tensor, config.num_key_value_heads)
        writer.add_tensor(names[name], np.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="session")
def gguf_file(llama: HuggingFaceModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny llama as a GGUF file."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, llama)
    return path
