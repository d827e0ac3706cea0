"""Runs in an environment that has vLLM: python vllm_worker.py TASK.json ANSWER.json. Imports no beb."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found]

    task: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    model = LLM(
        model=task["model"], dtype=task["dtype"], enforce_eager=task["eager"], max_model_len=2048,
        enable_prefix_caching=True, skip_tokenizer_init=True, disable_log_stats=True,
    )  # fmt: skip

    def sampling(length: int) -> Any:
        # No seed of its own: on a processor vLLM fails where a request has one.
        return SamplingParams(
            temperature=1.0, top_p=1.0, top_k=-1, max_tokens=length, ignore_eos=True, detokenize=False
        )

    prompts = [{"prompt_token_ids": ids} for ids in task["prompts"]]
    asked = [sampling(length) for length in task["lengths"]]
    model.generate(prompts, asked, use_tqdm=False)
    seconds = []
    for _ in range(task["repeats"]):
        model.reset_prefix_cache()
        started = time.perf_counter()
        answers = model.generate(prompts, asked, use_tqdm=False)
        seconds.append(time.perf_counter() - started)
    tokens = sum(len(answer.outputs[0].token_ids) for answer in answers)
    Path(sys.argv[2]).write_text(json.dumps({"seconds": seconds, "tokens": tokens}), encoding="utf-8")


if __name__ == "__main__":
    main()
