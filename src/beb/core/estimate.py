"""The records in which every measured number travels."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """One measured number with its interval.

    value, low, high: in `unit`; low <= value <= high; infinite limits are allowed, NaN is not.
    level: confidence level of [low, high], in (0, 1]; 1 means the limits hold for certain.
    n: number of independent sampling units (prompts, statements, ...).
    unit: for example "nats per sentence".
    method: how value and interval were computed, in words.
    exact: True only where the number is known without error (then low == high is allowed).
    Raises: ValueError if the interval is empty, falsely exact, or does not hold the value.
    """

    value: float
    low: float
    high: float
    level: float
    n: int
    unit: str
    method: str
    exact: bool = False

    def __post_init__(self) -> None:
        if any(math.isnan(x) for x in (self.value, self.low, self.high)):
            raise ValueError(f"NaN in estimate {self.value} [{self.low}, {self.high}] ({self.method})")
        if not (self.low < self.high or (self.exact and self.low == self.high)):
            raise ValueError(f"interval [{self.low}, {self.high}] is empty or falsely exact ({self.method})")
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value} lies outside its interval [{self.low}, {self.high}] ({self.method})")
        if not 0 < self.level <= 1:
            raise ValueError(f"level {self.level} is outside (0, 1]")

    @property
    def width(self) -> float:
        """high - low, in `unit`."""
        return self.high - self.low


@dataclass(frozen=True, slots=True)
class Band:
    """A curve over the number of sentences with pointwise and simultaneous limits.

    lengths: (k,) number of sentences, increasing.
    value: (k,) point estimates, in `unit`.
    pointwise_low, pointwise_high: (k,) each covers its own point with probability `level`.
    low, high: (k,) together cover the whole curve with probability `level`.
    n: number of prompts. unit, method: as in Estimate.
    Raises: ValueError on differing lengths, NaN, or limits that do not hold the value.
    """

    lengths: tuple[int, ...]
    value: tuple[float, ...]
    pointwise_low: tuple[float, ...]
    pointwise_high: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    level: float
    n: int
    unit: str
    method: str

    def __post_init__(self) -> None:
        columns = (self.value, self.pointwise_low, self.pointwise_high, self.low, self.high)
        if any(len(column) != len(self.lengths) for column in columns) or not self.lengths:
            raise ValueError(f"band columns have lengths {[len(c) for c in columns]} for {len(self.lengths)} points")
        if any(math.isnan(x) for column in columns for x in column):
            raise ValueError(f"NaN in band ({self.method})")
        for name, lows, highs in (
            ("pointwise", self.pointwise_low, self.pointwise_high),
            ("simultaneous", self.low, self.high),
        ):
            if not all(lo <= v <= hi for lo, v, hi in zip(lows, self.value, highs, strict=True)):
                raise ValueError(f"{name} limits do not hold the curve ({self.method})")

    def at(self, length: int) -> Estimate:
        """The pointwise estimate at one length."""
        i = self.lengths.index(length)
        exact = self.pointwise_low[i] == self.pointwise_high[i]
        return Estimate(
            self.value[i],
            self.pointwise_low[i],
            self.pointwise_high[i],
            self.level,
            self.n,
            self.unit,
            self.method,
            exact,
        )
