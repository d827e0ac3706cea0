import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beb.core.logspace import log_odds
from beb.core.mixture import (
    alpha_cap,
    evidence_from_log_ratio,
    log_alpha_cap,
    posterior_weight,
    predicted_behavior,
    residual_log_prob,
)
from beb.errors import BadSpec

LOG_INVERSE_ALPHA = st.floats(1e-12, 1e6)
LOG_RATIO = st.floats(-1e7, 1e7)


def test_posterior_weight_is_bayes_rule_by_hand() -> None:
    # α = 1/4, P₋ = 0.6, P₊ = 0.2: αP₋/P = 0.15/(0.15 + 0.15)
    assert float(posterior_weight(math.log(3), math.log(1 / 3))) == pytest.approx(0.5, abs=1e-15)
    assert posterior_weight([-np.inf, 0.0, np.inf], math.log(1 / 3)).tolist() == pytest.approx([0.0, 0.25, 1.0])


def test_posterior_weight_of_an_impossible_prompt_is_refused() -> None:
    with pytest.raises(BadSpec, match="impossible under P"):
        posterior_weight([0.0, np.inf], -math.inf)


@given(LOG_RATIO, LOG_INVERSE_ALPHA)
@settings(deadline=None)
def test_evidence_is_log_of_weight_over_alpha(log_ratio: float, log_inverse_alpha: float) -> None:
    evidence = float(evidence_from_log_ratio(log_ratio, log_inverse_alpha))
    assert evidence <= log_inverse_alpha
    weight = float(posterior_weight(log_ratio, log_odds(log_inverse_alpha)))
    if weight > 1e-300:  # w = α P₋/P, so log w = L0 − log 1/α
        assert math.log(weight) == pytest.approx(
            evidence - log_inverse_alpha, rel=1e-9, abs=1e-9 * (1 + log_inverse_alpha)
        )


def test_evidence_at_the_ends() -> None:
    assert evidence_from_log_ratio([-np.inf, 0.0, np.inf], 3.0).tolist() == pytest.approx(
        [-np.inf, 0.0, 3.0], abs=1e-15
    )
    assert evidence_from_log_ratio([5.0, np.inf], math.inf).tolist() == [5.0, np.inf]  # α = 0: P is P₊
    assert evidence_from_log_ratio([-5.0, 5.0], 0.0).tolist() == [0.0, 0.0]  # α = 1: P is P₋
    with pytest.raises(BadSpec, match="impossible under P"):
        evidence_from_log_ratio(-np.inf, 0.0)


def test_residual_makes_the_mixture_exact_up_to_the_cap() -> None:
    rng = np.random.default_rng(7)
    p, p_negative = rng.dirichlet(np.ones(50)), rng.dirichlet(np.ones(50))
    cap = float(log_alpha_cap(np.log(p_negative) - np.log(p)))
    for log_alpha in (cap, cap - 1, cap - 30):
        residual = np.exp(residual_log_prob(np.log(p), np.log(p_negative), log_alpha))
        alpha = math.exp(log_alpha)
        np.testing.assert_allclose(alpha * p_negative + (1 - alpha) * residual, p, rtol=1e-12)
        assert residual.sum() == pytest.approx(1, rel=1e-12)
    assert residual_log_prob(np.log(p), np.log(p_negative), cap).min() == -np.inf
    with pytest.raises(BadSpec, match="above the cap"):
        residual_log_prob(np.log(p), np.log(p_negative), cap + 1e-3)


def test_residual_of_sequences_far_below_underflow() -> None:
    # P = e^{-5000}, αP₋ = e^{-5001}: (1 − e^{-1})/(1 − e^{-10}) e^{-5000}
    expected = -5000 + math.log1p(-math.exp(-1)) - math.log1p(-math.exp(-10))
    assert float(residual_log_prob(-5000.0, -4991.0, -10.0)) == pytest.approx(expected, abs=1e-9)
    assert float(residual_log_prob(-5000.0, -np.inf, -10.0)) == pytest.approx(
        -5000 - math.log1p(-math.exp(-10)), abs=1e-9
    )
    with pytest.raises(BadSpec, match="below 0"):
        residual_log_prob(-1.0, -1.0, 0.0)


def test_cap_is_per_length_and_never_above_one() -> None:
    evidence = np.array([[0.0, 2.0, -1.0], [0.0, 1000.0, -2.0]])
    assert log_alpha_cap(evidence).tolist() == [0.0, -1000.0, 0.0]
    assert alpha_cap(evidence).tolist() == [1.0, 0.0, 1.0]
    with pytest.raises(BadSpec, match="no prompt"):
        log_alpha_cap(np.empty((0, 3)))
    with pytest.raises(BadSpec, match="NaN"):
        log_alpha_cap([math.nan])


@given(LOG_RATIO, LOG_INVERSE_ALPHA, st.floats(-1, 1), st.floats(-1, 1))
@settings(deadline=None)
def test_predicted_behavior_lies_between_the_components(
    log_ratio: float, log_inverse_alpha: float, negative: float, positive: float
) -> None:
    predicted = float(predicted_behavior(log_ratio, log_inverse_alpha, negative, positive))
    assert min(negative, positive) - 1e-12 <= predicted <= max(negative, positive) + 1e-12


def test_predicted_behavior_by_hand_and_out_of_range() -> None:
    assert float(predicted_behavior(math.log(3), math.log(4), -0.8, 0.6)) == pytest.approx(-0.1, abs=1e-15)
    with pytest.raises(BadSpec, match=r"behavior_negative reaches -1\.5"):
        predicted_behavior(0.0, 1.0, [-0.5, -1.5], 0.5)
