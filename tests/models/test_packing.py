"""Texts in one row without padding are the same texts; models for which they would not be are found out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from beb.errors import ModelError
from beb.models import packing
from beb.models.huggingface import HuggingFaceModel
from beb.models.packing import packed, supports_packing

DTYPES = ("fp32", "bf16", "fp16")


def texts_of(model: HuggingFaceModel, lengths: list[int]) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, model.info.vocabulary_size, n).tolist() for n in lengths]


@given(st.lists(st.integers(1, 80), max_size=60), st.integers(1, 60))
def test_batches_hold_every_text_once_and_are_nearly_full(lengths: list[int], tokens: int) -> None:
    batches = packed(lengths, tokens=tokens)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    sizes = [sum(lengths[i] for i in batch) for batch in batches]
    assert all(size <= tokens or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))
    # First fit: no two batches would have fitted into one.
    assert all(a + b > tokens for k, a in enumerate(sizes) for b in sizes[:k])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("llama", True),  # rotary positions
        ("gpt2", True),  # learned positions
        ("opt", True),  # learned positions with an offset
        ("cohere", True),
        ("granite", True),
        ("gemma2", False),  # sliding windows, capped scores
        ("bloom", False),  # ALiBi
        ("mamba", False),  # no attention
    ],
)
def test_models_that_are_packed(
    kind: str, wanted: bool, dtype: str, loaded: Callable[[str, str], HuggingFaceModel]
) -> None:
    assert loaded(kind, dtype).weights.packs == wanted


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "cohere", "granite", "gemma2", "bloom", "mamba"])
def test_each_text_has_the_states_that_it_has_alone(kind: str, loaded: Callable[[str, str], HuggingFaceModel]) -> None:
    model = loaded(kind, "fp32")
    texts = texts_of(model, [13, 1, 7, 7, 22, 2, 40, 13])
    together = model.weights.hidden_rows(texts)
    for ids, states in zip(texts, together, strict=True):
        (alone,) = model.weights.hidden_rows([ids])
        assert states.shape == alone.shape
        torch.testing.assert_close(states, alone, rtol=1e-4, atol=1e-4)
    found: dict[int, torch.Tensor] = {}
    model.weights.each_layer(texts, 1, lambda i, states: found.update({i: states.clone()}))
    for i, ids in enumerate(texts):
        model.weights.each_layer([ids], 1, lambda _, states, i=i: found.update({-1 - i: states.clone()}))
        torch.testing.assert_close(found[i], found[-1 - i], rtol=1e-4, atol=1e-4)


def test_no_token_of_a_pass_is_padding(loaded: Callable[[str, str], HuggingFaceModel]) -> None:
    model = loaded("llama", "fp32")
    texts = texts_of(model, [31, 5, 9, 50, 17, 3])
    given: list[int] = []
    handle = model.weights.module.get_input_embeddings().register_forward_pre_hook(
        lambda _module, inputs: given.append(int(inputs[0].numel()))
    )
    try:
        assert model.weights.packs
        given.clear()
        model.weights.hidden_rows(texts)
    finally:
        handle.remove()
    assert given == [sum(map(len, texts))]


def test_the_usual_attention_is_back_after_a_pass(loaded: Callable[[str, str], HuggingFaceModel]) -> None:
    weights = loaded("llama", "fp32").weights
    with pytest.raises(ModelError):
        weights.hidden_rows([[1, 2], [weights.vocabulary_size + 5]])
    assert weights.module.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fault", ["sees the texts before", "counts positions by two", "sees ahead"])
def test_a_faulty_pass_is_not_used(
    fault: str, dtype: str, loaded: Callable[[str, str], HuggingFaceModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded("llama", dtype)
    assert supports_packing(model.weights)
    inputs, attend = packing.packed_inputs, packing.scaled_dot_product_attention

    def faulty_inputs(texts: Any, device: torch.device) -> dict[str, Any]:
        made = inputs(texts, device)
        if fault == "sees the texts before":
            made["text_lengths"] = [sum(made["text_lengths"])]
        if fault == "counts positions by two":
            made["position_ids"] = made["position_ids"] * 2
        return made

    def ahead(*states: torch.Tensor, is_causal: bool, **options: Any) -> torch.Tensor:
        return attend(*states, is_causal=is_causal and fault != "sees ahead", **options)

    monkeypatch.setattr(packing, "packed_inputs", faulty_inputs)
    monkeypatch.setattr(packing, "scaled_dot_product_attention", ahead)
    assert not supports_packing(model.weights)
