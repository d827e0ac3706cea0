"""Numbers rounded to what their interval carries: the one place where a measured number becomes text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from typing import Literal

from beb.core.estimate import Estimate

Side = Literal["nearest", "at most", "at least"]
"""Which words stand before a number: a limit is rounded so that it never claims more than is known."""
NO_UPPER_LIMIT = "no upper limit"
NO_LOWER_LIMIT = "no lower limit"
NO_FINITE_VALUE = "none"
NO_LIMITS = "no limits"
_NUMBER = r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_WITH_LIMITS = re.compile(rf"{_NUMBER}) \[{_NUMBER}|-inf), {_NUMBER}|inf)\]")
_LEVEL = re.compile(rf"(γₙ?\+ε = ){_NUMBER})")
_SIGNIFICANT_EXACT = 4
_SIGNIFICANT_ONE_SIDED = 3
_LOPSIDED = 10.0
_TOWARDS = {"nearest": ROUND_HALF_EVEN, "at most": ROUND_CEILING, "at least": ROUND_FLOOR}
_CONTRARY: dict[Side, Side] = {"nearest": "nearest", "at most": "at least", "at least": "at most"}
_ALL_DIGITS = Context(prec=400)
_POWERS_FROM = 1e12
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Places:
    """Decimal places of a value and of its two limits; negative means tens, hundreds, ..."""

    value: int
    low: int
    high: int


def places(value: float, low: float, high: float) -> Places:
    """The places at which an interval's half-width shows two digits.

    Sides that differ less than tenfold share their places; otherwise each limit has its own, and the value the finer.
    A value that would vanish keeps one place more. Without a finite side: four significant digits if exact, else three.
    """
    sides = [abs(limit - value) for limit in (low, high)]
    finite = [side for side in sides if math.isfinite(side) and side > 0]
    if not finite:
        known = [abs(x) for x in (value, low, high) if math.isfinite(x) and x != 0]
        digits = _SIGNIFICANT_EXACT if low == high else _SIGNIFICANT_ONE_SIDED
        each = digits - 1 - math.floor(math.log10(known[0])) if known else 0
        return Places(each, each, each)
    own = [_two_digits(side) if side in finite else _two_digits(min(finite)) for side in sides]
    if max(finite) < _LOPSIDED * min(finite):
        own = [_two_digits(math.sqrt(min(finite) * max(finite)))] * 2
    shown = max(own)
    vanishes = math.isfinite(value) and value != 0 and round(value, shown) == 0
    return Places(shown + vanishes, own[0], own[1])


def _two_digits(half_width: float) -> int:
    return 1 - math.floor(math.log10(half_width))


def fixed(value: float, decimals: int) -> str:
    """A number at the given decimal places, with a minus sign and thousands separators; infinite values as ∞."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    magnitude = abs(value)
    if magnitude >= 1e7 and decimals <= 0:
        digits = min(max(math.floor(math.log10(magnitude)) + decimals, 1), 15)
        return _scientific(value, digits)
    if 0 < magnitude < 1e-4 and decimals > 4:
        return _scientific(value, max(math.floor(math.log10(magnitude)) + decimals, 0))
    text = f"{round(value, decimals):,.{min(max(decimals, 0), 12)}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", "−")


def limit_text(value: float, decimals: int, side: Side) -> str:
    """A limit at the given decimal places: "at least" rounds down, "at most" up."""
    known = side != "nearest" and math.isfinite(value)
    return fixed(_towards(value, decimals, side) if known else value, decimals)


def value_text(estimate: Estimate) -> str:
    """The value alone, rounded to what the interval carries; a certain limit away from what it excludes."""
    if math.isinf(estimate.value):
        return NO_FINITE_VALUE
    shown = places(estimate.value, estimate.low, estimate.high).value
    low, high = _sides(estimate)
    side = low if estimate.value == estimate.low else high if estimate.value == estimate.high else "nearest"
    return limit_text(estimate.value, shown, side)


def interval_text(estimate: Estimate) -> str:
    """The interval alone: "[low, high]", "exact", or words where a limit is infinite."""
    if estimate.exact and estimate.low == estimate.high:
        return "exact"
    return _limits(estimate.value, estimate.low, estimate.high, _sides(estimate))


def with_interval(estimate: Estimate) -> str:
    """Value and interval: "8.13 [7.49, 8.77]"."""
    return f"{value_text(estimate)} {interval_text(estimate)}"


def dense(estimate: Estimate) -> str:
    """Value and interval where columns are narrow, infinite ones as ∞: "3.2 [1.2, ∞)"."""
    value = "∞" if math.isinf(estimate.value) and estimate.value > 0 else value_text(estimate)
    return f"{value} {dense_limits(estimate)}"


