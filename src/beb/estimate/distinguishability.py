"""β and β′: the smallest and the largest point of a divergence curve."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from beb.core.estimate import Band, Estimate


def smallest(band: Band, *, name: str) -> Estimate:
    """The curve's minimum, for β = minₙ βₙ.

    name: the quantity, for the method text. Returns: the smallest point, with [min low, min high] of the simultaneous
    band. If lowₙ <= βₙ <= highₙ at all n, an event of probability `level`, then min lowₙ <= βₘ for every m, hence
    min lowₙ <= min βₙ; and min βₙ <= βₘ <= highₘ for every m, hence min βₙ <= min highₙ. The smallest observed point
    itself errs downwards (it also picks the smallest error).
    Assumes: what the band assumes; lengths beyond the band are not covered.
    Source: Wolf et al. 2024, Definition 2.
    """
    return _extreme(band, min, f"{name}: smallest over {_range(band)}")


def largest(band: Band, *, name: str = "maximum") -> Estimate:
    """The curve's maximum, for β′, γ and σ²: [max low, max high] of the simultaneous band, as `smallest` with signs
    turned. The largest observed point itself errs upwards.

    Source: Wolf et al. 2024, Definitions 2 (other direction), 4 and 5.
    """
    return _extreme(band, max, f"{name}: largest over {_range(band)}")


def _range(band: Band) -> str:
    return f"n = {band.lengths[0]}..{band.lengths[-1]}, limits of the simultaneous band"


def _extreme(band: Band, pick: Callable[[Iterable[float]], float], words: str) -> Estimate:
    value, low, high = pick(band.value), pick(band.low), pick(band.high)
    return Estimate(value, low, high, band.level, band.n, band.unit, f"{words}; {band.method}", low == high)
