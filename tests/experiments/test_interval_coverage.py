"""Every interval that a measurement prints, against the truth of 400 random exact worlds."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from scipy.stats import binom

from experiments.world_runs import PROMPTS, fallible_verdicts, spec_for, verdicts

Verdicts = dict[str, tuple[bool, float]]

RUNS = 400
LEVEL = 0.95
CHANCE = 1e-6

USEFUL_WIDTHS = {  # medians; what a user can still draw a conclusion from, set before any run
    "gate": 0.2, "beta": 1.0, "beta_prime": 1.0, "evidence": 6.0, "plateau, the line's intercept": 6.0, "kappa": 2.0,
    "gamma": 1.0, "B after P₋ prompts": 1.0, "line log 1/alpha": 1.0, "Theorem 1, straight line, sharp": 4.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> dict[int, Verdicts]:
    return _measured(verdicts, int(RUNS * 1.15))


@pytest.fixture(scope="module")
def found_by_a_fallible_scorer() -> dict[int, Verdicts]:
    return _measured(fallible_verdicts, 240)


def _measured(job: Callable[[int], Verdicts | None], n_seeds: int) -> dict[int, Verdicts]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        answers = list(pool.map(job, range(n_seeds), chunksize=4))
    return {seed: answer for seed, answer in enumerate(answers) if answer is not None}


def test_the_gate_lets_most_of_these_worlds_pass(found: dict[int, Verdicts]) -> None:
    assert len(found) >= RUNS


def test_every_interval_covers_the_truth(found: dict[int, Verdicts]) -> None:
    assert not _failures(found)


def test_corrected_intervals_cover_the_truth(found_by_a_fallible_scorer: dict[int, Verdicts]) -> None:
    assert len(found_by_a_fallible_scorer) >= 150
    assert any("B corrected, negative" in answer for answer in found_by_a_fallible_scorer.values())
    assert not _failures(found_by_a_fallible_scorer)


def _failures(found: dict[int, Verdicts]) -> dict[str, str]:
    failures = {}
    for name in sorted({name for answer in found.values() for name in answer}):
        held = [answer[name][0] for answer in found.values() if name in answer]
        # A cap is a certain limit; every other interval may miss at its level, give or take chance.
        limit = 0 if name.startswith("cap") else binom.isf(CHANCE, len(held), 1 - LEVEL)
        misses = len(held) - sum(held)
        if misses > limit:
            failures[name] = f"{misses} of {len(held)} missed, {limit:.0f} allowed"
    return failures


@pytest.mark.parametrize("name", USEFUL_WIDTHS)
def test_intervals_are_narrow_enough_to_say_something(found: dict[int, Verdicts], name: str) -> None:
    at_default = [answer for seed, answer in found.items() if spec_for(seed).prompts == max(PROMPTS)]
    width = float(np.median([answer[name][1] for answer in at_default if name in answer]))
    assert width < USEFUL_WIDTHS[name]
