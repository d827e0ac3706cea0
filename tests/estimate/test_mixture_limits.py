"""Limits of α that hold for certain, and the texts that leave no α at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beb.errors import BadSpec
from beb.estimate.mixture_limits import mixture_limits


def mixture(log_ratio: np.ndarray, alpha: float) -> np.ndarray:
    """L0 = log P₋/P of texts whose log P₋/P₊ is given, in the exact mixture."""
    return -np.logaddexp(math.log(alpha), math.log1p(-alpha) - log_ratio)


@given(st.floats(0.05, 30.0), st.integers(0, 1000))
def test_an_exact_mixture_lies_within_its_limits(log_inverse_alpha: float, seed: int) -> None:
    log_ratio = np.cumsum(np.random.default_rng(seed).normal(4, 3, (8, 6)), axis=1)
    found = mixture_limits(mixture(log_ratio, math.exp(-log_inverse_alpha)), log_ratio)
    assert not found.refuted
    assert found.refuting == 0
    assert found.low - 1e-9 <= log_inverse_alpha <= found.high + 1e-6


def test_limits_meet_where_the_evidence_rests() -> None:
    log_ratio = np.linspace(10, 60, 12).reshape(2, 6)
    found = mixture_limits(mixture(log_ratio, math.exp(-20.0)), log_ratio)
    assert found.low == pytest.approx(20.0, abs=1e-6)
    assert found.high == pytest.approx(20.0, abs=1e-6)


def test_before_the_evidence_rests_the_limits_stay_apart() -> None:
    log_ratio = np.linspace(1, 10, 12).reshape(2, 6)
    found = mixture_limits(mixture(log_ratio, math.exp(-20.0)), log_ratio)
    assert found.low == pytest.approx(10.0, abs=1e-3)
    assert found.high == math.inf


def test_a_text_less_likely_than_under_both_components_refutes_every_weight() -> None:
    evidence, log_ratio = np.array([[1.0, 3.0], [1.0, 9.0]]), np.array([[2.0, 4.0], [2.0, 5.0]])
    found = mixture_limits(evidence, log_ratio)  # log P/P₊ = -4 at the last text
    assert found.refuted
    assert (found.refuting, found.n, found.low, found.high) == (1, 2, 9.0, math.inf)


def test_a_text_more_likely_than_under_both_components_does_too() -> None:
    found = mixture_limits(
        np.array([[-1.0], [2.0]]), np.array([[0.5], [3.0]])
    )  # P/P₊ = e^1.5 and e: above both, between
    assert found.refuted
    assert found.refuting == 1


def test_barely_below_both_components_is_enough() -> None:
    """P/P₋ + P/P₊ = 1.5 here: no inequality of the two alone is broken, and yet no average of them is so small."""
    found = mixture_limits(np.array([[0.2877]]), np.array([[0.0]]))
    assert (found.refuted, found.refuting) == (True, 1)


def test_two_texts_may_refute_together_what_none_refutes_alone() -> None:
    evidence, log_ratio = np.array([[4.0], [-0.5]]), np.array([[4.5], [-2.5]])  # log P/P₊ = 0.5 and -2
    found = mixture_limits(evidence, log_ratio)
    assert found.refuted
    assert found.refuting == 0


def test_the_target_as_positive_component_is_never_refuted() -> None:
    evidence = np.array([[5.0, 50.0]])
    assert not mixture_limits(evidence, evidence).refuted


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(BadSpec, match="same cells"):
        mixture_limits(np.zeros((2, 3)), np.zeros((2, 2)))
