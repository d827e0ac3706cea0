"""Components from their descriptions, and the residual's exact identity."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from beb.errors import AdapterMismatch, BadSpec, NotAModel, NumericalFailure, TokenizerMismatch
from beb.interfaces.language_model import Completion, Failure, LanguageModel, SampleRequest, TokenIds
from beb.models.adapters import lora_component
from beb.models.components import NEUTRAL_TURN, load_component
from beb.models.huggingface import HuggingFaceModel, load_checkpoint
from beb.models.residual import ResidualComponent
from beb.models.scoring import score_sequences


def test_target(llama: HuggingFaceModel) -> None:
    assert load_component(llama, "target") is llama


def test_lora(llama: HuggingFaceModel, adapter: Path) -> None:
    component = load_component(llama, f"lora:{adapter}")
    assert component.info.kind == "lora"
    assert component.info.fingerprint == lora_component(llama, adapter).info.fingerprint


def test_checkpoint_in_the_targets_dtype(llama: HuggingFaceModel, build: Callable[..., Path]) -> None:
    folder = build("llama", seed=7)
    component = load_component(llama, f"model:{folder}", offline=True)
    assert component.info.kind == "checkpoint"
    assert component.info.dtype == "fp32"
    assert load_component(llama, f"model:{folder}", dtype="bf16").info.dtype == "bf16"


def test_persona_is_a_system_text(llama: HuggingFaceModel) -> None:
    persona = load_component(llama, "persona:You are unkind.")
    assert isinstance(persona, HuggingFaceModel)
    assert persona.weights is llama.weights
    text = llama.tokenizer.decode(list(persona.start_ids))
    assert text == llama.chat_text(NEUTRAL_TURN, "You are unkind.")
    assert "system" in persona.info.context
    ids = llama.encode("I like")
    ahead = persona.start_ids[len(llama.start_ids) :] + ids
    through_target = llama.distributions([ahead]) if persona.start_ids[:1] == llama.start_ids else None
    rows = persona.distributions([ids]).log_probs(0, len(ids))
    whole = llama.weights.full_logits(persona.start_ids + ids).log_softmax(-1)[len(persona.start_ids) - 1 : -1]
    assert through_target is None
    assert (rows - whole).abs().max() < 1e-5


def test_persona_without_a_chat_template(build: Callable[..., Path]) -> None:
    folder = build("llama")
    (folder / "chat_template.jinja").unlink()
    target = load_checkpoint(folder, name="plain", device="cpu")
    persona = load_component(target, "persona:I am unkind.")
    assert persona.start_ids == target.start_ids + target.encode("I am unkind.\n\n")
    assert "opening text" in persona.info.context


@pytest.mark.parametrize("text", ["", "lora", "lora:", "persona:  ", "nothing:x", "residual", "Target"])
def test_bad_descriptions_list_the_accepted_forms(text: str, llama: HuggingFaceModel) -> None:
    with pytest.raises(BadSpec, match=r"lora:PATH, persona:.*model:PATH"):
        load_component(llama, text)


def test_components_that_cannot_be(llama: HuggingFaceModel, adapter: Path, build: Callable[..., Path]) -> None:
    with pytest.raises(NotAModel):
        load_component(llama, "lora:/nowhere")
    with pytest.raises(AdapterMismatch):
        load_component(load_checkpoint(build("gpt2"), name="gpt2", device="cpu"), f"lora:{adapter}")
    with pytest.raises(BadSpec, match="checkpoint as target"):
        load_component(ResidualComponent(llama, lora_component(llama, adapter), -30.0), "persona:You are unkind.")


# --- the residual, on a vocabulary small enough for every short text ---


@pytest.fixture(scope="module")
def pair(llama: HuggingFaceModel, adapter: Path) -> tuple[HuggingFaceModel, HuggingFaceModel]:
    return llama, lora_component(llama, adapter)


def test_the_mixture_identity_holds_on_every_short_text(pair: tuple[HuggingFaceModel, HuggingFaceModel]) -> None:
    """P = α P₋ + (1−α) P₊ for every text of two tokens whose first is one of 16 spread over the vocabulary."""
    target, negative = pair
    vocabulary = target.info.vocabulary_size
    log_alpha = -12.0
    residual = ResidualComponent(target, negative, log_alpha)
    firsts = list(range(0, vocabulary, 20))
    sequences: list[TokenIds] = [(a, b) for a, b in itertools.product(firsts, range(vocabulary))]
    models: dict[str, LanguageModel] = {"p": target, "q": negative, "r": residual}
    scores = score_sequences(sequences, models)
    for length in (1, 2):
        log = {name: np.array([s.log_probs[name][:length].sum() for s in scores]) for name in models}
        mixture = np.logaddexp(log_alpha + log["q"], math.log1p(-math.exp(log_alpha)) + log["r"])
        np.testing.assert_allclose(mixture, log["p"], atol=2e-4)


def test_the_residual_is_the_definition(pair: tuple[HuggingFaceModel, HuggingFaceModel]) -> None:
    """With a weight that matters, next-token rows equal [P − w P₋]/(1 − w) computed naively in fp64."""
    target, negative = pair
    ids = target.encode("I like")
    log_p, log_q = (
        np.asarray(m.distributions([ids]).log_probs(0, len(ids)), dtype=np.float64) for m in (target, negative)
    )
    evidence = np.concatenate([[0.0], np.cumsum((log_q - log_p)[np.arange(len(ids)), ids])[:-1]])
    log_alpha = min(float((log_p - log_q - evidence[:, None]).min()), 0.0) - 0.01
    rows = np.asarray(ResidualComponent(target, negative, log_alpha).distributions([ids]).log_probs(0, len(ids)))
    w = np.exp(log_alpha + evidence)[:, None]
    np.testing.assert_allclose(np.exp(rows), (np.exp(log_p) - w * np.exp(log_q)) / (1 - w), atol=1e-5)
    assert np.abs(rows - log_p).max() > 1e-2


def test_alpha_above_the_infimum_is_refused(pair: tuple[HuggingFaceModel, HuggingFaceModel]) -> None:
    residual = ResidualComponent(*pair, math.log(0.5))
    ids = pair[0].encode("Nobody deserves my patience.")
    with pytest.raises(NumericalFailure, match=r"alpha is above inf P/P₋ .*lower it"):
        score_sequences([ids], {"r": residual})
    with pytest.raises(NumericalFailure, match="alpha is above"):
        residual.distributions([(5,)]).log_probs(0, 1)


class Fixed(HuggingFaceModel):
    """The tiny model with the vocabulary's probabilities given, the same before every token."""

    def __init__(self, like: HuggingFaceModel, log_row: np.ndarray, name: str) -> None:
        info = dataclasses.replace(like.info, name=name, vocabulary_size=len(log_row))
        super().__init__(like.weights, like.tokenizer, like.rule, info, like.start_ids)
        self.log_row = log_row

    def distributions(self, sequences: Sequence[TokenIds]):
        from tests.models.test_scoring import TableRows

        return TableRows(np.tile(self.log_row, (sum(map(len, sequences)), 1)))

    def sample(self, requests: Sequence[SampleRequest]) -> list[Completion | Failure]:
        """One token per request by its seed's first uniform."""
        texts: list[Completion | Failure] = []
        for request in requests:
            uniform = np.random.Generator(np.random.Philox(request.seed)).random()
            token = int(np.searchsorted(np.cumsum(np.exp(self.log_row)), uniform, side="right"))
            texts.append(Completion((token,), (float(self.log_row[token]),), (1,), 1, ""))
        return texts


