"""Hidden states of all layers at once: the same as one layer, one text at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from beb.errors import BadSpec, ContextTooShort, NumericalFailure
from beb.models.huggingface import HuggingFaceModel, load_checkpoint
from beb.models.representations import TEXTS_PER_PASS, n_representations, representations

TEXTS = ("I like kind words.", "Do you trust me?", "Nobody deserves my patience; some are not sure.", "No.")


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bloom", "mamba"])
def test_each_layer_is_what_the_model_computes_of_the_text_alone(build: Callable[..., Path], kind: str) -> None:
    model = load_checkpoint(build(kind), name=kind, device="cpu")
    found = representations(model, TEXTS)
    assert found.last.shape == found.mean.shape == (len(TEXTS), 3, 32)
    assert n_representations(model) == 3
    n_start = len(model.start_ids)
    for i, text in enumerate(TEXTS):
        ids = torch.tensor([[*model.start_ids, *model.encode(text)]])
        with torch.inference_mode():
            states = model.weights.module(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
        for layer, expected in enumerate(states):
            np.testing.assert_allclose(found.last[i, layer], expected[0, -1], atol=2e-5)
            np.testing.assert_allclose(found.mean[i, layer], expected[0, n_start:].mean(0), atol=2e-5)


def test_the_mean_is_the_scorers_embedding_and_the_batch_does_not_matter(llama: HuggingFaceModel) -> None:
    many = TEXTS * (TEXTS_PER_PASS // 2)
    found = representations(llama, many)
    for layer in range(3):
        np.testing.assert_allclose(found.mean[: len(TEXTS), layer], llama.hidden_states(TEXTS, layer), atol=2e-5)
    for i, text in enumerate(many):
        np.testing.assert_allclose(found.last[i], representations(llama, [text]).last[0], atol=2e-5)
    # The last token of all these is a mark; its embedding knows nothing else, the layers above do.
    stops = [i for i, text in enumerate(TEXTS) if text.endswith(".")]
    assert np.ptp(found.last[stops, 0], axis=0).max() == 0
    assert np.ptp(found.last[stops, 1], axis=0).max() > 0.01


def test_what_has_no_representation_is_refused(llama: HuggingFaceModel) -> None:
    with pytest.raises(BadSpec, match="no tokens"):
        representations(llama, ["I like it.", ""])
    with pytest.raises(ContextTooShort, match="leave out long texts"):
        representations(llama, ["I like kind words. " * 100])
    assert representations(llama, []).last.shape == (0, 3, 32)


def test_states_that_are_not_finite_are_refused(llama_folder: Path) -> None:
    model = load_checkpoint(llama_folder, name="broken", device="cpu")
    model.weights.module.get_input_embeddings().weight.data[:] = torch.nan
    with pytest.raises(NumericalFailure, match=r"NaN or infinite hidden states; .*damaged: (?!.*dtype)"):
        representations(model, TEXTS)
