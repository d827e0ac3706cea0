"""Intervals of a bound from intervals of its inputs."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from beb.core.bounds.arguments import ARGUMENTS
from beb.core.bounds.record import Bound
from beb.core.estimate import Estimate
from beb.errors import BadSpec, NoBound

METHOD = "bound at the two extreme corners of the inputs' simultaneous limits"


@dataclass(frozen=True, slots=True)
class PropagatedBound:
    """A bound at the point estimates, and its intervals in sentences; paper is None where the paper has no form."""

    bound: Bound
    paper: Estimate | None
    sharp: Estimate


def propagate(
    bound_function: Callable[..., Bound],
    inputs: Mapping[str, Estimate],
    fixed: Mapping[str, float | Sequence[int]],
) -> PropagatedBound:
    """Interval of a bound: it is monotone in every argument, so the box of limits maps to its two extreme corners.

    bound_function: of this package. inputs: measured arguments by name. fixed: the other arguments.
    Returns: intervals whose level is the least of the inputs' and whose n is the least; high is inf where the
    unfavourable corner has no bound (for example β's lower limit ≤ 0).
    Raises: BadSpec on unknown names or values outside their ranges; NoBound if the estimates themselves have none.
    Assumes: the inputs' limits hold together with probability `level`.
    Source: derived in docs/maths.md, "Intervals".
    """
    unknown = [name for name in inputs if name not in ARGUMENTS]
    if unknown or not inputs:
        raise BadSpec(f"inputs {unknown or 'none'}; accepted: one or more of {', '.join(ARGUMENTS)}")
    if both := sorted(set(inputs) & set(fixed)):
        raise BadSpec(f"{', '.join(both)} given both as measured and as fixed; give each argument once")
    bound = bound_function(**{name: estimate.value for name, estimate in inputs.items()}, **fixed)
    shortest = bound_function(**{name: _corner(name, e, -1) for name, e in inputs.items()}, **fixed)
    longest = _longest(bound_function, {name: _corner(name, e, 1) for name, e in inputs.items()}, fixed)

    def interval(value: float, low: float, high: float) -> Estimate:
        low, high = min(low, value), max(high, value)  # rounding may leave a corner on the wrong side of the value
        measured = [e for e in inputs.values() if not e.exact] or list(inputs.values())
        level, n = min(e.level for e in measured), min(e.n for e in measured)
        return Estimate(value, low, high, level, n, bound.unit, METHOD, exact=low == high)

    paper = None
    if bound.paper is not None:
        shortest_paper = shortest.paper if shortest.paper is not None else 0.0
        longest_paper = math.inf if longest is None or longest.paper is None else longest.paper
        paper = interval(bound.paper, shortest_paper, longest_paper)
    return PropagatedBound(bound, paper, interval(bound.sharp, shortest.sharp, longest.sharp if longest else math.inf))


def _corner(name: str, estimate: Estimate, side: int) -> float:
    """The limit that makes the bound shortest (side −1) or longest (side +1), within the quantity's range."""
    argument = ARGUMENTS[name]
    limit = argument.clip(estimate.low if argument.direction * side < 0 else estimate.high)
    if side < 0:  # no limit on the favourable side: as favourable as floats can say
        return min(max(limit, -sys.float_info.max), sys.float_info.max)
    return limit


def _longest(
    bound_function: Callable[..., Bound], corner: Mapping[str, float], fixed: Mapping[str, float | Sequence[int]]
) -> Bound | None:
    """The bound at the unfavourable corner; None if there is none there."""
    if any(math.isinf(value) for value in corner.values()):
        return None
    try:
        return bound_function(**corner, **fixed)
    except NoBound:
        return None
