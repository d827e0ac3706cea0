"""The bootstrap draws of the "What if" section: what the page holds of them, and their percentiles in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beb.core.bounds import ARGUMENTS, Bound, PropagatedBound
from beb.core.estimate import Estimate
from beb.experiments.arrays import Floats
from beb.experiments.what_if import ReadingInputs, WhatIfInputs
from beb.report.rounding import Places, fixed, places

PERCENTILES = (5, 50, 95)


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of a bound's sharp form over the draws, in sentences; without: share that has no finite bound."""

    low: str
    median: str
    high: str
    without: str


def percentiles(bounds: Sequence[Bound | None]) -> tuple[float, ...]:
    """`PERCENTILES` of one bound's sharp form: each is a draw, and a draw without bound counts as infinitely long."""
    lengths = sorted(map(_length, bounds))
    return tuple(lengths[math.ceil(share * len(lengths) / 100) - 1] for share in PERCENTILES)


def _length(bound: Bound | None) -> float:
    return math.inf if bound is None else bound.sharp


def spread(bounds: Sequence[Bound | None], found: PropagatedBound | None) -> Spread:
    """Of one bound in all draws. found: that bound with its interval, whose decimal places the percentiles take."""
    lengths = list(map(_length, bounds))
    low, median, high = percentiles(bounds)
    shown = places(median, low, high)
    if found is not None:
        own = places(found.sharp.value, found.sharp.low, found.sharp.high).value
        shown = Places(own, own, own)
    infinite = sum(math.isinf(each) for each in lengths)
    return Spread(
        fixed(low, shown.low),
        fixed(median, shown.value),
        fixed(high, shown.high),
        f"{fixed(100 * infinite / len(lengths), 1 if 0 < infinite < 0.1 * len(lengths) else 0)} %",
    )


def draws_payload(inputs: WhatIfInputs) -> dict[str, Any] | None:
    """The draws by reading; None where there are none.

    pool: every array once, as readings and bounds share most of them. readings: names of arguments to places in the
    pool. curve: per draw n₁, KL, n₂, KL, ... of the sentences that decide about Appendix I at some η.
    """
    pool: list[Any] = []
    known: dict[int, int] = {}

    def place(array: Floats, shown: Any) -> int:
        if id(array) not in known:
            known[id(array)] = len(pool)
            pool.append(shown(array))
        return known[id(array)]

    def places_of(arrays: Mapping[Any, Floats]) -> dict[str, int]:
        return {str(name): place(array, _numbers) for name, array in arrays.items()}

    readings, count = [], 0
    for reading in inputs.readings.values():
        draws = reading.draws
        if draws is None:
            return None
        count = len(draws.along["beta"])
        readings.append({
            "along": places_of(draws.along),
            "back": places_of(draws.back),
            "family": places_of(draws.family),
            "gamma_n": places_of(draws.gamma_n),
            "curve": None if draws.curve is None else place(draws.curve, _lowest_points),
        })  # fmt: skip
    return {"count": count, "pool": pool, "readings": readings}


def still(inputs: WhatIfInputs) -> tuple[str, ...]:
    """Arguments that every draw has alike though they are not known: their error is not in the draws."""
    found: dict[str, None] = {}
    for by, reading in inputs.readings.items():
        for estimates, drawn in _pairs(reading):
            for name, values in drawn.items():
                if not estimates[name].exact and values.min() == values.max():
                    found[ARGUMENTS[name].symbol + (f" by the {by}" if name == "log_inverse_alpha" else "")] = None
    return tuple(found)


def _pairs(reading: ReadingInputs) -> tuple[tuple[Mapping[str, Estimate], Mapping[str, Floats]], ...]:
    draws = reading.draws
    if draws is None:
        return ()
    return (reading.along, draws.along), (reading.back, draws.back), (reading.family, draws.family)


def _numbers(array: Floats) -> list[float]:
    """Whole numbers without a point."""
    return [int(each) if each.is_integer() and abs(each) < 1e15 else each for each in array.tolist()]


def _lowest_points(curves: Floats) -> list[list[float]]:
    return [_lowest(each) for each in curves.tolist()]


def _lowest(curve: Sequence[float]) -> list[float]:
    """k and KL of the sentences k whose KL kᵑ is the least of all at some η in [0, 1), from η = 0 on.

    In η every sentence is a line log KL + η log k, and the least of lines is followed from one line to the next, which
    is flatter, so of a smaller k. Where a KL is not positive there is no bound, and the least KL alone says so.
    """
    least = min(curve)
    k = curve.index(least) + 1
    points: list[float] = [k, least]
    while least > 0 and k > 1:
        # Where an earlier sentence's line meets this one's.
        meets = [(math.log(curve[j - 1] / curve[k - 1]) / math.log(k / j), j) for j in range(1, k)]
        eta, j = min(meets)
        if eta >= 1:
            break
        k = j
        points += [k, curve[k - 1]]
    return points
