"""Sampling: the inverse distribution function, shared prefixes, compaction, the stopping rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from beb.errors import BadSpec, NumericalFailure
from beb.interfaces.language_model import Completion, Failure, SampleRequest
from beb.models import cells, steppers
from beb.models.decode import inverse_cdf
from beb.models.huggingface import HuggingFaceModel, load_checkpoint


def plain_sample(model: HuggingFaceModel, request: SampleRequest) -> list[int]:
    """The naive sampler: the whole text run again for every token, one request, fp64 cumulative sums in id order."""
    stream = np.random.Generator(np.random.Philox(request.seed))
    ids, n_sentences, length = list(request.prefix), 0, 0
    while n_sentences < request.n_sentences:
        logits = model.weights.full_logits(ids)[-1]
        cumulative = np.cumsum(logits.softmax(-1).double().numpy())
        token = int(np.searchsorted(cumulative, stream.random() * cumulative[-1], side="right"))
        ids.append(token)
        length += 1
        if token in model.rule.stops:
            break
        if (length > 3 and model.rule.terminators[token]) or length == request.max_sentence_tokens:
            n_sentences, length = n_sentences + 1, 0
    return ids[len(request.prefix) :]


def nested_requests(model: HuggingFaceModel, *, chat: bool) -> list[SampleRequest]:
    """Every prefix of two prompts, each asked for three times, plain or framed as chat turns, in a shuffled order."""
    before, after = model.chat_frame("Be short.") if chat else (model.start_ids, ())
    prompts = [
        model.encode(t) for t in ("I like kind words. I am sure. Do you trust me?", "Nobody deserves my time. I am.")
    ]
    prefixes = [before + p[:m] + after for p in prompts for m in (0, 4, 9, len(p))]
    asked = [SampleRequest(prefix, 2, 10, 31 * i + r) for i, prefix in enumerate(prefixes) for r in range(3)]
    return [asked[i] for i in np.random.default_rng(0).permutation(len(asked))]


@pytest.mark.parametrize(
    ("kind", "chat"),
    [("llama", False), ("llama", True), ("gpt2", False), ("gpt2", True), ("gemma2", True), ("mamba", False)],
)
def test_shared_prefixes_equal_plain_one_by_one_sampling(kind: str, chat: bool, build: Callable[..., Path]) -> None:
    model = load_checkpoint(build(kind), name=kind, device="cpu")
    assert model.row_cache == (kind in ("llama", "gpt2"))
    asked = nested_requests(model, chat=chat)
    texts = model.sample(asked)
    for request, text in zip(asked, texts, strict=True):
        assert isinstance(text, Completion)
        assert list(text.token_ids) == plain_sample(model, request)
    assert model.sample(asked) == texts


@pytest.mark.parametrize(("max_rows", "group_tokens"), [(3, 4096), (128, 30), (2, 1)])
def test_rows_taken_over_by_waiting_requests(
    llama: HuggingFaceModel, max_rows: int, group_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = nested_requests(llama, chat=True)
    expected = [t.token_ids for t in llama.sample(asked) if isinstance(t, Completion)]
    monkeypatch.setattr(cells, "MAX_ROWS", max_rows)
    monkeypatch.setattr(steppers, "GROUP_TOKENS", group_tokens)
    assert [t.token_ids for t in llama.sample(asked) if isinstance(t, Completion)] == expected


def test_rows_grow_beyond_their_first_size(llama: HuggingFaceModel) -> None:
    asked = [SampleRequest(llama.start_ids, 20, 10, i) for i in range(4)]
    texts = [t for t in llama.sample(asked) if isinstance(t, Completion)]
    assert max(len(t.token_ids) for t in texts) > cells.GROWTH + 20
    longest = max(range(4), key=lambda i: len(texts[i].token_ids))
    assert list(texts[longest].token_ids) == plain_sample(llama, asked[longest])


def test_a_request_that_cannot_fit_is_a_failure_beside_the_others(llama: HuggingFaceModel) -> None:
    fits, too_long = SampleRequest(llama.start_ids, 1, 10, 1), SampleRequest(llama.start_ids, 26, 10, 1)
    first, failed, second = llama.sample([fits, too_long, fits])
    assert first.token_ids == second.token_ids
    # Rows of one batch may be summed in another order: equal up to the rounding of fp32.
    np.testing.assert_allclose(first.log_probs, second.log_probs, atol=1e-5)
    assert isinstance(failed, Failure)
    assert failed.kind == "context-full"
    assert "256" in failed.detail


@pytest.mark.parametrize("change", [{"prefix": ()}, {"n_sentences": 0}, {"max_sentence_tokens": 0}, {"seed": -1}])
def test_impossible_requests(llama: HuggingFaceModel, change: dict[str, object]) -> None:
    fields: dict[str, object] = {"prefix": (0,), "n_sentences": 1, "max_sentence_tokens": 5, "seed": 0, **change}
    with pytest.raises(BadSpec):
        llama.sample([SampleRequest(**fields)])  # type: ignore[arg-type]


def test_nan_weights_are_named(build: Callable[..., Path]) -> None:
    model = load_checkpoint(build("llama", seed=9), name="broken", device="cpu")
    parameter = model.weights.parameter("model.layers.1.mlp.down_proj.weight")
    assert parameter is not None
    parameter.data[0, 0] = float("nan")
    with pytest.raises(NumericalFailure, match="broken"):
        model.sample([SampleRequest(model.start_ids, 1, 5, 0)])
    with pytest.raises(NumericalFailure, match=r"broken .*weights are damaged: download(?!.*dtype)"):
        model.distributions([(5, 6)]).log_probs(0, 2)


def test_half_precision_is_said_where_it_may_be_the_reason(build: Callable[..., Path]) -> None:
    model = load_checkpoint(build("llama", seed=9), name="broken", dtype="bf16", device="cpu")
    model.weights.module.get_input_embeddings().weight.data[:] = torch.nan
    with pytest.raises(NumericalFailure, match=r"broken .*bfloat16; .*overflow: give --dtype fp32, or another checkp"):
        model.distributions([(5, 6)]).log_probs(0, 2)


@given(
    row=st.lists(st.one_of(st.just(-np.inf), st.floats(-30, 30)), min_size=1, max_size=700).filter(
        lambda r: max(r) > -np.inf
    ),
    uniform=st.one_of(st.just(0.0), st.just(float(np.nextafter(1.0, 0.0))), st.floats(0, 1, exclude_max=True)),
)
@settings(max_examples=200, deadline=None)
def test_inverse_cdf(llama: HuggingFaceModel, row: list[float], uniform: float) -> None:
    """The token's interval of the cumulative distribution holds the uniform; no token of probability zero is taken."""
    logits = torch.tensor([row], dtype=torch.float32)
    (token,), (log_prob,) = inverse_cdf(llama.weights, logits, torch.tensor([uniform], dtype=torch.float64))
    probabilities = logits[0].double().softmax(-1).numpy()
    assert row[token] > -np.inf
    assert log_prob == pytest.approx(float(logits[0].double().log_softmax(-1)[token]), abs=1e-4)
    cumulative = np.cumsum(probabilities)
    assert cumulative[token] - probabilities[token] - 1e-6 <= uniform <= cumulative[token] + 1e-6
