"""Every difference that a comparison prints, against the truth of pairs of random exact worlds.

48 pairs, each compared on the same prompts and on independent ones: whole runs cost about a second and a half a pair.
The estimators by themselves are tested on 400 pairs in tests/estimate/test_contrast.py.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from scipy.stats import binom

from experiments.compare_runs import LEVEL, verdicts

PAIRS, CHANCE = 48, 1e-6
USEFUL_WIDTHS = {  # medians, set before any run
    "same prompts": {"beta": 0.5, "evidence": 1.5, "kappa": 1.0, "line": 0.5, "behavior": 1.0},
    "independent": {"beta": 1.5, "evidence": 6.0, "kappa": 2.0, "line": 1.0, "gamma": 1.5, "behavior": 1.2},
}
Answers = list[dict[str, dict[str, tuple[bool, float]]]]


@pytest.fixture(scope="module")
def found() -> Answers:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        return [answer for answer in pool.map(verdicts, range(int(PAIRS * 1.15)), chunksize=2) if answer is not None]


@pytest.mark.parametrize("pairing", USEFUL_WIDTHS)
def test_every_difference_covers_the_truth(found: Answers, pairing: str) -> None:
    assert len(found) >= PAIRS
    misses = {name: sum(not answer[pairing][name][0] for answer in found) for name in found[0][pairing]}
    limit = binom.isf(CHANCE, len(found), 1 - LEVEL)
    assert {name: n for name, n in misses.items() if n > limit} == {}


@pytest.mark.parametrize("pairing", USEFUL_WIDTHS)
def test_differences_are_narrow_enough_to_say_something(found: Answers, pairing: str) -> None:
    widths = {name: np.median([answer[pairing][name][1] for answer in found]) for name in USEFUL_WIDTHS[pairing]}
    assert {name: w for name, w in widths.items() if w >= USEFUL_WIDTHS[pairing][name]} == {}


def test_the_same_p_minus_on_the_same_prompts_has_one_gamma(found: Answers) -> None:
    assert all(answer["same prompts"]["gamma"] == (True, 0.0) for answer in found)
