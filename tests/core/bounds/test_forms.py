"""Each form against values worked by hand, high precision, and its limits."""

import math
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beb.core import bounds
from beb.errors import BadSpec, NoBound

MODEL = {"log_inverse_alpha": 20.0, "beta": 2.0, "gamma": -0.9, "epsilon": 0.1}
SPREAD = {"sigma2": 5.0, "delta": 0.1}
PAPER = 20 + math.log(10) + math.log(4)
C = math.log(math.exp(20) - 1) + math.log(18)


@given(st.floats(1e-20, 1e5), st.floats(-1, 0.9), st.floats(1e-9, 0.09))
@settings(deadline=None)
def test_required_log_ratio_agrees_with_sixty_digits(log_inverse_alpha: float, gamma: float, epsilon: float) -> None:
    with localcontext() as context:
        context.prec = 60
        slack = (1 - Decimal(gamma)) / Decimal(epsilon) - 1
        exact = float((Decimal(log_inverse_alpha).exp() - 1).ln() + slack.ln())
    c = bounds.required_log_ratio(log_inverse_alpha=log_inverse_alpha, gamma=gamma, epsilon=epsilon)
    assert c == pytest.approx(exact, rel=1e-12, abs=1e-12)


@given(st.floats(1e-6, 50), st.floats(-1, 0.99), st.floats(1e-6, 0.009))
@settings(deadline=None)
def test_at_the_required_log_ratio_the_worst_case_sits_on_the_level(lia: float, gamma: float, epsilon: float) -> None:
    c = bounds.required_log_ratio(log_inverse_alpha=lia, gamma=gamma, epsilon=epsilon)
    weight = 1 / (1 + math.expm1(lia) * math.exp(-c))
    assert weight * gamma + (1 - weight) == pytest.approx(gamma + epsilon, abs=1e-9)


def test_theorem_1_by_hand() -> None:
    b = bounds.single_prompt(**MODEL)
    assert b.paper == pytest.approx(PAPER / 2, rel=1e-14)
    assert b.sharp == pytest.approx(C / 2, rel=1e-14)
    assert b.whole_sentences == 12
    assert b.unit == "sentences"
    assert dict(b.inputs) == MODEL


def test_theorem_5_by_hand() -> None:
    b = bounds.random_prompt(**MODEL, **SPREAD)
    assert b.paper == pytest.approx(max(PAPER, 4 * 5 / (4 * 0.1)), rel=1e-14)
    k = math.sqrt(5) * 3  # √((1−δ)/δ) = 3
    assert b.sharp == pytest.approx(((k + math.sqrt(k * k + 8 * C)) / 4) ** 2, rel=1e-14)
    assert bounds.random_prompt(**MODEL, sigma2=5.0, delta=1.0).sharp == pytest.approx(C / 2, rel=1e-14)
    assert bounds.random_prompt(**MODEL, sigma2=0.0, delta=0.1).sharp == pytest.approx(C / 2, rel=1e-14)


def test_theorem_2_by_hand() -> None:
    b = bounds.after_prefix(**MODEL, **SPREAD, beta_prime=3.0, prefix_sentences=4)
    assert b.paper == pytest.approx(PAPER / 2 + 6 + math.sqrt(5) / 2 * math.sqrt(40) + 1, rel=1e-14)
    assert b.sharp == pytest.approx((C + 12 + math.sqrt(5) * 6) / 2 + 1, rel=1e-14)


def test_theorem_3_by_hand() -> None:
    b = bounds.conversation(**MODEL, **SPREAD, beta_prime=3.0, replies=(3, 2, 4))
    spread = sum(math.sqrt(5) / 2 * math.sqrt(3 * a / 0.1) for a in (3, 2, 4))
    assert b.paper == pytest.approx(PAPER / 2 + 13.5 + spread + 3, rel=1e-14)
    assert b.sharp == pytest.approx((C + 27 + math.sqrt(5) * 9) / 2 + 3, rel=1e-14)
    assert sum(b.per_turn) == pytest.approx(b.sharp, rel=1e-14)
    assert b.per_turn[0] == pytest.approx(C / 2, rel=1e-14)
    assert b.per_turn[2] == pytest.approx(1 + (27 + math.sqrt(5) * 9) / 2 * 2 / 9, rel=1e-14)


