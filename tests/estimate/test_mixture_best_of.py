"""The best of n draws from a mixture: unbiased, by enumeration of every sample of small parts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from beb.errors import BadSpec, EstimateError
from beb.estimate.mixture_best_of import mixture_best_of
from beb.estimate.order_statistics import best_of

VALUES = np.array([-1.0, 0.2, 1.0])
FIRST, SECOND = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.3, 0.6])


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_unbiased_over_every_possible_sample(weight: float, size: int) -> None:
    truth = VALUES @ np.diff(np.cumsum(weight * FIRST + (1 - weight) * SECOND) ** size, prepend=0.0)
    samples = list(itertools.product(range(3), repeat=3))
    x = np.array([VALUES[list(sample)] for sample in samples])
    chance = {name: np.array([math.prod(p[list(s)]) for s in samples]) for name, p in (("x", FIRST), ("y", SECOND))}
    n = len(samples)
    first, second = np.repeat(x, n, axis=0), np.tile(x, (n, 1))
    estimate = mixture_best_of(np.full(n * n, weight), first, second, size)
    assert float(np.outer(chance["x"], chance["y"]).ravel() @ estimate) == pytest.approx(truth, abs=1e-12)


def test_the_ends_are_the_best_of_n_of_one_part() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.uniform(-1, 1, (4, 2, 16)), rng.uniform(-1, 1, (4, 2, 16))
    for size in (1, 5, 16):
        for weight, part in ((1.0, first), (0.0, second)):
            assert mixture_best_of(np.full((4, 2), weight), first, second, size) == pytest.approx(
                best_of(part, [size])[..., 0], abs=1e-12
            )


def test_a_missing_score_leaves_its_cell_out_and_nonsense_is_refused() -> None:
    first, second = np.zeros((2, 4)), np.ones((2, 4))
    first[0, 1] = np.nan
    assert mixture_best_of([0.5, 0.5], first, second, 2) == pytest.approx([np.nan, 0.75], nan_ok=True)
    with pytest.raises(BadSpec, match="raise --responses"):
        mixture_best_of([0.5, 0.5], first, second, 5)
    with pytest.raises(EstimateError, match="outside"):
        mixture_best_of([0.5, 1.5], first, second, 2)
    with pytest.raises(EstimateError, match="belong together"):
        mixture_best_of([0.5], first, second, 2)
