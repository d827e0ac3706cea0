"""One job in a fresh process, whose peak memory is then known: python -m benchmarks.memory_probe JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from beb.interfaces.language_model import SampleRequest, TokenIds
from beb.models.components import with_lead
from beb.models.huggingface import HuggingFaceModel
from beb.models.memory import peak_bytes
from beb.models.scoring import score_sequences
from benchmarks.random_model import random_llama


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


def resident_bytes() -> float:
    """What this process has now; where only Linux would tell, the most that it ever had."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_bytes()
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def main() -> None:
    """Print what the process has with its weights loaded, and the most that it had after the work."""
    asked = json.loads(sys.argv[1])
    model = random_llama(
        vocabulary=asked["vocabulary"], width=64, inner=256, blocks=4, heads=4, shared_heads=2, budget=asked["budget"]
    )
    _ = model.row_cache
    before = resident_bytes()
    work(model, asked["what"], asked["tokens"])
    sys.stdout.write(json.dumps({"weights": before, "peak": peak_bytes()}) + "\n")


if __name__ == "__main__":
    main()
