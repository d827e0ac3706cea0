"""Every interval that a guardrail run prints, against the truth of random exact worlds.

400 worlds take about 80 s on two cores; these are as many as 40 s allow, and the limits are those of that number.
"""

from __future__ import annotations

import numpy as np
import pytest

from experiments.guardrail.runs import verdicts
from run_coverage import Verdicts, answers, failures, median_width

RUNS = 190

USEFUL_WIDTHS = {  # medians; what a user can still draw a conclusion from
    "area shift, sampled": 1.5, "area shift, text": 1.5, "difference, text": 1.5, "midpoint, text": 4.0,
    "beta after": 1.0, "log ratio, sampled": 4.0, "by log-ratio, sampled": 2.5, "positivity": 0.3,
    "positivity after, sampled": 0.4, "positivity after, text": 0.7, "alpha as it enters, straight line": 3.0,
    "Theorem 2 sharp, straight line, text": 4.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> list[Verdicts]:
    return list(answers(verdicts, int(RUNS * 1.1)).values())


def test_the_gate_lets_most_of_these_worlds_pass(found: list[Verdicts]) -> None:
    assert len(found) >= RUNS


def test_every_interval_covers_the_truth(found: list[Verdicts]) -> None:
    # The log-ratio of a given text is known without error.
    assert not failures(found, certain=lambda name: name == "log ratio, text")


@pytest.mark.parametrize("name", USEFUL_WIDTHS)
def test_intervals_are_narrow_enough_to_say_something(found: list[Verdicts], name: str) -> None:
    assert median_width(found, name) < USEFUL_WIDTHS[name]


def test_midpoint_shifts_are_often_identified(found: list[Verdicts]) -> None:
    widths = [answer["midpoint shift, text"].width for answer in found]
    finite = [width for width in widths if np.isfinite(width)]
    assert len(finite) > len(found) / 4
    assert np.median(finite) < 4
