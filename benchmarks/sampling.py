"""Responses to nested prefixes: tokens per second of this program's sampler and of vLLM on processors."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from beb.interfaces.language_model import Completion, SampleRequest
from beb.models.embedded import smollm2_gguf
from beb.models.gguf import converted_folder
from beb.models.huggingface import HuggingFaceModel
from benchmarks.counting import RowMeter, timed
from benchmarks.flops import MOST_PADDING
from benchmarks.rows import Row
from benchmarks.setting import say

VARIABLE = "BEB_VLLM"
WORKER = Path(__file__).with_name("vllm_worker.py")
VLLM_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class SamplingRate:
    """requests: in the job. tokens: of all responses. seconds: at the quickest. vllm_seconds: None without vLLM.

    how: how vLLM ran, or why it did not. padding: share of the tokens in the passes.
    """

    requests: int
    tokens: int
    seconds: float
    vllm_seconds: float | None
    how: str = ""
    padding: float = 0.0


def measure_sampling(model: HuggingFaceModel, requests: Sequence[SampleRequest], *, repeats: int) -> SamplingRate:
    """Both on the same requests, one after the other.

    vLLM is asked for as many tokens after each prefix as the response to it had here, whatever they are, so that both
    finish the same lengths; its prefix cache is on, empty at the start of each repetition.
    """
    model.sample(requests[: len(requests) // 4])
    answers: list[Completion] = []

    def work() -> None:
        answers[:] = [text for text in model.sample(requests) if isinstance(text, Completion)]

    with RowMeter() as meter:
        work()
    seconds = timed(work, repeats=repeats)
    lengths = [len(text.token_ids) for text in answers]
    found, how = (
        _vllm(requests, lengths, model.info.dtype, repeats) if len(lengths) == len(requests) else (None, "failures")
    )
    padding = 1 - meter.real / meter.padded if meter.padded else 0.0
    return SamplingRate(len(requests), sum(lengths), seconds, found, how, padding)


def _vllm(
    requests: Sequence[SampleRequest], lengths: Sequence[int], dtype: str, repeats: int
) -> tuple[float | None, str]:
    """Seconds of vLLM and how it ran, as it comes if it can be compiled here; or None and why."""
    python = os.environ.get(VARIABLE)
    if not python or not Path(python).is_file():
        return None, f"vLLM is not installed ({VARIABLE} names no interpreter)"
    seconds, why = _run_vllm(Path(python), requests, lengths, dtype, repeats, eager=False)
    if seconds is not None:
        return seconds, "compiled"
    say(f"compiled, {why}")
    seconds, why = _run_vllm(Path(python), requests, lengths, dtype, repeats, eager=True)
    return seconds, "not compiled" if seconds is not None else why


def _run_vllm(
    python: Path, requests: Sequence[SampleRequest], lengths: Sequence[int], dtype: str, repeats: int, *, eager: bool
) -> tuple[float | None, str]:
    say(f"starting vLLM, {dtype}")
    task = {
        "model": str(converted_folder(smollm2_gguf())), "dtype": VLLM_DTYPES[dtype], "repeats": repeats, "eager": eager,
        "prompts": [list(request.prefix) for request in requests], "lengths": list(lengths),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        command = [str(python), str(WORKER), str(folder / "task.json"), str(folder / "answer.json")]
        with (folder / "log.txt").open("w") as log:
            ended = subprocess.run(command, stdout=log, stderr=log, env=_environment(python), check=False)
        if ended.returncode:
            last = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            return None, f"vLLM failed: {' '.join(last)[:120]}"
        answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    if answer["tokens"] != sum(lengths):
        return None, f"vLLM gave {answer['tokens']} tokens and not {sum(lengths)}"
    return min(answer["seconds"]), ""


def _environment(python: Path) -> dict[str, str]:
    """As many threads as torch has here, bound to all cores; Intel's OpenMP library if it is there, as vLLM advises."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "OMP_NUM_THREADS")}
    openmp = python.parent.parent / "lib" / "libiomp5.so"
    threads = torch.get_num_threads()
    cores = sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else list(range(threads))
    environment |= {
        "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
        "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING",
    }  # fmt: skip
    if openmp.is_file():
        environment["LD_PRELOAD"] = str(openmp)
    return environment


def sampling_rows(found: dict[str, SamplingRate]) -> list[Row]:
    """Tokens per second of both."""
    rows = []
    for k, (dtype, rate) in enumerate(found.items()):
        ours = rate.tokens / rate.seconds
        mean = rate.tokens / rate.requests
        what = f"{'' if k else '**4** '}sampling, {dtype}: {rate.requests} responses of {mean:.1f} tokens"
        if rate.vllm_seconds is None:
            rows.append(Row(f"{what}, tokens/s", f"{ours:.0f}", rate.how))
            continue
        ratio = rate.vllm_seconds / rate.seconds
        theirs = f"{rate.tokens / rate.vllm_seconds:.0f} (vLLM on the processor, {rate.how})"
        rows.append(Row(f"{what}, tokens/s", f"{ours:.0f}", theirs, f"{ratio:.2f}", "≥ 1", ratio >= 1))
    waste = max(rate.padding for rate in found.values())
    rows.append(Row("padding in the passes of these jobs", f"{waste:.1%}", "", "", "≤ 10 %", waste <= MOST_PADDING))
    return rows
