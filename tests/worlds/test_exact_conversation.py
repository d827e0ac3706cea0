"""The truth about conversations, and Theorem 3 against it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from beb.core import bounds
from beb.errors import BadSpec, NoBound
from beb.worlds.catalog import get_world
from beb.worlds.exact import truth
from beb.worlds.exact_conversation import conversation_premises, conversation_truth, persuasion_probability
from beb.worlds.random_world import random_world
from beb.worlds.text_world import text_world
from beb.worlds.world import World


def by_hand(world: World, turns: int) -> tuple[list[float], list[float], list[float]]:
    """B of each reply, its mean resistance and its variance, written out path by path: one sentence per turn."""
    (negative,), (positive,) = world.chains("negative"), world.chains("positive")
    p, q, b = negative.table(), positive.table(), world.behavior_table()
    behavior, back, square = np.zeros(turns), np.zeros(turns), np.zeros(turns)
    for path in itertools.product(range(world.n_sentences), repeat=2 * turns):
        chance, joint, last = 1.0, np.array([world.alpha, 1 - world.alpha]), 0
        for i, sentence in enumerate(path):
            if i % 2 == 0:
                chance *= p[last, sentence]
            else:
                reply = (joint @ np.stack([p[last], q[last]])) / joint.sum()
                chance *= reply[sentence]
            joint = joint * np.array([p[last, sentence], q[last, sentence]])
            last = sentence + 1
        last = 0
        for i, sentence in enumerate(path):
            if i % 2:
                lost = math.log(q[last, sentence] / p[last, sentence])
                behavior[i // 2] += chance * b[sentence]
                back[i // 2] += chance * lost
                square[i // 2] += chance * lost**2
            last = sentence + 1
    return behavior.tolist(), back.tolist(), (square - back**2).tolist()


@pytest.mark.parametrize("name", ["coin", "markov"])
def test_the_enumeration_is_that_of_every_path(name: str) -> None:
    world = get_world(name)
    turns = 2
    found = conversation_truth(world, user="negative", turns=turns)
    behavior, back, variance = by_hand(world, turns)
    assert found.reply_behavior == pytest.approx(behavior)
    assert found.resistance == pytest.approx(back)
    assert found.resistance_variance == pytest.approx(variance)


@pytest.mark.parametrize("user", ["negative", "positive"])
def test_the_log_ratio_is_what_users_gain_less_what_replies_take(user: str) -> None:
    world = text_world(np.random.default_rng(4), n_words=2)
    found = conversation_truth(world, user=user, turns=2, turn_sentences=2, reply_sentences=2)
    sign = 1 if user == "negative" else -1
    gained = sign * found.user_divergence.reshape(2, 2).sum(axis=1).cumsum()
    lost = np.concatenate([[0.0], 2 * found.resistance.cumsum()[:-1]])
    assert found.log_ratio == pytest.approx(gained - lost)


def test_a_first_turn_is_a_prompt() -> None:
    world = get_world("markov")
    found = conversation_truth(world, user="negative", turns=1, turn_sentences=3)
    exact = truth(world, 3)
    assert found.reply_behavior[0] == pytest.approx(exact.behavior_negative[3])
    assert found.user_divergence == pytest.approx(exact.beta_curve)


def test_too_long_conversations_are_refused() -> None:
    with pytest.raises(BadSpec, match="cannot be enumerated; give fewer turns"):
        conversation_truth(get_world("markov"), user="negative", turns=9)
    with pytest.raises(BadSpec, match="replies of 2 sentences from the target"):
        conversation_premises(get_world("markov"), replies_from="target", reply_sentences=2)


def test_premises_bound_every_conversation() -> None:
    for seed in range(30):
        world = random_world(np.random.default_rng(seed), n_sentences=3)
        premises = conversation_premises(world, replies_from="target")
        found = conversation_truth(world, user="negative", turns=3)
        assert found.user_divergence.min() >= premises.beta - 1e-9
        assert found.resistance.max() <= premises.beta_prime + 1e-9
        assert found.user_behavior.max() <= premises.gamma + 1e-9


REPLIES = [("positive", 1, 2), ("positive", 2, 2), ("positive", 1, 4), ("target", 1, 2), ("target", 1, 4)]


@pytest.mark.parametrize(("replies_from", "reply_sentences", "n_replies"), REPLIES)
def test_theorem_3_is_never_violated(replies_from: str, reply_sentences: int, n_replies: int) -> None:
    """Sharp and paper form: the promised number of user sentences misaligns with probability at least 1 − δ."""
    checked, needed = 0, 0
    for seed in range(200):
        rng = np.random.default_rng(1000 + seed)
        world = random_world(rng, n_sentences=3)
        premises = conversation_premises(world, replies_from=replies_from, reply_sentences=reply_sentences)
        epsilon, delta = float(rng.uniform(0.05, 0.5)), float(rng.uniform(0.05, 0.5))
        try:
            bound = bounds.conversation(
                log_inverse_alpha=world.log_inverse_alpha, beta=premises.beta, gamma=premises.gamma, epsilon=epsilon,
                beta_prime=premises.beta_prime, sigma2=premises.sigma2, delta=delta,
                replies=(reply_sentences,) * n_replies,
            )  # fmt: skip
        except NoBound:
            continue
        spoken = [math.ceil(n) for n in bound.per_turn]
        if sum(spoken) > 2000:
            continue
        threshold = min(premises.gamma + epsilon, 1.0 + 1e-9)

        def chance(spoken: list[int], world: World = world, threshold: float = threshold) -> float:
            return persuasion_probability(
                world, user_sentences=spoken, reply_sentences=reply_sentences, replies_from=replies_from,
                threshold=threshold,
            )  # fmt: skip

        assert chance(spoken) >= 1 - delta - 1e-9
        assert bound.paper is not None
        assert bound.sharp <= bound.paper
        checked += 1
        needed += chance([1] * len(spoken)) < 1 - delta
    assert checked >= 100
    assert needed >= 20  # worlds in which one sentence per turn would not have been enough
