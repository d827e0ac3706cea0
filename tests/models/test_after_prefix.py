"""A model that reads after a fixed prefix: the whole contract, and agreement with the model it wraps."""

from __future__ import annotations

import numpy as np
import pytest

from beb.models.after_prefix import AfterPrefix
from beb.models.components import with_lead
from beb.models.huggingface import HuggingFaceModel
from beb.models.scoring import score_sequences
from beb.worlds import get_world, random_world, world_model
from beb.worlds import model as world_module
from beb.worlds.world import Role
from contract import check_language_model, sample_texts

ROLES: tuple[Role, ...] = ("target", "negative", "positive")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", ["markov", "coin"])
def test_contract_on_worlds(name: str, role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_module, "CONTEXT_LENGTH", 64)
    world = get_world(name)
    model = world_model(world, role)
    check_language_model(AfterPrefix(model, model.encode(f"{world.text(1)} {world.text(0)}")))


def test_contract_on_a_checkpoint(llama: HuggingFaceModel) -> None:
    check_language_model(AfterPrefix(llama, llama.encode("I like kind words.")))


def test_it_is_the_checkpoint_after_an_opening_text(llama: HuggingFaceModel) -> None:
    lead = "I am sure, she said. "
    ours, theirs = AfterPrefix(llama, llama.encode(lead)), with_lead(llama, lead)
    assert ours.start_ids == theirs.start_ids
    texts = [text.token_ids for text in sample_texts(ours, 4)]
    pairs = [("ours", "theirs"), ("theirs", "ours")]
    for score in score_sequences(texts, {"ours": ours, "theirs": theirs}, divergences=pairs, chunk_rows=5):
        np.testing.assert_allclose(score.log_probs["ours"], score.log_probs["theirs"], atol=1e-4)
        for pair in pairs:
            np.testing.assert_allclose(score.kl[pair], 0.0, atol=1e-6)
    assert ours.info.fingerprint not in (llama.info.fingerprint, theirs.info.fingerprint)
    assert lead.strip() in ours.info.context


def test_what_it_says_of_a_text_is_the_chain_rule() -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        world = random_world(rng, markov=True)
        for role in ROLES:
            model = world_model(world, role)
            first, second = (world.sentences[int(i)] for i in rng.integers(world.n_sentences, size=2))
            (whole,) = score_sequences([first + second], {"m": model})
            (after,) = score_sequences([second], {"m": AfterPrefix(model, first)})
            np.testing.assert_allclose(after.log_probs["m"], whole.log_probs["m"][len(first) :], atol=1e-12)


def test_an_empty_prefix_changes_nothing_but_the_name() -> None:
    model = world_model(get_world("markov"), "target")
    same = AfterPrefix(model, ())
    assert same.start_ids == model.start_ids
    assert same.sample([]) == []
    assert same.distributions([()]).n_rows == 0
