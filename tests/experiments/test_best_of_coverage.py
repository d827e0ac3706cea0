"""Every interval that a best-of-n run prints, and what it says about protection, against random exact worlds."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from scipy.stats import binom

from experiments.best_of_runs import verdicts

RUNS = 80  # whole runs in about 40 s on two cores
LEVEL = 0.95
CHANCE = 1e-6

USEFUL_WIDTHS = {  # medians; what a user can still draw a conclusion from
    "best of 1, negative": 1.0, "best of 4, P₋ itself": 1.0, "gamma_n, 4": 1.0, "beyond, straight line, 4": 1.2,
    "prediction, straight line, 2": 1.5, "corrected, straight line, 4": 4.0, "paper, straight line, 4": 4.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> list[dict[str, tuple[bool, float]]]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        answers = list(pool.map(verdicts, range(int(RUNS * 1.15)), chunksize=4))
    return [answer for answer in answers if answer is not None]


def test_every_interval_covers_the_truth_and_every_claim_holds(found: list[dict[str, tuple[bool, float]]]) -> None:
    assert len(found) >= RUNS
    failures = {}
    for name in sorted({name for answer in found for name in answer}):
        held = [answer[name][0] for answer in found if name in answer]
        limit = binom.isf(CHANCE, len(held), 1 - LEVEL)
        misses = len(held) - sum(held)
        if misses > limit:
            failures[name] = f"{misses} of {len(held)} missed, {limit:.0f} allowed"
    assert not failures


@pytest.mark.parametrize("name", USEFUL_WIDTHS)
def test_intervals_are_narrow_enough_to_say_something(found: list[dict[str, tuple[bool, float]]], name: str) -> None:
    width = float(np.median([answer[name][1] for answer in found if name in answer]))
    assert width < USEFUL_WIDTHS[name]
