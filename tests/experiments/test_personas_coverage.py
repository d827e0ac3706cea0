"""Every interval that a personas run prints, and every claim it makes, against the truth of random exact worlds.

64 worlds are the largest number that takes about a minute; 220 worlds: see docs/scenarios.md.
"""

from __future__ import annotations

import pytest

from experiments.persona_runs import verdicts, verdicts_outside
from run_coverage import Verdicts, answers, failures, median_width

RUNS = 64
USEFUL_WIDTHS = {  # medians, set before any run
    "weight 0": 0.5, "unexplained": 0.1, "unprompted": 0.6, "beta 0": 0.8, "gamma 0": 1.3, "evidence 0": 2.0,
    "log 1/w 0": 1.2, "sharp 1": 40.0, "own posterior 0": 0.5, "response 0": 1.6, "unexplained outside": 0.15,
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> list[Verdicts]:
    inside, outside = answers(verdicts, RUNS), answers(verdicts_outside, RUNS // 4)
    assert (len(inside), len(outside)) == (RUNS, RUNS // 4)
    return [*inside.values(), *outside.values()]


def test_every_interval_covers_the_truth(found: list[Verdicts]) -> None:
    assert not failures(found, certain=lambda name: "for certain" in name)


@pytest.mark.parametrize("name", USEFUL_WIDTHS)
def test_intervals_are_narrow_enough_to_say_something(found: list[Verdicts], name: str) -> None:
    assert median_width(found, name) < USEFUL_WIDTHS[name]
