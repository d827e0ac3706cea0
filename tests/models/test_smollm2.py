"""The embedded model itself."""

from __future__ import annotations

import time

import numpy as np
import pytest

from beb.interfaces.language_model import Completion, SampleRequest
from beb.models.catalog import load_model
from beb.models.components import load_component
from beb.models.huggingface import HuggingFaceModel
from beb.models.scoring import score_sequences
from contract import check_completions, check_identity

pytestmark = pytest.mark.model

# fp32 rounding of this model: single tokens differ by up to 4e-3 nats between one order of summation and another.
REAL_TOLERANCE_NATS = 2e-2


@pytest.fixture(scope="module")
def smollm2() -> HuggingFaceModel:
    model = load_model("smollm2", offline=True, device="cpu")
    assert isinstance(model, HuggingFaceModel)
    return model


def test_it_is_what_it_says(smollm2: HuggingFaceModel) -> None:
    check_identity(smollm2)
    assert smollm2.info.vocabulary_size == 49152
    assert smollm2.info.context_length == 8192
    assert smollm2.info.has_chat_template
    assert smollm2.decode(smollm2.start_ids) == ""
    assert smollm2.tokenizer.convert_ids_to_tokens(smollm2.start_ids[0]) == "<|endoftext|>"
    assert smollm2.weights.splits
    assert smollm2.row_cache


def test_in_half_precision_it_shares_beginnings_too() -> None:
    half = load_model("smollm2", dtype="bf16", offline=True, device="cpu")
    assert isinstance(half, HuggingFaceModel)
    assert half.row_cache


def test_it_speaks_english(smollm2: HuggingFaceModel) -> None:
    texts = ["The capital of France is Paris.", "The capital of France is spoon."]
    true, false = score_sequences([smollm2.encode(t) for t in texts], {"m": smollm2})
    assert true.log_probs["m"].sum() > false.log_probs["m"].sum() + 5
    assert -true.log_probs["m"].mean() < 4


def test_the_default_system_text_is_the_models_own(smollm2: HuggingFaceModel) -> None:
    before, after = smollm2.chat_frame()
    assert "named SmolLM" in smollm2.decode(before)
    assert "named SmolLM" not in smollm2.decode(smollm2.chat_frame("Be kind.")[0])
    assert smollm2.decode(after).strip() == "assistant"


def test_samples_are_rescored_alike(smollm2: HuggingFaceModel) -> None:
    before, after = smollm2.chat_frame()
    prompt = smollm2.encode("I like kind words. I am sure of it.")
    prefixes = [smollm2.start_ids + prompt[:n] for n in (0, 5, len(prompt))] + [before + prompt + after] * 2
    asked = [SampleRequest(prefix, 1, 24, seed) for seed, prefix in enumerate(prefixes)]
    texts = [t for t in smollm2.sample(asked) if isinstance(t, Completion)]
    assert len(texts) == len(asked)
    assert texts[3].token_ids != texts[4].token_ids
    start = len(smollm2.start_ids)
    scores = score_sequences(
        [request.prefix[start:] + t.token_ids for request, t in zip(asked[:3], texts, strict=False)], {"m": smollm2}
    )
    for score, text in zip(scores, texts, strict=False):
        np.testing.assert_allclose(
            score.log_probs["m"][-len(text.token_ids) :], text.log_probs, atol=REAL_TOLERANCE_NATS
        )


def test_divergence_of_a_persona(smollm2: HuggingFaceModel) -> None:
    """Exact KL of 49,152 tokens equals Σ p log p/q in fp64, is never negative, and grows with the description."""
    persona = load_component(smollm2, "persona:You hate people and insult everybody.")
    ids = [smollm2.encode("You are a fool and I despise you.")]
    (score,) = score_sequences(ids, {"p": persona, "q": smollm2}, divergences=[("p", "q")], chunk_rows=4)
    log_p, log_q = (
        np.asarray(m.distributions(ids).log_probs(0, len(ids[0])), dtype=np.float64) for m in (persona, smollm2)
    )
    np.testing.assert_allclose(score.kl["p", "q"], (np.exp(log_p) * (log_p - log_q)).sum(1), rtol=1e-4, atol=1e-5)
    assert (score.kl["p", "q"] >= 0).all()
    assert score.kl["p", "q"].sum() > 1


def test_contract_of_rows_and_completions(smollm2: HuggingFaceModel) -> None:
    asked = [SampleRequest(smollm2.start_ids, 2, 12, seed) for seed in (3, 4)]
    texts = [t for t in smollm2.sample(asked) if isinstance(t, Completion)]
    assert smollm2.sample(asked) == texts
    check_completions(smollm2, texts)
    rows = smollm2.distributions([t.token_ids for t in texts])
    whole = np.asarray(rows.log_probs(0, rows.n_rows))
    np.testing.assert_allclose(np.exp(whole.astype(np.float64)).sum(1), 1.0, atol=1e-4)


def test_a_warm_load_is_quick(smollm2: HuggingFaceModel) -> None:
    """About 1.5 s alone on two cores; the limit leaves room for a busy machine."""
    begin = time.perf_counter()
    again = load_model("smollm2", offline=True, device="cpu")
    assert time.perf_counter() - begin < 20
    assert again.info == smollm2.info
