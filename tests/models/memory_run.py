"""One piece of work in a fresh process, whose peak memory is then known: python -m tests.models.memory_run JSON."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
from typing import Any

import numpy as np
import torch
from tests.models.conftest import CORPUS, build_tokenizer

from beb.interfaces.language_model import Completion, Failure, SampleRequest
from beb.models.components import persona_component
from beb.models.hardware import Hardware
from beb.models.huggingface import HuggingFaceModel, wrap
from beb.models.memory import Memory
from beb.models.quiet import quiet_loading
from beb.models.scoring import score_sequences

PERSONA = "You are rude and very spiteful, and you say so at every single occasion that life gives you."


def build(given: dict[str, Any]) -> HuggingFaceModel:
    """A random llama; its tokenizer knows the first tokens of the vocabulary only."""
    from transformers import AutoModelForCausalLM, LlamaConfig

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

    start, n = model.start_ids, given["tokens"]
    if given["what"] == "score":
        models = {"p": model, "q": persona_component(model, PERSONA)}
        sequences = [text(n), *(text(60) for _ in range(6))]
        scores = score_sequences(sequences, models, divergences=[("p", "q")])
        return [float(v.sum()) for s in scores for v in (s.log_probs["p"], s.log_probs["q"], s.kl["p", "q"])]
    if given["what"] == "nested":  # answers after the beginnings of one long text, and after many short ones
        long = text(n)
        asked = [SampleRequest(start + long[:k], 1, 8, i) for i, k in enumerate((n, n - 90, n // 2, 100, 9))]
        asked += [SampleRequest(start + text(40), 1, 8, 100 + i) for i in range(60)]
    elif given["what"] == "long":  # many texts, each long from its beginning
        asked = [SampleRequest(start + text(n), 1, 8, i) for i in range(30)]
    else:  # many texts that become long
        asked = [SampleRequest(start, n // 40, 40, i) for i in range(60)]
    return [digest(found) for found in model.sample(asked)]


def digest(found: Completion | Failure) -> float:
    """A number that tells the token ids of two texts apart."""
    assert isinstance(found, Completion)
    return float(int(hashlib.sha256(str(found.token_ids).encode()).hexdigest()[:12], 16))


def address_space() -> int:
    """Bytes of it that this process has taken."""
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()


def main() -> None:
    torch.set_num_threads(1)
    given = json.loads(sys.argv[1])
    model = build(given)
    assert model.row_cache
    score_sequences([(5, 6)], {"p": model}, divergences=[("p", "p")])  # what the first call alone allocates
    model.sample([SampleRequest(model.start_ids, 1, 2, 0)])
    if given.get("room") is not None:
        limit = address_space() + given["room"]
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    numbers = work(model, given)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    memory: Memory = model.weights.memory
    smaller = memory.fits(1.0, 1.0, at_most=2**20) < 2**20
    sys.stdout.write(json.dumps({"peak": peak * 1024, "numbers": numbers, "halved": smaller}) + "\n")


if __name__ == "__main__":
    main()
