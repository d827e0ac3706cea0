"""Divergences that are lower bounds: the one home of what they are called, and of what is made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from beb.core.bounds import PropagatedBound
from beb.core.estimate import Band, Estimate

LOWER_BOUND = "lower bound from the"
"""Begins the method of a divergence that is one, and stands in the method of every number that is made of it."""

AnyNumber = TypeVar("AnyNumber", Band, Estimate)


def bound_method(number: Estimate | Band) -> str:
    """By which method its divergences are lower bounds, "" if they are none."""
    return next((part for part in number.method.split("; ") if part.startswith(LOWER_BOUND)), "")


def is_lower_bound(number: Estimate | Band) -> bool:
    """Whether a number is made of divergences that are lower bounds."""
    return bool(bound_method(number))


def mark(number: Estimate | Band) -> str:
    """What stands beside a mean or an extreme of divergences that are lower bounds."""
    return " (lower bound)" if is_lower_bound(number) else ""


def mark_derived(number: Estimate | Band) -> str:
    """What stands beside a number that is made of lower bounds and is none itself: a line, a length."""
    return " (from lower bounds)" if is_lower_bound(number) else ""


def labelled(number: AnyNumber, method: str) -> AnyNumber:
    """The number, whose method says so if its divergences are lower bounds. method: of these, "" if they are none."""
    return replace(number, method=f"{method}; {number.method}") if method else number


def unlimited(number: AnyNumber, method: str) -> AnyNumber:
    """As `labelled`, and without an upper limit: the limits then hold of the divergence itself, not of its bound."""
    if not method:
        return number
    told = labelled(number, method)
    if isinstance(told, Estimate):
        return replace(told, high=math.inf, exact=False)
    above = (math.inf,) * len(told.lengths)
    return replace(told, pointwise_high=above, high=above)


def carried(found: PropagatedBound, inputs: Mapping[str, Estimate]) -> PropagatedBound:
    """A bound whose method says so if one of its inputs is made of lower bounds.

    Its length falls with β: where only the least that β can be is known, no length from 0 on is excluded.
    """
    method = next(filter(None, map(bound_method, inputs.values())), "")
    if not method:
        return found
    beta = inputs.get("beta")
    no_least = beta is not None and is_lower_bound(beta)

    def told(length: Estimate) -> Estimate:
        length = labelled(length, method)
        return replace(length, low=0.0, exact=length.high == 0.0) if no_least else length

    return PropagatedBound(found.bound, None if found.paper is None else told(found.paper), told(found.sharp))
