"""Memory of real processes: within the budget whatever the vocabulary, length and batch; and where there is less."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
VOCABULARY, LENGTH = 262_144, 4096

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read the way Linux tells it")


def run(what: str, **given: Any) -> dict[str, Any]:
    """What `tests.models.memory_run` found in a process of its own."""
    asked = {"what": what, "vocabulary": 512, "width": 16, "inner": 32, "tokens": LENGTH, "budget": 4096 * MIB} | given
    done = subprocess.run(
        [sys.executable, "-m", "tests.models.memory_run", json.dumps(asked)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


CASES = {
    "scoring over a large vocabulary": ("score", 256, {"vocabulary": VOCABULARY}),
    "sampling over a large vocabulary": ("nested", 256, {"vocabulary": VOCABULARY}),
    "scoring with a wide inner layer": ("score", 96, {"inner": 4096}),
    "sampling with a wide inner layer": ("nested", 96, {"inner": 4096}),
    "keys and values of long beginnings": ("long", 96, {"width": 256, "tokens": 1000}),
    "keys and values of texts that grow": ("growing", 96, {"width": 256, "tokens": 800}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_peak_is_within_the_budget_and_the_numbers_are_those_without_one(name: str) -> None:
    what, mib, sizes = CASES[name]
    free, bounded = run(what, **sizes), run(what, budget=mib * MIB, **sizes)
    assert bounded["peak"] <= mib * MIB
    assert free["peak"] > mib * MIB  # otherwise the limit would not have been put to the test
    assert not bounded["halved"]
    same(what, bounded["numbers"], free["numbers"])


@pytest.mark.parametrize(
    ("what", "room", "sizes"),
    [
        ("score", 160, {"vocabulary": VOCABULARY, "tokens": 300}),
        ("nested", 160, {"vocabulary": VOCABULARY, "tokens": 300}),
        ("score", 120, {"inner": 4096}),
        ("long", 200, {"width": 256, "tokens": 1000}),
    ],
)
def test_a_machine_with_less_memory_than_the_budget_goes_on_with_smaller_batches(
    what: str, room: int, sizes: dict[str, int]
) -> None:
    free, tight = run(what, **sizes), run(what, room=room * MIB, **sizes)
    assert free["peak"] > room * MIB
    same(what, tight["numbers"], free["numbers"])


def same(what: str, found: list[float], expected: list[float]) -> None:
    """Texts token for token; sums of log-probabilities up to the rounding of fp32."""
    if what == "score":
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)
    else:
        assert found == expected
