"""The table of a world is its scorer, and its statements are its first sentences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from beb.errors import BadSpec
from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import Score
from beb.worlds import WorldScorer, draw_statements, get_world, random_world


def test_the_score_of_a_sentence_is_its_behavior() -> None:
    for seed in range(20):
        world = random_world(np.random.default_rng(seed), n_sentences=6)
        for i, score in enumerate(WorldScorer(world).score([world.text(i) for i in range(world.n_sentences)])):
            assert isinstance(score, Score)
            assert score.behavior == world.behavior[i]
            assert score.p_negative + score.p_neutral + score.p_positive == pytest.approx(1)
            assert min(score.p_negative, score.p_neutral, score.p_positive) >= 0


def test_other_texts_are_failures_and_silence_is_neutral() -> None:
    scorer = WorldScorer(get_world("coin"))
    scores = scorer.score(["I lie.", " I  lie. ", "", "I", "I lie. I lie."])
    assert scores[0] == scores[1] == Score(1.0, 0.0, 0.0)
    assert scores[2] == Score(0.0, 1.0, 0.0)
    assert all(isinstance(score, Failure) for score in scores[3:])
    assert scorer.info.exact
    assert scorer.info.fingerprint != WorldScorer(get_world("rare")).info.fingerprint


def test_statements_are_first_sentences_of_their_component() -> None:
    world, n = get_world("markov"), 2000
    statements = draw_statements(world, "positive", n, np.random.default_rng(5))
    assert len(statements) == n
    for i, p in enumerate(world.positive.initial):
        count = statements.count(world.text(i))
        assert binom.ppf(1e-6, n, p) <= count <= binom.isf(1e-6, n, p)
    assert statements == draw_statements(world, "positive", n, np.random.default_rng(5))
    with pytest.raises(BadSpec):
        draw_statements(world, "positive", 0, np.random.default_rng(5))
