"""Worlds of several personas: their models, and their truth against independent computations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from beb.core.bounds import single_prompt
from beb.core.personas import one_against_rest
from beb.errors import BadSpec, UnknownName
from beb.models.scoring import score_sequences
from beb.worlds.catalog import get_world
from beb.worlds.exact import truth
from beb.worlds.exact_personas import persona_truth, posterior_weights
from beb.worlds.model import WorldModel
from beb.worlds.persona_world import (
    TARGET,
    all_sequences,
    as_personas,
    get_persona_world,
    random_persona_world,
)

SEEDS = range(25)


@pytest.mark.parametrize("name", ["coin", "markov", "rare", "close"])
def test_two_personas_are_the_two_components(name: str) -> None:
    world, n = get_world(name), 4
    exact, two = persona_truth(as_personas(world), n), truth(world, n)
    assert exact.beta_curve[0] == pytest.approx(two.beta_curve)
    assert exact.beta_curve[1] == pytest.approx(two.beta_prime_curve)
    assert exact.evidence_curve[0] == pytest.approx(two.evidence_curve)
    assert exact.target_behavior[0] == pytest.approx(two.behavior_negative[1:])
    assert exact.own_behavior[0] == pytest.approx(two.negative_behavior[:-1])
    assert exact.gamma[0] == pytest.approx(two.gamma)


@pytest.mark.parametrize("stranger", [False, True])
def test_the_target_is_the_mixture_of_its_personas(stranger: bool) -> None:
    world = random_persona_world(np.random.default_rng(3), stranger=stranger)
    sequences = [tuple(t for s in pick for t in world.sentences[s]) for pick in all_sequences(world.n_sentences, 2)]
    names = (TARGET, *world.names)
    scores = score_sequences(sequences, {name: WorldModel(world, name) for name in names})
    logs = {name: np.array([score.log_probs[name].sum() for score in scores]) for name in names}
    mixed = sum(w * np.exp(logs[name]) for w, name in zip(world.weights, world.names, strict=True))
    gap = np.exp(logs[TARGET]) - (1 - world.stranger[1]) * mixed
    assert np.exp(logs[TARGET]).sum() == pytest.approx(1)
    assert (np.abs(gap).max() < 1e-12) is not stranger
    exact = persona_truth(world, 2)
    assert (exact.unexplained > 1e-3) is stranger
    if not stranger:
        ratio = one_against_rest(1, np.log(world.weights), np.stack([logs[name] for name in world.names], axis=1))
        assert exact.beta_curve[1].sum() == pytest.approx(np.exp(logs[world.names[1]]) @ ratio.log_ratio)


def test_posterior_weights_by_hand() -> None:
    world = get_persona_world("coin")
    alpha = world.weights[0]
    after = posterior_weights(world, (0, 0), np.array(world.weights))
    odds = alpha / (1 - alpha) * (0.95 / 0.05) ** np.arange(3)
    assert after[:, 0] == pytest.approx(odds / (1 + odds))


@pytest.mark.parametrize("seed", SEEDS)
def test_theorem_1_is_never_violated_for_any_persona(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world, n = random_persona_world(rng, n_personas=int(rng.integers(2, 5)), n_words=2), 7
    exact, epsilon = persona_truth(world, n), float(rng.uniform(0.05, 0.6))
    for i in range(len(world.names)):
        bound = single_prompt(
            log_inverse_alpha=-math.log(world.weights[i]), beta=float(exact.beta_curve[i].min()),
            gamma=float(exact.gamma[i]), epsilon=epsilon,
        )  # fmt: skip
        first = math.ceil(bound.sharp)
        assert bound.paper is not None
        assert bound.sharp <= bound.paper
        assert (exact.lowest_behavior[first:] < exact.gamma[i] + epsilon).all()


def test_the_rare_distinct_persona_of_the_named_world_is_the_shortest_way() -> None:
    world = get_persona_world("personas")
    exact = persona_truth(world, 4)
    lengths = {}
    for i, name in enumerate(world.names):
        gamma = float(exact.gamma[i])
        if gamma < 0:
            lengths[name] = single_prompt(
                log_inverse_alpha=-math.log(world.weights[i]), beta=float(exact.beta_curve[i].min()), gamma=gamma,
                epsilon=-gamma,
            ).sharp  # fmt: skip
    assert min(lengths, key=lambda name: lengths[name]) == "con man"
    assert world.weights[world.names.index("con man")] == min(world.weights)
    assert exact.lowest_behavior[math.ceil(lengths["con man"])] < 0


def test_what_is_no_persona_world() -> None:
    with pytest.raises(UnknownName, match="did you mean 'personas'"):
        get_persona_world("persona")
    with pytest.raises(BadSpec, match="target does not contain"):
        get_persona_world("not-a-mixture")
    with pytest.raises(UnknownName, match="persona in a world"):
        get_persona_world("personas").chains("nobody")
