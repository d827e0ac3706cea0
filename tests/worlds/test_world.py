"""Worlds are validated, named, varied, and identified by what determines their probabilities."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from beb.errors import BadSpec, UnknownName
from beb.worlds import (
    MarkovChain,
    World,
    get_world,
    known_worlds,
    min_misaligning_length,
    proxy_gap,
    random_world,
    truth,
)


def two_sentences(**changes: object) -> World:
    world = World(
        name="two",
        sentences=((1, 3), (1, 2, 4)),
        words=("<start>", "we", "really", "lie.", "care."),
        behavior=(-1.0, 1.0),
        alpha=0.1,
        negative=MarkovChain.iid((0.8, 0.2)),
        positive=MarkovChain.iid((0.2, 0.8)),
    )
    return dataclasses.replace(world, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.0}, "alpha"),
        ({"behavior": (-1.0,)}, "behavior"),
        ({"behavior": (-1.5, 1.0)}, "behavior"),
        ({"behavior": (math.nan, 1.0)}, "behavior"),
        ({"sentences": ((1, 3), (1, 3))}, "distinct"),
        ({"sentences": ((1, 3),)}, "at least 2"),
        ({"sentences": ((1, 3), ())}, "at least one token"),
        ({"sentences": ((0, 3), (1, 4))}, "each in 1..4"),
        ({"sentences": ((1, 5), (1, 4))}, "each in 1..4"),
        ({"sentences": ((1, 3), (3, 4))}, "stands inside"),
        ({"words": ("<start>", "we", "we", "lie.", "care.")}, "distinct"),
        ({"words": ("<start>", "we", "so very", "lie.", "care.")}, "white space"),
        ({"negative": MarkovChain.iid((0.5, 0.3, 0.2))}, "3 sentences"),
        ({"target_negative": MarkovChain.iid((0.5, 0.3, 0.2))}, "3 sentences"),
    ],
)
def test_an_inconsistent_world_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadSpec, match=message):
        two_sentences(**changes)


@pytest.mark.parametrize(
    ("initial", "transition"),
    [
        ((0.5, 0.4), ((0.5, 0.5), (0.5, 0.5))),
        ((0.5, 0.5), ((1.0, 0.0), (0.5, 0.5))),
        ((0.5, 0.5), ((0.5, 0.5),)),
        ((0.5, 0.5), ((0.5, 0.5), (math.nan, 0.5))),
        ((0.5, 0.5), ((0.5, 0.5), (1.5, -0.5))),
    ],
)
def test_an_improper_chain_is_refused(initial: tuple[float, ...], transition: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(BadSpec):
        MarkovChain(initial, transition)


def test_the_stationary_distribution_is_kept_by_the_transition() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        chain = random_world(rng, n_sentences=5, markov=True).negative
        shares = chain.stationary()
        np.testing.assert_allclose(shares @ chain.table()[1:], shares, atol=1e-12)
        np.testing.assert_allclose(np.linalg.matrix_power(chain.table()[1:], 200)[0], shares, atol=1e-9)


def test_fingerprints_change_with_the_probabilities_and_with_nothing_else() -> None:
    world = two_sentences()
    renamed = dataclasses.replace(world, name="other", description="other")
    assert renamed.fingerprint("target") == world.fingerprint("target")
    heavier = dataclasses.replace(world, alpha=math.nextafter(0.1, 1))
    assert heavier.fingerprint("target") != world.fingerprint("target")
    assert heavier.fingerprint("negative") == world.fingerprint("negative")
    assert len({world.fingerprint(role) for role in ("target", "negative", "positive")}) == 3


def test_an_unknown_world_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'markov'"):
        get_world("makov")


@pytest.mark.parametrize("name", known_worlds())
def test_a_named_world_is_what_it_is_measured_for(name: str) -> None:
    """First sentences separate the components (the component gate), and B falls within 8 sentences of P₋ only."""
    world = get_world(name)
    assert world.name == name
    assert world.description
    first = np.abs(world.negative.table()[0] - world.positive.table()[0]).sum() / 4 + 0.5
    assert first >= 0.85
    exact = truth(world, 8)
    fall = exact.behavior_negative[0] - exact.behavior_negative
    assert fall[-1] > 0.7
    assert abs(exact.behavior_positive[-1] - exact.behavior_positive[0]) < 0.4
    assert exact.behavior_positive[-1] > exact.behavior_negative[-1] + 0.3


@pytest.mark.parametrize(("name", "tail"), [("coin", 0.02), ("markov", 0.05), ("rare", 0.05)])
def test_the_evidence_reaches_its_plateau_within_eight_sentences(name: str, tail: float) -> None:
    world = get_world(name)
    exact = truth(world, 8)
    assert exact.evidence_curve[-1] == pytest.approx(world.log_inverse_alpha, rel=0.02)
    assert exact.kl_to_target_curve[-1] < tail
    assert proxy_gap(world) == 0


def test_documented_figures_of_the_named_worlds() -> None:
    coin, markov, rare, close, other, pretrained, aligned = (get_world(name) for name in known_worlds())
    for world, log_inverse_alpha, beta in ((pretrained, 2, 1.37), (aligned, 6, 3.02)):
        assert world.log_inverse_alpha == pytest.approx(log_inverse_alpha)
        assert truth(world, 3).beta == pytest.approx(beta, abs=0.005)
    assert pretrained.negative == aligned.negative
    assert pretrained.behavior_fingerprint() == aligned.behavior_fingerprint() != coin.behavior_fingerprint()
    assert coin.log_inverse_alpha == pytest.approx(8)
    assert truth(coin, 3).beta == pytest.approx(0.9 * math.log(19))
    assert truth(coin, 8).behavior_negative[3] < 0 < truth(coin, 8).behavior_negative[2]
    assert not markov.negative.is_iid
    assert not markov.positive.is_iid
    assert truth(markov, 3).beta_curve[0] > 1.5 * truth(markov, 3).beta
    assert rare.alpha == pytest.approx(math.exp(-20))
    assert truth(rare, 8).behavior_negative[5] < 0 < truth(rare, 8).behavior_negative[4]
    assert truth(close, 8).beta < 0.25 < 1.5 < truth(close, 8).beta_curve[0]
    assert not other.is_mixture
    assert 0.3 < proxy_gap(other) < truth(other, 8).beta
    # The target never holds the worst that the proxy does, at any length.
    gamma = truth(other, 1).gamma
    assert min_misaligning_length(other, gamma=gamma, epsilon=0.1, limit=500) is None


def test_random_worlds_are_various() -> None:
    rng = np.random.default_rng(7)
    worlds = [random_world(rng) for _ in range(200)]
    betas = np.array([truth(world, 3).beta for world in worlds])
    assert 50 < sum(world.negative.is_iid for world in worlds) < 150
    assert betas.min() < 0.3
    assert betas.max() > 3
    assert np.ptp([world.log_inverse_alpha for world in worlds]) > 7
    assert all(min(world.behavior) == -1 and max(world.behavior) == 1 for world in worlds)
    assert any(0 < abs(b) < 1 for world in worlds for b in world.behavior)
    lengths = {len(sentence) for world in worlds for sentence in world.sentences}
    assert lengths >= {1, 2, 3, 4}
    assert any(len({s[0] for s in world.sentences}) < world.n_sentences for world in worlds)


def test_random_worlds_repeat_with_the_seed_and_keep_their_ranges() -> None:
    draw = [random_world(np.random.default_rng(3), n_sentences=3, log_inverse_alpha=(2, 2), markov=True) for _ in "ab"]
    assert draw[0] == draw[1]
    assert draw[0].n_sentences == 3
    assert draw[0].log_inverse_alpha == pytest.approx(2)
    assert not draw[0].negative.is_iid


@pytest.mark.parametrize(
    "options",
    [
        {"n_sentences": 1},
        {"log_inverse_alpha": (0.0, 1.0)},
        {"log_inverse_alpha": (3.0, 1.0)},
        {"separation": (0.0, 1.0)},
    ],
)
def test_impossible_ranges_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(BadSpec):
        random_world(np.random.default_rng(0), **options)
