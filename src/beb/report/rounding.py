"""Numbers rounded to what their interval carries: the one place where a measured number becomes text."""

from __future__ import annotations

import math

from beb.core.estimate import Estimate

NO_UPPER_LIMIT = "no upper limit"
NO_LOWER_LIMIT = "no lower limit"
_SIGNIFICANT_EXACT = 4


def decimals(low: float, high: float, value: float) -> int:
    """Decimal places at which half the interval's width shows two digits; negative means tens, hundreds, ...

    low, high: limits, possibly infinite. value: the estimate; the finite side is used if one limit is infinite.
    Returns: places for `round`, three significant digits of the value where no finite width exists.
    """
    sides = [abs(limit - value) for limit in (low, high) if math.isfinite(limit) and math.isfinite(value)]
    half = sum(sides) / len(sides) if sides else 0.0
    if half > 0:
        return 1 - math.floor(math.log10(half))
    finite = [abs(x) for x in (value, low, high) if math.isfinite(x) and x != 0]
    return _SIGNIFICANT_EXACT - 2 - math.floor(math.log10(finite[0])) if finite else 0


def fixed(value: float, places: int) -> str:
    """A number at the given decimal places, with a minus sign and thousands separators; infinite values as ∞."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    magnitude = abs(value)
    if magnitude >= 1e7 and places <= 0:
        digits = min(max(math.floor(math.log10(magnitude)) + places, 1), 3)
        return _scientific(value, digits)
    if 0 < magnitude < 1e-4 and places > 4:
        return _scientific(value, max(math.floor(math.log10(magnitude)) + places, 0))
    text = f"{round(value, places):,.{min(max(places, 0), 12)}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", "−")


def value_text(estimate: Estimate) -> str:
    """The value alone, rounded to what the interval carries."""
    if math.isinf(estimate.value):
        return NO_UPPER_LIMIT if estimate.value > 0 else NO_LOWER_LIMIT
    return fixed(estimate.value, decimals(estimate.low, estimate.high, estimate.value))


def interval_text(estimate: Estimate) -> str:
    """The interval alone: "[low, high]", "exact", or words where a limit is infinite."""
    if estimate.exact and estimate.low == estimate.high:
        return "exact"
    places = decimals(estimate.low, estimate.high, estimate.value)
    low = fixed(estimate.low, places) if math.isfinite(estimate.low) else NO_LOWER_LIMIT
    high = fixed(estimate.high, places) if math.isfinite(estimate.high) else NO_UPPER_LIMIT
    return f"[{low}, {high}]"


def with_interval(estimate: Estimate) -> str:
    """Value and interval: "8.13 [7.49, 8.77]"."""
    return f"{value_text(estimate)} {interval_text(estimate)}"


def point_text(value: float, low: float, high: float) -> str:
    """One value of a curve, rounded to what its limits carry."""
    return fixed(value, decimals(low, high, value))


def one_in(log_inverse: float) -> str:
    """A weight e^{-log_inverse} in words: "1 in 3,300", "1 in 10^12", "0.62"; log_inverse in nats."""
    if math.isinf(log_inverse):
        return "zero" if log_inverse > 0 else "all of it"
    if log_inverse <= math.log(2):
        return fixed(min(math.exp(-log_inverse), 1.0), 2)
    exponent = log_inverse / math.log(10)
    if exponent > 9:
        return f"1 in 10^{exponent:.0f}"
    inverse = math.exp(log_inverse)
    return f"1 in {fixed(inverse, 1 - math.floor(exponent) if inverse >= 10 else 1)}"


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


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa} × 10^{int(exponent)}".replace("-", "−")
