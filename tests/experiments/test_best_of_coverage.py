"""Every interval that a best-of-n run prints, and what it says about protection, against random exact worlds."""

from __future__ import annotations

import pytest

from experiments.best_of_runs import verdicts
from run_coverage import Verdicts, answers, failures, median_width

RUNS = 80  # whole runs in about 40 s on two cores

USEFUL_WIDTHS = {  # medians; what a user can still draw a conclusion from
    "best of 1, negative": 1.0, "best of 4, P₋ itself": 1.0, "gamma_n, 4": 1.0, "beyond, straight line, 4": 1.2,
    "prediction, evidence plateau, 1": 1.1, "difference, evidence plateau, 1": 0.8, "prediction, straight line, 2": 1.5,
    "corrected, straight line, 4": 4.0, "paper, straight line, 4": 4.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> list[Verdicts]:
    return list(answers(verdicts, int(RUNS * 1.15)).values())


def test_every_interval_covers_the_truth_and_every_claim_holds(found: list[Verdicts]) -> None:
    assert len(found) >= RUNS
    assert not failures(found)


@pytest.mark.parametrize("name", USEFUL_WIDTHS)
def test_intervals_are_narrow_enough_to_say_something(found: list[Verdicts], name: str) -> None:
    assert median_width(found, name) < USEFUL_WIDTHS[name]
