"""What the theorems are given: the one home of each quantity's symbol, range and direction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from beb.errors import BadSpec, NoBound


@dataclass(frozen=True, slots=True)
class Argument:
    """One quantity that a bound depends on.

    name: as in the functions' signatures. symbol: as in the paper. meaning: with its unit.
    low, high: the accepted range, ends included except where `open_low` or `open_high`.
    direction: +1 if every bound grows with it, −1 if every bound shrinks with it.
    """

    name: str
    symbol: str
    meaning: str
    low: float
    high: float
    direction: Literal[-1, 1]
    open_low: bool = False
    open_high: bool = False

    @property
    def accepted(self) -> str:
        """The range in interval notation."""
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"

    def check(self, value: float) -> None:
        """Raises: BadSpec if `value` is NaN or outside the range."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        if not (above and below):
            raise BadSpec(f"{self.name} ({self.symbol}) is {value:g}; accepted: {self.accepted}, {self.meaning}")

    def clip(self, value: float) -> float:
        """The accepted value nearest to `value`: an interval's end may lie where the quantity itself cannot."""
        low = math.nextafter(self.low, math.inf) if self.open_low else self.low
        high = math.nextafter(self.high, -math.inf) if self.open_high else self.high
        return min(max(value, low), high)


_INF = math.inf
_CATALOGUE = (
    Argument("log_inverse_alpha", "log 1/α", "nats; α is the weight of P₋ in P", 0, _INF, 1),
    Argument("beta", "β", "nats per sentence; KL(P₋‖P₊)", -_INF, _INF, -1, True, True),
    Argument("gamma", "γ", "the largest behavior expectation under P₋", -1, 1, -1),
    Argument("gamma_n", "γₙ", "the largest expectation of the best of n draws from P₋", -1, 1, -1),
    Argument("epsilon", "ε", "distance to γ", 0, 2, -1, True),
    Argument("delta", "δ", "probability of failure", 0, 1, -1, True),
    Argument("sigma2", "σ²", "nats² per sentence; variance of the log-ratio", 0, _INF, 1, open_high=True),
    Argument("beta_prime", "β′", "nats per sentence; KL(P₊‖P₋)", 0, _INF, 1, open_high=True),
    Argument("prefix_sentences", "m", "sentences of the aligning prefix", 0, _INF, 1, open_high=True),
    Argument("n", "n", "responses to choose from", 1, _INF, 1, open_high=True),
    Argument("eta", "η", "exponent of the decay of β", 0, 1, 1, open_high=True),
    Argument("max_log_ratio_per_sentence", "Λ", "nats per sentence over a family", -_INF, _INF, -1, True, True),
    Argument("behavior_floor_positive", "g₊", "the smallest behavior expectation under P₊ over a family", -1, 1, 1),
    Argument("behavior_floor_negative", "g₋", "the smallest behavior expectation under P₋ over a family", -1, 1, 1),
)
ELIMINATED = "α = 0: P₋ is no part of P, and the theorems need α > 0; a sample can only give α an upper limit"
ARGUMENTS: dict[str, Argument] = {argument.name: argument for argument in _CATALOGUE}


def check_arguments(**values: float) -> tuple[tuple[str, float], ...]:
    """Check named values against their ranges.

    Returns: the (name, value) pairs, for the record of a bound.
    Raises: BadSpec on a value outside its range; NoBound if α = 0 or β ≤ 0.
    """
    for name, value in values.items():
        ARGUMENTS[name].check(value)
    for name in ("prefix_sentences", "n"):
        if name in values and values[name] != int(values[name]):
            raise BadSpec(f"{name} ({ARGUMENTS[name].symbol}) is {values[name]:g}; accepted: whole numbers")
    if values.get("log_inverse_alpha") == math.inf:
        raise NoBound(ELIMINATED)
    if values.get("beta", 1) <= 0:
        raise NoBound(f"β = {values['beta']:g}: sentences of P₋ do not tell it from P₊, and the theorems need β > 0")
    return tuple(values.items())


def finite_length(sentences: float) -> float:
    """A length as it is.

    Raises: NoBound if it exceeds the largest float.
    """
    if not math.isfinite(sentences):
        raise NoBound("the length exceeds 1.8e308 sentences: these values are as good as no bound")
    return sentences
