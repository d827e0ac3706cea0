"""Memory of real processes: within the budget whatever the vocabulary, length and batch; and where there is less."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
VOCABULARY, LENGTH = 262_144, 4096
FIXED = 160 * MIB
"""Besides libraries, weights and budget: the kernels that oneDNN compiles, one for each shape of a matrix product (it
keeps 1024 at most), the tokenizer, the allocator's leftovers."""

Run = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read the way Linux tells it")


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Carries out a piece of work in a process of its own; see `tests.models.memory_run`."""
    paths = [str(ROOT / "tests"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.models.memory_run"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process as server:
        assert server.stdin is not None
        assert server.stdout is not None
        into, out = server.stdin, server.stdout

        def asked(what: str, **given: Any) -> dict[str, Any]:
            usual = {"vocabulary": 512, "width": 16, "inner": 32, "tokens": LENGTH, "texts": 6, "budget": 4096 * MIB}
            into.write(json.dumps({"what": what} | usual | given) + "\n")
            into.flush()
            found: dict[str, Any] = json.loads(out.readline())
            assert "failed" not in found, found
            return found

        yield asked
        into.close()


CASES = {
    "scoring long texts over a large vocabulary": ("score", 256, {"vocabulary": VOCABULARY, "free": False}),
    "scoring over a large vocabulary": ("score", 128, {"vocabulary": VOCABULARY, "tokens": 500}),
    "sampling over a large vocabulary": ("nested", 64, {"vocabulary": VOCABULARY, "texts": 140}),
    "scoring with a wide inner layer": ("score", 96, {"inner": 8192}),
    "scoring texts of many lengths": ("score", 128, {"inner": 32768, "tokens": 40, "texts": 80, "mixed": True}),
    "sampling with a wide inner layer": ("nested", 96, {"inner": 8192, "texts": 60}),
    "keys and values of long beginnings": ("long", 96, {"width": 256, "tokens": 1000, "texts": 60}),
    "keys and values of texts that grow": ("growing", 96, {"width": 256, "tokens": 400, "texts": 60}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_peak_is_within_the_budget_and_the_numbers_are_those_without_one(name: str, run: Run) -> None:
    what, mib, sizes = CASES[name]
    found = run(what, budget=mib * MIB, **sizes)
    allowed = found["libraries"] + found["weights"] + mib * MIB + FIXED
    assert found["peak"] <= allowed
    assert not found["ran_out"]
    if sizes.get("free", True):
        # Otherwise the limit would not have been put to the test.
        assert found["free_peak"] > max(allowed - FIXED, found["peak"] + mib * MIB // 2)
        same(what, found)


@pytest.mark.parametrize(
    ("what", "room", "sizes"),
    [
        ("score", 160, {"vocabulary": VOCABULARY, "tokens": 300}),
        # Less than FIXED would leave oneDNN no room for its kernels, whatever the batch.
        ("nested", FIXED // MIB, {"vocabulary": 2 * VOCABULARY, "tokens": 300, "texts": 140}),
        ("score", 120, {"inner": 8192}),
        ("long", 120, {"width": 256, "tokens": 1000, "texts": 40}),
    ],
)
def test_a_machine_with_less_memory_than_the_budget_goes_on_with_smaller_batches(
    what: str, room: int, sizes: dict[str, int], run: Run
) -> None:
    found = run(what, room=room * MIB, **sizes)
    assert found["ran_out"]  # the address space of the process was exhausted, and the work went on
    same(what, found)


def same(what: str, found: dict[str, Any]) -> None:
    """Sums of log-probabilities up to the rounding of fp32; texts token for token.

    In 20,000 draws, rounding may move the edge between two tokens past a uniform, once or twice.
    """
    if what == "score":
        np.testing.assert_allclose(found["numbers"], found["expected"], rtol=1e-5, atol=1e-3)
    else:
        differ = sum(a != b for a, b in zip(found["numbers"], found["expected"], strict=True))
        assert differ <= (2 if what == "growing" else 0)
