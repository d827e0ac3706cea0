"""Every interval that a conversation run prints, against the truth of random exact worlds.

A world takes about 0.3 s of a processor; 200 are what about 45 s on two of them allow.
"""

from __future__ import annotations

import pytest

from experiments.converse_runs import verdicts
from run_coverage import Verdicts, answers, failures, median_width

RUNS = 200

USEFUL_WIDTHS = {  # medians; what a user can still draw a conclusion from
    "beta": 1.0, "negative: B of replies": 1.0, "positive: B of replies": 1.0, "difference": 1.5,
    "negative: resistance": 1.5, "negative: net gain": 2.0, "gamma": 1.0, "sigma2": 8.0, "break-even": 3.0,
    "turn 1, straight line, sharp": 4.0, "turn 2, straight line, sharp": 12.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> list[Verdicts]:
    return list(answers(verdicts, int(RUNS * 1.6)).values())


def test_the_gate_lets_most_of_these_worlds_pass(found: list[Verdicts]) -> None:
    assert len(found) >= RUNS


def test_every_interval_covers_the_truth(found: list[Verdicts]) -> None:
    assert not failures(found)


@pytest.mark.parametrize("name", USEFUL_WIDTHS)
def test_intervals_are_narrow_enough_to_say_something(found: list[Verdicts], name: str) -> None:
    assert median_width(found, name) < USEFUL_WIDTHS[name]
