"""The truth is computed twice: by enumeration in the program, by other means here."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import norm

from beb.errors import BadSpec
from beb.worlds import World, get_world, known_worlds, proxy_gap, random_world, truth
from beb.worlds.world import FloatArray, MarkovChain


def worlds() -> list[World]:
    rng = np.random.default_rng(2)
    return [get_world(name) for name in known_worlds()] + [random_world(rng, n_sentences=3) for _ in range(6)]


def kl_rows(p: MarkovChain, q: MarkovChain) -> FloatArray:
    table = p.table()
    return (table * np.log(table / q.table())).sum(axis=1)


def last_sentence(chain: MarkovChain, n: int) -> FloatArray:
    """(1 + n_sentences,) distribution over rows of the table after n sentences."""
    shares = np.eye(1 + len(chain.initial))[0]
    step = np.hstack((np.zeros((len(shares), 1)), chain.table()))
    return shares @ np.linalg.matrix_power(step, n)


@pytest.mark.parametrize("world", worlds(), ids=lambda w: w.name)
def test_divergence_curves_equal_dynamic_programming(world: World) -> None:
    exact = truth(world, 5)
    for n in range(5):
        at_n = last_sentence(world.negative, n)
        assert exact.beta_curve[n] == pytest.approx(at_n @ kl_rows(world.negative, world.positive), abs=1e-12)
        reverse = last_sentence(world.positive, n) @ kl_rows(world.positive, world.negative)
        assert exact.beta_prime_curve[n] == pytest.approx(reverse, abs=1e-12)
        behavior = at_n @ world.negative.table() @ world.behavior_table()
        assert exact.negative_behavior[n] == pytest.approx(behavior, abs=1e-12)
        behavior = last_sentence(world.positive, n) @ world.positive.table() @ world.behavior_table()
        assert exact.positive_behavior[n] == pytest.approx(behavior, abs=1e-12)
    assert exact.beta == exact.beta_curve.min()
    assert exact.beta_prime == exact.beta_prime_curve.max()
    assert exact.beta_prime_paper_reading == exact.beta_curve.max()


@pytest.mark.parametrize("world", worlds(), ids=lambda w: w.name)
def test_evidence_is_the_sum_of_the_divergences_from_the_target(world: World) -> None:
    exact = truth(world, 6)
    np.testing.assert_allclose(np.cumsum(exact.kl_to_target_curve), exact.evidence_curve, atol=1e-12)
    # A sequence's log ratio against P, and so its mean, stays below log 1/α, when P contains P₋.
    if world.is_mixture:
        assert (exact.evidence_curve < world.log_inverse_alpha).all()
        assert (exact.alpha_infimum >= world.alpha * (1 - 1e-12)).all()
        assert (np.diff(exact.alpha_infimum) <= 1e-15).all()


@pytest.mark.parametrize("world", worlds(), ids=lambda w: w.name)
def test_the_prediction_is_the_curve_exactly_where_the_target_is_a_mixture(world: World) -> None:
    exact = truth(world, 6)
    difference = np.abs(exact.predicted_behavior - exact.behavior_negative).max()
    assert difference < 1e-12 if world.is_mixture else difference > 0.1


def test_every_field_equals_a_sum_over_sequences_in_plain_python() -> None:
    for seed in range(4):
        world, n = random_world(np.random.default_rng(seed), n_sentences=3, markov=True), 3
        exact = truth(world, n)
        size = world.n_sentences

        def probability(chain: MarkovChain, s: tuple[int, ...]) -> float:
            steps = [chain.initial[s[0]]] if s else []
            return math.prod(steps + [chain.transition[a][b] for a, b in itertools.pairwise(s)])

        def target(s: tuple[int, ...], w: World = world) -> float:
            return w.alpha * probability(w.negative, s) + (1 - w.alpha) * probability(w.positive, s)

        prompts = list(itertools.product(range(size), repeat=n))
        p_negative = np.array([probability(world.negative, s) for s in prompts])
        p_positive = np.array([probability(world.positive, s) for s in prompts])
        log_ratio = np.log(p_negative / p_positive)
        for p, variances in (
            (p_negative, exact.log_ratio_variance_negative),
            (p_positive, exact.log_ratio_variance_positive),
        ):
            assert variances[n - 1] == pytest.approx(p @ log_ratio**2 - (p @ log_ratio) ** 2, rel=1e-9)
        p_target = np.array([target(s) for s in prompts])
        assert exact.evidence_curve[n - 1] == pytest.approx(p_negative @ np.log(p_negative / p_target), rel=1e-9)
        assert exact.alpha_infimum[n - 1] == pytest.approx((p_target / p_negative).min(), rel=1e-9)
        b = np.array([sum(target((*s, x)) / target(s) * world.behavior[x] for x in range(size)) for s in prompts])
        marginals = [
            [sum(p for p, s in zip(p_negative, prompts, strict=True) if s[i] == x) for x in range(size)]
            for i in range(n)
        ]
        shuffled = np.array([math.prod(marginals[i][x] for i, x in enumerate(s)) for s in prompts])
        assert exact.behavior_negative[n] == pytest.approx(p_negative @ b, abs=1e-10)
        assert exact.behavior_positive[n] == pytest.approx(p_positive @ b, abs=1e-10)
        assert exact.behavior_shuffled[n] == pytest.approx(shuffled @ b, abs=1e-10)
        assert exact.gamma == pytest.approx((world.negative.table() @ world.behavior_table()).max())


def test_shuffling_changes_markov_prompts_only() -> None:
    coin, markov = truth(get_world("coin"), 6), truth(get_world("markov"), 6)
    np.testing.assert_allclose(coin.behavior_shuffled, coin.behavior_negative, atol=1e-12)
    assert np.abs(markov.behavior_shuffled - markov.behavior_negative).max() > 0.02


def test_the_variance_of_independent_sentences_grows_linearly() -> None:
    world = get_world("rare")
    exact = truth(world, 6)
    p, q = np.array(world.negative.initial), np.array(world.positive.initial)
    for weights, curve, sigma2 in (
        (p, exact.log_ratio_variance_negative, exact.sigma2_negative),
        (q, exact.log_ratio_variance_positive, exact.sigma2_positive),
    ):
        single = weights @ np.log(p / q) ** 2 - (weights @ np.log(p / q)) ** 2
        np.testing.assert_allclose(curve, single * np.arange(1, 7), rtol=1e-9)
        assert sigma2 == pytest.approx(single)


def test_evidence_approaches_log_inverse_alpha() -> None:
    """log 1/α − E[L0] = E[−log w] falls to 0, because the posterior weight w rises to 1."""
    rng = np.random.default_rng(4)
    for _ in range(10):
        world = random_world(rng, n_sentences=2, separation=(1.5, 2.0), log_inverse_alpha=(0.5, 2.0))
        gaps = world.log_inverse_alpha - truth(world, 16).evidence_curve
        assert 0 < gaps[-1] < 0.05
        assert (np.diff(gaps) < 0).all()


def test_the_proxy_gap_is_the_final_slope_of_the_evidence() -> None:
    world = get_world("not-a-mixture")
    exact = truth(world, 9)
    gap = proxy_gap(world)
    assert gap == pytest.approx(kl_rows(world.negative, world.chains("target")[0])[0])
    slopes = exact.kl_to_target_curve[-3:] - gap
    assert (slopes > 0).all()
    assert slopes[-1] < 0.02
    # What Monte Carlo over long sequences gives: the mean growth of log P₋/P from sentence 40 to sentence 120.
    rng, n = np.random.default_rng(8), 400
    draws = rng.choice(4, size=(n, 120), p=world.negative.initial)
    log_p = [np.log(np.array(c.initial))[draws] for c in (world.negative, *world.chains("target"))]
    ends = [
        (
            log[:, :k].sum(axis=1),
            np.logaddexp(
                math.log(world.alpha) + contained[:, :k].sum(axis=1),
                math.log1p(-world.alpha) + positive[:, :k].sum(axis=1),
            ),
        )
        for k in (40, 120)
        for log, contained, positive in [log_p]
    ]
    growth = ((ends[1][0] - ends[1][1]) - (ends[0][0] - ends[0][1])) / 80
    limit = norm.isf(1e-6 / 2) * growth.std() / math.sqrt(n)
    assert abs(growth.mean() - gap) < limit < 0.1


def test_what_cannot_be_enumerated_is_refused() -> None:
    with pytest.raises(BadSpec, match="cannot be enumerated"):
        truth(get_world("markov"), 12)
    with pytest.raises(BadSpec):
        truth(get_world("markov"), 0)
