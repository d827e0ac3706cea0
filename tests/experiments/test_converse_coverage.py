"""Every interval that a conversation run prints, against the truth of random exact worlds.

A world takes about 0.3 s of a processor; 200 are what about 45 s on two of them allow.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from scipy.stats import binom

from experiments.converse_runs import verdicts

RUNS = 200
LEVEL = 0.95
CHANCE = 1e-6

USEFUL_WIDTHS = {  # medians; what a user can still draw a conclusion from
    "beta": 1.0, "negative: B of replies": 1.0, "positive: B of replies": 1.0, "difference": 1.5,
    "negative: resistance": 1.5, "negative: net gain": 2.0, "gamma": 1.0, "sigma2": 8.0, "break-even": 3.0,
    "turn 1, straight line, sharp": 4.0, "turn 2, straight line, sharp": 12.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> list[dict[str, tuple[bool, float]]]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        answers = list(pool.map(verdicts, range(int(RUNS * 1.6)), chunksize=4))
    return [answer for answer in answers if answer is not None]


def test_the_gate_lets_most_of_these_worlds_pass(found: list[dict[str, tuple[bool, float]]]) -> None:
    assert len(found) >= RUNS


def test_every_interval_covers_the_truth(found: list[dict[str, tuple[bool, float]]]) -> None:
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
