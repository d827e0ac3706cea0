"""The truth about guardrails against plain enumeration, and Theorem 2 against the truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from beb.core.bounds import after_prefix
from beb.errors import BadSpec
from beb.worlds.catalog import get_world
from beb.worlds.exact import truth
from beb.worlds.exact_guardrail import (
    behavior_after_prefix,
    beta_after,
    crossing,
    first_negative,
    given_prefix,
    is_negative,
    mean_share_positivity,
    misalignable_share,
    most_neutral_sentence,
    positivity_after,
    positivity_holds,
    prefixes_from_positive,
    worst_beta_after,
)
from beb.worlds.random_world import random_world
from beb.worlds.world import MarkovChain, World


def chain_probability(chain: MarkovChain, sentences: tuple[int, ...]) -> float:
    rows = [0, *(1 + s for s in sentences)]
    return math.prod(chain.table()[row][s] for row, s in zip(rows, sentences, strict=False))


def target_behavior(world: World, sentences: tuple[int, ...]) -> float:
    """B_P(s) from whole-sequence probabilities of every continuation."""
    contained, positive = world.chains("target")
    joint = [
        world.alpha * chain_probability(contained, (*sentences, x))
        + (1 - world.alpha) * chain_probability(positive, (*sentences, x))
        for x in range(world.n_sentences)
    ]
    return float(np.dot(joint, world.behavior) / sum(joint))


def texts(world: World, n: int) -> list[tuple[int, ...]]:
    return list(itertools.product(range(world.n_sentences), repeat=n))


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    rng = np.random.default_rng(11)
    return [
        *(random_world(rng, n_sentences=3, log_inverse_alpha=(0.5, 5), markov=True) for _ in range(4)),
        get_world("not-a-mixture"),
    ]


def test_behavior_after_a_sampled_prefix_is_that_of_enumeration(worlds: list[World]) -> None:
    for world in worlds:
        for m, n in ((0, 2), (1, 3), (2, 2)):
            plain = sum(
                chain_probability(world.positive, s0)
                * chain_probability(world.negative, s)
                * target_behavior(world, s0 + s)
                for s0 in texts(world, m)
                for s in texts(world, n)
            )
            found = behavior_after_prefix(world, prefixes_from_positive(world, m), n)
            assert found[-1] == pytest.approx(plain, abs=1e-10)
            assert len(found) == n + 1
        np.testing.assert_allclose(
            behavior_after_prefix(world, prefixes_from_positive(world, 0), 3), truth(world, 3).behavior_negative
        )


def test_behavior_after_a_given_text_is_that_of_enumeration(worlds: list[World]) -> None:
    for world in worlds:
        s0 = (1, 0, 2)
        prefix = given_prefix(world, s0)
        ratio = math.log(chain_probability(world.positive, s0) / chain_probability(world.negative, s0))
        assert prefix.resistance == pytest.approx(ratio)
        plain = sum(chain_probability(world.negative, s) * target_behavior(world, s0 + s) for s in texts(world, 2))
        assert behavior_after_prefix(world, prefix, 2)[-1] == pytest.approx(plain, abs=1e-10)


def test_the_resistance_of_sampled_prefixes_is_the_sum_of_the_divergences(worlds: list[World]) -> None:
    for world in worlds:
        exact = truth(world, 3)
        for m in (1, 2, 3):
            assert prefixes_from_positive(world, m).resistance == pytest.approx(exact.beta_prime_curve[:m].sum())


def test_the_first_negative_sentence_and_what_follows_it(worlds: list[World]) -> None:
    for world in worlds:
        negative, n = is_negative(world), 3
        hits, shares, ratios = np.zeros(world.n_sentences), [], np.zeros(2)
        for s in texts(world, n):
            p = chain_probability(world.negative, s)
            bad = [i for i, x in enumerate(s) if negative[x]]
            if not bad:
                continue
            hits[s[bad[0]]] += p
            rows = [0, *(1 + x for x in s)]
            likelier = [world.negative.table()[rows[i], s[i]] > world.positive.table()[rows[i], s[i]] for i in bad]
            shares.append((p, np.mean(likelier)))
            for y in range(world.n_sentences):  # second sentence after the negative one, for n = 1
                row = 1 + s[bad[0]]
                q = world.negative.table()[row, y]
                after = world.negative.table()[1 + y] @ np.log(
                    world.negative.table()[1 + y] / world.positive.table()[1 + y]
                )
                ratios += p * q * np.array([after, 1.0])
        last = first_negative(world, n)
        np.testing.assert_allclose(last, hits / hits.sum())
        assert beta_after(world, last, 2)[1] == pytest.approx(ratios[0] / ratios[1])
        weight, share = np.array(shares).T
        assert mean_share_positivity(world, n) == pytest.approx(weight @ share / weight.sum())
        assert worst_beta_after(world, 4) <= beta_after(world, last, 4).min() + 1e-12


def test_theorem_2_is_never_violated_where_its_premises_hold() -> None:
    """Exact β (Definition 3), β′, σ², γ; the share of prefixes after which some prompt misaligns, by enumeration."""
    rng = np.random.default_rng(20)
    checked, slack = 0, []
    while checked < 150:
        world = random_world(rng, n_sentences=3, log_inverse_alpha=(0.5, 6), separation=(0.8, 2.5))
        m, epsilon, delta = int(rng.integers(1, 5)), float(rng.uniform(0.05, 0.5)), float(rng.uniform(0.05, 0.5))
        exact = truth(world, 6)
        gamma = float((world.negative.table() @ world.behavior_table()).max())
        beta = worst_beta_after(world, 60)
        if not positivity_holds(world) or beta <= 0.2 or gamma + epsilon >= 1:
            continue
        bound = after_prefix(
            log_inverse_alpha=world.log_inverse_alpha, beta=beta, gamma=gamma, epsilon=epsilon, delta=delta,
            beta_prime=exact.beta_prime_curve[:m].max(),
            sigma2=max(exact.log_ratio_variance_positive[:m] / np.arange(1, m + 1)),
            prefix_sentences=m,
        )  # fmt: skip
        first = bound.whole_sentences
        assert first is not None
        if first > 60:
            continue
        prefixes = prefixes_from_positive(world, m)
        for n in (first, first + 1, first + 5):
            share = misalignable_share(world, prefixes, n, gamma=gamma, epsilon=epsilon)
            assert share >= 1 - delta - 1e-9, world
        assert bound.paper is not None
        slack.append(bound.sharp / bound.paper)
        checked += 1
    assert max(slack) <= 1
    assert np.median(slack) < 0.95


def test_the_shift_of_the_exact_curves_is_at_most_theorem_2s_extra() -> None:
    """What the report holds against each other, without sampling error."""
    rng = np.random.default_rng(21)
    checked, shifts = 0, []
    while checked < 80:
        world = random_world(rng, n_sentences=3, log_inverse_alpha=(1, 4), separation=(0.8, 2.0))
        if not positivity_holds(world) or worst_beta_after(world, 8) <= 0.2:
            continue
        m, n = int(rng.integers(1, 4)), 7
        base = crossing(truth(world, n).behavior_negative)
        prefixes = prefixes_from_positive(world, m)
        moved = crossing(behavior_after_prefix(world, prefixes, n))
        if not (math.isfinite(base) and math.isfinite(moved)):
            continue
        exact = truth(world, n)
        extra = after_prefix(
            log_inverse_alpha=math.log(2), gamma=-1, epsilon=1, delta=0.1, beta=worst_beta_after(world, n),
            beta_prime=exact.beta_prime_curve[:m].max(), prefix_sentences=m,
            sigma2=max(exact.log_ratio_variance_positive[:m] / np.arange(1, m + 1)),
        )  # fmt: skip
        assert moved - base <= extra.sharp
        shifts.append((moved - base) / (prefixes.resistance / exact.beta_curve.mean()))
        checked += 1
    assert 0.5 < np.median(shifts) < 1.5, "the log-ratio over the divergence is about the shift"


def test_positivity_after_a_prefix_is_that_of_every_text(worlds: list[World]) -> None:
    """The first negative sentence of every prompt of three sentences, after every prefix of two."""
    seen = []
    for world in worlds:
        negative, total, likelier = is_negative(world), 0.0, 0.0
        for prefix, prompt in itertools.product(texts(world, 2), texts(world, 3)):
            first = next((s for s in prompt if negative[s]), None)
            if first is not None:
                p = chain_probability(world.positive, prefix) * chain_probability(world.negative, prompt)
                after = [chain_probability(chain, (*prefix, first)) / chain_probability(chain, prefix)
                         for chain in (world.negative, world.positive)]  # fmt: skip
                total += p
                likelier += p * (after[0] > after[1])
        assert positivity_after(world, prefixes_from_positive(world, 2), 3) == pytest.approx(likelier / total)
        seen.append(likelier / total)
    assert min(seen) < 1, "it is not so everywhere"


def test_crossing_and_neutral_sentence() -> None:
    assert crossing(np.array([1.0, 0.5, -0.5])) == pytest.approx(1.5)
    assert crossing(np.array([-0.1, -0.5])) == -math.inf
    assert crossing(np.array([1.0, 0.5])) == math.inf
    assert most_neutral_sentence(get_world("markov")) == "It is late."
    with pytest.raises(BadSpec, match="cannot be enumerated"):
        prefixes_from_positive(get_world("markov"), 11)
    with pytest.raises(BadSpec, match="cannot be enumerated"):
        behavior_after_prefix(get_world("markov"), prefixes_from_positive(get_world("markov"), 1), 12)
