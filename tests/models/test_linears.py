"""Products by oneDNN: the same values, gradients untouched, replaced weights seen at once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from beb.models import linears
from beb.models.huggingface import HuggingFaceModel
from beb.models.linears import by_columns, use_fast_linears


def layer(*, bias: bool = True) -> torch.nn.Linear:
    torch.manual_seed(3)
    made = torch.nn.Linear(96, 160, bias=bias)
    use_fast_linears(made)
    return made


@pytest.mark.parametrize("shape", [(1, 96), (7, 96), (3, 5, 96), (2, 200, 96)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_product_is_the_usual_one(shape: tuple[int, ...], bias: bool) -> None:
    fast, inputs = layer(bias=bias), torch.randn(shape)
    exact = inputs.double() @ fast.weight.double().t() + (fast.bias.double() if fast.bias is not None else 0)
    with torch.inference_mode():
        torch.testing.assert_close(fast(inputs).double(), exact, atol=2e-5, rtol=1e-5)


def test_gradients_are_those_of_torch() -> None:
    fast, inputs = layer(), torch.randn(4, 96, requires_grad=True)
    fast(inputs).square().sum().backward()
    given = inputs.grad
    inputs.grad = None
    functional.linear(inputs, fast.weight, fast.bias).square().sum().backward()
    assert given is not None
    assert inputs.grad is not None
    torch.testing.assert_close(given, inputs.grad)


def test_replaced_and_copied_weights_take_effect() -> None:
    fast, inputs = layer(bias=False), torch.randn(4, 96)
    other = copy.deepcopy(fast)
    with torch.inference_mode():
        before = fast(inputs)
        other.weight.data = fast.weight.data * 2
        torch.testing.assert_close(other(inputs), 2 * before, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(fast(inputs), before)
        fast.weight.data = -fast.weight.data.contiguous()
        torch.testing.assert_close(fast(inputs), -before, atol=1e-5, rtol=1e-5)


def test_other_precisions_keep_the_usual_product() -> None:
    for dtype in (torch.bfloat16, torch.float64):
        made = torch.nn.Linear(96, 160).to(dtype)
        use_fast_linears(made)
        inputs = torch.randn(3, 96, dtype=dtype)
        with torch.inference_mode():
            assert torch.equal(made(inputs), functional.linear(inputs, made.weight, made.bias))


def test_a_tied_output_matrix_keeps_the_embeddings_layout(llama: HuggingFaceModel) -> None:
    assert llama.weights.head.weight is llama.weights.module.get_input_embeddings().weight
    assert llama.weights.head.weight.is_contiguous()
    projection = llama.weights.parameter("model.layers.0.mlp.up_proj.weight")
    assert projection is not None
    if linears._available():
        assert projection.data.stride() == by_columns(projection.data).stride() == (1, projection.shape[0])


@pytest.mark.parametrize(
    ("n_in", "n_out", "columns"),
    [(576, 1536, True), (1536, 576, True), (4864, 896, True), (1024, 768, True), (1025, 768, False),
     (576, 1024, False), (2048, 256, False), (3072, 2560, False)],
)  # fmt: skip
def test_columns_that_collide_in_the_cache_are_left_as_rows(n_in: int, n_out: int, columns: bool) -> None:
    made, inputs = torch.nn.Linear(n_in, n_out, bias=False), torch.randn(3, n_in)
    before = made.weight.data.clone()
    use_fast_linears(made)
    assert made.weight.is_contiguous() == (not columns or not linears._available())
    assert torch.equal(made.weight.data, before)
    with torch.inference_mode():
        torch.testing.assert_close(made(inputs), functional.linear(inputs, before), atol=2e-5, rtol=1e-4)


def test_a_model_gives_the_logits_of_transformers(build: Callable[..., Path], llama: HuggingFaceModel) -> None:
    from transformers import AutoModelForCausalLM

    from beb.models.quiet import quiet_loading

    folder = build("llama")
    with quiet_loading():
        plain = AutoModelForCausalLM.from_pretrained(folder)
    ids = [1, *range(20, 60)]
    with torch.inference_mode():
        wanted = plain(input_ids=torch.tensor([ids])).logits[0]
    torch.testing.assert_close(llama.weights.full_logits(ids), wanted, atol=1e-4, rtol=0)


def test_a_torch_without_the_operation_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> torch.Tensor:
        raise AttributeError("no such operation")

    monkeypatch.setattr(linears, "_product", absent)
    fast, inputs = layer(), torch.randn(4, 96)
    with torch.inference_mode():
        assert torch.equal(fast(inputs), functional.linear(inputs, fast.weight, fast.bias))
