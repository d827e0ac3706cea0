"""Models behind a server: the same distributions as the local ones, through real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from tests.contract import (
    TOLERANCE_NATS,
    check_completions,
    check_identity,
    check_independence_of_the_batch,
    next_token,
    requests,
    sample_texts,
)
from tests.model_server import ModelServer, serving

from beb.errors import BadSpec, ContextTooShort, NoDistribution, NotAModel, ServerFailed, TokenizerMismatch, UnknownName
from beb.interfaces.given_tokens import ScoresGivenTokens, TokenScores
from beb.interfaces.language_model import Completion, Failure, SampleRequest
from beb.models.adapters import lora_component
from beb.models.catalog import load_model
from beb.models.components import led, load_component
from beb.models.huggingface import HuggingFaceModel
from beb.models.residual import ResidualComponent
from beb.models.scoring import score_sequences, text_log_probs
from beb.models.served import ServedModel
from beb.models.top_tokens import BoundedScores, bounded_scores, coarse_divergence


@pytest.fixture(scope="module")
def server(llama: HuggingFaceModel, adapter: Path, llama_folder: Path) -> Iterator[ModelServer]:
    with serving({"base": llama, "unkind": lora_component(llama, adapter)}, llama_folder) as started:
        yield started


@pytest.fixture(scope="module")
def served(server: ModelServer) -> ServedModel:
    model = load_model(server.name("base"))
    assert isinstance(model, ServedModel)
    return model


@pytest.fixture(scope="module")
def unkind(llama: HuggingFaceModel, adapter: Path) -> HuggingFaceModel:
    return lora_component(llama, adapter)


def test_reads_as_the_local_model_reads(served: ServedModel, llama: HuggingFaceModel) -> None:
    check_identity(served)
    assert isinstance(served, ScoresGivenTokens)
    assert not isinstance(llama, ScoresGivenTokens)
    assert served.info.tokenizer == llama.info.tokenizer
    assert served.info.vocabulary_size == llama.info.vocabulary_size
    assert served.start_ids == llama.start_ids
    assert served.chat_frame() == llama.chat_frame()
    assert served.rule.stops == llama.rule.stops
    assert served.info.context_length == llama.info.context_length - 1


def test_completions(served: ServedModel, llama: HuggingFaceModel) -> None:
    texts = sample_texts(served, 6)
    check_completions(served, texts)
    check_independence_of_the_batch(served, texts)
    (ours,) = (score_sequences([t.token_ids for t in texts[:1]], {"m": llama})[0].log_probs["m"],)
    np.testing.assert_allclose(texts[0].log_probs, ours, atol=TOLERANCE_NATS)


def test_a_sentence_goes_on_where_the_rule_says_so(served: ServedModel, server: ModelServer) -> None:
    """The server stops at every token that may end a sentence; three tokens must stand before one that does."""
    first = len(server.bodies)
    texts = sample_texts(served, 12)
    bodies = server.bodies[first:]
    assert len(bodies) > 12  # some stopped too early, or began their second sentence
    assert len({body["seed"] for body in bodies}) == len(bodies)  # each part has random numbers of its own
    for text in texts:
        spans = zip((0, *text.sentence_ends), text.sentence_ends, strict=False)
        assert all(stop - start > 3 or text.token_ids[stop - 1] in served.rule.stops for start, stop in spans)


def test_the_whole_distribution_is_asked_for(served: ServedModel, server: ModelServer) -> None:
    first = len(server.bodies)
    sample_texts(served, 1)
    served.score_tokens([(5, 6)])
    for body in server.bodies[first:]:
        asked = {name: body[name] for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")}
        assert asked == {"temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1}


def test_frequencies(served: ServedModel, llama: HuggingFaceModel) -> None:
    """First tokens over HTTP against the local model's distribution; the limit is Pearson's at 1e-6."""
    n, probabilities = 600, next_token(llama, ())
    drawn = served.sample([SampleRequest(served.start_ids, 1, 1, 9000 + i) for i in range(n)])
    first = np.array([t.token_ids[0] for t in drawn if isinstance(t, Completion)])
    assert len(first) == n
    expected, observed = n * probabilities, np.bincount(first, minlength=len(probabilities))
    common = expected >= 5
    cells = np.array([[*expected[common], expected[~common].sum()], [*observed[common], observed[~common].sum()]])
    assert cells.shape[1] >= 2
    assert ((cells[1] - cells[0]) ** 2 / cells[0]).sum() < chi2.isf(1e-6, cells.shape[1] - 1)


def test_scores_given_ids(served: ServedModel, llama: HuggingFaceModel) -> None:
    ids = [text.token_ids for text in sample_texts(served, 3)]
    ours, theirs = (score_sequences(ids, {"m": model}) for model in (llama, served))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(b.log_probs["m"], a.log_probs["m"], atol=TOLERANCE_NATS)
    assert [s.log_probs.size for s in served.score_tokens([(), ids[0]]) if isinstance(s, TokenScores)] == [
        0,
        len(ids[0]),
    ]
    text = "I like kind words."
    assert text_log_probs([text], served)[0].log_prob == pytest.approx(
        text_log_probs([text], llama)[0].log_prob, abs=1e-3
    )


def test_lora_modules_are_components(served: ServedModel, server: ModelServer, unkind: HuggingFaceModel) -> None:
    ids = [(5, 6, 7, 8), (9, 10)]
    (expected, _) = score_sequences(ids, {"m": unkind})
    for name in ("model:#unkind", f"model:{server.name('unkind')}"):
        module = load_component(served, name)
        assert module.info.fingerprint != served.info.fingerprint
        np.testing.assert_allclose(
            score_sequences(ids, {"m": module})[0].log_probs["m"], expected.log_probs["m"], atol=TOLERANCE_NATS
        )


def test_openings_and_personas(served: ServedModel, llama: HuggingFaceModel) -> None:
    for change in (lambda m: led(m, "I think:\n"), lambda m: load_component(m, "persona:You are unkind.")):
        ours, theirs = change(llama), change(served)
        assert theirs.start_ids == ours.start_ids
        a, b = (score_sequences([(7, 8, 9)], {"m": m})[0].log_probs["m"] for m in (ours, theirs))
        np.testing.assert_allclose(b, a, atol=TOLERANCE_NATS)


def test_whole_distributions_are_refused(served: ServedModel, llama: HuggingFaceModel) -> None:
    with pytest.raises(NoDistribution, match="monte-carlo"):
        served.distributions([(1, 2)])
    with pytest.raises(NoDistribution, match=r"exact KL\(a ‖ b\).*top-k"):
        score_sequences([(5, 6)], {"a": llama, "b": served}, divergences=[("a", "b")])
    with pytest.raises(NoDistribution):
        ResidualComponent(served, led(served, "x"), -5.0).distributions([(5, 6)])


def test_top_tokens_bound_the_divergence_from_below(
    served: ServedModel, llama: HuggingFaceModel, unkind: HuggingFaceModel
) -> None:
    ids = [text.token_ids for text in sample_texts(served, 4)]
    exact = score_sequences(ids, {"p": unkind, "q": llama}, divergences=[("p", "q"), ("q", "p")])
    module = load_component(served, "model:#unkind")
    share: list[float] = []
    for models in ({"p": module, "q": served}, {"p": unkind, "q": served}, {"p": module, "q": llama}):
        for scores, truth in zip(bounded_scores(ids, models, [("p", "q"), ("q", "p")]), exact, strict=True):
            assert isinstance(scores, BoundedScores)
            for pair, kl in truth.kl.items():
                assert (scores.kl[pair] <= kl + 1e-4).all()
                share.append(scores.kl[pair].sum() / kl.sum())
    assert 0 < min(share) < max(share) <= 1 + 1e-4
    everything = bounded_scores(ids, {"p": module, "q": served}, [("p", "q")], top=llama.info.vocabulary_size)
    for scores, truth in zip(everything, exact, strict=True):
        assert isinstance(scores, BoundedScores)
        np.testing.assert_allclose(scores.kl["p", "q"], truth.kl["p", "q"], atol=1e-3)
    (local,) = bounded_scores(ids[:1], {"p": unkind, "q": llama}, [("p", "q")])
    assert isinstance(local, BoundedScores)
    np.testing.assert_allclose(local.kl["p", "q"], exact[0].kl["p", "q"], atol=1e-6)


def test_coarse_divergence() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    whole = float((p * np.log(p / q)).sum())
    told = {k: {i: float(np.log(v[i])) for i in range(k)} for k in (1, 2, 3) for v in (p,)}
    other = {k: {i: float(np.log(q[i])) for i in range(k)} for k in (1, 2, 3)}
    bounds = [coarse_divergence(told[k], other[k]) for k in (1, 2, 3)]
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(whole)
    assert bounds[0] == pytest.approx(0.5 * np.log(0.5 / 0.2) + 0.5 * np.log(0.5 / 0.8))
    assert coarse_divergence({0: float("-inf"), 1: 0.0}, {0: -1.0, 1: np.log1p(-np.exp(-1.0))}) > 0


@given(st.integers(3, 12), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_coarse_divergence_is_a_lower_bound(size: int, top: int, seed: int) -> None:
    """Whatever two distributions tell of their most probable tokens, and of the observed one."""
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.full(size, 0.3), 2)
    observed = int(rng.integers(size))
    told = [{int(i): float(np.log(v[i])) for i in {*np.argsort(-v)[:top], observed} if v[i] > 0} for v in (p, q)]
    whole = float(np.sum(p * np.log(p / q), where=(p > 0) & (q > 0)))
    if (q > 0).all():
        assert coarse_divergence(told[0], told[1], top=top) <= whole + 1e-9


def test_room(served: ServedModel) -> None:
    (refused,) = served.sample([SampleRequest(served.start_ids * 250, 1, 6, 0)])
    assert isinstance(refused, Failure)
    assert refused.kind == "context-full"
    with pytest.raises(ContextTooShort, match=str(served.info.context_length)):
        served.score_tokens([(5,) * served.info.context_length])


def test_connections_are_pooled_and_bounded(server: ModelServer) -> None:
    model = load_model(server.name("base", concurrency=3))
    before, server.most_at_once, server.delay = server.connections, 0, 0.01
    model.sample(requests(model, 12))
    server.delay = 0.0
    assert server.connections - before <= 3
    assert server.most_at_once == 3


def test_what_the_server_lists(server: ModelServer) -> None:
    assert load_model(server.name()).info.name.endswith("#base")  # its only base model
    with pytest.raises(UnknownName, match="did you mean 'unkind'"):
        load_model(server.name("unkin"))


def test_another_tokenizer_is_noticed(server: ModelServer, tmp_path: Path, llama: HuggingFaceModel) -> None:
    from tests.checkpoints import build_tokenizer

    build_tokenizer("completely other words here " * 20, 300).save_pretrained(tmp_path)
    with pytest.raises(TokenizerMismatch, match=r"\?tokenizer="):
        load_model(server.name("base", tokenizer=tmp_path))
    llama.tokenizer.save_pretrained(tmp_path / "same")
    assert load_model(server.name("base", tokenizer=tmp_path / "same")).info.tokenizer == llama.info.tokenizer
    with pytest.raises(NotAModel, match=r"\?tokenizer="):
        load_model(server.name("base", tokenizer="/nowhere/at/all"))


def test_keys_come_from_the_environment_and_are_never_told(
    llama: HuggingFaceModel, llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving({"base": llama}, llama_folder, key="geheim-123") as guarded:
        with pytest.raises(ServerFailed, match=r"\?key=VARIABLE"):
            load_model(guarded.name("base"))
        monkeypatch.setenv("MY_KEY", "geheim-falsch")
        with pytest.raises(ServerFailed, match="MY_KEY") as refused:
            load_model(guarded.name("base", key="MY_KEY"))
        assert "geheim" not in str(refused.value)
        monkeypatch.setenv("MY_KEY", "geheim-123")
        model = load_model(guarded.name("base", key="MY_KEY"))
        assert isinstance(sample_texts(model, 1)[0], Completion)
        assert "geheim" not in repr(model.info)
        with pytest.raises(BadSpec, match="NOT_SET"):
            load_model(guarded.name("base", key="NOT_SET"))


def test_nobody_there(server: ModelServer) -> None:
    with pytest.raises(ServerFailed, match="server-unreachable"):
        load_model("vllm:http://127.0.0.1:9?retries=0&timeout=2#base")