def dense_limits(estimate: Estimate) -> str:
    """The interval alone where columns are narrow: "[1.2, ∞)"."""
    limits = interval_text(estimate)
    if limits == f"[{NO_LIMITS}]":
        return "(−∞, ∞)"
    return limits.replace(f"{NO_UPPER_LIMIT}]", "∞)").replace(f"[{NO_LOWER_LIMIT}", "(−∞")


def point_text(value: float, low: float, high: float) -> str:
    """One point of a curve with its limits, rounded to what they carry."""
    return f"{fixed(value, places(value, low, high).value)} {_limits(value, low, high)}"


def restated(text: str) -> str:
    """A text with its numbers rounded to what their intervals carry: "-0.768 [-1, -0.263]" becomes "−0.77 [−1.00, …".

    Levels γ+ε have no interval of their own and get two decimals; every other negative number gets its minus sign.
    """
    told = _WITH_LIMITS.sub(lambda found: point_text(*(float(number) for number in found.groups())), text)
    told = _LEVEL.sub(lambda found: found[1] + fixed(float(found[2]), 2), told)
    return re.sub(r"(?<![\w.−-])-(?=\d)", "−", told)


def one_in(log_inverse: float, side: Side = "nearest") -> str:
    """A weight e^{-log_inverse} in words, two digits: "1 in 3,300", "1 in 13 million", "1 in 10¹⁴", "0.62".

    side: the words before it; "at most" 1 in X rounds X down, "at least" 1 in X up.
    """
    if math.isinf(log_inverse):
        return "none at all" if log_inverse > 0 else "all of it"
    if log_inverse <= math.log(2):
        return limit_text(min(math.exp(-log_inverse), 1.0), 2, side)
    exponent = log_inverse / math.log(10)
    inverse = math.exp(min(log_inverse, math.log(_POWERS_FROM)))
    inverse = _towards(inverse, 1 - math.floor(math.log10(inverse)), _CONTRARY[side])
    if exponent >= math.log10(_POWERS_FROM) or inverse >= _POWERS_FROM:
        return "1 in 10" + f"{_towards(exponent, 0, _CONTRARY[side]):.0f}".translate(_SUPERSCRIPTS)
    for size, name in ((1e9, " billion"), (1e6, " million")):
        if inverse >= size:
            return f"1 in {inverse / size:.3g}{name}"
    return f"1 in {inverse:,.0f}" if inverse >= 10 else f"1 in {inverse:.1f}"


def excludes(log_inverse: float) -> bool:
    """Whether a weight of at most e^{-log_inverse} is less than the whole at the two digits of `one_in`."""
    return log_inverse > 0 and one_in(log_inverse, "at most") != one_in(0.0)


def significant(value: float, digits: int) -> str:
    """A number without interval at so many significant digits: "0.0046", "8 × 10⁻⁷"."""
    if value == 0 or math.isinf(value):
        return fixed(value, 0)
    return fixed(value, digits - 1 - math.floor(math.log10(abs(value))))


def seconds_text(seconds: float) -> str:
    """A duration: "0.4 s", "48 s", "3 min 05 s", "2 h 10 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count_text(count: int, singular: str, plural: str = "") -> str:
    """A count with its noun: "1 prompt", "1,200 prompts"."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def _sides(estimate: Estimate) -> tuple[Side, Side]:
    """How the limits are rounded: outward where they hold for certain, for no probability covers the rest."""
    certain = estimate.level == 1 and estimate.low < estimate.high
    return ("at least", "at most") if certain else ("nearest", "nearest")


def _towards(value: float, decimals: int, side: Side) -> float:
    # In decimal: 0.29 stays 0.29, although a hundred times its binary value lies below 29.
    exact = Decimal(repr(float(value)))
    return float(exact.quantize(Decimal(1).scaleb(-decimals), _TOWARDS[side], context=_ALL_DIGITS))


def _limits(value: float, low: float, high: float, sides: tuple[Side, Side] = ("nearest", "nearest")) -> str:
    if math.isinf(low) and math.isinf(high):
        return f"[{NO_LIMITS}]"
    shown = places(value, low, high)
    lower = limit_text(low, shown.low, sides[0]) if math.isfinite(low) else NO_LOWER_LIMIT
    upper = limit_text(high, shown.high, sides[1]) if math.isfinite(high) else NO_UPPER_LIMIT
    return f"[{lower}, {upper}]"


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}".replace("-", "−")