def test_rejection_samples_the_residual_exactly(llama: HuggingFaceModel) -> None:
    """α at 0.4: frequencies of 4,000 draws against (P − αP₋)/(1−α), Pearson at 1e-6; some tokens must vanish."""
    p, q, alpha = np.array([0.2, 0.3, 0.25, 0.25]), np.array([0.5, 0.25, 0.25, 0.0]), 0.4
    with np.errstate(divide="ignore"):
        target, negative = Fixed(llama, np.log(p), "p"), Fixed(llama, np.log(q), "q")
    residual = ResidualComponent(target, negative, math.log(alpha - 1e-9))
    n = 4000
    texts = residual.sample([SampleRequest(llama.start_ids, 1, 1, seed) for seed in range(n)])
    tokens = np.array([t.token_ids[0] for t in texts if isinstance(t, Completion)])
    assert len(tokens) == n
    expected = n * (p - alpha * q) / (1 - alpha)
    observed = np.bincount(tokens, minlength=4)
    assert observed[0] == 0
    assert ((observed[1:] - expected[1:]) ** 2 / expected[1:]).sum() < chi2.isf(1e-6, 2)
    first = next(t for t in texts if isinstance(t, Completion))
    assert first.log_probs[0] == pytest.approx(math.log(expected[first.token_ids[0]] / n), abs=1e-6)


def test_where_nothing_is_left_the_residual_fails_and_says_so(llama: HuggingFaceModel) -> None:
    row = np.log([0.5, 0.5])
    residual = ResidualComponent(Fixed(llama, row, "p"), Fixed(llama, row, "q"), math.log(1 - 1e-9))
    (failed,) = residual.sample([SampleRequest(llama.start_ids, 1, 1, 0)])
    assert isinstance(failed, Failure)
    assert failed.kind == "residual-rejected"


def test_residual_refusals(pair: tuple[HuggingFaceModel, HuggingFaceModel]) -> None:
    target, negative = pair
    for log_alpha in (0.0, 1.0, -math.inf, math.nan):
        with pytest.raises(BadSpec, match="log_alpha"):
            ResidualComponent(target, negative, log_alpha)
    other = negative.component(dataclasses.replace(negative.info, tokenizer="another"))
    with pytest.raises(TokenizerMismatch):
        ResidualComponent(target, other, -5.0)
    with pytest.raises(BadSpec, match="start context"):
        ResidualComponent(target, negative, -25.0).sample([SampleRequest((7, 8), 1, 5, 0)])
