import itertools

import numpy as np
import pytest

from beb.core.logspace import log_odds
from beb.core.mixture import posterior_weight
from beb.core.personas import log_ratio_range, one_against_rest, persona_weights
from beb.errors import BadSpec

LOG_WEIGHTS = np.log([0.9, 0.099, 0.001])


def test_weights_are_bayes_rule_by_hand() -> None:
    # 1/2·0.1, 1/4·0.4, 1/4·0.2 → 1:2:1
    weights = persona_weights(np.log([0.5, 0.25, 0.25]), np.log([[0.1, 0.4, 0.2], [1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(weights, [[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]], rtol=1e-14)


def test_weights_far_below_underflow() -> None:
    weights = persona_weights(LOG_WEIGHTS, np.array([-9000.0, -8990.0, -np.inf]))
    assert weights[2] == 0
    assert weights[1] / weights[0] == pytest.approx(0.11 * np.exp(10), rel=1e-10)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_one_against_rest_is_the_same_mixture(index: int) -> None:
    log_probs = -50 * np.random.default_rng(index).random((200, 3))
    pair = one_against_rest(index, LOG_WEIGHTS, log_probs)
    mixture = np.logaddexp(
        pair.log_p_negative - pair.log_inverse_alpha,
        pair.log_p_positive + np.log1p(-np.exp(-pair.log_inverse_alpha)),
    )
    np.testing.assert_allclose(mixture, np.logaddexp.reduce(LOG_WEIGHTS + log_probs, axis=-1), rtol=1e-12)
    np.testing.assert_allclose(
        posterior_weight(pair.log_ratio, log_odds(pair.log_inverse_alpha)),
        persona_weights(LOG_WEIGHTS, log_probs)[:, index],
        rtol=1e-10,
    )


def test_bad_personas_are_refused() -> None:
    with pytest.raises(BadSpec, match=r"sum to 0\.75"):
        persona_weights(np.log([0.5, 0.25]), np.zeros((1, 2)))
    with pytest.raises(BadSpec, match=r"accepted: \(\.\.\., 3\)"):
        persona_weights(LOG_WEIGHTS, np.zeros((1, 2)))
    with pytest.raises(BadSpec, match="every persona"):
        persona_weights(LOG_WEIGHTS, np.full((1, 3), -np.inf))
    with pytest.raises(BadSpec, match="accepted: 0 to 2"):
        one_against_rest(3, LOG_WEIGHTS, np.zeros((1, 3)))
    with pytest.raises(BadSpec, match="strictly between"):
        one_against_rest(0, np.array([0.0, -np.inf]), np.zeros((1, 2)))


def test_the_range_over_a_box_of_weights_is_reached_at_its_corners() -> None:
    rng = np.random.default_rng(4)
    k = 4
    for _ in range(100):
        rows = rng.normal(scale=3, size=(2, 3, k)) - 5
        weights = rng.dirichlet(np.ones(k))
        low = np.maximum(weights - 0.3 * rng.random(k), 0) * (rng.random(k) < 0.6)
        high = weights + 0.3 * rng.random(k)
        below, above = log_ratio_range(1, low, high, rows)
        ratios = []
        for pick in itertools.product((False, True), repeat=k - 1):
            corner = np.where(np.insert(pick, 1, True), high, low)
            if np.delete(corner, 1).sum() > 0:
                with np.errstate(divide="ignore"):
                    log_weights = np.log(corner / corner.sum())
                ratio = one_against_rest(1, log_weights, np.cumsum(rows, axis=1)).log_ratio
                ratios.append(np.diff(ratio, axis=1, prepend=0))
        assert below == pytest.approx(np.min(ratios, axis=0))
        assert above == pytest.approx(np.max(ratios, axis=0))
        inside = one_against_rest(1, np.log(weights), np.cumsum(rows, axis=1)).log_ratio
        assert (np.diff(inside, axis=1, prepend=0) >= below - 1e-9).all()
        point, same = log_ratio_range(1, weights, weights, rows)
        assert point == pytest.approx(np.diff(inside, axis=1, prepend=0))
        assert same == pytest.approx(point)


def test_the_range_refuses_what_is_no_box() -> None:
    with pytest.raises(BadSpec, match="0 ≤ low ≤ high"):
        log_ratio_range(0, [0.5, 0.5], [0.4, 0.6], np.zeros((1, 2, 2)))
