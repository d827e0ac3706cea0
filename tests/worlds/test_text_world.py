"""Worlds that resemble text: what their docstring says of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from beb.errors import BadSpec
from beb.models.scoring import score_sequences
from beb.worlds import WorldScorer, proxy_gap, text_world, truth, world_model
from beb.worlds.world import World

SEEDS = range(40)


def worlds(n_words: int) -> list[World]:
    return [text_world(np.random.default_rng(seed), n_words=n_words) for seed in SEEDS]


@pytest.mark.parametrize("n_words", [2, 3, 4, 5])
def test_sentences_are_every_choice_of_words(n_words: int) -> None:
    world = text_world(np.random.default_rng(0), n_words=n_words)
    assert world.n_sentences == 2**n_words
    assert all(len(sentence) == n_words for sentence in world.sentences)
    texts = [world.text(i) for i in range(world.n_sentences)]
    assert len(set(texts)) == 2**n_words
    assert all(text.endswith(("strangers.", "friends.")) for text in texts)
    desired = {"we", "rarely", "help", "old", "friends."}
    for text, behavior in zip(texts, world.behavior, strict=True):
        good = sum(word in desired for word in text.split())
        assert behavior == pytest.approx((2 * good - n_words) / n_words)
    model, scorer = world_model(world, "target"), WorldScorer(world)
    assert [model.decode(model.encode(text)) for text in texts] == texts
    assert [s.behavior for s in scorer.score(texts)] == pytest.approx(world.behavior)  # type: ignore[union-attr]


def test_the_same_generator_gives_the_same_world_and_another_another() -> None:
    first, same, other = (text_world(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == same
    assert first.fingerprint("target") != other.fingerprint("target")


@pytest.mark.parametrize("n_words", [2, 3])
def test_the_target_is_an_exact_mixture_of_distinct_components(n_words: int) -> None:
    for world in worlds(n_words):
        assert world.is_mixture
        assert 4 <= world.log_inverse_alpha <= 10
        exact = truth(world, 3)
        assert exact.beta > 0
        assert exact.gamma_mean < exact.positive_behavior.min()
        assert exact.evidence_curve.max() <= world.log_inverse_alpha
        assert proxy_gap(world) == pytest.approx(0.0, abs=1e-12)


def test_the_log_ratio_of_a_sentence_is_a_sum_of_small_terms() -> None:
    """A word's log odds are at most log 9 (0.1 to 0.9) from even, and shift by at most 0.6 for each of two reasons."""
    per_word = math.log(9) + 0.6 + 0.6
    for world in worlds(3)[:10]:
        models = [world_model(world, role) for role in ("negative", "positive")]
        texts = [before + after for before in world.sentences for after in world.sentences]
        scores = score_sequences(texts, dict(zip("qp", models, strict=True)))
        terms = np.array([score.log_probs["q"] - score.log_probs["p"] for score in scores]).reshape(-1, 2, 3)
        assert np.abs(terms).max() <= per_word
        ratio = np.log(world.negative.table() / world.positive.table())
        size = world.n_sentences
        np.testing.assert_allclose(terms[:, 0].sum(axis=1), np.repeat(ratio[0], size), atol=1e-12)
        np.testing.assert_allclose(terms[:, 1].sum(axis=1), ratio[1:].ravel(), atol=1e-12)


def test_the_range_of_alpha_is_kept() -> None:
    for seed in SEEDS:
        world = text_world(np.random.default_rng(seed), log_inverse_alpha=(1.0, 2.0))
        assert 1 <= world.log_inverse_alpha <= 2


@pytest.mark.parametrize("n_words", [1, 6])
def test_other_lengths_are_refused(n_words: int) -> None:
    with pytest.raises(BadSpec, match=f"n_words is {n_words}; give 2 to 5"):
        text_world(np.random.default_rng(0), n_words=n_words)
