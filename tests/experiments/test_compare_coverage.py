"""Every difference that a comparison prints, against the truth of pairs of random exact worlds.

48 pairs, each compared on the same prompts and on independent ones: whole runs cost about a second and a half a pair.
The estimators by themselves are tested on 400 pairs in tests/estimate/test_contrast.py.
"""

from __future__ import annotations

import pytest

from experiments.compare_runs import verdicts
from run_coverage import Verdicts, answers, failures, median_width

PAIRS = 48
USEFUL_WIDTHS = {  # medians, set before any run
    "same prompts": {"beta": 0.5, "evidence": 1.5, "kappa": 1.0, "line": 0.5, "behavior": 1.0},
    "independent": {"beta": 1.5, "evidence": 6.0, "kappa": 2.0, "line": 1.0, "gamma": 1.5, "behavior": 1.2},
}
Found = dict[str, list[Verdicts]]


@pytest.fixture(scope="module")
def found() -> Found:
    """The verdicts on all pairs of runs, by kind of pairing."""
    pairs = answers(verdicts, int(PAIRS * 1.15)).values()
    return {pairing: [each[pairing] for each in pairs] for pairing in USEFUL_WIDTHS}


@pytest.mark.parametrize("pairing", USEFUL_WIDTHS)
def test_every_difference_covers_the_truth(found: Found, pairing: str) -> None:
    assert len(found[pairing]) >= PAIRS
    assert not failures(found[pairing])


@pytest.mark.parametrize("pairing", USEFUL_WIDTHS)
def test_differences_are_narrow_enough_to_say_something(found: Found, pairing: str) -> None:
    widths = {name: median_width(found[pairing], name) for name in USEFUL_WIDTHS[pairing]}
    assert all(widths[name] < useful for name, useful in USEFUL_WIDTHS[pairing].items()), widths


def test_the_same_p_minus_on_the_same_prompts_has_one_gamma(found: Found) -> None:
    assert all(each["gamma"] == (True, 0.0) for each in found["same prompts"])
