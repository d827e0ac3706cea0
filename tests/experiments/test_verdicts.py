"""When an observation confirms a length, and which readings of α cannot be."""

from __future__ import annotations

import math

import pytest

from beb.core.bounds import Status
from beb.core.estimate import Estimate
from beb.estimate.mixture_limits import MixtureLimits
from beb.experiments.verdicts import excluded, length_verdict


def between(low: float, value: float, high: float) -> Estimate:
    return Estimate(value, low, high, 0.95, 20, "sentences", "given")


@pytest.mark.parametrize(
    ("observed", "sharp", "expected"),
    [
        (3, between(3.0, 5.0, 9.0), "held"),
        (4, between(3.0, 5.0, 9.0), "not measured"),  # it may be longer than the theorem's
        (9, between(3.0, 5.0, 8.0), "not measured"),  # the mean prompt needs longer; another may not
        (None, between(1.0, 2.0, 3.0), "not measured"),
        (0, between(1.0, 2.0, 3.0), "not measured"),  # met without a prompt
        (2, Estimate(math.inf, math.inf, math.inf, 0.95, 20, "sentences", "given", exact=True), "not measured"),
        (2, between(0.0, 2.5, math.inf), "not measured"),
    ],
)
def test_a_length_is_confirmed_only_where_it_surely_suffices(
    observed: float | None, sharp: Estimate, expected: Status
) -> None:
    assert length_verdict(observed, sharp) == expected
    assert length_verdict(observed, sharp, excluded=True) == "not measured"


def test_a_reading_without_room_is_excluded() -> None:
    limits = MixtureLimits(low=5.0, high=20.0, refuting=0, n=40, refuted=False)
    assert excluded(between(1.0, 2.0, 4.9), limits)
    assert excluded(between(20.1, 22.0, 25.0), limits)
    assert not excluded(between(1.0, 2.0, 5.1), limits)
    assert not excluded(between(19.0, 22.0, math.inf), limits)
