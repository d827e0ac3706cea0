"""Freed memory is kept for the next pass, and given back when asked; in processes of their own."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")

SCRIPT = """
import json, resource, sys
import torch
from beb.models.allocator import give_back, keep_freed

MIB = 2**20
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / MIB

def fill(mib, n=1):
    blocks = [torch.ones(mib * MIB // 4) for _ in range(n)]

kept = keep_freed() if sys.argv[1] == "keep" else False
fill(1)
start = resident()
for _ in range(12):
    fill(3, 18)  # the heap grows to where it stays
before = faults()
for _ in range(12):
    fill(3, 18)
again = faults() - before
passed = resident()
fill(96, 4)
large = resident() - passed
fill(24, 12)
give_back()
print(json.dumps({"kept": kept, "faults": again, "left": resident() - start, "large": large}))
"""
PAGES_OF_ALL = 12 * 3 * 18 * 2**20 / os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0.0


def measured(how: str, **environment: str) -> dict[str, float]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True, env=clean | environment
    )
    return dict(json.loads(done.stdout))


def test_what_one_pass_after_another_takes_is_not_zeroed_anew() -> None:
    kept = measured("keep")
    assert kept["kept"]
    assert kept["faults"] < 0.05 * PAGES_OF_ALL  # usually all of them, or none where something stands behind the blocks


def test_what_is_kept_is_given_back_when_asked_and_large_blocks_at_once() -> None:
    kept = measured("keep")
    assert kept["left"] <= 16
    assert kept["large"] <= 16


def test_the_environment_has_the_last_word() -> None:
    assert not measured("keep", MALLOC_TRIM_THRESHOLD_="131072")["kept"]
