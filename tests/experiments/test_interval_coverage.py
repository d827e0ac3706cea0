"""Every interval that a measurement prints, against the truth of 400 random exact worlds."""

from __future__ import annotations

import pytest

from experiments.world_runs import PROMPTS, fallible_verdicts, spec_for, verdicts
from run_coverage import Verdicts, answers, failures, median_width

RUNS = 400

USEFUL_WIDTHS = {  # medians; what a user can still draw a conclusion from, set before any run
    "gate": 0.2, "beta": 1.0, "beta_prime": 1.0, "evidence": 6.0, "plateau, the line's intercept": 6.0, "kappa": 2.0,
    "gamma": 1.0, "B after P₋ prompts": 1.0, "line log 1/alpha": 1.0, "Theorem 1, straight line, sharp": 4.0,
}  # fmt: skip


def is_cap(name: str) -> bool:
    """A cap is a certain limit; every other interval may miss at its level, give or take chance."""
    return name.startswith("cap")


@pytest.fixture(scope="module")
def found() -> dict[int, Verdicts]:
    return answers(verdicts, int(RUNS * 1.15))


@pytest.fixture(scope="module")
def found_by_a_fallible_scorer() -> list[Verdicts]:
    return list(answers(fallible_verdicts, 240).values())


def test_the_gate_lets_most_of_these_worlds_pass(found: dict[int, Verdicts]) -> None:
    assert len(found) >= RUNS


def test_every_interval_covers_the_truth(found: dict[int, Verdicts]) -> None:
    assert not failures(found.values(), certain=is_cap)


def test_corrected_intervals_cover_the_truth(found_by_a_fallible_scorer: list[Verdicts]) -> None:
    assert len(found_by_a_fallible_scorer) >= 150
    assert any("B corrected, negative" in answer for answer in found_by_a_fallible_scorer)
    assert not failures(found_by_a_fallible_scorer, certain=is_cap)


@pytest.mark.parametrize("name", USEFUL_WIDTHS)
def test_intervals_are_narrow_enough_to_say_something(found: dict[int, Verdicts], name: str) -> None:
    at_default = [answer for seed, answer in found.items() if spec_for(seed).prompts == max(PROMPTS)]
    assert median_width(at_default, name) < USEFUL_WIDTHS[name]
