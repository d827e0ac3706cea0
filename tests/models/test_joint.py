"""Sampling for several models at once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from beb.interfaces.language_model import Completion, Failure, LanguageModel, SampleRequest
from beb.models.components import neutral_component, persona_component
from beb.models.huggingface import HuggingFaceModel
from beb.models.joint import sample_each
from beb.models.weights import WeightSwap
from beb.worlds.model import WorldModel
from beb.worlds.persona_world import get_persona_world


def requests_of(models: Sequence[LanguageModel], n_sentences: int = 2) -> list[SampleRequest]:
    return [SampleRequest(model.start_ids, n_sentences, 12, seed) for seed, model in enumerate(models)]


def test_components_that_differ_in_their_start_are_one_batch(
    llama: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = [neutral_component(llama), persona_component(llama, "You are kind."), persona_component(llama, "Go away.")]
    models = [shared[i] for i in (1, 0, 2, 1, 0)]
    requests = requests_of(models)
    alone = [model.sample([request])[0] for model, request in zip(models, requests, strict=True)]
    sizes: list[int] = []
    sample = HuggingFaceModel.sample

    def counted(self: HuggingFaceModel, given: Sequence[SampleRequest]) -> list[Completion | Failure]:
        sizes.append(len(given))
        return sample(self, given)

    monkeypatch.setattr(HuggingFaceModel, "sample", counted)
    together = sample_each(models, requests)
    assert sizes == [5]
    for one, other in zip(alone, together, strict=True):
        assert isinstance(one, Completion)
        assert isinstance(other, Completion)
        assert one.token_ids == other.token_ids
        assert other.log_probs == pytest.approx(one.log_probs, abs=1e-4)
    assert sample_each([], []) == []


def test_models_that_sample_differently_stay_apart(llama: HuggingFaceModel) -> None:
    adapted = llama.component(llama.info, swap=WeightSwap({}))
    assert adapted.sampling_key != llama.sampling_key
    world = get_persona_world("personas")
    chains = [WorldModel(world, name) for name in world.names]
    models = [chains[i] for i in (0, 1, 2, 3, 0, 1)]
    requests = requests_of(models, 6)
    assert sample_each(models, requests) == [m.sample([r])[0] for m, r in zip(models, requests, strict=True)]
