import numpy as np
import pytest

from beb.core.logspace import log_odds
from beb.core.mixture import posterior_weight
from beb.core.personas import one_against_rest, persona_weights, sentence_log_ratio
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


def texts(rng: np.random.Generator, k: int) -> np.ndarray:
    """(3, 4, k) sentence log-probabilities, of which the last text ends after its second sentence."""
    rows = rng.normal(scale=3, size=(3, 4, k)) - 5
    rows[2, 2:] = np.nan
    return np.asarray(rows)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("index", [0, 1, 3])
def test_the_log_ratio_of_a_sentence_is_what_it_adds_to_that_of_the_text(index: int) -> None:
    rng = np.random.default_rng(index)
    for weights in (rng.dirichlet(np.ones(4)), np.array([0.2, 0.5, 0.0, 0.3])):
        rows = texts(rng, 4)
        ratio, _ = sentence_log_ratio(index, 7 * weights, rows)
        with np.errstate(divide="ignore"):
            log_weights = np.log(weights)
        for text, found in zip(rows, ratio, strict=True):
            n = int((~np.isnan(found)).sum())
            cumulated = one_against_rest(index, log_weights, np.cumsum(text[:n], axis=0)).log_ratio
            assert found[:n] == pytest.approx(np.diff(cumulated, prepend=0))
    assert (np.isnan(ratio) == np.isnan(rows[..., 0])).all()


def test_the_gradient_in_the_weights_is_that_of_differences() -> None:
    rng = np.random.default_rng(9)
    rows, weights = texts(rng, 4), rng.dirichlet(np.ones(4))
    _, slope = sentence_log_ratio(1, weights, rows)
    for j in range(4):
        step = 1e-6 * np.eye(4)[j]
        above, below = (sentence_log_ratio(1, weights + sign * step, rows)[0] for sign in (1, -1))
        np.testing.assert_allclose(slope[..., j], (above - below) / 2e-6, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_a_persona_without_weight_far_above_the_others_overflows_nothing() -> None:
    ratio, slope = sentence_log_ratio(0, [0.5, 0.5, 0.0], [[-5.0, -2000.0, -1.0]])
    assert ratio == pytest.approx([1995.0])
    assert np.isfinite(slope).all()


def test_what_gives_no_log_ratio_is_refused() -> None:
    for weights in ([0.5, -0.1, 0.6], [1.0, 0.0, 0.0], [0.5, 0.5]):
        with pytest.raises(BadSpec, match="accepted"):
            sentence_log_ratio(0, weights, np.zeros((2, 2, 3)))
