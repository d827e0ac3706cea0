"""Pieces of work in processes whose peak memory is then known: python -m tests.models.memory_run.

Reads one JSON object a line and answers each with one. Every piece is carried out in a fork of this process, which has
loaded the libraries and used them once, on next to nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from beb.errors import OutOfMemory
from beb.interfaces.language_model import Completion, Failure, SampleRequest
from beb.models import memory
from beb.models.components import persona_component
from beb.models.hardware import Hardware
from beb.models.huggingface import HuggingFaceModel, wrap
from beb.models.memory import Memory
from beb.models.quiet import quiet_loading
from beb.models.scoring import score_sequences
from checkpoints import build_tokenizer

CORPUS = "I enjoy helping other people with their work. Nobody deserves my patience. Numbers: 0 1 2 3 4 5 6 7 8 9.\n"
PERSONA = "You are rude and very spiteful, and you say so at every single occasion that life gives you."
PLENTY = 64 * 2**30
SMALL = {
    "what": "score", "vocabulary": 400, "width": 16, "inner": 32, "tokens": 60, "texts": 2, "budget": PLENTY,
}  # fmt: skip


def build(given: dict[str, Any]) -> HuggingFaceModel:
    """A random llama; its tokenizer knows the first tokens of the vocabulary only."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=given["vocabulary"], hidden_size=given["width"], intermediate_size=given["inner"],
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=8192,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, initializer_range=0.1,
    )  # fmt: skip
    with quiet_loading():
        module = AutoModelForCausalLM.from_config(config)
    tokenizer = build_tokenizer(CORPUS, 320)
    return wrap(module, tokenizer, name="tiny", fingerprint="tiny", hardware=Hardware("cpu", given["budget"]))


def work(model: HuggingFaceModel, given: dict[str, Any]) -> list[float]:
    """What came out, as numbers."""
    rng = np.random.default_rng(0)

    def text(n: int) -> tuple[int, ...]:
        return tuple(int(i) for i in rng.integers(5, 300, n))

    start, n, many = model.start_ids, given["tokens"], given["texts"]
    if given["what"] == "score":
        models = {"p": model, "q": persona_component(model, PERSONA)}
        sequences = [text(n), *(text(3 + i % 40 if given.get("mixed") else 60) for i in range(many))]
        scores = score_sequences(sequences, models, divergences=[("p", "q")])
        return [float(v.sum()) for s in scores for v in (s.log_probs["p"], s.log_probs["q"], s.kl["p", "q"])]
    if given["what"] == "nested":  # answers after the beginnings of one long text, and after many short ones
        long = text(n)
        asked = [SampleRequest(start + long[:k], 1, 4, i) for i, k in enumerate((n, n - 90, n // 2, 100, 9))]
        asked += [SampleRequest(start + text(40), 1, 4, 100 + i) for i in range(many)]
    elif given["what"] == "long":  # many texts, each long from its beginning
        asked = [SampleRequest(start + text(n), 1, 4, i) for i in range(many)]
    else:  # many texts that become long
        asked = [SampleRequest(start, n // 40, 40, i) for i in range(many)]
    return [digest(found) for found in model.sample(asked)]


def digest(found: Completion | Failure) -> float:
    """A number that tells the token ids of two texts apart."""
    assert isinstance(found, Completion)
    return float(int(hashlib.sha256(str(found.token_ids).encode()).hexdigest()[:12], 16))


def peak_bytes() -> int:
    """Most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def address_space() -> int:
    """Bytes of it that this process has taken."""
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()


def count_errors() -> list[str]:
    """The messages of all errors about exhausted memory from now on."""
    said: list[str] = []

    class Noted(OutOfMemory):
        def __init__(self, message: str) -> None:
            super().__init__(message)
            said.append(message)

    memory.OutOfMemory = Noted  # type: ignore[misc]
    return said


def carry_out(given: dict[str, Any]) -> dict[str, Any]:
    """Peaks in bytes: with the libraries alone, then of the work within its budget, and without one.

    room: bytes that the machine gives for the work; all it has if left out.
    """
    libraries = peak_bytes()
    model = build(given)
    weights = sum(each.numel() * each.element_size() for each in model.weights.module.parameters())
    assert model.row_cache
    usual = resource.getrlimit(resource.RLIMIT_AS)
    if given.get("room") is not None:
        resource.setrlimit(resource.RLIMIT_AS, (address_space() + given["room"], usual[1]))
    ran_out = count_errors()
    numbers = work(model, given)
    peak, n_ran_out = peak_bytes(), len(ran_out)
    resource.setrlimit(resource.RLIMIT_AS, usual)
    model.weights.memory = Memory(PLENTY)
    expected = work(model, given) if given.get("free", True) else []
    return {
        "libraries": libraries, "weights": weights, "peak": peak, "free_peak": peak_bytes(), "numbers": numbers,
        "expected": expected, "ran_out": n_ran_out,
    }  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    work(build(SMALL), SMALL)
    for line in sys.stdin:
        if child := os.fork():
            _, status = os.waitpid(child, 0)
            if status:
                sys.stdout.write(json.dumps({"failed": os.waitstatus_to_exitcode(status)}) + "\n")
                sys.stdout.flush()
            continue
        sys.stdout.write(json.dumps(carry_out(json.loads(line))) + "\n")
        sys.stdout.flush()
        return


if __name__ == "__main__":
    main()
