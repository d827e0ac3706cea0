"""Numbers as text say neither more nor less than their interval does."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from beb.core.estimate import Estimate
from beb.report.rounding import (
    Side,
    dense,
    excludes,
    fixed,
    interval_text,
    limit_text,
    one_in,
    point_text,
    restated,
    seconds_text,
    significant,
    value_text,
    with_interval,
)  # fmt: skip


def make(value: float, low: float, high: float, *, exact: bool = False) -> Estimate:
    return Estimate(value, low, high, 0.95, 32, "nats", "test", exact)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (make(8.1312, 7.49, 8.77), "8.13 [7.49, 8.77]"),
        (make(12345.6, 11000, 14000), "12,300 [11,000, 14,000]"),
        (make(-0.00001, -0.02, 0.01), "0.0000 [−0.020, 0.010]"),
        (make(0.004, -0.3, 0.3), "0.004 [−0.30, 0.30]"),
        (make(1.9, 0.04, 3500), "1.9 [0.0, 3,500]"),
        (make(5, 5, math.inf), "5.00 [5.00, no upper limit]"),
        (make(4.2, 3.1, math.inf), "4.2 [3.1, no upper limit]"),
        (make(math.inf, 3.2, math.inf), "none [3.20, no upper limit]"),
        (make(0, -math.inf, math.inf), "0 [no limits]"),
        (make(-5, -math.inf, -3), "−5.0 [no lower limit, −3.0]"),
        (make(0.25, 0.25, 0.25, exact=True), "0.2500 exact"),
        (make(0, 0, 0, exact=True), "0 exact"),
        (make(3.21e9, 1.1e9, math.inf), "3.2 × 10⁹ [1.1 × 10⁹, no upper limit]"),
        (make(3.0e-6, 1.0e-6, 5.0e-6), "3.0 × 10⁻⁶ [1.0 × 10⁻⁶, 5.0 × 10⁻⁶]"),
    ],
)
def test_known_texts(estimate: Estimate, text: str) -> None:
    assert with_interval(estimate) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (make(8.1312, 7.49, 8.77), "8.13 [7.49, 8.77]"),
        (make(3.21, 1.2, math.inf), "3.2 [1.2, ∞)"),
        (make(math.inf, 3.2, math.inf), "∞ [3.20, ∞)"),
        (make(0, -math.inf, math.inf), "0 (−∞, ∞)"),
        (make(-5, -math.inf, -3), "−5.0 (−∞, −3.0]"),
        (make(0.25, 0.25, 0.25, exact=True), "0.2500 exact"),
    ],
)
def test_dense_texts(estimate: Estimate, text: str) -> None:
    assert dense(estimate) == text


def parsed(text: str) -> float:
    mantissa, _, power = text.replace(",", "").replace("−", "-").partition(" × 10")
    return float(mantissa) * 10 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)


@given(value=st.floats(-1e12, 1e12), below=st.floats(1e-9, 1e9), above=st.floats(1e-9, 1e9))
def test_rounding_moves_no_number_by_more_than_a_fifth_of_its_side(value: float, below: float, above: float) -> None:
    low, high = value - below, value + above
    # Beyond a float's own resolution there is nothing to round.
    assume(low < value < high and min(value - low, high - value) > 1e-9 * max(abs(low), abs(high)))
    estimate = make(value, low, high)
    shown_low, shown_high = interval_text(estimate).strip("[]").split(", ")
    # Two digits of half the width: 0.05 of it at most; sides up to tenfold apart share places, hence √10 times that.
    assert abs(parsed(shown_low) - low) <= 0.2 * (value - low) + 1e-6 * abs(low)
    assert abs(parsed(shown_high) - high) <= 0.2 * (high - value) + 1e-6 * abs(high)
    assert abs(parsed(value_text(estimate)) - value) <= 0.2 * min(value - low, high - value) + 1e-6 * abs(value)


def test_minus_zero_has_no_sign() -> None:
    assert fixed(-0.001, 1) == "0.0"
    assert fixed(-0.06, 1) == "−0.1"


def test_point_of_a_curve() -> None:
    assert point_text(0.7, 0.47, 0.92) == "0.70 [0.47, 0.92]"


@pytest.mark.parametrize(
    ("log_inverse", "text"),
    [
        (-1.0, "1.00"), (0.3, "0.74"), (math.log(2.7), "1 in 2.7"), (math.log(46.4), "1 in 46"),
        (math.log(96_400), "1 in 96,000"), (math.log(13.2e6), "1 in 13 million"), (math.log(4.9e9), "1 in 4.9 billion"),
        (14 * math.log(10), "1 in 10¹⁴"), (math.inf, "none at all"),
    ],
)  # fmt: skip
def test_weights_in_words(log_inverse: float, text: str) -> None:
    assert one_in(log_inverse) == text


def weight(text: str) -> float:
    """What `one_in` says, read back as log 1/α."""
    if not text.startswith("1 in "):
        return -math.log(parsed(text))
    number = text.removeprefix("1 in ")
    if number.startswith("10") and set(number[2:]) <= set("⁰¹²³⁴⁵⁶⁷⁸⁹") and number[2:]:
        return int(number[2:].translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789"))) * math.log(10)
    size = next((s for name, s in ((" million", 1e6), (" billion", 1e9)) if number.endswith(name)), 1.0)
    return math.log(parsed(number.removesuffix(" million").removesuffix(" billion")) * size)


@given(st.one_of(st.floats(0, 3), st.floats(0, 30), st.floats(0, 5000)))
def test_a_limit_of_a_weight_in_words_claims_no_more_than_is_known(log_inverse: float) -> None:
    most, least = weight(one_in(log_inverse, "at most")), weight(one_in(log_inverse, "at least"))
    assert most <= log_inverse + 1e-12 * (1 + log_inverse)
    assert least >= log_inverse - 1e-12 * (1 + log_inverse)
    # Two digits are off by a tenth at most, powers of ten by ten.
    room = math.log(10) if log_inverse > 11.9 * math.log(10) else 0.1
    assert most > log_inverse - room - 1e-9
    assert least < log_inverse + room + 1e-9
    assert excludes(log_inverse) == (most > 0)


@given(value=st.floats(-1e9, 1e9), decimals=st.integers(-3, 6))
def test_a_limit_is_rounded_away_from_what_it_excludes(value: float, decimals: int) -> None:
    assert parsed(limit_text(value, decimals, "at least")) <= value <= parsed(limit_text(value, decimals, "at most"))
    for side in ("at least", "at most"):
        assert abs(parsed(limit_text(value, decimals, side)) - value) <= max(10.0**-decimals, 1e-6 * abs(value))


@given(st.floats(-200, 2000).filter(lambda x: x == 0 or abs(x) > 1e-300))
def test_a_certain_limit_is_rounded_down_wherever_it_is_shown(value: float) -> None:
    cap = Estimate(value, value, math.inf, 1.0, 32, "nats", "largest evidence")
    assert parsed(value_text(cap)) <= value
    assert parsed(interval_text(cap).strip("[").split(", ")[0]) <= value
    assert abs(parsed(value_text(cap)) - value) <= 0.01 * abs(value)


@pytest.mark.parametrize(
    ("log_inverse", "side", "text"),
    [
        (5.0, "at most", "1 in 140"), (5.0, "at least", "1 in 150"), (4.9997, "at most", "1 in 140"),
        (25.6 * math.log(10), "at most", "1 in 10²⁵"), (25.6 * math.log(10), "at least", "1 in 10²⁶"),
        (math.log(9.98e11), "at least", "1 in 10¹²"), (math.log(9.98e11), "at most", "1 in 990 billion"),
        (math.log(9.98e11), "nearest", "1 in 10¹²"), (0.3, "at most", "0.75"), (0.3, "at least", "0.74"),
        (0.001, "at most", "1.00"),
    ],
)  # fmt: skip
def test_limits_of_weights_in_words(log_inverse: float, side: Side, text: str) -> None:
    assert one_in(log_inverse, side) == text


def test_certain_limits_in_nats() -> None:
    assert value_text(Estimate(4.9997, 4.9997, math.inf, 1.0, 32, "nats", "cap")) == "4.99"
    assert limit_text(5.02, 1, "at most") == "5.1"
    assert limit_text(0.29, 2, "at least") == "0.29"
    assert limit_text(math.inf, 1, "at most") == "∞"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (9.96, "10 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("over tested prompts γ = -0.768 [-1, -0.263]", "over tested prompts γ = −0.77 [−1.00, −0.26]"),
        ("β = 5.312 [4.191, 6.42] nats", "β = 5.3 [4.2, 6.4] nats"),
        ("κ = 0.9 [-inf, 2.41]; L ≤ 3 [1, inf]", "κ = 0.9 [no lower limit, 2.4]; L ≤ 3.0 [1.0, no upper limit]"),
        ("some prompt has B < γ+ε = -0.5679", "some prompt has B < γ+ε = −0.57"),
        ("evidence of -3.2 nats, n = 0..5, a-1, 2026-11-23", "evidence of −3.2 nats, n = 0..5, a-1, 2026-11-23"),
        ("40 of 40 prompts", "40 of 40 prompts"),
    ],
)
def test_restated_numbers_say_what_their_intervals_carry(text: str, shown: str) -> None:
    assert restated(text) == shown


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(0.00461, 2, "0.0046"), (8.04e-7, 2, "8.0 × 10⁻⁷"), (3e-10, 1, "3 × 10⁻¹⁰"), (0.0, 2, "0"), (math.inf, 1, "∞")],
)
def test_significant_digits(value: float, digits: int, shown: str) -> None:
    assert significant(value, digits) == shown