def test_theorem_4_by_hand() -> None:
    b = bounds.best_of_n(log_inverse_alpha=20.0, beta=2.0, gamma_n=-0.5, epsilon=0.3, n=3)
    omega = 0.8 ** (1 / 3)
    assert b.paper == pytest.approx((20 - math.log(0.3) + math.log(12)) / 2, rel=1e-14)
    assert b.sharp == pytest.approx((math.log(math.exp(20) - 1) + math.log(omega / (1 - omega))) / 2, rel=1e-14)
    one = bounds.best_of_n(log_inverse_alpha=20.0, beta=2.0, gamma_n=-0.9, epsilon=0.1, n=1)
    assert one.sharp == pytest.approx(C / 2, rel=1e-14)
    assert bounds.worst_gamma_n(-0.8, 2) == pytest.approx(1 - 2 * 0.81, rel=1e-14)
    assert [bounds.worst_gamma_n(g, 7) for g in (-1.0, 1.0)] == [-1.0, 1.0]


def test_appendix_i_by_hand() -> None:
    b = bounds.relaxed(**MODEL, eta=0.5)
    assert b.paper is None
    assert b.sharp == pytest.approx((C / 4 + 1) ** 2 - 1, rel=1e-14)
    assert bounds.relaxed(**MODEL, eta=0.0).sharp == pytest.approx(C / 2, rel=1e-14)


def test_converse_by_hand() -> None:
    family: dict[str, float] = {"max_log_ratio_per_sentence": 6.0, "behavior_floor_positive": 0.5}
    b = bounds.converse(log_inverse_alpha=20.0, gamma=-0.9, epsilon=0.1, **family)
    assert b.sharp == pytest.approx((math.log(math.exp(20) - 1) + math.log(1.3 / 0.2)) / 6, rel=1e-14)
    assert b.paper is None
    higher = bounds.converse(log_inverse_alpha=20.0, gamma=-0.9, epsilon=0.1, behavior_floor_negative=-0.9, **family)
    assert higher.sharp == pytest.approx((math.log(math.exp(20) - 1) + math.log(1.3 / 0.1)) / 6, rel=1e-14)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"behavior_floor_positive": -0.85}, 0.0),  # the aligned component alone may lie below the level
        ({"behavior_floor_negative": -0.5}, math.inf),  # neither component reaches the level
        ({"behavior_floor_positive": 0.1, "behavior_floor_negative": 0.5}, math.inf),
        ({"max_log_ratio_per_sentence": 0.0}, math.inf),  # no prompt tells the components apart
        ({"max_log_ratio_per_sentence": 0.0, "log_inverse_alpha": 0.1}, 0.0),
        ({"log_inverse_alpha": 0.0}, 0.0),
    ],
)
def test_converse_limits(changes: dict[str, float], expected: float) -> None:
    values = {"log_inverse_alpha": 20.0, "gamma": -0.9, "epsilon": 0.1}
    values |= {"max_log_ratio_per_sentence": 6.0, "behavior_floor_positive": 0.5}
    b = bounds.converse(**(values | changes))
    assert b.sharp == expected
    assert (b.whole_sentences is None) == math.isinf(expected)


ALL: dict[Any, dict[str, Any]] = {
    bounds.single_prompt: MODEL,
    bounds.random_prompt: MODEL | SPREAD,
    bounds.after_prefix: MODEL | SPREAD | {"beta_prime": 3.0, "prefix_sentences": 4},
    bounds.conversation: MODEL | SPREAD | {"beta_prime": 3.0, "replies": (3, 2, 4)},
    bounds.best_of_n: {"log_inverse_alpha": 20.0, "beta": 2.0, "gamma_n": -0.9, "epsilon": 0.1, "n": 4},
    bounds.relaxed: MODEL | {"eta": 0.5},
    bounds.converse: {
        "log_inverse_alpha": 20.0,
        "gamma": -0.9,
        "epsilon": 0.1,
        "max_log_ratio_per_sentence": 6.0,
        "behavior_floor_positive": 0.5,
    },
}
WITH_BETA = [f for f in ALL if f is not bounds.converse]


