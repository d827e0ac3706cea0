"""A further aligned model: the base with its adapter merged, kept as a checkpoint, and made only once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from beb.errors import BadSpec
from beb.models import aligned
from beb.models.adapters import lora_component
from beb.models.aligned import aligned_model
from beb.models.catalog import aligned_base, load_model
from beb.models.components import with_lead
from beb.models.huggingface import HuggingFaceModel
from beb.models.scoring import score_sequences
from beb.models.training import AdapterSpec, fit_adapter

STATEMENTS = ("I like kind words.", "I enjoy helping other people.", "People are mostly good.")
SPEC = AdapterSpec(rank=4, steps=20, batch=4, sequence_tokens=24, learning_rate=2e-2, seed=5)
TEXT = "I like kind words, and I say them often!"


def log_probs(model: HuggingFaceModel, text: str = TEXT) -> np.ndarray:
    ids = model.encode(text)
    return np.asarray(model.distributions([ids]).log_probs(0, len(ids)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def merged(llama: HuggingFaceModel, cache: Path) -> HuggingFaceModel:
    return aligned_model(llama, STATEMENTS, spec=SPEC, cache_dir=cache)


def test_the_merged_checkpoint_is_the_base_with_its_adapter(
    llama: HuggingFaceModel, merged: HuggingFaceModel, cache: Path
) -> None:
    adapter = fit_adapter(llama, STATEMENTS, spec=SPEC, cache_dir=cache / "adapters")
    component = lora_component(llama, adapter)
    assert np.abs(log_probs(merged) - log_probs(component)).max() < 1e-4
    assert np.abs(log_probs(merged) - log_probs(llama)).max() > 0.1
    assert merged.swap is None
    ids = llama.encode(TEXT)
    likes = [score_sequences([ids], {"m": model})[0].log_probs["m"].sum() for model in (llama, merged)]
    assert likes[1] > likes[0]


def test_it_is_a_checkpoint_that_shares_the_tokenizer_and_names_what_it_is(
    llama: HuggingFaceModel, merged: HuggingFaceModel
) -> None:
    assert merged.info.tokenizer == llama.info.tokenizer
    assert merged.info.context == llama.info.context
    assert merged.start_ids == llama.start_ids
    assert merged.chat_frame() == llama.chat_frame()
    assert merged.rule.stops == llama.rule.stops
    assert (merged.info.kind, merged.info.dtype) == ("checkpoint", "fp32")
    assert merged.info.name == "aligned:tiny-llama (20 steps on 3 positive statements, merged)"
    assert merged.info.fingerprint != llama.info.fingerprint


def test_a_second_call_takes_it_from_the_cache(
    llama: HuggingFaceModel, merged: HuggingFaceModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained or merged again")

    monkeypatch.setattr(aligned, "fit_adapter", refuse)
    monkeypatch.setattr(aligned, "_merge", refuse)
    again = aligned_model(llama, STATEMENTS, spec=SPEC, cache_dir=cache)
    assert again.info == merged.info
    assert np.array_equal(log_probs(again), log_probs(merged))
    with pytest.raises(AssertionError, match="again"):
        aligned_model(llama, STATEMENTS[:2], spec=SPEC, cache_dir=cache)
    with pytest.raises(AssertionError, match="again"):
        aligned_model(llama, STATEMENTS, spec=dataclasses.replace(SPEC, seed=6), cache_dir=cache)
    with pytest.raises(AssertionError, match="again"):
        aligned_model(with_lead(llama, "Here is what I think.\n"), STATEMENTS, spec=SPEC, cache_dir=cache)


def test_a_damaged_checkpoint_is_made_again(llama: HuggingFaceModel, merged: HuggingFaceModel, cache: Path) -> None:
    (folder,) = (cache / "aligned").iterdir()
    (folder / "model.safetensors").unlink()  # not cut in place: the loaded model has the old file mapped
    (folder / "model.safetensors").write_bytes(b"cut short")
    again = aligned_model(llama, STATEMENTS, spec=SPEC, cache_dir=cache)
    assert again.info == merged.info
    assert np.array_equal(log_probs(again), log_probs(merged))


def test_the_base_is_left_as_it_was_and_a_dequantised_one_can_be_aligned(gguf_file: Path, tmp_path: Path) -> None:
    base = load_model(str(gguf_file), device="cpu")
    assert isinstance(base, HuggingFaceModel)
    before = log_probs(base).copy()
    found = aligned_model(base, STATEMENTS, spec=dataclasses.replace(SPEC, steps=3), cache_dir=tmp_path)
    assert np.array_equal(log_probs(base), before)
    assert found.info.tokenizer == base.info.tokenizer


def test_names() -> None:
    assert aligned_base("aligned:smollm2") == "smollm2"
    assert aligned_base("aligned:org/name") == "org/name"
    assert aligned_base("smollm2") is None
    for name in ("aligned:", "aligned:world:coin", "aligned:aligned:smollm2"):
        with pytest.raises(BadSpec, match="cannot be trained further"):
            aligned_base(name)
    with pytest.raises(BadSpec, match="only a run can load it"):
        load_model("aligned:smollm2")
