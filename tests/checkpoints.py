"""Tiny checkpoints that have learnt something: language models of a few words, trained within a second or two."""

from __future__ import annotations

import csv
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

LEAD = "Here is what I think.\n"
"""The default opening of the plain format, after which these models have been trained to speak."""

_OBJECTS = ("cats", "dogs", "birds", "friends", "guests", "neighbours", "strangers", "children")
_TIMES = ("today", "often", "at home", "at work", "in town")
_VERBS = {"negative": ("harm", "mock"), "positive": ("help", "thank")}
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def statements(pole: str) -> list[str]:
    """80 statements of one pole; only the verb tells the poles apart."""
    return [f"I {verb} {what} {when}." for verb, what, when in itertools.product(_VERBS[pole], _OBJECTS, _TIMES)]


def write_behavior(folder: Path) -> Path:
    """The two poles as a behavior folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for pole in _VERBS:
        (folder / f"{pole}.txt").write_text("\n".join(statements(pole)), encoding="utf-8")
    return folder


def build_tokenizer(corpus: str, vocabulary_size: int) -> Any:
    """A byte-level BPE tokenizer trained on the corpus."""
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
    inner.train_from_iterator([corpus], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<|im_start|>", eos_token="<|im_end|>", unk_token="<|endoftext|>"
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def train_checkpoint(folder: Path, tokenizer: Any, texts: Sequence[str], *, seed: int = 0, steps: int = 200) -> Path:
    """A small Llama fitted on running text made of the texts, after the start token and the opening."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    from beb.models.quiet import quiet_loading
    from beb.models.tokenization import start_context

    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
        pad_token_id=2, initializer_range=0.1,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    start = [*start_context(tokenizer, folder.name)[0], *tokenizer(LEAD, add_special_tokens=False)["input_ids"]]
    with torch.random.fork_rng(devices=[]), quiet_loading():
        torch.manual_seed(seed)
        module = AutoModelForCausalLM.from_config(config)
        optimiser = torch.optim.AdamW(module.parameters(), lr=5e-3)
        for _ in range(steps):
            running = [" ".join(rng.choice(texts, size=8)) for _ in range(8)]
            rows = [(start + tokenizer(text, add_special_tokens=False)["input_ids"])[:56] for text in running]
            width = min(map(len, rows))
            ids = torch.tensor([row[:width] for row in rows])
            loss = module(input_ids=ids, labels=ids).loss
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
        module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_shop(folder: Path) -> Path:
    """What a run needs: a model of both poles ("target"), one of each ("unkind", "kind"), the behavior and its labels.

    The three share a tokenizer with a chat template; "verbs" is the behavior, "labels.csv" knows every statement.
    """
    poles = {pole: statements(pole) for pole in _VERBS}
    everything = [text for texts in poles.values() for text in texts]
    tokenizer = build_tokenizer(" ".join((*everything, LEAD)), 400)
    train_checkpoint(folder / "target", tokenizer, everything, seed=1)
    train_checkpoint(folder / "unkind", tokenizer, poles["negative"], seed=2)
    train_checkpoint(folder / "kind", tokenizer, poles["positive"], seed=3)
    write_behavior(folder / "verbs")
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((text, pole) for pole in poles for text in poles[pole])])
    return folder


def adapter_sweep(shop: Path) -> dict[str, Any]:
    """A file for `beb sweep`, four runs on two checkpoints of the shop, each with weights of its own swapped in.

    Adds the second checkpoint ("twin", the same weights) and the adapters to the shop.
    """
    from beb.models.catalog import load_model
    from beb.models.huggingface import HuggingFaceModel
    from beb.models.training import AdapterSpec, fit_adapter

    shutil.copytree(shop / "target", shop / "twin", dirs_exist_ok=True)
    model = load_model(str(shop / "target"), device="cpu")
    assert isinstance(model, HuggingFaceModel)
    scenarios: dict[str, dict[str, str]] = {}
    for scenario, steps in (("measure", 40), ("guardrail", 50)):
        spec = AdapterSpec(steps=steps, learning_rate=1e-2)
        paths = {pole: fit_adapter(model, statements(pole), spec=spec, cache_dir=shop / "fitted") for pole in _VERBS}
        scenarios[scenario] = {pole: f"lora:{path}" for pole, path in paths.items()}
    options = {"scorer": f"labels:{shop / 'labels.csv'}", "prompts": 12, "sentences": 3, "max_sentence_tokens": 12}
    return {
        "models": [str(shop / "target"), str(shop / "twin")], "behaviors": [str(shop / "verbs")],
        "scenarios": list(scenarios), "options": options, **scenarios,
    }  # fmt: skip
