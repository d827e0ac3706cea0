"""A component against the mixture of others, and start contexts that are computed once."""

from __future__ import annotations

import numpy as np
import pytest

import beb.models.huggingface as backend
from beb.core.personas import one_against_rest
from beb.models.components import neutral_component, persona_component
from beb.models.huggingface import HuggingFaceModel
from beb.models.mixture_scoring import score_against_mixture
from beb.models.scoring import score_sequences
from beb.worlds.model import WorldModel
from beb.worlds.persona_world import all_sequences, get_persona_world

SEQUENCES = [tuple(int(t) for t in np.random.default_rng(k).integers(3, 300, size=k)) for k in (1, 5, 20, 3, 1, 17)]


def components(llama: HuggingFaceModel) -> dict[str, HuggingFaceModel]:
    texts = {"kind": "You are kind, and you like kind words.", "curt": "You despise waiting for others."}
    return {"neutral": neutral_component(llama)} | {n: persona_component(llama, t) for n, t in texts.items()}


def test_a_shared_start_gives_the_same_log_probabilities(
    llama: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = components(llama)
    assert all(len(model.start_ids) >= backend.WORTH_SHARING for model in models.values())
    shared = score_sequences(SEQUENCES, models, divergences=[("kind", "curt")])
    monkeypatch.setattr(backend, "WORTH_SHARING", 10**6)
    whole = score_sequences(SEQUENCES, models, divergences=[("kind", "curt")])
    for a, b in zip(shared, whole, strict=True):
        assert a.kl["kind", "curt"] == pytest.approx(b.kl["kind", "curt"], abs=1e-4)
        for name in models:
            assert a.log_probs[name] == pytest.approx(b.log_probs[name], abs=1e-4)


def test_the_divergence_from_a_mixture_by_hand(llama: HuggingFaceModel) -> None:
    models, prior = components(llama), {"neutral": 0.3, "curt": 0.5, "kind": 0.2}
    log_weights = {name: float(np.log(w)) for name, w in prior.items()}
    own = ["kind", "kind", "curt", "curt", "kind", "neutral"]
    found, other = (
        score_against_mixture(SEQUENCES, models, own=own, log_weights=log_weights, chunk_rows=k) for k in (7, 1000)
    )
    for ids, name_own, score, same in zip(SEQUENCES, own, found, other, strict=True):
        weights = [name for name in prior if name != name_own]
        assert score.kl == pytest.approx(same.kl, abs=1e-5)
        rows = {
            name: model.distributions([ids]).log_probs(0, len(ids)).double().numpy() for name, model in models.items()
        }
        for t in range(len(ids)):
            before = {name: sum(rows[name][i, ids[i]] for i in range(t)) for name in models}
            joint = np.array([log_weights[name] + before[name] for name in weights])
            share = np.exp(joint - np.logaddexp.reduce(joint))
            mixed = sum(s * np.exp(rows[name][t]) for s, name in zip(share, weights, strict=True))
            first = rows[name_own][t]
            assert score.kl[t] == pytest.approx(float(np.exp(first) @ (first - np.log(mixed))), abs=1e-4)
            assert score.log_probs[name_own][t] == pytest.approx(first[ids[t]], abs=1e-4)


def test_the_mean_over_a_world_is_the_divergence_of_whole_texts() -> None:
    # E_P Σ_t KL_t is the mean log ratio of whole texts, with the others mixed as whole texts: the chain rule.
    world = get_persona_world("personas")
    models = {name: WorldModel(world, name) for name in world.names}
    texts = [tuple(t for s in pick for t in world.sentences[s]) for pick in all_sequences(world.n_sentences, 2)]
    log_weights = dict(zip(world.names, np.log(world.weights).tolist(), strict=True))
    own = world.names[2]
    del log_weights[own]
    scores = score_against_mixture(texts, models, own=[own] * len(texts), log_weights=log_weights)
    logs = np.array([[score.log_probs[name].sum() for name in world.names] for score in scores])
    ratio = one_against_rest(2, np.log(world.weights), logs).log_ratio
    probability = np.exp(logs[:, 2])
    assert float(probability @ [score.kl.sum() for score in scores]) == pytest.approx(float(probability @ ratio))


def test_the_neutral_frame_says_what_stands_before_the_turn(llama: HuggingFaceModel) -> None:
    target, persona = neutral_component(llama), persona_component(llama, "You are kind.")
    assert "no persona" in target.info.context
    assert "'user'" in target.info.context
    shared = len(target.start_ids) - 1
    assert target.start_ids[-shared + 1 :] == persona.start_ids[-shared + 1 :]
    assert "You are kind." in persona.decode(persona.start_ids)
    assert target.info.fingerprint != persona.info.fingerprint
