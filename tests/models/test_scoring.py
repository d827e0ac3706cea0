"""Log-probabilities and exact divergences against naive full computations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from beb.errors import NumericalFailure, TokenizerMismatch
from beb.interfaces.language_model import Distributions, LanguageModel, TokenIds
from beb.models.adapters import lora_component
from beb.models.huggingface import HuggingFaceModel, load_checkpoint
from beb.models.scoring import kl_rows, score_sequences, text_log_probs


class TableRows(Distributions):
    def __init__(self, rows: np.ndarray) -> None:
        self.n_rows, self._rows = len(rows), rows

    def log_probs(self, start: int, stop: int) -> np.ndarray:
        return self._rows[start:stop]


class Constant(HuggingFaceModel):
    """A model whose next-token distribution is one given row of log-probabilities (numpy, as in exact worlds)."""

    def __init__(self, like: HuggingFaceModel, row: Sequence[float]) -> None:
        super().__init__(like.weights, like.tokenizer, like.rule, like.info, like.start_ids)
        self.info = dataclasses.replace(like.info, vocabulary_size=len(row))
        self._row = np.asarray(row)

    def distributions(self, sequences: Sequence[TokenIds]) -> Distributions:
        return TableRows(np.tile(self._row, (sum(map(len, sequences)), 1)))


def naive_log_softmax(model: HuggingFaceModel, ids: TokenIds) -> np.ndarray:
    """(n_tokens, vocabulary) by one plain forward pass of the transformers model in fp64."""
    import copy

    with torch.inference_mode(), model.weights.activated(model.swap):
        module = copy.deepcopy(model.weights.module).double()
        tokens = torch.tensor([model.start_ids + ids])
        logits = module(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[0]
    return logits[len(model.start_ids) - 1 : -1].log_softmax(-1).double().numpy()


@pytest.mark.parametrize("chunk_rows", [1, 7, 1000])
def test_against_a_naive_full_computation(llama: HuggingFaceModel, adapter: Path, chunk_rows: int) -> None:
    lora = lora_component(llama, adapter)
    sequences = [llama.encode(t) for t in ("I like kind words.", "Nobody", "I would never lie to you. I am sure.")]
    scores = score_sequences(
        sequences, {"p": llama, "q": lora}, divergences=[("p", "q"), ("q", "p")], chunk_rows=chunk_rows
    )
    for ids, score in zip(sequences, scores, strict=True):
        log_p, log_q = naive_log_softmax(llama, ids), naive_log_softmax(lora, ids)
        at = np.arange(len(ids)), np.array(ids)
        np.testing.assert_allclose(score.log_probs["p"], log_p[at], atol=1e-4)
        np.testing.assert_allclose(score.log_probs["q"], log_q[at], atol=1e-4)
        np.testing.assert_allclose(score.kl["p", "q"], (np.exp(log_p) * (log_p - log_q)).sum(1), atol=1e-4)
        np.testing.assert_allclose(score.kl["q", "p"], (np.exp(log_q) * (log_q - log_p)).sum(1), atol=1e-4)
        assert score.kl["p", "q"].max() > 0.01


def test_zero_probabilities(llama: HuggingFaceModel) -> None:
    half, sure = [math.log(0.5), math.log(0.5), -math.inf], [0.0, -math.inf, -math.inf]
    models = {"half": Constant(llama, half), "sure": Constant(llama, sure)}
    (score,) = score_sequences([(0, 1)], models, divergences=[("sure", "half"), ("half", "sure")])
    np.testing.assert_allclose(score.kl["sure", "half"], math.log(2))
    assert np.isposinf(score.kl["half", "sure"]).all()
    assert score.log_probs["sure"].tolist() == [0.0, -math.inf]


def test_zero_probabilities_of_tensors() -> None:
    log_p = torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0]]).log()
    log_q = torch.tensor([[0.25, 0.75, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]).log()
    expected = [0.5 * math.log(4 / 3), math.inf, math.log(2)]
    np.testing.assert_allclose(kl_rows(log_p, log_q, "p", "q"), expected, rtol=1e-6)
    with pytest.raises(NumericalFailure, match=r"KL\(p"):
        kl_rows(torch.full((1, 3), math.nan), log_q[:1], "p", "q")


def test_nan_is_refused(llama: HuggingFaceModel) -> None:
    models = {"bad": Constant(llama, [math.nan, 0.0]), "good": Constant(llama, [math.log(0.5)] * 2)}
    with pytest.raises(NumericalFailure, match=r"bad gave NaN .*give another model$"):
        score_sequences([(0,)], models)
    with pytest.raises(NumericalFailure, match=r"KL\(good"):
        score_sequences([(1,)], models, divergences=[("good", "bad")])


def test_a_negative_divergence_is_refused(llama: HuggingFaceModel) -> None:
    models = {"p": Constant(llama, [math.log(0.5)] * 2), "q": Constant(llama, [math.log(0.8)] * 2)}
    with pytest.raises(NumericalFailure, match="KL"):
        score_sequences([(0,)], models, divergences=[("p", "q")])


def test_differing_tokenizers_are_refused(llama: HuggingFaceModel) -> None:
    other = llama.component(dataclasses.replace(llama.info, name="other", tokenizer="another"))
    models: dict[str, LanguageModel] = {"p": llama, "q": other}
    with pytest.raises(TokenizerMismatch, match=r"ask for the text-level estimate instead \(--kl monte-carlo\)"):
        score_sequences([(1,)], models, divergences=[("p", "q")])
    assert len(score_sequences([(1, 2)], models)) == 1


def test_memory_does_not_grow_with_vocabulary_times_length(llama: HuggingFaceModel) -> None:
    widest = 0

    class Watched(Distributions):
        def __init__(self, inner: Distributions) -> None:
            self.n_rows, self._inner = inner.n_rows, inner

        def log_probs(self, start: int, stop: int):
            nonlocal widest
            widest = max(widest, stop - start)
            return self._inner.log_probs(start, stop)

    class Spy(HuggingFaceModel):
        def distributions(self, sequences: Sequence[TokenIds]) -> Distributions:
            return Watched(super().distributions(sequences))

    spy = Spy(llama.weights, llama.tokenizer, llama.rule, llama.info, llama.start_ids)
    score_sequences([(5,) * 200] * 3, {"m": spy}, chunk_rows=64)
    assert widest == 64


def test_text_log_probs_sum_the_canonical_tokens(llama: HuggingFaceModel, build: Callable[..., Path]) -> None:
    other = load_checkpoint(build("gpt2"), name="gpt2", device="cpu")
    text = "I like kind words."
    for model in (llama, other):
        (score,) = text_log_probs([text], model)
        ids = model.encode(text)
        log_p = naive_log_softmax(model, ids)
        assert score.n_tokens == len(ids)
        assert score.log_prob == pytest.approx(log_p[np.arange(len(ids)), ids].sum(), abs=1e-3)
    assert text_log_probs([""], llama)[0].log_prob == 0.0
