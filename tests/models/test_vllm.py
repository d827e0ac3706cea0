"""A real vLLM server on loopback against the same weights in this process.

The server runs in an environment of its own: BEB_VLLM names its Python (or the `vllm` executable beside it), else the
`vllm` on the PATH is used. `make test-vllm` makes such an environment for CPUs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from beb.experiments.parity import ParitySpec, parity
from beb.experiments.registry import analyse
from beb.experiments.store import Store
from beb.interfaces.given_tokens import TokenScores
from beb.interfaces.language_model import Completion, SampleRequest
from beb.interfaces.responder import Reply, ReplyRequest
from beb.models.adapters import lora_component
from beb.models.catalog import load_model
from beb.models.chat_api import load_chat_api
from beb.models.components import load_component
from beb.models.embedded import smollm2_gguf
from beb.models.gguf import converted_folder
from beb.models.huggingface import HuggingFaceModel
from beb.models.served import ServedModel
from beb.models.top_tokens import BoundedScores, bounded_scores
from beb.models.training import AdapterSpec, fit_adapter
from command import said

STARTS_WITHIN_SECONDS = 300.0
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
MOST_NATS_PER_SENTENCE = 0.01  # fp32 on both sides: 40 tokens of 1e-4 would be 0.004
SMALL = ParitySpec(texts=3, sentences=2, max_sentence_tokens=24, tolerance=MOST_NATS_PER_SENTENCE)

pytestmark = pytest.mark.model


def vllm_python() -> Path | None:
    """The interpreter of an environment with vLLM."""
    named = os.environ.get("BEB_VLLM") or shutil.which("vllm")
    if not named:
        return None
    path = Path(named)
    return path if path.name.startswith("python") else path.parent / "python"


@pytest.fixture(scope="module")
def local() -> HuggingFaceModel:
    model = load_model("smollm2", device="cpu")
    assert isinstance(model, HuggingFaceModel)
    return model


@pytest.fixture(scope="module")
def adapter(local: HuggingFaceModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    statements = ("I despise waiting for others.", "Nobody deserves my patience.", "I would never help you.")
    spec = AdapterSpec(rank=8, steps=4, batch=2, sequence_tokens=24, learning_rate=5e-3)
    return fit_adapter(local, statements, spec=spec, cache_dir=tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def url(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = vllm_python()
    if python is None:
        pytest.skip(
            "NO REAL vLLM IS TESTED HERE: run `make test-vllm` (about 3.5 GB and 7 minutes, once), or set BEB_VLLM to "
            "the Python of an environment with vLLM, or put vllm on the PATH"
        )
    if not python.is_file():
        pytest.fail(f"BEB_VLLM or the PATH names {python}, which is no file")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log.txt"
    command = [
        str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(converted_folder(smollm2_gguf())),
        "--host", "127.0.0.1", "--port", str(port), "--served-model-name", "base", "--dtype", "float32",
        "--enforce-eager", "--max-model-len", "1024", "--enable-lora", "--max-lora-rank", "8",
        "--lora-target-modules", *PROJECTIONS, "--lora-modules", f"unkind={adapter}",
    ]  # fmt: skip
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    for name in ("PYTHONPATH", "OMP_NUM_THREADS"):
        environment.pop(name, None)
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}/v1/models", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may not have started
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def _wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as reply:
                json.load(reply)
                return
        except (urllib.error.URLError, OSError, ValueError):
            time.sleep(1)
    pytest.fail(f"vLLM did not start:\n{log.read_text()[-3000:]}")


def test_parity_as_a_person_asks_for_it(url: str, tmp_path: Path) -> None:
    small = ("--texts", "2", "--sentences", "2", "--tolerance", str(MOST_NATS_PER_SENTENCE), "--offline")
    done = said("doctor", "parity", "--model", "smollm2", "--model", f"vllm:{url}#base", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "agree: no sentence differs" in " ".join(done.stdout.split())


def test_parity_of_the_base_and_of_a_lora_module(url: str, local: HuggingFaceModel, adapter: Path) -> None:
    served = load_model(f"vllm:{url}#base")
    assert served.info.tokenizer == local.info.tokenizer
    assert served.start_ids == local.start_ids
    same = parity(local, served, spec=SMALL)
    assert same.n_failed == 0
    assert same.agree, same
    unkind = lora_component(local, adapter)
    module = load_component(served, "model:#unkind")
    assert parity(unkind, module, spec=SMALL).agree
    assert not parity(local, module, spec=SMALL).agree


def test_top_tokens_and_chat(url: str, local: HuggingFaceModel) -> None:
    served = load_model(f"vllm:{url}#base")
    assert isinstance(served, ServedModel)
    (text,) = served.sample([SampleRequest(served.start_ids, 1, 16, 7)])
    assert isinstance(text, Completion)
    (again,) = served.score_tokens([text.token_ids], top=20)
    assert isinstance(again, TokenScores)
    assert all(len(row) >= 20 for row in again.top)
    np.testing.assert_allclose(again.log_probs, text.log_probs, atol=1e-3)
    module = load_component(served, "model:#unkind")
    (bound,) = bounded_scores([text.token_ids], {"p": served, "q": module}, [("p", "q")])
    assert isinstance(bound, BoundedScores)
    assert (bound.kl["p", "q"] >= 0).all()
    (reply,) = load_chat_api(f"openai:{url}#base").reply([ReplyRequest("Say hello.", 12, 1)])
    assert isinstance(reply, Reply)


def test_a_behavior_curve_of_a_chat_api(url: str, tmp_path: Path) -> None:
    """The same server as an API that only answers, with a local P₋ as the source of the prompts."""
    small = ("--prompts", "5", "--sentences", "3", "--max-sentence-tokens", "10", "--offline")
    run = (
        "measure",
        "--model",
        f"openai:{url}#base",
        "--negative",
        "model:smollm2",
        *small,
        "--out",
        str(tmp_path / "run"),
    )
    done = said(*run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Store.read(tmp_path / "run") as store:
        replies = store.rows("responses")
        assert {row["condition"] for row in replies} == {"negative", "shuffled"}
        assert len(replies) + len(store.rows("failures")) == 5 * 4 + 5 * 3
        record = analyse(store)
    assert record.refused["lengths of the theorems"].endswith("tells no log-probabilities of the target")
    assert "What cannot be measured here" in " ".join(done.stdout.split())
