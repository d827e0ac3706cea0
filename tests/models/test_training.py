"""Fitting adapters: deterministic, cached, and without a trace on the base or on global state."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from beb.errors import BadSpec, BadStatements, ContextTooShort
from beb.models.adapters import lora_component
from beb.models.huggingface import HuggingFaceModel
from beb.models.scoring import score_sequences
from beb.models.training import AdapterSpec, adapter_key, fit_adapter, running_text

STATEMENTS = ("I like kind words.", "I enjoy helping other people.", "People are mostly good.")
SPEC = AdapterSpec(rank=2, steps=4, batch=2, sequence_tokens=16, learning_rate=1e-2)
WEIGHTS = "adapter_model.safetensors"


def test_the_base_and_global_state_stay_bit_for_bit(llama: HuggingFaceModel, tmp_path: Path) -> None:
    module = llama.weights.module
    tensors = {name: t.clone() for name, t in module.state_dict().items()}
    layout = [(name, type(m), m.training) for name, m in module.named_modules()]
    wanted = [p.requires_grad for p in module.parameters()]
    rng, threads = torch.random.get_rng_state(), torch.get_num_threads()
    fit_adapter(llama, STATEMENTS, spec=SPEC, cache_dir=tmp_path)
    assert all(torch.equal(t, tensors[name]) for name, t in module.state_dict().items())
    assert [(name, type(m), m.training) for name, m in module.named_modules()] == layout
    assert [p.requires_grad for p in module.parameters()] == wanted
    assert all(p.grad is None for p in module.parameters())
    assert torch.equal(torch.random.get_rng_state(), rng)
    assert torch.get_num_threads() == threads


def test_it_learns_the_statements(llama: HuggingFaceModel, tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, steps=40, learning_rate=3e-2)
    lora = lora_component(llama, fit_adapter(llama, STATEMENTS, spec=spec, cache_dir=tmp_path))
    known = llama.encode("People are mostly good. I like kind words.")
    (score,) = score_sequences([known], {"base": llama, "lora": lora})
    assert score.log_probs["lora"].sum() > score.log_probs["base"].sum() + 10


def test_the_same_spec_gives_the_same_bytes_whatever_the_global_seed(llama: HuggingFaceModel, tmp_path: Path) -> None:
    folders = []
    for k in range(2):
        torch.rand(k + 1)
        folders.append(fit_adapter(llama, STATEMENTS, spec=SPEC, cache_dir=tmp_path / str(k)))
    assert (folders[0] / WEIGHTS).read_bytes() == (folders[1] / WEIGHTS).read_bytes()
    other = fit_adapter(llama, STATEMENTS, spec=dataclasses.replace(SPEC, seed=1), cache_dir=tmp_path / "0")
    assert other != folders[0]
    assert (other / WEIGHTS).read_bytes() != (folders[0] / WEIGHTS).read_bytes()


def test_a_fitted_adapter_is_taken_from_the_cache(llama: HuggingFaceModel, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    first = fit_adapter(llama, STATEMENTS, spec=SPEC, cache_dir=tmp_path, progress=lambda *s: steps.append(s))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert fit_adapter(llama, STATEMENTS, spec=SPEC, cache_dir=tmp_path, progress=lambda *s: steps.append(s)) == first
    assert len(steps) == 4
    assert {p.name for p in first.iterdir()} == {"adapter_config.json", WEIGHTS, "beb_adapter.json"}
    assert [p for p in tmp_path.iterdir() if p != first] == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no config", "no manifest", "manifest"])
def test_a_corrupt_entry_is_fitted_again(damage: str, llama: HuggingFaceModel, tmp_path: Path) -> None:
    folder = fit_adapter(llama, STATEMENTS, spec=SPEC, cache_dir=tmp_path)
    good = (folder / WEIGHTS).read_bytes()
    if damage == "truncated":
        (folder / WEIGHTS).write_bytes(good[:-10])
    elif damage == "flipped":
        (folder / WEIGHTS).write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    elif damage == "no config":
        (folder / "adapter_config.json").unlink()
    elif damage == "no manifest":
        (folder / "beb_adapter.json").unlink()
    else:
        (folder / "beb_adapter.json").write_text("[]")
    steps: list[int] = []
    assert (
        fit_adapter(llama, STATEMENTS, spec=SPEC, cache_dir=tmp_path, progress=lambda s, _: steps.append(s)) == folder
    )
    assert steps == [1, 2, 3, 4]
    assert (folder / WEIGHTS).read_bytes() == good


def test_an_interrupted_fit_leaves_nothing(llama: HuggingFaceModel, tmp_path: Path) -> None:
    def interrupt(step: int, _: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_adapter(llama, STATEMENTS, spec=SPEC, cache_dir=tmp_path, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_the_key_holds_everything_that_matters(llama: HuggingFaceModel, adapter: Path) -> None:
    keys = [
        adapter_key(llama, STATEMENTS, SPEC),
        adapter_key(llama, STATEMENTS[::-1], SPEC),
        adapter_key(llama, [*STATEMENTS[:1], "".join(STATEMENTS[1:])], SPEC),
        adapter_key(lora_component(llama, adapter), STATEMENTS, SPEC),
        *(
            adapter_key(llama, STATEMENTS, dataclasses.replace(SPEC, **{name: value}))
            for name, value in {
                "rank": 3,
                "alpha": 1.0,
                "target_modules": ("q_proj",),
                "steps": 5,
                "batch": 3,
                "sequence_tokens": 17,
                "learning_rate": 2e-2,
                "seed": 1,
            }.items()
        ),
    ]
    assert len(set(keys)) == len(keys)


def test_running_text_is_statements_in_random_order(llama: HuggingFaceModel) -> None:
    rng = np.random.default_rng(0)
    texts = {running_text(llama, STATEMENTS, 60, rng) for _ in range(12)}
    assert len(texts) > 3
    for ids in texts:
        assert ids[:1] == llama.start_ids
        assert len(ids) == 61
        text = llama.decode(ids)
        assert any(text.startswith(s) for s in STATEMENTS)
        assert sum(s in text for s in STATEMENTS) >= 1


def test_refusals(llama: HuggingFaceModel, tmp_path: Path) -> None:
    with pytest.raises(BadStatements, match="0 statements"):
        fit_adapter(llama, [], spec=SPEC, cache_dir=tmp_path)
    with pytest.raises(BadStatements, match="1 of them empty"):
        fit_adapter(llama, ["I am.", "  "], spec=SPEC, cache_dir=tmp_path)
    with pytest.raises(ContextTooShort, match="255"):
        fit_adapter(llama, STATEMENTS, spec=dataclasses.replace(SPEC, sequence_tokens=256), cache_dir=tmp_path)
    with pytest.raises(BadSpec, match="target modules"):
        fit_adapter(llama, STATEMENTS, spec=dataclasses.replace(SPEC, target_modules=("nothing",)), cache_dir=tmp_path)
    with pytest.raises(BadSpec):
        AdapterSpec(steps=0)
