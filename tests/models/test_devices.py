"""Devices by name, arithmetic by dtype, and weights that accelerate has put where they are."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from beb.errors import BadSpec, NotAModel
from beb.interfaces.language_model import Completion, SampleRequest
from beb.models import devices, huggingface
from beb.models.adapters import lora_component
from beb.models.catalog import load_model
from beb.models.components import load_component
from beb.models.devices import Placement, memory_budget, place, resolve_device
from beb.models.hardware import Hardware
from beb.models.huggingface import HuggingFaceModel, load_checkpoint
from beb.models.identity import weights_identity
from beb.models.memory import DEFAULT_BUDGET
from beb.models.scoring import score_sequences
from beb.models.training import AdapterSpec, fit_adapter

TEXT = "I like kind words, and I say them often!"
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, so it can be found")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", "cuda:", "", "cpu:0", "tpu"])
def test_unknown_devices(device: str) -> None:
    with pytest.raises(BadSpec, match="is none of auto, cpu, cuda, cuda:N, cuda:all or mps"):
        Hardware(device)


@without_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "cuda:all", "mps"])
def test_devices_that_are_not_there(device: str, llama_folder: Path) -> None:
    with pytest.raises(BadSpec, match=rf"--device {device}: torch finds no .*; use --device auto or cpu") as raised:
        load_model(str(llama_folder), hardware=Hardware.given(device.upper(), None))
    assert "\n" not in str(raised.value)


def test_a_gpu_beyond_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BadSpec, match=r"--device cuda:1: torch finds 1 CUDA GPUs here, the last of them cuda:0"):
        resolve_device("cuda:1")
    assert resolve_device("cuda:0") == torch.device("cuda", 0)


def test_which_device_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_cuda, has_mps, expected in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=has_cuda: found)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda found=has_mps: found)
        assert resolve_device("auto").type == expected


def test_budgets_by_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (40 * 2**30, 80 * 2**30))
    assert memory_budget(Hardware(), torch.device("cuda:0")) == 20 * 2**30
    assert memory_budget(Hardware(), torch.device("cpu")) == DEFAULT_BUDGET
    assert memory_budget(Hardware(memory_budget=2**30), torch.device("cuda:0")) == 2**30
    spread = place(Hardware("cuda:all", 8 * 2**30), torch.bfloat16)
    assert spread.options == {"device_map": "auto", "max_memory": {0: 32 * 2**30, 1: 32 * 2**30}}
    assert place(Hardware("cuda:all"), torch.bfloat16).options["max_memory"] == {0: 30 * 2**30, 1: 30 * 2**30}


def test_several_gpus_without_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(BadSpec, match=r"--device cuda:all needs accelerate.*\[gpus\]"):
        place(Hardware("cuda:all"), torch.float32)


def test_arithmetic_that_the_device_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> None:
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'")

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", missing)
    with pytest.raises(BadSpec, match=r"--dtype fp16: torch cannot compute in it on cpu .*; use --dtype fp32"):
        place(Hardware("cpu"), torch.float16)
    assert place(Hardware("cpu"), torch.float32) == Placement(torch.device("cpu"))


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision(dtype: str, llama_folder: Path, llama: HuggingFaceModel) -> None:
    half = load_checkpoint(llama_folder, name="half", dtype=dtype, device="cpu")
    assert half.info.dtype == dtype
    assert half.info.fingerprint != llama.info.fingerprint
    ids = half.encode(TEXT)
    rows = half.distributions([ids]).log_probs(0, len(ids))
    assert rows.dtype == torch.float32
    # Normalised in fp32, however coarse the logits are.
    torch.testing.assert_close(rows.double().logsumexp(-1), torch.zeros(len(ids)).double(), atol=1e-5, rtol=0)
    (score,) = score_sequences([ids], {"p": half, "q": half}, divergences=[("p", "q")])
    assert float(np.abs(score.kl["p", "q"]).max()) == 0
    exact = llama.distributions([ids]).log_probs(0, len(ids))
    assert float((rows - exact).abs().mean()) < (0.02 if dtype == "fp16" else 0.2)
    assert float((rows - exact).abs().max()) > 1e-5
    asked = [SampleRequest(half.start_ids + ids[:k], 2, 8, k) for k in (0, 4, 9)]
    assert half.sample(asked) == half.sample(asked)
    assert all(isinstance(text, Completion) for text in half.sample(asked))


def test_an_adapter_on_fp16_says_what_was_not_checked(llama_folder: Path, tmp_path: Path, adapter: Path) -> None:
    half = load_checkpoint(llama_folder, name=str(llama_folder), dtype="fp16", device="cpu")
    found = weights_identity(half.weights, None)
    assert found.digest is None
    assert "fp16" in found.reason
    why = r"was not checked \(weights in fp16 are rounded otherwise than in fp32 or bf16, so they cannot be compared\)"
    component = lora_component(half, adapter)
    assert component.info.remark.count("\n") == 0
    assert re.search(why, component.info.remark)
    spec = AdapterSpec(rank=2, steps=2, batch=2, sequence_tokens=12, seed=1)
    own = fit_adapter(half, [TEXT], spec=spec, cache_dir=tmp_path)
    assert re.search(why, lora_component(half, own).info.remark)
    full = load_checkpoint(llama_folder, name=str(llama_folder), device="cpu")
    assert re.search(why, lora_component(full, own).info.remark)


def test_components_run_where_the_target_runs(llama_folder: Path) -> None:
    hardware = Hardware("cpu", 77 * 2**20)
    target = load_checkpoint(llama_folder, name="t", hardware=hardware)
    other = load_component(target, f"model:{llama_folder}")
    assert isinstance(other, HuggingFaceModel)
    assert other.weights.hardware == hardware
    assert other.weights.memory.budget == 77 * 2**20


SPREAD = {"model.embed_tokens": "cpu", "model.layers": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu"}


@pytest.mark.parametrize("device_map", [{"": "cpu"}, {**SPREAD, "lm_head": "cpu"}])
def test_weights_that_accelerate_has_put_in_place(
    device_map: dict[str, str],
    llama_folder: Path,
    llama: HuggingFaceModel,
    adapter: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    placement = Placement(torch.device("cpu"), device_map)
    monkeypatch.setattr(huggingface, "place", lambda *_: placement)
    spread = load_checkpoint(llama_folder, name="spread", device="cpu")
    ids = spread.encode(TEXT)
    for ours, theirs in ((spread, llama), (lora_component(spread, adapter), lora_component(llama, adapter))):
        asked = [SampleRequest(ours.start_ids + ids[:k], 2, 8, k) for k in (0, 4, 9)]
        found, expected = ours.sample(asked), theirs.sample(asked)
        assert [t.token_ids for t in found if isinstance(t, Completion)] == [
            t.token_ids for t in expected if isinstance(t, Completion)
        ]
        rows = [model.distributions([ids]).log_probs(0, len(ids)) for model in (ours, theirs)]
        torch.testing.assert_close(rows[0], rows[1], atol=1e-4, rtol=0)


def test_weights_without_a_place_are_refused(
    llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ToDisk(Placement):
        @property
        def options(self) -> dict[str, Any]:
            return {"device_map": {**SPREAD, "lm_head": "cpu", "model.norm": "disk"}, "offload_folder": str(tmp_path)}

    monkeypatch.setattr(huggingface, "place", lambda *_: ToDisk(torch.device("cpu"), "auto"))
    with pytest.raises(
        NotAModel, match=r"spread does not fit into the GPUs \(1 of \d parts left out\); use --dtype bf16"
    ):
        load_checkpoint(llama_folder, name="spread", device="cpu")
    module = SimpleNamespace(hf_device_map={"a": 0, "b": "cpu"}, parameters=list)
    with pytest.raises(NotAModel, match=r"1 of 2 parts"):
        devices.require_loaded(module, "big")
