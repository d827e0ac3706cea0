"""Misaligning lengths and probabilities by dynamic programming equal those by enumeration, and obey the theorems."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from beb.core.bounds.theorem1 import single_prompt
from beb.core.bounds.theorem5 import random_prompt
from beb.errors import BadSpec
from beb.worlds import (
    World,
    get_world,
    lowest_behavior,
    min_misaligning_length,
    misaligning_probability,
    random_world,
    truth,
)
from beb.worlds import misalignment as misalignment_module


def behaviors(world: World, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(B_P, P₋) of every prompt of n sentences, from the definition of the mixture."""
    contained, positive = world.chains("target")
    rows = []
    for s in itertools.product(range(world.n_sentences), repeat=n):
        path = [0, *(x + 1 for x in s)]
        a, b, c = (
            math.prod(float(table[i, x]) for i, x in zip(path, s, strict=False))
            for table in (contained.table(), positive.table(), world.negative.table())
        )
        w = world.alpha * a / (world.alpha * a + (1 - world.alpha) * b)
        mixed = w * contained.table()[path[-1]] + (1 - w) * positive.table()[path[-1]]
        rows.append((float(mixed @ world.behavior_table()), c))
    values = np.array(rows)
    return values[:, 0], values[:, 1]


def worlds() -> list[World]:
    rng = np.random.default_rng(6)
    return [random_world(rng, n_sentences=3, markov=bool(i % 2)) for i in range(8)] + [get_world("not-a-mixture")]


@pytest.mark.parametrize("world", worlds(), ids=lambda w: w.name)
def test_dynamic_programming_equals_enumeration(world: World) -> None:
    lowest = lowest_behavior(world, 5)
    for n in range(6):
        b, p = behaviors(world, n)
        assert lowest[n] == pytest.approx(b.min(), abs=1e-10)
        for quantile in (0.1, 0.5, 0.9):
            threshold = float(np.quantile(b, quantile)) + 1e-5
            if np.abs(b - threshold).min() < 1e-7:
                continue
            found = misaligning_probability(world, n, gamma=threshold - 0.05, epsilon=0.05)
            assert found.low == pytest.approx(found.high, abs=1e-12)
            assert found.low == pytest.approx(p[b < threshold].sum(), abs=1e-12)


def test_a_coarse_grid_still_brackets_the_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(misalignment_module, "_MAX_STATES", 60)
    for world in worlds()[1:6:2]:
        b, p = behaviors(world, 6)
        for quantile in (0.2, 0.5, 0.8):
            threshold = float(np.quantile(b, quantile))
            found = misaligning_probability(world, 6, gamma=threshold, epsilon=0.0)
            assert found.low - 1e-12 <= p[b < threshold].sum() <= found.high + 1e-12


def test_long_prompts_are_handled() -> None:
    world = get_world("markov")
    found = misaligning_probability(world, 40, gamma=truth(world, 2).gamma, epsilon=0.05)
    assert 0.999 < found.low <= found.high <= 1
    assert found.high - found.low < 1e-6
    limit = float(lowest_behavior(world, 400)[-1])
    assert min_misaligning_length(world, gamma=limit, epsilon=1e-6, limit=400) is not None
    assert min_misaligning_length(world, gamma=limit, epsilon=-1e-3, limit=400) is None


def test_the_smallest_length_is_the_smallest() -> None:
    world = get_world("close")
    gamma = truth(world, 2).gamma
    for epsilon in (0.5, 0.1, 0.01, 0.001):
        n = min_misaligning_length(world, gamma=gamma, epsilon=epsilon)
        assert n is not None
        lowest = lowest_behavior(world, n)
        assert lowest[n] < gamma + epsilon
        assert (lowest[:n] >= gamma + epsilon).all()


def test_the_first_theorem_is_never_below_the_smallest_misaligning_prompt() -> None:
    """Theorem 1 at the true α, β, γ: the shortest misaligning prompt is no longer than its sharp length says."""
    rng, epsilon = np.random.default_rng(9), 0.1
    ratios = []
    for i in range(60):
        world = random_world(rng, n_sentences=3, markov=bool(i % 2))
        exact = truth(world, 8)
        bound = single_prompt(
            log_inverse_alpha=world.log_inverse_alpha, beta=exact.beta, gamma=exact.gamma, epsilon=epsilon
        )
        shortest = min_misaligning_length(world, gamma=exact.gamma, epsilon=epsilon)
        assert shortest is not None
        assert shortest <= math.ceil(bound.sharp)
        ratios.append(shortest / math.ceil(bound.sharp))
    assert np.median(ratios) > 0.2  # a bound far above the truth would pass without saying anything


def test_the_fifth_theorem_holds_for_random_prompts() -> None:
    """Theorem 5 at the true values: a prompt of its sharp length misaligns with probability 1 − δ or more."""
    rng, delta, epsilon = np.random.default_rng(10), 0.1, 0.1
    n_checked = 0
    for _ in range(40):
        world = random_world(rng, markov=False, separation=(0.8, 2.5))
        exact = truth(world, 1)
        length = math.ceil(
            random_prompt(
                log_inverse_alpha=world.log_inverse_alpha,
                beta=exact.beta,
                gamma=exact.gamma,
                epsilon=epsilon,
                delta=delta,
                sigma2=exact.sigma2_negative,
            ).sharp
        )
        if length <= 60:
            n_checked += 1
            found = misaligning_probability(world, length, gamma=exact.gamma, epsilon=epsilon)
            assert found.low >= 1 - delta
    assert n_checked >= 20


def test_negative_lengths_are_refused() -> None:
    with pytest.raises(BadSpec):
        lowest_behavior(get_world("coin"), -1)
    with pytest.raises(BadSpec):
        misaligning_probability(get_world("coin"), -1, gamma=0, epsilon=0.1)
