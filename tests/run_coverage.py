"""Whole runs of many seeded worlds: does every printed interval hold its truth, and is it narrow enough to be of use?

The limit on misses is `intervals.most_misses`, derived from the level and the number of intervals alone.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar
from unittest.mock import patch

import numpy as np

from beb.core.estimate import Band, Estimate
from intervals import most_misses

LEVEL = 0.95
SLACK = 1e-9
MEMORY = Path("/dev/shm")
"""A file system in memory, where there is one: no run waits for a disk."""

Answer = TypeVar("Answer")
Shown = dict[str, tuple[Estimate | Band, object]]
"""Printed intervals and bands by name, each with its true value or curve."""


class Verdict(NamedTuple):
    """Whether an interval (or all points of a band) holds the truth, and its width (a band's median one)."""

    holds: bool
    width: float


Verdicts = dict[str, Verdict]


def verdict(printed: Estimate | Band, true: object, *, may_be_undefined: bool = False) -> Verdict:
    """Judge one interval. An infinite truth is held only by a limit that is infinite too.

    may_be_undefined: a truth of NaN, such as the difference of two midpoints that do not exist, is held by an interval
    without limits; otherwise by none.
    """
    value = np.asarray(true, dtype=np.float64)
    low, high = np.asarray(printed.low), np.asarray(printed.high)
    slack = SLACK * np.where(np.isfinite(value), np.maximum(1, np.abs(value)), 0)
    inside = (low - slack <= value) & (value <= high + slack)
    if may_be_undefined:
        inside |= np.isnan(value) & np.isinf(low) & np.isinf(high)
    return Verdict(bool(np.all(inside)), float(np.median(high - low)))


def judged(shown: Mapping[str, tuple[Estimate | Band, object]], *, may_be_undefined: bool = False) -> Verdicts:
    """The verdict on each interval."""
    return {name: verdict(*pair, may_be_undefined=may_be_undefined) for name, pair in shown.items()}


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder for the store of one run, gone afterwards."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None) as folder:
        yield Path(folder)


def answers(job: Callable[[int], Answer | None], n_seeds: int) -> dict[int, Answer]:
    """What the job says of seeds 0, 1, …, but for those whose run the gate refused (None).

    The processors are shared with the other workers of the test run, if there are any.
    """
    n_processes = max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    if n_processes == 1:
        return {seed: answer for seed in range(n_seeds) if (answer := job(seed)) is not None}
    context = multiprocessing.get_context("spawn")
    # The worlds are the parallel part: threads inside the processes would only get into each other's way.
    with patch.dict(os.environ, OMP_NUM_THREADS="1"), ProcessPoolExecutor(n_processes, mp_context=context) as pool:
        found = list(pool.map(job, range(n_seeds), chunksize=4))
    return {seed: answer for seed, answer in enumerate(found) if answer is not None}


def failures(
    found: Iterable[Mapping[str, Verdict]], *, certain: Callable[[str], bool] = lambda _: False
) -> dict[str, str]:
    """Intervals that miss more often than their level allows but once in a million. certain: those that never may."""
    held: dict[str, list[bool]] = {}
    for each in found:
        for name, (holds, _) in each.items():
            held.setdefault(name, []).append(holds)
    failed = {}
    for name, holds_each in sorted(held.items()):
        allowed = 0 if certain(name) else most_misses(len(holds_each), LEVEL)
        misses = len(holds_each) - sum(holds_each)
        if misses > allowed:
            failed[name] = f"{misses} of {len(holds_each)} missed, {allowed} allowed"
    return failed


def median_width(found: Iterable[Mapping[str, Verdict]], name: str) -> float:
    """Median width of the interval of this name; NaN, which is below no limit, if no run has printed it."""
    widths: Sequence[float] = [each[name].width for each in found if name in each]
    return float(np.median(widths)) if widths else float("nan")