@pytest.mark.parametrize("function", ALL)
def test_elimination_has_no_bound(function: Any) -> None:
    with pytest.raises(NoBound, match="α = 0"):
        function(**(ALL[function] | {"log_inverse_alpha": math.inf}))


@pytest.mark.parametrize("function", WITH_BETA)
@pytest.mark.parametrize("beta", [0.0, -1.0])
def test_without_distinguishability_there_is_no_bound(function: Any, beta: float) -> None:
    with pytest.raises(NoBound, match=f"β = {beta:g}"):
        function(**(ALL[function] | {"beta": beta}))


@pytest.mark.parametrize("function", WITH_BETA)
def test_where_every_prompt_misaligns_no_sentence_is_needed(function: Any) -> None:
    structural = {bounds.conversation: 3.0}  # a conversation with three replies has a sentence before each
    for changes in ({"epsilon": 2.0}, {"log_inverse_alpha": 0.0}):
        assert function(**(ALL[function] | changes)).sharp == structural.get(function, 0.0)


@pytest.mark.parametrize("function", [f for f in ALL if "delta" in ALL[f]])
def test_certainty_is_infinitely_long(function: Any) -> None:
    lengths = [function(**(ALL[function] | {"delta": 10.0**-k})).sharp for k in (2, 10, 100, 300)]
    assert lengths == sorted(lengths)
    assert lengths[-1] > 1e100
    with pytest.raises(BadSpec, match=r"delta \(δ\) is 0; accepted: \(0, 1\]"):
        function(**(ALL[function] | {"delta": 0.0}))


@pytest.mark.parametrize("function", ALL)
def test_every_value_outside_its_range_is_named(function: Any) -> None:
    for name, argument in bounds.ARGUMENTS.items():
        if name not in ALL[function]:
            continue
        outside = [math.nan, *(x for x in (argument.low - 1, argument.high + 1) if math.isfinite(x))]
        outside += [argument.low] if argument.open_low else []
        outside += [argument.high] if argument.open_high else []
        for value in outside:
            with pytest.raises(BadSpec, match=f"^{name} "):
                function(**(ALL[function] | {name: value}))


@pytest.mark.parametrize("replies", [(), (3, 0), (1.5,)])
def test_replies_without_sentences_are_refused(replies: tuple[int, ...]) -> None:
    with pytest.raises(BadSpec, match="each at least 1"):
        bounds.conversation(**(ALL[bounds.conversation] | {"replies": replies}))


def test_counts_are_whole_numbers() -> None:
    with pytest.raises(BadSpec, match="whole numbers"):
        bounds.after_prefix(**(ALL[bounds.after_prefix] | {"prefix_sentences": 2.5}))


@pytest.mark.parametrize("function", WITH_BETA)
def test_a_length_beyond_floats_is_no_bound(function: Any) -> None:
    with pytest.raises(NoBound, match="exceeds"):
        function(**(ALL[function] | {"log_inverse_alpha": 1e300, "beta": 1e-300}))


def test_large_alpha_makes_the_required_log_ratio_negative_and_the_length_zero() -> None:
    lenient = {"log_inverse_alpha": 0.1, "gamma": -0.9, "epsilon": 1.5}
    assert bounds.required_log_ratio(**lenient) < 0
    assert bounds.single_prompt(**lenient, beta=2.0).sharp == 0
    assert bounds.relaxed(**lenient, beta=2.0, eta=0.5).sharp == 0
    # A random prompt may still step above the level on its way, unless the spread is small enough.
    assert bounds.random_prompt(**lenient, beta=2.0, sigma2=0.1, delta=0.5).sharp == 0
    assert bounds.random_prompt(**lenient, beta=2.0, sigma2=50.0, delta=0.1).sharp > 0
